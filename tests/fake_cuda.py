"""A CUDA device that remembers: copies and kernels wait in their stream until it is synchronised, a capture only writes them down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import BackendError
from harness.runtimes.cuda_memory import Bytes, Gpu

GPU = Gpu("Fake GPU", (9, 0), 80 * 2**30, 12080)


class FakeCuda:
    """Meets `Cuda`. `memory`: device buffers by address; `launches`: graphs played; `fails_capture`: CUDA refuses to capture."""

    binding = "fake 1.0"
    index = 0

    def __init__(self, gpu: Gpu = GPU, *, graphs: bool = True, fails_capture: bool = False) -> None:
        self._gpu, self.graphs, self.fails_capture = gpu, graphs, fails_capture
        self.memory: dict[int, Bytes] = {}
        self.waiting: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        self.launches = self.uses = 0
        self.closed = False

    def use(self) -> None:
        self.uses += 1

    def gpu(self) -> Gpu:
        return self._gpu

    def stream(self) -> Any:
        return "stream"

    def handle(self, stream: Any) -> int:
        return 7

    def allocate(self, size: int) -> int:
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = np.full(size, 0xAB, np.uint8)  # nobody may take it for zeros
        return address

    def pinned(self, size: int) -> Bytes:
        return np.full(size, 0xCD, np.uint8)

    def to_device(self, address: int, values: Bytes, stream: Any) -> None:
        self.put(lambda: self.memory[address].__setitem__(slice(values.nbytes), values))

    def to_host(self, values: Bytes, address: int, stream: Any) -> None:
        self.put(lambda: values.__setitem__(slice(None), self.memory[address][: values.nbytes]))

    def put(self, work: Callable[[], None]) -> None:
        """Onto the stream, or into the capture that is under way."""
        (self.waiting if self.captured is None else self.captured).append(work)

    def synchronise(self, stream: Any) -> None:
        if self.captured is not None:
            raise BackendError("synchronised in a capture", "")
        for work in self.waiting:
            work()
        self.waiting.clear()

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        if self.fails_capture:
            raise BackendError("CUDA: cudaStreamEndCapture: cudaErrorStreamCaptureInvalidated", "")
        self.captured = []
        work()
        graph, self.captured = self.captured, None
        return graph

    def launch(self, graph: Any, stream: Any) -> None:
        self.launches += 1
        self.waiting.extend(graph)

    def array(self, address: int, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """What lies on the device at `address`."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.memory[address][:size].view(dtype).reshape(shape)

    def close(self) -> None:
        self.closed = True
