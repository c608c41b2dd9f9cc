"""Which ONNX graph a precision is built from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from harness.core import BackendOptions, Model
from harness.runtimes.onnx_export import exported
from harness.runtimes.tensorrt_half import to_half

Say = Callable[[str], None]

HALVING = 1
"""Version of how `to_half` rewrites; it takes part in the key of engines built from such a graph."""


@dataclass(frozen=True, slots=True)
class Source:
    """A graph on disk and how its bytes become what TensorRT parses. `export` and `quantisation`: for `describe`."""

    path: Path
    sha256: str
    inputs: tuple[str, ...]
    halved: bool
    export: dict[str, Any]
    quantisation: dict[str, Any] | None = None

    def content(self) -> bytes:
        """Bytes of the ONNX graph, in FP16 but for its head where `halved`."""
        if not self.halved:
            return self.path.read_bytes()
        return bytes(to_half(onnx.load(self.path)).SerializeToString())

    @property
    def key(self) -> str:
        """sha256 that stands for what `content` gives."""
        return hashlib.sha256(f"{self.sha256} halved {HALVING}".encode()).hexdigest() if self.halved else self.sha256


def source(options: BackendOptions, model: Model, precision: str, typed: bool, cache: Path, say: Say) -> Source:
    """FP32: the exported graph. FP16: the same, rewritten where the network is strongly `typed` (else flags do it). INT8: the QDQ graph,
    symmetric, with FP16 around its integer products. Raises what export and quantisation raise."""
    plain = exported(model, cache, say)
    halved = typed and precision != "fp32"
    if precision != "int8":
        return Source(plain.path, plain.sha256, plain.inputs, halved, plain.facts())
    from harness.runtimes.onnx_quantise import quantised  # needs ONNX Runtime, which FP32 and FP16 do without

    found = quantised(model, cache, "int8-static", options.calibration, target="gpu", say=say)
    return Source(found.path, found.sha256, plain.inputs, halved, plain.facts(), dict(found.facts))


@contextmanager
def folder(cache: Path | None) -> Iterator[Path]:
    """The cache, or a folder that is gone afterwards."""
    if cache is not None:
        yield cache
        return
    with TemporaryDirectory(prefix="assay-tensorrt-") as temporary:
        yield Path(temporary)
