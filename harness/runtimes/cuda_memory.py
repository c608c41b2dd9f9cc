"""Device memory, pinned host memory, streams and graphs of one CUDA device, through whichever Python binding of CUDA is installed.

cuda-python is taken before pycuda: it knows CUDA graphs, pycuda (2026.1) does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingError

Bytes = NDArray[np.uint8]

INSTALL = "Install one that fits the driver: pip install cuda-python (for CUDA 12: cuda-python==12.*), or pip install pycuda."


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device: its name, compute capability, memory in bytes, and the newest CUDA version the driver knows (12040 is 12.4)."""

    name: str
    capability: tuple[int, int]
    memory: int
    driver: int


class Cuda(Protocol):
    """One device. Every call that CUDA refuses raises BackendError with CUDA's own name for the error.

    index    its number, as in cuda:0
    binding  cuda-python or pycuda, with its version
    graphs   whether `capture` works
    """

    index: int
    binding: str
    graphs: bool

    def use(self) -> None:
        """Make the device this thread's own; costs nothing when it is already."""
        ...

    def gpu(self) -> Gpu: ...

    def stream(self) -> Any: ...

    def handle(self, stream: Any) -> int:
        """cudaStream_t of a stream, as TensorRT takes it."""
        ...

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the device."""
        ...

    def pinned(self, size: int) -> Bytes:
        """`size` bytes of page-locked host memory, (size,)."""
        ...

    def to_device(self, address: int, values: Bytes, stream: Any) -> None:
        """Start copying all of `values`, pinned and contiguous."""
        ...

    def to_host(self, values: Bytes, address: int, stream: Any) -> None:
        """Start filling all of `values`, pinned and contiguous."""
        ...

    def synchronise(self, stream: Any) -> None: ...

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """What `work` puts on `stream`, as a graph that `launch` plays; nothing runs yet."""
        ...

    def launch(self, graph: Any, stream: Any) -> None: ...

    def close(self) -> None:
        """Give back everything this object made."""
        ...


BINDINGS = (("cuda.bindings.runtime", "cuda_python"), ("cuda.cudart", "cuda_python"), ("pycuda.driver", "cuda_pycuda"))
"""Module of the binding, and the file beside this one that knows it. cuda-python was `cuda.cudart` before 12.6."""


def open_cuda(device: str, worker: int = 0, bindings: Sequence[tuple[str, str]] = BINDINGS) -> Cuda:
    """The device that `--device` names (auto and cuda: workers spread in turn). Raises MissingError where there is no binding or no GPU."""
    failures = []
    for module, file in bindings:
        try:
            binding = import_module(module)
        except (ImportError, OSError) as error:  # OSError: a library the binding loads
            failures.append(f"{module}: {str(error).splitlines()[0]}")
            continue
        opened: Cuda = import_module(f"harness.runtimes.{file}").open_device(binding, device, worker)
        return opened
    raise MissingError(f"no Python binding of CUDA can be imported ({'; '.join(failures)})", INSTALL)


def index_of(device: str, worker: int, count: int) -> int:
    """Number of the device that `--device` means, of `count` there are. Raises MissingError for one that is not there."""
    if count == 0:
        raise MissingError("CUDA sees no GPU", "Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use a backend that runs on the CPU.")
    if device == "auto":
        return worker % count
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise MissingError(f"--device {device}: this backend runs on CUDA devices alone", "Use auto, cuda or cuda:N.")
    if int(number or 0) >= count:
        raise MissingError(f"--device {device}: there are {count} CUDA devices", f"Use cuda:0 to cuda:{count - 1}.")
    return int(number or 0)
