"""CUDA through cuda-python (NVIDIA's bindings of the runtime API), 11.8 and later."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np

from harness.errors import BackendError, MissingError
from harness.runtimes.cuda_memory import Bytes, Cuda, Gpu, index_of


def open_device(runtime: ModuleType, device: str, worker: int) -> Cuda:
    """`runtime` is cuda.bindings.runtime or cuda.cudart. Raises MissingError where the driver does not start or the device is not there."""
    try:
        error, count = runtime.cudaGetDeviceCount()  # the count is None with an error
    except RuntimeError as failure:  # no libcudart: cuda-bindings 13 raises from its loader
        raise MissingError(f"cuda-python finds no CUDA: {str(failure).splitlines()[0]}", "pip install 'cuda-python[all]'") from failure
    if int(error) != 0:
        raise MissingError(f"CUDA does not start: {error.name}", "Install or update the NVIDIA driver (nvidia-smi shows it).")
    opened = CudaPython(runtime, index_of(device, worker, count))
    opened.use()
    return opened


class CudaPython:
    """The runtime API, whose calls return (error, values...). Meets `Cuda`."""

    graphs = True

    def __init__(self, runtime: ModuleType, index: int) -> None:
        self.runtime, self.index = runtime, index
        self.binding = f"cuda-python {_version()}"
        self._given: list[tuple[Callable[..., Any], Any]] = []  # how to give back what was taken, in order of taking

    def use(self) -> None:
        self._call(self.runtime.cudaSetDevice, self.index)

    def gpu(self) -> Gpu:
        found = self._call(self.runtime.cudaGetDeviceProperties, self.index)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        driver = self._call(self.runtime.cudaDriverGetVersion)
        return Gpu(name.rstrip("\0"), (int(found.major), int(found.minor)), int(found.totalGlobalMem), int(driver))

    def stream(self) -> Any:
        stream = self._call(self.runtime.cudaStreamCreateWithFlags, self.runtime.cudaStreamNonBlocking)
        self._given.append((self.runtime.cudaStreamDestroy, stream))
        return stream

    def handle(self, stream: Any) -> int:
        return int(stream)

    def allocate(self, size: int) -> int:
        address = int(self._call(self.runtime.cudaMalloc, size))
        self._given.append((self.runtime.cudaFree, address))
        return address

    def pinned(self, size: int) -> Bytes:
        address = int(self._call(self.runtime.cudaMallocHost, size))
        self._given.append((self.runtime.cudaFreeHost, address))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def to_device(self, address: int, values: Bytes, stream: Any) -> None:
        kind = self.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self.runtime.cudaMemcpyAsync, address, values.ctypes.data, values.nbytes, kind, stream)

    def to_host(self, values: Bytes, address: int, stream: Any) -> None:
        kind = self.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self.runtime.cudaMemcpyAsync, values.ctypes.data, address, values.nbytes, kind, stream)

    def synchronise(self, stream: Any) -> None:
        self._call(self.runtime.cudaStreamSynchronize, stream)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Only this thread's calls are captured: other workers of the process go on."""
        self._call(self.runtime.cudaStreamBeginCapture, stream, self.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        except Exception:
            self.runtime.cudaStreamEndCapture(stream)  # leaves the stream usable; what it caught is no graph
            raise
        graph = self._call(self.runtime.cudaStreamEndCapture, stream)
        playable = self._call(self.runtime.cudaGraphInstantiateWithFlags, graph, 0)  # one signature from CUDA 11.4 to 13
        self._call(self.runtime.cudaGraphDestroy, graph)
        self._given.append((self.runtime.cudaGraphExecDestroy, playable))
        return playable

    def launch(self, graph: Any, stream: Any) -> None:
        self._call(self.runtime.cudaGraphLaunch, graph, stream)

    def close(self) -> None:
        while self._given:
            give_back, what = self._given.pop()
            give_back(what)

    def _call(self, function: Callable[..., Any], *values: Any) -> Any:
        """The one result behind the error code, or None. Raises BackendError where the code is not 0."""
        error, *results = function(*values)
        if int(error) != 0:
            cure = (
                "Use a smaller --max-batch or fewer workers." if "MemoryAllocation" in error.name else "See nvidia-smi and the kernel log."
            )
            raise BackendError(f"CUDA: {function.__name__}: {error.name}", cure)
        return results[0] if results else None


def _version() -> str:
    for name in ("cuda-bindings", "cuda-python"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"
