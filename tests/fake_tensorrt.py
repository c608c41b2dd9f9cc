"""TensorRT as far as Assay uses it, in four versions that have exactly the names, arguments and enumerations of the real ones.

What a version lacks by tests/golden/tensorrt_api.json (read from the real packages) is taken away from the classes below, so code that
names it fails here as it would there. The engine "computes" start_logits = input_ids / 2 and end_logits = attention_mask + 1.
"""

from __future__ import annotations

import enum
import inspect
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.fake_cuda import FakeCuda

API: dict[str, dict[str, Any]] = {
    entry["version"]: entry for entry in json.loads((Path(__file__).parent / "golden" / "tensorrt_api.json").read_text(encoding="utf-8"))
}
OLD, TEN, LATE_TEN, ELEVEN = API
VERSIONS = tuple(API)

KERNELS = {
    "fp32": "sm90_sgemm_f32f32_tn",
    "fp16": "sm90_xmma_gemm_f16f16_f16f32_f32_tn_tensor16x8x16",
    "int8": "sm90_i8i8_gemm_tensor16x8x32",
}


class Machine:
    """What TensorRT is told and what it makes of it. `kernels`: type of the matrix products it chooses, asked for or not.

    no_gpu, unreadable, unbuildable   Builder, parser, build fail as the real ones do
    builds                            one record for each build
    """

    def __init__(self, cuda: FakeCuda, kernels: str = "fp32", network: str = "FLOAT") -> None:
        self.cuda, self.kernels, self.network = cuda, kernels, network
        self.no_gpu = self.unreadable = self.unbuildable = self.opaque = False
        self.builds: list[SimpleNamespace] = []
        self.contexts = 0

    def information(self) -> str:
        if self.opaque:
            return json.dumps({"Layers": [{"Name": "{ForeignNode[embeddings...logits]}", "LayerType": "Myelin"}]})
        named = [{"Name": f"gemm{number}", "LayerType": "gemm", "TacticName": KERNELS[self.kernels]} for number in range(4)]
        return json.dumps({"Layers": [{"Name": "cast", "LayerType": "kgen"}, *named]})


def fake(version: str, machine: Machine) -> Any:
    """The module. Its classes know `machine`."""
    table = API[version]
    trt = SimpleNamespace(__version__=version)
    for name, values in table["enums"].items():
        if "." not in name:
            setattr(trt, name, _enumeration(name, values))
    for name, body in _classes(trt, machine).items():
        if any(member.startswith(f"{name}.") for member in table["members"]):
            setattr(trt, name, _restricted(name, body, table["members"]))
    trt.ILogger.Severity = _enumeration("Severity", table["enums"]["ILogger.Severity"])
    return trt


def _enumeration(name: str, values: dict[str, int]) -> Any:
    """As pybind11's: prints as DataType.HALF and turns into its number by int()."""
    made = enum.Enum(name, values)
    made.__int__ = lambda self: self.value  # type: ignore[attr-defined]
    made.__str__ = lambda self: f"{name}.{self.name}"  # type: ignore[assignment]
    return made


def _restricted(name: str, body: type, members: dict[str, Any]) -> type:
    """`body` without what `members` lacks, its methods taking as many arguments as the real ones."""
    for member in [key for key in vars(body) if not key.startswith("_")]:
        if f"{name}.{member}" not in members:
            delattr(body, member)
    for member, said in members.items():
        owner, _, own = member.partition(".")
        if owner == name and said != "property" and own in vars(body) and inspect.isfunction(vars(body)[own]):
            setattr(body, own, _counted(member, vars(body)[own], {len(names) for names in said}))
    body.__setattr__ = _guarded(name, members)  # type: ignore[assignment,method-assign]
    return body


def _counted(member: str, function: Callable[..., Any], allowed: set[int]) -> Callable[..., Any]:
    optional = {"Builder.create_network": 0, "OnnxParser.parse": 1, "ICudaEngine.create_execution_context": 0}

    def call(self: Any, *values: Any) -> Any:
        if not min(optional.get(member, 99), *allowed) <= len(values) <= max(allowed):
            raise TypeError(f"{member}(): incompatible function arguments")
        return function(self, *values)

    return call


def _guarded(name: str, members: dict[str, Any]) -> Callable[..., None]:
    def put(self: Any, attribute: str, value: Any) -> None:
        if not attribute.startswith("_") and members.get(f"{name}.{attribute}") != "property" and type(self).__name__ == name:
            raise AttributeError(f"{name} has no property {attribute}")
        object.__setattr__(self, attribute, value)

    return put


def _classes(trt: Any, machine: Machine) -> dict[str, type]:
    """Fresh classes for one module, by name."""

    class ILogger:
        def __init__(self) -> None: ...
        def log(self, severity: Any, msg: str) -> None: ...

    class IProgressMonitor:
        def __init__(self) -> None: ...
        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None: ...
        def step_complete(self, phase_name: str, step: int) -> bool: ...
        def phase_finish(self, phase_name: str) -> None: ...

    class IHostMemory(bytes):
        pass

    class ITimingCache:
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> bytes:
            return IHostMemory(self._content + b"+")

    class ITensor:
        def __init__(self, name: str, dtype: Any) -> None:
            self._name, self._dtype = name, dtype

        name = property(lambda self: self._name)
        dtype = property(lambda self: self._dtype)

    class ILayer:
        def __init__(self, kind: str, inputs: list[Any], output: Any) -> None:
            self._kind, self._inputs, self._output = kind, inputs, output

        type = property(lambda self: getattr(trt.LayerType, self._kind))

        def get_input(self, index: int) -> Any:
            return self._inputs[index]

        def get_output(self, index: int) -> Any:
            return self._output

    class INetworkDefinition:
        def __init__(self, flags: int) -> None:
            self._flags = flags
            self._inputs = [ITensor(name, trt.DataType.INT32) for name in ("input_ids", "attention_mask")]
            self._layers = _network(trt, machine, ITensor, ILayer)

        num_inputs = property(lambda self: len(self._inputs))
        num_layers = property(lambda self: len(self._layers))

        def get_input(self, index: int) -> Any:
            return self._inputs[index]

        def get_layer(self, index: int) -> Any:
            return self._layers[index]

    class IOptimizationProfile:
        def __init__(self) -> None:
            self._shapes: dict[str, Any] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - the real names
            self._shapes[input] = (min, opt, max)

    class IBuilderConfig:
        def __init__(self) -> None:
            self._flags = {"TF32"}
            self._previews: list[str] = []
            self._profiles: list[Any] = []
            self._timings: Any = None

        profiling_verbosity: Any = None
        progress_monitor: Any = None

        def add_optimization_profile(self, profile: Any) -> int:
            self._profiles.append(profile._shapes)
            return len(self._profiles) - 1

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            return None if b"?" in serialized_timing_cache else ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            self._timings = cache
            return True

        def get_timing_cache(self) -> Any:
            return self._timings

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            self._previews.append(feature.name)

    class Builder:
        def __init__(self, logger: Any) -> None:
            if machine.no_gpu:
                logger.log(trt.ILogger.Severity.WARNING, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def create_network(self, flags: int = 0) -> Any:
            return trt.INetworkDefinition(flags)

        def create_builder_config(self) -> Any:
            return trt.IBuilderConfig()

        def create_optimization_profile(self) -> Any:
            return trt.IOptimizationProfile()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            if machine.unbuildable:
                self._logger.log(trt.ILogger.Severity.ERROR, "Error Code 10: could not find any implementation for node /MatMul")
                return None
            if getattr(config, "progress_monitor", None):
                config.progress_monitor.phase_start("Building Engine", None, 20)
                assert all(config.progress_monitor.step_complete("Building Engine", step) for step in range(20))
                config.progress_monitor.phase_finish("Building Engine")
            machine.builds.append(
                SimpleNamespace(
                    network_flags=network._flags,
                    flags=config._flags,
                    previews=config._previews,
                    profiles=config._profiles,
                    verbosity=config.profiling_verbosity,
                    timings=config._timings._content,
                )
            )
            return IHostMemory(json.dumps({"profiles": config._profiles}).encode())

    class ParserError:
        def desc(self) -> str:
            return "No importer registered for op: Mystery"

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network

        num_errors = property(lambda self: int(machine.unreadable))

        def parse(self, model: bytes, path: str | None = None) -> bool:
            return not machine.unreadable

        def get_error(self, index: int) -> Any:
            return ParserError()

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            try:
                return trt.ICudaEngine(json.loads(serialized_engine))
            except ValueError:
                self._logger.log(trt.ILogger.Severity.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed")
                return None

    class EngineInspector:
        def get_engine_information(self, format: Any) -> str:  # noqa: A002 - the real name
            assert format is trt.LayerInformationFormat.JSON
            return machine.information()

    class ICudaEngine:
        def __init__(self, plan: dict[str, Any]) -> None:
            self._plan = plan

        num_io_tensors = 4
        device_memory_size = 1000
        device_memory_size_v2 = 1000

        def get_tensor_name(self, index: int) -> str:
            return ("input_ids", "attention_mask", "start_logits", "end_logits")[index]

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.OUTPUT if "logits" in name else trt.TensorIOMode.INPUT

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return (-1, -1)

        def get_tensor_dtype(self, name: str) -> Any:
            return trt.DataType.FLOAT if "logits" in name else getattr(trt.DataType, "INT64", trt.DataType.INT32)

        def create_execution_context(self, strategy: Any = None) -> Any:
            assert strategy is trt.ExecutionContextAllocationStrategy.USER_MANAGED
            return trt.IExecutionContext(self)

        def create_execution_context_without_device_memory(self) -> Any:
            return trt.IExecutionContext(self)

        def create_engine_inspector(self) -> Any:
            return trt.EngineInspector()

    class IExecutionContext:
        def __init__(self, engine: Any) -> None:
            machine.contexts += 1
            self._engine = engine
            self._state: dict[str, Any] = {}

        device_memory: Any = None

        def set_device_memory(self, memory: int, size: int) -> None:
            self._state["memory"] = memory

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            assert stream_handle == 7
            self._state["profile"] = profile_index
            return True

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._state[f"address {name}"] = memory
            return True

        def set_input_shape(self, name: str, shape: tuple[int, int]) -> bool:
            least, _best, most = self._engine._plan["profiles"][self._state["profile"]][name]
            self._state[f"shape {name}"] = shape
            return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))

        def execute_async_v3(self, stream_handle: int) -> bool:
            assert stream_handle == 7
            assert "memory" in self._state or self.device_memory, "no device memory was given"
            machine.cuda.put(_kernel(trt, machine, weakref.ref(self), dict(self._state)))
            return True

    return {name: found for name, found in locals().items() if inspect.isclass(found)}


def _kernel(trt: Any, machine: Machine, context: Any, state: dict[str, Any]) -> Callable[[], None]:
    """Runs when the stream gets to it; a graph may play it only while its context lives as it was when it was captured."""
    dtype = np.int64 if hasattr(trt.DataType, "INT64") else np.int32

    def run() -> None:
        assert context() is not None, "the context of a graph is gone"
        assert context()._state == state, "the context of a graph was changed"
        shape = state["shape input_ids"]
        ids = machine.cuda.array(state["address input_ids"], dtype, shape)
        mask = machine.cuda.array(state["address attention_mask"], dtype, state["shape attention_mask"])
        machine.cuda.array(state["address start_logits"], np.float32, shape)[:] = ids / 2
        machine.cuda.array(state["address end_logits"], np.float32, shape)[:] = mask + 1

    return run


def _network(trt: Any, machine: Machine, tensor: type, layer: type) -> list[Any]:
    """Two matrix products: one of type `machine.network`, or with both operands dequantised (one behind a reshape), and an FP32 head."""
    wide = trt.DataType.FLOAT
    if machine.network == "INT8":
        half = trt.DataType.HALF
        made = [layer("DEQUANTIZE", [tensor("x8", trt.DataType.INT8)], tensor("x", half))]
        made += [layer("DEQUANTIZE", [tensor("w8", trt.DataType.INT8)], tensor("w", half))]
        made += [layer("SHUFFLE", [tensor("w", half)], tensor("w3", half))]
        made += [layer("MATRIX_MULTIPLY", [tensor("x", half), tensor("w3", half)], tensor("y", half))]
    else:
        kind = getattr(trt.DataType, machine.network)
        made = [layer("MATRIX_MULTIPLY", [tensor("x", kind), tensor("w", kind)], tensor("y", kind))]
    return [*made, layer("MATRIX_MULTIPLY", [tensor("y", wide), tensor("v", wide)], tensor("logits", wide))]
