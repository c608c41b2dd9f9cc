"""CUDA through pycuda (the driver API), in the device's primary context, which TensorRT and PyTorch use as well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from harness.errors import BackendError, MissingError
from harness.runtimes.cuda_memory import Bytes, Cuda, Gpu, index_of


def open_device(driver: ModuleType, device: str, worker: int) -> Cuda:
    """`driver` is pycuda.driver. Raises MissingError where the driver does not start or the device is not there."""
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise MissingError(f"CUDA does not start: {error}", "Install or update the NVIDIA driver (nvidia-smi shows it).") from error
    opened = PyCuda(driver, index_of(device, worker, count))
    opened.use()
    return opened


class PyCuda:
    """The driver API, which raises its own errors. Meets `Cuda`; has no graphs."""

    graphs = False

    def __init__(self, driver: ModuleType, index: int) -> None:
        self.driver, self.index = driver, index
        self.device = driver.Device(index)
        self.context = self.device.retain_primary_context()
        self.binding = f"pycuda {'.'.join(map(str, _version()))}"
        self._thread = threading.local()
        self._held: list[Any] = []  # allocations live as long as their objects

    def use(self) -> None:
        if not getattr(self._thread, "current", False):
            self.context.push()
            self._thread.current = True

    def gpu(self) -> Gpu:
        major, minor = self.device.compute_capability()
        return Gpu(self.device.name(), (int(major), int(minor)), int(self.device.total_memory()), int(self.driver.get_driver_version()))

    def stream(self) -> Any:
        return self.driver.Stream()

    def handle(self, stream: Any) -> int:
        return int(stream.handle)

    def allocate(self, size: int) -> int:
        try:
            self._held.append(self.driver.mem_alloc(size))
        except self.driver.Error as error:
            raise BackendError(f"CUDA: {size} bytes: {error}", "Use a smaller --max-batch or fewer workers.") from error
        return int(self._held[-1])

    def pinned(self, size: int) -> Bytes:
        values: Bytes = self.driver.pagelocked_empty(size, np.uint8)
        return values

    def to_device(self, address: int, values: Bytes, stream: Any) -> None:
        self.driver.memcpy_htod_async(address, values, stream)

    def to_host(self, values: Bytes, address: int, stream: Any) -> None:
        self.driver.memcpy_dtoh_async(values, address, stream)

    def synchronise(self, stream: Any) -> None:
        try:
            stream.synchronize()
        except self.driver.Error as error:  # where errors of kernels show
            raise BackendError(f"CUDA: {error}", "See nvidia-smi and the kernel log.") from error

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:  # noqa: ARG002 - the protocol's names
        raise BackendError("pycuda knows no CUDA graphs", "Install cuda-python.")

    def launch(self, graph: Any, stream: Any) -> None:  # noqa: ARG002 - the protocol's names
        raise BackendError("pycuda knows no CUDA graphs", "Install cuda-python.")

    def close(self) -> None:
        self._held.clear()
        if getattr(self._thread, "current", False):
            self.context.pop()
            self._thread.current = False


def _version() -> tuple[int, ...]:
    import pycuda  # type: ignore[import-not-found,unused-ignore]

    return tuple(pycuda.VERSION)
