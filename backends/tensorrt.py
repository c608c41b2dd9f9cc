"""TensorRT 8.6 to 11 through its own Python API: FP32 (no TF32), FP16, or INT8 from a calibrated QDQ graph, on one CUDA GPU.

The engine is built from the exported ONNX graph for the shapes of the run, kept under a key of model, graph, shapes, GPU, driver and
TensorRT, and played as one CUDA graph for each shape. In `fp16` and `int8` the head stays FP32 where TensorRT's networks are strongly
typed (10 and later); in `int8` what is not quantised computes in FP16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import BackendError, UsageError
from harness.runtimes import tensorrt_api as api
from harness.runtimes.cuda_memory import Cuda, Gpu, open_cuda
from harness.runtimes.tensorrt_engine import Plan, Recipe, planned
from harness.runtimes.tensorrt_inspect import Layers, check, layers
from harness.runtimes.tensorrt_profiles import profiles
from harness.runtimes.tensorrt_session import Session
from harness.runtimes.tensorrt_source import Source, folder, source

REQUIRES: tuple[str, ...] = ("tensorrt", "onnx", "torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32", "fp16", "int8")
CALIBRATED: tuple[str, ...] = ("int8",)

Say = Callable[[str], None]

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""As other backends call what matrix products compute in; int8, tf32 and unknown are the same words."""


def create(options: BackendOptions) -> Backend:
    return TensorRT(options)


def prepare(options: BackendOptions, model: Model, say: Say) -> None:
    """Export, quantise and build, on the GPU the run will use: an engine fits no other."""
    trt = api.import_tensorrt()
    cuda = open_cuda(options.device, options.worker)
    try:
        with folder(options.cache) as cache:
            _plan(trt, cuda.gpu(), options, model, cache, say)
    finally:
        cuda.close()


class TensorRT:
    """One engine on one GPU."""

    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.precision = options.precision or PRECISIONS[0]
        self.cuda: Cuda | None = None
        self.session: Session | None = None

    def load(self, model: Model | None) -> None:
        """Raises MissingError for a missing GPU, driver, TensorRT or CUDA binding, and BackendError for an engine that cannot be built or
        whose kernels do not compute in the asked precision."""
        if model is None:
            raise BackendError("tensorrt needs a model", "Give one with --model, or use the null backend.")
        _check_precision(self.precision)
        self.trt = api.import_tensorrt()
        self.cuda = open_cuda(self.options.device, self.options.worker)  # before TensorRT, which crashes where there is no GPU
        self.gpu = self.cuda.gpu()
        with folder(self.options.cache) as cache:
            self.source, self.plan = _plan(self.trt, self.gpu, self.options, model, cache, lambda _line: None)
            self.session = Session(self.trt, self.cuda, self.plan.path, self.plan.profiles)
        self.layers = layers(self.session.information())
        self.matmul_dtype = check(self.precision, self.layers, self.plan.network_matmuls, self.plan.strongly_typed)

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """float32 outputs: start_logits and end_logits (batch, length), or logits (batch, labels)."""
        if batch is None or self.session is None:
            raise BackendError("tensorrt was given no batch, or not loaded", "This is a bug in the caller: needs_inputs is True.")
        return self.session.run({name: getattr(batch, name) for name in self.source.inputs})

    def close(self) -> None:
        """Harmless after a load that failed, and twice."""
        if self.session is not None:
            self.session.close()
        if self.cuda is not None:
            self.cuda.close()
        self.session = self.cuda = None

    def describe(self) -> dict[str, Any]:
        assert self.cuda is not None
        assert self.session is not None
        facts = {
            "runtime": "tensorrt",
            "version": self.trt.__version__,
            "precision": self.precision,
            "matmul_dtype": _DTYPES.get(self.matmul_dtype, self.matmul_dtype),
            "head_dtype": "float32" if self.source.halved or self.precision == "fp32" else "chosen by TensorRT",
            "method": _method(self.precision, self.plan.strongly_typed),
            "device": f"cuda:{self.cuda.index}",
            "device_name": self.gpu.name,
            "threads": self.options.threads,
            "compute_capability": ".".join(map(str, self.gpu.capability)),
            "driver_cuda": f"{self.gpu.driver // 1000}.{self.gpu.driver % 1000 // 10}",
            "cuda_binding": self.cuda.binding,
            "cuda_graphs": {"used": not self.session.no_graphs, "reason": self.session.no_graphs or None},
            "tf32": False,
            "packed": False,
            "export": self.source.export,
        }
        if self.source.quantisation is not None:
            facts["quantisation"] = self.source.quantisation
        return facts | _engine_facts(self.plan, self.layers)


def _engine_facts(plan: Plan, found: Layers) -> dict[str, Any]:
    """What the engine is and which kernels it holds."""
    return {
        "attention": f"{found.attention} fused attention kernels" if found.attention else "no kernel that is named after attention",
        "nodes": {"TensorRT": sum(found.kinds.values())},
        "layer_kinds": dict(found.kinds),
        "matmuls": dict(found.matmuls),
        "network_matmuls": dict(plan.network_matmuls),
        "opaque_layers": found.opaque,
        "quantised_matmuls": found.share,
        "instructions": ["cuda", *found.tensor_cores],
        "strongly_typed": plan.strongly_typed,
        "builder_flags": list(plan.flags),
        "file": {"bytes": plan.bytes, "sha256": plan.sha256},
        "profiles": [[list(shape) for shape in (profile.least, profile.best, profile.most)] for profile in plan.profiles],
        "build": {"seconds": plan.build_seconds, "cached": not plan.built},
    }


def _plan(trt: Any, gpu: Gpu, options: BackendOptions, model: Model, cache: Path, say: Say) -> tuple[Source, Plan]:
    precision = options.precision or PRECISIONS[0]
    _check_precision(precision)
    made = source(options, model, precision, api.strongly_typed(trt), cache, say)
    recipe = Recipe(precision, profiles(options.shapes, _longest(model)), made.content, made.key)
    return made, planned(trt, recipe, model, gpu, cache, say)


def _check_precision(precision: str) -> None:
    """Raises UsageError for one there is none of: `create` is called without the command line's check as well."""
    if precision not in PRECISIONS:
        raise UsageError(f"tensorrt has no precision {precision}", f"Use one of {', '.join(PRECISIONS)}.")


def _longest(model: Model) -> int:
    """Tokens the model can read at most, by its configuration; 512 where that says nothing."""
    config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
    offset = 2 if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0  # positions below are for padding
    return int(config.get("max_position_embeddings") or 512 + offset) - offset


def _method(precision: str, typed: bool) -> str:
    how = "strongly typed network" if typed else "weakly typed network, TensorRT may keep layers in FP32"
    return {
        "fp32": "ONNX graph in FP32, TF32 off",
        "fp16": f"ONNX graph in FP16, {how}",
        "int8": f"explicitly quantised (QDQ) ONNX graph, FP16 around its integer products, {how}",
    }[precision]
