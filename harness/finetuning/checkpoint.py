"""What training has reached, in one safetensors file that is replaced in one step: there is always a whole one, or none."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cached import disk_problem
from harness.errors import DataError, MissingError, UsageError
from harness.store import write_atomically

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`path` of the file, and the `key` of the training it belongs to: base, data and recipe."""

    path: Path
    key: str

    def save(self, step: int, tensors: Tensors) -> None:
        """Keep `tensors` as the state after `step` steps. Raises MissingError where the disk refuses; an earlier state then remains."""
        from safetensors.numpy import save

        content = save(dict(tensors), metadata={"key": self.key, "step": str(step), "sha256": _digest(tensors)})
        write_whole(self.path, content)

    def load(self) -> tuple[int, dict[str, NDArray[Any]]] | None:
        """Steps done and tensors; None where nothing was kept.

        Raises UsageError for the checkpoint of another training and DataError for a damaged one: neither is thrown away unasked.
        """
        if not self.path.exists():
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            content = self.path.read_bytes()
            tensors = load(content)
            said = _metadata(content)
            step = int(said["step"])
        except (OSError, SafetensorError, ValueError, KeyError, struct.error) as error:
            raise DataError(f"{self.path}: not a checkpoint ({error})", _DELETE) from error
        if said.get("sha256") != _digest(tensors):
            raise DataError(f"{self.path}: the checkpoint is damaged: its checksum is another", _DELETE)
        if said.get("key") != self.key:
            raise UsageError(
                f"{self.path}: belongs to a training with another base, other data or another recipe",
                "Give another --out, or the same settings as before; delete the file to start again.",
            )
        return step, tensors


def write_whole(path: Path, content: bytes) -> None:
    """The file complete or not at all. Raises MissingError where the disk refuses."""
    try:
        write_atomically(path, content)
    except OSError as error:
        problem = disk_problem(error) or error.strerror or "cannot be written"
        raise MissingError(f"{path}: {problem}", "Free some space, or give an --out that can be written.") from error


def _metadata(content: bytes) -> dict[str, str]:
    """`__metadata__` of a safetensors file: behind 8 bytes of little-endian length stands a JSON header."""
    (length,) = struct.unpack("<Q", content[:8])
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def _digest(tensors: Tensors) -> str:
    """sha256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {values.dtype.name} {values.shape}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


_DELETE = "Delete it and run the same command again: training then starts from the beginning."
