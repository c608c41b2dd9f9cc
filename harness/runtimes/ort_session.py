"""One session of ONNX Runtime, opened with nothing left to chance, and how a batch goes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from harness.cached import sha256_of
from harness.errors import BackendError, first_line
from harness.runtimes import ort_providers
from harness.runtimes.ort_providers import Provider

Arrays = Mapping[str, NDArray[Any]]


def opened(path: Path, provider: Provider, settings: dict[str, str], threads: int, traces: Path, optimised: Path | None = None) -> Any:
    """A session over the graph at `path` on `provider` alone, recording a profile into `traces` until `ort_proof.executed` ends it.

    `optimised`: where the graph as ONNX Runtime runs it is written to; it cannot write one that holds engines.
    Raises BackendError where the session does not open, or opens without the provider.
    """
    options = session_options(threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(traces / "executed")
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    try:
        providers = ort_providers.attach(options, provider, settings)
        session = onnxruntime.InferenceSession(str(path), options, **({"providers": providers} if providers else {}))
    except Exception as error:  # its exceptions have no common class of their own
        if type(error).__module__.startswith("harness"):
            raise
        raise BackendError(
            f"onnxruntime {onnxruntime.__version__} does not open {path.name} on {provider.short}: {first_line(error)}",
            "Run `doctor` to see what this machine lacks, or use --device cpu.",
        ) from error
    session.disable_fallback()  # to the CPU, when a call on the GPU fails
    if provider.registered not in session.get_providers():
        raise BackendError(
            f"onnxruntime: {provider.registered} was asked for and {', '.join(session.get_providers())} is what the session has",
            "The libraries that the provider needs (CUDA, cuDNN, TensorRT) do not load: install the versions its documentation names.",
        )
    return session


def session_options(threads: int) -> Any:
    """Every fusion, one operator after another on `threads` threads.

    Memory patterns are off: a plan is kept for each shape, and batches of text have hundreds.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors
    return options


class Bound:
    """Runs batches with inputs and outputs on the GPU: one copy there, one copy back, and back means finished."""

    def __init__(self, session: Any, outputs: Sequence[str], device: str, index: int) -> None:
        self.session, self.outputs, self.device, self.index = session, tuple(outputs), device, index

    def __call__(self, arrays: Arrays) -> list[NDArray[Any]]:
        binding = self.session.io_binding()
        for name, values in arrays.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(values, self.device, self.index))
        for name in self.outputs:
            binding.bind_output(name, self.device, self.index)
        self.session.run_with_iobinding(binding)
        found: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return found


class Direct:
    """Runs batches on the CPU: ONNX Runtime reads the arrays where they lie."""

    def __init__(self, session: Any, outputs: Sequence[str]) -> None:
        self.session, self.outputs = session, list(outputs)

    def __call__(self, arrays: Arrays) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = self.session.run(self.outputs, dict(arrays))
        return found


def runner(session: Any, outputs: Sequence[str], provider: Provider) -> Direct | Bound:
    return Direct(session, outputs) if provider.device is None else Bound(session, outputs, "cuda", provider.device)


def file_facts(path: Path) -> dict[str, Any]:
    """What `describe` shows under `file`."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
