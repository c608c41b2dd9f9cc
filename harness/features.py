"""Features kept on disk, so that a data set is tokenised once. A file is believed only if its key and its checksum are right.

A cache file is one line, `assay-features KEY SHA256`, and behind it an npz archive (no pickle) with that checksum. The key covers data,
vocabulary and settings; a file with another key, a truncated one or a damaged one is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Samples

FORMAT = 1
"""Version of what the files hold; a new one makes old files stale. 1: first."""

Arrays = dict[str, NDArray[Any]]

_MAGIC = b"assay-features"


@dataclass(frozen=True, slots=True)
class Features:
    """Arrays by name. `note` says where they came from: "read from FILE", "built", "rebuilt: the file is damaged" ..."""

    arrays: Arrays
    note: str


def fingerprint(data: str, vocabulary: str, settings: Mapping[str, Any]) -> str:
    """sha256 over the sha256 of the data and of the vocabulary, and the settings (plain JSON values)."""
    what = {"data": data, "vocabulary": vocabulary, "settings": settings}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def cached_features(folder: Path | None, name: str, key: str, build: Callable[[], Arrays], check: Callable[[Arrays], None]) -> Features:
    """What `build` makes, read from `folder` where an earlier call left it there.

    `key` is a `fingerprint`. `check` raises ValueError for arrays that are not what `build` makes (names, types, shapes). A cache that
    cannot be read, trusted or written never stops a run: the features are built, and `note` says why.
    """
    if folder is None:
        return Features(build(), "built; no cache")
    key = f"{FORMAT}:{key}"
    path = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.features"
    why = "built"
    if path.exists():
        try:
            arrays = _read(path, key)
            check(arrays)
            return Features(arrays, f"read from {path}")
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            why = f"rebuilt: {error}"
    arrays = build()
    check(arrays)
    try:
        _write(path, key, arrays)
    except OSError as error:
        why += f"; not kept: {error}"
    return Features(arrays, why)


def _read(path: Path, key: str) -> Arrays:
    """Arrays of a cache file. Raises ValueError where it is not ours, has another key, or does not match its checksum."""
    head, _, body = path.read_bytes().partition(b"\n")
    if head.split(b" ")[:1] != [_MAGIC]:
        raise ValueError(f"{path} is not a feature cache")
    if head.split(b" ")[1:2] != [key.encode()]:
        raise ValueError(f"{path} belongs to other data, vocabulary or settings")
    if head.split(b" ")[2:] != [hashlib.sha256(body).hexdigest().encode()]:
        raise ValueError(f"{path} is damaged")
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _write(path: Path, key: str, arrays: Arrays) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    body = io.BytesIO()
    np.savez(body, **arrays)  # type: ignore[arg-type]  # the stub takes the arrays for the option allow_pickle, which numpy 1 lacks
    content = body.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=path.name, suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b" ".join([_MAGIC, key.encode(), hashlib.sha256(content).hexdigest().encode()]) + b"\n")
            file.write(content)
        Path(partial).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(partial).unlink()
        raise


def check_ragged(arrays: Arrays, types: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]) -> None:
    """Raises ValueError unless `arrays` are one-dimensional with exactly the names and numpy type names of `types`, and each key of
    `groups` is ascending offsets, from 0 to the common length of its members."""
    if {name: array.dtype.name for name, array in arrays.items()} != dict(types) or any(array.ndim != 1 for array in arrays.values()):
        raise ValueError("the features have other names, types or dimensions than expected")
    for name, members in groups.items():
        offsets = arrays[name]
        if len(offsets) == 0 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError(f"the features have wrong offsets {name}")
        if any(len(arrays[member]) != offsets[-1] for member in members):
            raise ValueError(f"the features do not have the length that {name} gives")


def samples_of(arrays: Arrays, pad_id: int, max_length: int) -> Samples:
    """`Samples` from the arrays `input_ids`, `token_type_ids` and `offsets`."""
    return Samples(arrays["input_ids"], arrays["token_type_ids"], arrays["offsets"], pad_id, max_length)
