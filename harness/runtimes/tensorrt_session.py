"""An engine at work: buffers allocated once, a CUDA graph for each shape that is met, answers on the host when `run` returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import BackendError
from harness.runtimes import tensorrt_api as api
from harness.runtimes.cuda_memory import Bytes, Cuda
from harness.runtimes.tensorrt_profiles import Profile, profile_for

MOST_GRAPHS = 128
"""Each has an execution context of its own (some MB of host memory); shapes beyond that are run without a graph."""

Shape = tuple[int, int]
Arrays = Mapping[str, NDArray[Any]]

_TYPES = {"INT32": np.int32, "INT64": np.int64, "FLOAT": np.float32, "HALF": np.float16}
_ALIGNED = 256  # bytes; what TensorRT asks of every address


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output: `dims` with -1 where the shape decides, its place on the device and in pinned host memory."""

    name: str
    is_input: bool
    dtype: Any
    dims: tuple[int, ...]
    address: int
    host: Bytes

    def shape(self, batch: int, length: int) -> tuple[int, ...]:
        sizes = (batch, length)
        return tuple(sizes[axis] if size < 0 else size for axis, size in enumerate(self.dims))

    def view(self, batch: int, length: int) -> NDArray[Any]:
        """The pinned memory as the array it holds, of `shape`."""
        shape = self.shape(batch, length)
        values: NDArray[Any] = self.host[: self.size(shape)].view(self.dtype).reshape(shape)
        return values

    def size(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * int(np.dtype(self.dtype).itemsize)


class Session:
    """One engine on one stream of one device, for one thread at a time."""

    def __init__(self, trt: Any, cuda: Cuda, plan: Path, profiles: tuple[Profile, ...]) -> None:
        """Raises BackendError where the file is no engine for this GPU and this TensorRT, or does not fit into memory."""
        self.trt, self.cuda, self.profiles = trt, cuda, profiles
        self.messages = api.Messages()
        self._log = api.logger(trt, self.messages)
        self._runtime = trt.Runtime(self._log)
        self.engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self.engine is None:
            raise BackendError(f"TensorRT cannot load {plan}: {self.messages.explain()}", "Delete the folder; it is built anew.")
        self.stream = cuda.stream()
        self.tensors = [self._tensor(self.engine.get_tensor_name(number)) for number in range(self.engine.num_io_tensors)]
        self._workspace_size = api.memory_size(self.engine)
        self._workspace = cuda.allocate(max(self._workspace_size, _ALIGNED))
        self._graphs: dict[Shape, Any] = {}
        self._contexts: list[Any] = []  # graphs play only while their contexts live
        self._plain: dict[int, Any] = {}
        self.no_graphs = "" if cuda.graphs else f"{cuda.binding} knows none"

    @property
    def graphs(self) -> int:
        return len(self._graphs)

    def information(self) -> str:
        """The engine inspector's JSON."""
        inspector = self.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self.trt.LayerInformationFormat.JSON))

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """float32 outputs of inputs (batch, length) by name; names the engine does not know are left out."""
        self.cuda.use()
        batch, length = next(iter(arrays.values())).shape
        profile = profile_for(self.profiles, batch, length)
        self._fill(arrays, batch, length)
        if (batch, length) in self._graphs:
            self.cuda.launch(self._graphs[batch, length], self.stream)
        else:
            self._run_first(profile, batch, length)
        self.cuda.synchronise(self.stream)
        outputs = [tensor for tensor in self.tensors if not tensor.is_input]
        return {tensor.name: tensor.view(batch, length).astype(np.float32) for tensor in outputs}  # astype copies: the buffer is used again

    def close(self) -> None:
        """Let go of the engine; the device's memory goes with `Cuda.close`, after it."""
        self.cuda.synchronise(self.stream)
        self._graphs.clear()
        self._plain.clear()
        self._contexts.clear()
        del self.engine, self._runtime

    def _fill(self, arrays: Arrays, batch: int, length: int) -> None:
        for tensor in self.tensors:
            if tensor.is_input:
                np.copyto(tensor.view(batch, length), arrays[tensor.name], casting="same_kind")

    def _run_first(self, profile: int, batch: int, length: int) -> None:
        """Run the shape once as it is, which lets TensorRT set up what must not happen in a capture; then capture it for the next time."""
        wants_graph = not self.no_graphs and len(self._graphs) < MOST_GRAPHS
        context = self._context(profile) if wants_graph else self._plain_context(profile)
        self._shape(context, batch, length)
        self._enqueue(context, batch, length)
        if wants_graph:
            self.cuda.synchronise(self.stream)
            self._capture(context, batch, length)

    def _capture(self, context: Any, batch: int, length: int) -> None:
        """A graph of copies in, kernels and copies out. Where the engine cannot be captured, `no_graphs` says why and no more is tried."""
        try:
            graph = self.cuda.capture(self.stream, lambda: self._enqueue(context, batch, length))
        except BackendError as error:
            self.no_graphs = str(error)
            return
        self._graphs[batch, length] = graph
        self._contexts.append(context)

    def _plain_context(self, profile: int) -> Any:
        if profile not in self._plain:
            self._plain[profile] = self._context(profile)
        return self._plain[profile]

    def _context(self, profile: int) -> Any:
        """A context at `profile` with all addresses set; all share one workspace, as they run one after another."""
        context = api.context_without_memory(self.trt, self.engine)
        if context is None:
            raise BackendError(
                f"TensorRT gives no execution context: {self.messages.explain()}", "Use a smaller --max-batch or fewer workers."
            )
        api.give_memory(context, self._workspace, self._workspace_size)
        self._ask(context.set_optimization_profile_async(profile, self.cuda.handle(self.stream)), f"profile {profile}")
        self.cuda.synchronise(self.stream)
        for tensor in self.tensors:
            self._ask(context.set_tensor_address(tensor.name, tensor.address), f"the address of {tensor.name}")
        return context

    def _shape(self, context: Any, batch: int, length: int) -> None:
        for tensor in self.tensors:
            if tensor.is_input:
                self._ask(context.set_input_shape(tensor.name, tensor.shape(batch, length)), f"{batch} x {length} as {tensor.name}")

    def _enqueue(self, context: Any, batch: int, length: int) -> None:
        for tensor in self.tensors:
            if tensor.is_input:
                self.cuda.to_device(tensor.address, tensor.host[: tensor.size(tensor.shape(batch, length))], self.stream)
        self._ask(context.execute_async_v3(self.cuda.handle(self.stream)), f"a batch of {batch} x {length}")
        for tensor in self.tensors:
            if not tensor.is_input:
                self.cuda.to_host(tensor.host[: tensor.size(tensor.shape(batch, length))], tensor.address, self.stream)

    def _ask(self, accepted: bool, what: str) -> None:
        """TensorRT says False and logs the reason."""
        if not accepted:
            raise BackendError(f"TensorRT refuses {what}: {self.messages.explain()}", "Report it with the model and the shape.")

    def _tensor(self, name: str) -> Tensor:
        """Room on both sides for the largest shape of any profile."""
        dtype = _TYPES.get(str(self.engine.get_tensor_dtype(name)).rpartition(".")[2])
        if dtype is None:
            raise BackendError(f"TensorRT: {name} has type {self.engine.get_tensor_dtype(name)}", "Report it with the model.")
        dims = tuple(int(size) for size in self.engine.get_tensor_shape(name))
        is_input = self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
        empty = Tensor(name, is_input, dtype, dims, 0, np.empty(0, np.uint8))
        size = max(empty.size(empty.shape(*profile.most)) for profile in self.profiles)
        return Tensor(name, is_input, dtype, dims, self.cuda.allocate(max(size, _ALIGNED)), self.cuda.pinned(size))
