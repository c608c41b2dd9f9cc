"""OpenVINO on the CPU, from the same ONNX file as the other runtimes: FP32, BF16, and INT8 calibrated on samples of the task.

The precision of what is not quantised is always set: left alone, OpenVINO runs an FP32 model in BF16 wherever the CPU has it. What runs is
then read from the runtime model after a first call, and anything else than what was asked is an error.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import AssayError, BackendError, MissingError, UsageError
from harness.runtimes import openvino_graph
from harness.runtimes.onnx_export import exported, silent
from harness.runtimes.torch_model import OUTPUTS

REQUIRES: tuple[str, ...] = ("openvino", "onnx", "torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32", "bf16", "int8")
CALIBRATED: tuple[str, ...] = ("int8",)

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def create(options: BackendOptions) -> Backend:
    return OpenVINO(options)


def prepare(options: BackendOptions, model: Model, say: Callable[[str], None]) -> None:
    """Export (and quantise) into `options.cache`. Compiling is left to `load`: it takes 0.2 s, as long as reading OpenVINO's own cache."""
    _precision(options)
    if options.cache is not None:
        _graph(options, model, options.cache, say)


@dataclass(frozen=True, slots=True)
class _Graph:
    """The ONNX file that is compiled. `quantisation` is None for a graph in FP32."""

    path: Path
    facts: Mapping[str, Any]
    export: Mapping[str, Any]
    quantisation: Mapping[str, Any] | None


@functools.cache
def _core() -> openvino.Core:
    """One for the whole process, never closed: the CPU plugin gives the thread that loads it a stack for signals and takes it away when it
    is unloaded, so that the next signal (Ctrl-C, a timer) ends the process with a segmentation fault (seen with 2026.4.1)."""
    return openvino.Core()


class OpenVINO:
    """One compiled model with one stream and one request."""

    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.options = options

    def load(self, model: Model | None) -> None:
        """Raises UsageError for a device or precision that is none, MissingError for what this machine lacks, DataError for a model that
        does not open, and BackendError where the matrix products would not have the asked type."""
        precision = _precision(self.options)
        _check_device(self.options.device)
        if model is None:
            raise BackendError("openvino needs a model", "Give one with --model, or use the null backend.")
        core = _core()
        if precision == "bf16":
            _need_bf16(core)
        with _cache(self.options) as cache:
            self.graph = _graph(self.options, model, cache, silent)
            self.compiled = _compiled(core, self.graph.path, _settings(self.options, precision))
        self.request = self.compiled.create_infer_request()
        taken = {name for port in self.compiled.inputs for name in port.names}
        self.inputs = tuple(name for name in _INPUTS if name in taken)
        self.outputs = OUTPUTS[model.head]
        self.predict(_first_batch())  # kernels are chosen in the first call
        self.layers = openvino_graph.layers(self.compiled)
        _check(self.layers, precision, self.graph)

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """float32 outputs: start_logits and end_logits (batch, length), or logits (batch, labels)."""
        if batch is None:
            raise BackendError("openvino was given no batch", "This is a bug in the caller: needs_inputs is True.")
        found = self.request.infer({name: getattr(batch, name) for name in self.inputs}, share_inputs=True)
        return {name: found[name] for name in self.outputs}

    def close(self) -> None:
        for name in ("request", "compiled", "layers"):  # whatever `load` came to
            self.__dict__.pop(name, None)

    def describe(self) -> dict[str, Any]:
        dtypes = openvino_graph.matmul_dtypes(self.layers)
        return {
            "runtime": "openvino",
            "version": _version(),
            "precision": _precision(self.options),
            "device": "cpu",
            "device_name": str(_core().get_property("CPU", "FULL_DEVICE_NAME")),
            "threads": int(self.compiled.get_property("INFERENCE_NUM_THREADS")),
            "threads_scope": "instance",
            "method": "ONNX graph compiled by the CPU plugin, one stream, one request, dynamic shapes, no pinning by OpenVINO",
            "matmul_dtype": max(dtypes, key=lambda name: dtypes[name]),
            "other_dtype": str(self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()),
            "nodes": {"CPU": len(self.layers)},
            "quantised_matmuls": openvino_graph.quantised(self.layers),
            "kernels": dict(sorted(openvino_graph.kernels(self.layers).items())),
            "instructions": [openvino_graph.instructions(self.compiled)],
            "attention": openvino_graph.attention(self.layers),
            "packed": False,
            "file": dict(self.graph.facts),
            "export": dict(self.graph.export),
            "quantisation": self.graph.quantisation and dict(self.graph.quantisation),
        }


# ------------------------------------------------------------------------------------------------------------ what is asked


def _precision(options: BackendOptions) -> str:
    precision = options.precision or PRECISIONS[0]
    if precision not in PRECISIONS:
        raise UsageError(f"openvino has no precision {precision}", f"Use one of {', '.join(PRECISIONS)}.")
    return precision


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: openvino runs on the CPU here", "Use --device cpu or auto, or another backend.")


def _settings(options: BackendOptions, precision: str) -> dict[str, Any]:
    """Everything that could change what runs, said: precision, threads, streams, and no quantisation that nobody asked for.

    Worker processes are pinned by Assay; OpenVINO's own pinning would put all of them on the same first cores.
    """
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


# ------------------------------------------------------------------------------------------------------------------ the graph


@contextmanager
def _cache(options: BackendOptions) -> Iterator[Path]:
    if options.cache is not None:
        yield options.cache
        return
    with tempfile.TemporaryDirectory(prefix="assay-openvino-") as folder:
        yield Path(folder)


def _graph(options: BackendOptions, model: Model, cache: Path, say: Callable[[str], None]) -> _Graph:
    plain = exported(model, cache, say)
    if _precision(options) != "int8":
        return _Graph(plain.path, {"bytes": plain.bytes, "sha256": plain.sha256}, plain.facts(), None)
    try:
        from harness.runtimes.onnx_quantise import quantised
    except ImportError as error:
        raise MissingError(f"openvino:int8 quantises with {error.name}, which is not installed", f"pip install {error.name}") from error
    made = quantised(model, cache, "int8-static", options.calibration, target="openvino", say=say)
    return _Graph(made.path, {"bytes": made.bytes, "sha256": made.sha256}, plain.facts(), made.facts)


def _compiled(core: openvino.Core, path: Path, settings: Mapping[str, Any]) -> openvino.CompiledModel:
    try:
        return core.compile_model(core.read_model(str(path)), "CPU", dict(settings))
    except RuntimeError as error:
        raise BackendError(f"OpenVINO {_version()} does not compile {path.name}: {_reason(error)}", _CURE) from error


def _version() -> str:
    """2026.4.1 of "2026.4.1-22982-e213a147257-releases/2026/4"."""
    return str(openvino.__version__).partition("-")[0]


def _reason(error: Exception) -> str:
    """The line that says what is wrong, behind those that say where in OpenVINO it was found."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from")), type(error).__name__)[:300]


def _first_batch() -> Batch:
    ones = np.ones((1, 8), np.int64)
    return Batch(ones, ones, np.zeros_like(ones), np.array([8]), np.array([0]))


# --------------------------------------------------------------------------------------------------------------- what runs


def _need_bf16(core: openvino.Core) -> None:
    """Raises MissingError where oneDNN would emulate BF16. The instruction sets are asked of a model that does nothing."""
    values = openvino.opset13.parameter([1], np.float32)
    nothing = openvino.Model([openvino.opset13.relu(values)], [values], "nothing")
    told = openvino_graph.instructions(core.compile_model(nothing, "CPU"))
    if told and "bfloat16" not in told:
        raise MissingError(
            f"this CPU has no BF16 instructions ({told}); OpenVINO would emulate them", "Use openvino:fp32 or openvino:int8."
        )


def _check(layers: list[openvino_graph.Layer], precision: str, graph: _Graph) -> None:
    """Raises BackendError where the matrix products are not of the asked type."""
    dtypes = openvino_graph.matmul_dtypes(layers)
    allowed = {"fp32": {"float32"}, "bf16": {"bfloat16"}, "int8": {"int8", "float32"}}[precision]
    needed = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}[precision]
    if set(dtypes) - allowed or not dtypes[needed]:
        raise _other(precision, f"the matrix products of {graph.path.name} run as {dict(dtypes)}")
    written = graph.quantisation["matmuls"]["quantised"] if graph.quantisation is not None else 0
    executed = openvino_graph.quantised(layers)["quantised"]
    if executed < written:
        raise _other(precision, f"{executed} of the {written} linear layers that {graph.path.name} has in INT8 run in INT8")


def _other(precision: str, text: str) -> AssayError:
    return BackendError(f"openvino:{precision} was asked for, but {text}", _CURE)


_CURE = "Use another precision, onnxruntime or pytorch; or another version of openvino."
