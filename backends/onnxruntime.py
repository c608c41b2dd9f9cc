"""ONNX Runtime: FP32, FP16 and INT8 from one exported graph, on the CPU, on CUDA, or through its TensorRT providers.

No call ever falls back: the provider that was asked for runs every node that computes, or `load` raises. What ran is read from the
runtime's own trace of a call, and for INT8 from the graph it made at load.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import BackendError, MissingError, UsageError
from harness.runtimes import onnx_optimise, ort_proof, ort_providers, ort_session
from harness.runtimes.onnx_export import Exported, exported, silent
from harness.runtimes.ort_providers import CUDA, TENSORRT, TENSORRT_RTX, Provider

REQUIRES: tuple[str, ...] = ("onnxruntime", "onnx", "torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-static")
OPTIONS: tuple[str, ...] = ("cuda", "tensorrt", "tensorrt-rtx")
CALIBRATED: tuple[str, ...] = ("int8-static",)

_INTEGER = ("int8", "int8-static")


def create(options: BackendOptions) -> Backend:
    """Raises UsageError for two providers."""
    ort_providers.check_words(options)
    return OnnxRuntime(options)


def prepare(options: BackendOptions, model: Model, say: Callable[[str], None]) -> None:
    """Export, fuse and quantise into `options.cache`, and have TensorRT build its engines there."""
    provider = _provider(options)
    if options.cache is None:
        return
    _graph(options, provider, model, options.cache, say)
    if provider.name in ort_providers.BUILDERS:
        say(f"building engines with {provider.short}: this can take minutes")
        built = OnnxRuntime(options)
        built.load(model)
        built.close()


@dataclass(frozen=True, slots=True)
class _Graph:
    """The ONNX file that is run, and how it came about. `quantisation` is None for a graph in floating point."""

    path: Path
    exported: Exported
    quantisation: Mapping[str, Any] | None = None


class OnnxRuntime:
    """One session, which only this worker uses."""

    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.options = options

    def load(self, model: Model | None) -> None:
        """Raises UsageError for a device, precision or option that is none, MissingError for what this machine lacks, DataError for a
        model that does not open, and BackendError where something else than what was asked would run."""
        self.provider = _provider(self.options)
        if model is None:
            raise BackendError("onnxruntime needs a model", "Give one with --model, or use the null backend.")
        with _folder(self.options.cache) as cache, tempfile.TemporaryDirectory(prefix="assay-ort-") as traces:
            self.graph = _graph(self.options, self.provider, model, cache, silent)
            self._open(cache, Path(traces))
            self.file = ort_session.file_facts(self.graph.path)

    def _open(self, cache: Path, traces: Path) -> None:
        """The session, and the proof of what it runs from a first call."""
        precision, source = _precision(self.options), self.graph.exported
        engines = cache / "ort" / source.sha256[:16]
        if self.provider.name in ort_providers.BUILDERS:
            engines.mkdir(parents=True, exist_ok=True)
        settings = ort_providers.settings(self.provider, precision, source.inputs, self.options.shapes, engines)
        optimised = traces / "optimised.onnx" if precision in _INTEGER and not self.provider.on_gpu else None
        self.session = ort_session.opened(self.graph.path, self.provider, settings, self.options.threads, traces, optimised)
        taken = {each.name for each in self.session.get_inputs()}
        self.inputs = tuple(name for name in source.inputs if name in taken)
        self.run = ort_session.runner(self.session, source.outputs, self.provider)
        self.predict(_first_batch())
        self.executed = ort_proof.executed(self.session)
        ort_proof.check_provider(self.executed, self.provider)
        self.quantised = None if optimised is None else ort_proof.quantised(optimised)

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """float32 outputs: start_logits and end_logits (batch, length), or logits (batch, labels)."""
        if batch is None:
            raise BackendError("onnxruntime was given no batch", "This is a bug in the caller: needs_inputs is True.")
        found = self.run({name: getattr(batch, name) for name in self.inputs})
        return dict(zip(self.graph.exported.outputs, found, strict=True))

    def close(self) -> None:
        for name in ("run", "session"):  # whatever `load` came to
            self.__dict__.pop(name, None)

    def describe(self) -> dict[str, Any]:
        import onnxruntime

        precision, gpu, facts = _precision(self.options), self.provider.on_gpu, self.graph.quantisation
        integers = {} if facts is None else {"quantised_matmuls": self.quantised or facts["matmuls"], "quantisation": dict(facts)}
        return {
            "runtime": "onnxruntime",
            "version": onnxruntime.__version__,
            "precision": precision,
            "matmul_dtype": ort_proof.matmul_dtype(self.executed, precision, self.provider),
            "method": _METHODS[precision],
            "device": f"cuda:{self.provider.device}" if gpu else "cpu",
            "device_name": ort_providers.device_name(self.provider),
            "provider": self.provider.name,
            "threads": self.options.threads,
            "threads_scope": "instance",
            "nodes": self.executed.providers,
            "operators": self.executed.operators,
            "instructions": ["cuda"] if gpu else ort_proof.instructions(precision in _INTEGER),
            "attention": "inside the engine" if self.provider.name in ort_providers.BUILDERS else self.executed.attention,
            "io_binding": gpu,
            "tf32": "left to TensorRT" if self.provider.name in ort_providers.BUILDERS else False,
            "packed": False,
            "file": self.file,
            "export": self.graph.exported.facts(),
            **integers,
            **({"depends_on_batch": _DEPENDS} if precision == "int8" else {}),
        }


# ------------------------------------------------------------------------------------------------------------- what is asked

_METHODS = {
    "fp32": "graph fused for ONNX Runtime, FP32 throughout",
    "fp16": "graph fused for ONNX Runtime, weights and products in FP16, inputs and outputs as in FP32",
    "int8": "dynamic: ranges of activations found in each call, weights INT8 by column; attention scores, normalisation and GELU in FP32",
    "int8-static": "ranges of activations calibrated beforehand, weights INT8 by column; attention scores, normalisation and GELU in FP32",
}


_DEPENDS = "the range of an activation is found over a whole call, so an answer depends a little on its neighbours in the batch"


def _precision(options: BackendOptions) -> str:
    precision = options.precision or PRECISIONS[0]
    if precision not in PRECISIONS:
        raise UsageError(f"onnxruntime has no precision {precision}", f"Use one of {', '.join(PRECISIONS)}.")
    return precision


def _provider(options: BackendOptions) -> Provider:
    """The provider, if it can run the precision. Raises what `ort_providers.chosen` raises, and UsageError or MissingError where not."""
    precision, provider = _precision(options), ort_providers.chosen(options)
    if precision == "fp16" and not provider.on_gpu:
        raise MissingError("onnxruntime:fp16 needs a GPU; this CPU would emulate FP16", "Use onnxruntime:fp32 or int8, or --device cuda.")
    if precision == "fp16" and provider.name == TENSORRT_RTX:
        raise UsageError("onnxruntime:fp16+tensorrt-rtx is not there: it takes its types from the graph, which is FP32", "Use +tensorrt.")
    if precision in _INTEGER and provider.name == CUDA:
        raise UsageError(
            f"onnxruntime:{precision}: the CUDA provider multiplies no INT8; it would run in FP32", "Use int8-static+tensorrt."
        )
    if precision == "int8" and provider.on_gpu:
        raise UsageError(f"onnxruntime:int8 (dynamic) does not run on {provider.short}", "Use int8-static+tensorrt.")
    return provider


# ----------------------------------------------------------------------------------------------------------------- the graph


def _graph(options: BackendOptions, provider: Provider, model: Model, cache: Path, say: Callable[[str], None]) -> _Graph:
    """The file to run: fused for the CPU or for CUDA, as exported for providers that build engines, or quantised."""
    source, precision = exported(model, cache, say), _precision(options)
    if precision in _INTEGER:
        from harness.runtimes.onnx_quantise import quantised

        target, kind = ("gpu" if provider.on_gpu else "cpu"), ("int8" if precision == "int8" else "int8-static")
        made = quantised(model, cache, kind, options.calibration, target=target, say=say)  # type: ignore[arg-type] # two literals
        return _Graph(made.path, source, made.facts)
    if provider.name in (TENSORRT, TENSORRT_RTX):
        return _Graph(source.path, source)
    target = "gpu" if provider.on_gpu else "cpu"
    return _Graph(onnx_optimise.optimised(source, model, cache, say, target=target, half=precision == "fp16"), source)  # type: ignore[arg-type]


@contextmanager
def _folder(cache: Path | None) -> Iterator[Path]:
    if cache is not None:
        yield cache
        return
    with tempfile.TemporaryDirectory(prefix="assay-onnx-") as folder:
        yield Path(folder)


def _first_batch() -> Batch:
    """One row of eight tokens; FP32 and INT8 run the same nodes for it as for any other."""
    ones = np.ones((1, 8), np.int64)
    return Batch(ones, ones, np.zeros_like(ones), np.array([8]), np.array([0]))
