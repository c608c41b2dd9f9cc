"""What differs between TensorRT 8.6, 10 and 11, in one place; everything else calls what all of them have.

    8.6    the batch axis is explicit only by a flag; types are weak: flags allow FP16 and INT8, TensorRT chooses; no progress monitor
    10.0   the graph may fix the types (STRONGLY_TYPED); INT64 inputs; progress monitor; contexts without memory by a strategy
    10.12  FP16 and INT8 flags are deprecated in favour of strong types
    11     always strongly typed: the flags are gone, and so are device_memory_size and create_execution_context_without_device_memory

`trt` is the imported module, a parameter everywhere: tests pass one that has exactly the names of a real version. Importable without
TensorRT, and on Python 3.10, so that the real 8.6 (whose wheel ends there) can be checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from harness.errors import MissingError

OLDEST, NEWEST = (8, 6), (11, 99)
INSTALL = "pip install tensorrt-cu12 (or tensorrt-cu13, to fit the driver) and cuda-python; TensorRT 8.6 to 11 work."


def import_tensorrt() -> Any:
    """The module. Raises MissingError where it is not installed, does not load its libraries, or has a version this file does not know."""
    try:
        trt = import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise MissingError(f"TensorRT cannot be imported: {str(error).splitlines()[0]}", INSTALL) from error
    if not OLDEST <= version(trt) <= NEWEST:
        raise MissingError(f"TensorRT {trt.__version__} is not one of the versions that work here", INSTALL)
    return trt


def version(trt: Any) -> tuple[int, int]:
    """ "10.13.0.35" -> (10, 13). Raises MissingError for a module without a version (an empty folder called tensorrt)."""
    found = re.match(r"(\d+)\.(\d+)", str(getattr(trt, "__version__", "")))
    if found is None:
        raise MissingError("the module tensorrt has no version", INSTALL)
    return int(found[1]), int(found[2])


def strongly_typed(trt: Any) -> bool:
    """Whether the ONNX graph decides the types: TensorRT 10 and later."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def network_flags(trt: Any) -> int:
    """Bits for `Builder.create_network`."""
    kinds = trt.NetworkDefinitionCreationFlag
    return 1 << int(kinds.STRONGLY_TYPED if strongly_typed(trt) else kinds.EXPLICIT_BATCH)


def set_precision(trt: Any, config: Any, precision: str) -> tuple[str, ...]:
    """Allow what `precision` needs, forbid TF32, and say which flags were set. FP32 means FP32: TF32 keeps 10 bits of the mantissa."""
    config.clear_flag(trt.BuilderFlag.TF32)
    if strongly_typed(trt) or precision == "fp32":
        return ()
    flags = ("FP16", "INT8") if precision == "int8" else ("FP16",)
    for name in flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return flags


def share_profiles(trt: Any, config: Any) -> None:
    """Let several contexts use one profile, which one context for each CUDA graph needs. What 10 and later do anyway."""
    if version(trt) < (10, 0):
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)


def context_without_memory(trt: Any, engine: Any) -> Any:
    """A context that is given its device memory by `give_memory`."""
    if hasattr(trt, "ExecutionContextAllocationStrategy"):
        return engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    return engine.create_execution_context_without_device_memory()


def memory_size(engine: Any) -> int:
    """Bytes of device memory that a context needs at the largest shape of any profile."""
    return int(engine.device_memory_size_v2 if hasattr(engine, "device_memory_size_v2") else engine.device_memory_size)


def give_memory(context: Any, address: int, size: int) -> None:
    """`size` bytes at `address` for intermediate results."""
    if hasattr(context, "set_device_memory"):
        context.set_device_memory(address, size)
    else:
        context.device_memory = address


def watch(trt: Any, config: Any, say: Callable[[str], None]) -> None:
    """Have the build tell its phases; before 10.0 there is nothing that could."""
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor(trt, say)


def _monitor(trt: Any, say: Callable[[str], None]) -> Any:
    """Says each outermost phase and every tenth of it; `step_complete` answers True, which means go on."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self.steps[phase_name] = num_steps
                say(f"TensorRT: {phase_name}")

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self.steps.get(phase_name, 0)
            if steps and (step + 1) * 10 // steps > step * 10 // steps:
                say(f"TensorRT: {phase_name} {(step + 1) * 100 // steps} %")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


class Messages:
    """What TensorRT said at warning level or above, newest last; its first errors explain a null result."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def explain(self) -> str:
        return "; ".join(self.errors[:3]) or "; ".join(self.warnings[-1:]) or "TensorRT did not say why"


def logger(trt: Any, messages: Messages) -> Any:
    """An ILogger that keeps messages instead of printing them."""

    class Logger(trt.ILogger):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                messages.errors.append(msg.splitlines()[0] if msg else "")
            elif int(severity) == int(trt.ILogger.Severity.WARNING):
                messages.warnings.append(msg.splitlines()[0] if msg else "")

    return Logger()


def builder(trt: Any, log: Any, messages: Messages) -> Any:
    """A Builder. Raises MissingError where TensorRT gives none: it needs a GPU and a driver even to start."""
    try:
        return trt.Builder(log)
    except TypeError as error:  # "pybind11::init(): factory function returned nullptr"
        cure = "Check nvidia-smi; TensorRT needs a GPU and a driver new enough for its CUDA."
        raise MissingError(f"TensorRT {trt.__version__} cannot start: {messages.explain()}", cure) from error
