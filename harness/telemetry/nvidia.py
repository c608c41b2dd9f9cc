"""NVIDIA GPUs, through nvidia-ml-py (`pynvml`) and the driver's own library under it. Reads only.

A value that a GPU does not have, that this user may not see, or that is gone with the GPU ends as None with the reason.
"""

from __future__ import annotations

import ctypes
from typing import Any

from harness.telemetry.nvidia_metrics import FACTS, METRICS, Metric, users
from harness.telemetry.process_tree import ProcessTree
from harness.telemetry.sources import Places, Reading

LIBRARY = "libnvidia-ml.so.1"

_NEVER = {3: "not supported by this GPU or driver", 4: "not permitted to this user", 13: "this driver does not have it"}
"""NVML_ERROR_NOT_SUPPORTED, NO_PERMISSION and FUNCTION_NOT_FOUND: asking again is of no use."""

_LOST = 15
"""NVML_ERROR_GPU_IS_LOST."""


def open_library() -> Any:
    """`pynvml`, initialised. Raises OSError with the reason where there is no driver or no package; the driver's library is looked for
    first, because importing the package takes longer than not finding a library."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        raise OSError("no NVIDIA driver here") from None
    try:
        import pynvml
    except ImportError:
        raise OSError("nvidia-ml-py is not installed: pip install 'assay[gpu]'") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise OSError(f"the NVIDIA driver does not answer: {error}") from None
    return pynvml


class Gpus:
    """All GPUs the driver shows, one set of columns each: gpu0_..., gpu1_..."""

    def __init__(self, nvml: Any, places: Places, tree: ProcessTree) -> None:
        self.missing: dict[str, str] = {}
        self.facts: dict[str, Any] = {"nvidia_driver": nvml.nvmlSystemGetDriverVersion()}
        self.gpus: list[Gpu] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                self.gpus.append(Gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index), f"gpu{index}", places, tree))
            except nvml.NVMLError as error:
                self.missing[f"gpu{index}"] = _why(error)
        for gpu in self.gpus:
            self.facts[gpu.name] = gpu.facts
            self.missing |= gpu.missing
        self.units = {name: unit for gpu in self.gpus for name, unit in gpu.units.items()}

    def read(self, _now_ns: int, thorough: bool, /) -> Reading:
        found: Reading = {}
        for gpu in self.gpus:
            found |= gpu.read(thorough=thorough)
            self.missing |= gpu.missing
        return found


class Gpu:
    """One GPU. Columns that it can never fill are left out, with the reason; those that fail later are None from then on."""

    def __init__(self, nvml: Any, handle: Any, name: str, places: Places, tree: ProcessTree) -> None:
        self._nvml, self._handle, self.name, self._proc, self._tree = nvml, handle, name, places.proc, tree
        self._slow: Reading = {}
        self.missing: dict[str, str] = {}
        self._metrics = [metric for metric in METRICS if self._answers(metric)]
        self.units = {f"{name}_{metric.name}": metric.unit for metric in self._metrics}
        self.units |= {f"{name}_own_processes": "processes", f"{name}_other_processes": "processes"}
        self.facts = {key: value for key, ask in FACTS.items() if (value := self._fact(ask)) is not None}

    def read(self, *, thorough: bool) -> Reading:
        found: Reading = {}
        for metric in self._metrics:
            if not metric.thorough:
                found[f"{self.name}_{metric.name}"] = self._ask(metric)
        if thorough or not self._slow:
            self._slow = {f"{self.name}_{metric.name}": self._ask(metric) for metric in self._metrics if metric.thorough}
            self._slow |= self._processes()
        return found | self._slow

    def _answers(self, metric: Metric) -> bool:
        """Whether it is worth asking again."""
        try:
            metric.ask(self._nvml, self._handle)
        except self._nvml.NVMLError as error:
            self.missing[f"{self.name}_{metric.name}"] = _why(error)
            return error.value not in _NEVER
        return True

    def _ask(self, metric: Metric) -> float | None:
        try:
            return float(metric.ask(self._nvml, self._handle))
        except self._nvml.NVMLError as error:
            self._note(metric.name, error)
            return None

    def _note(self, column: str, error: Any) -> None:
        self.missing[self.name if error.value == _LOST else f"{self.name}_{column}"] = _why(error)

    def _fact(self, ask: Any) -> Any:
        try:
            return ask(self._nvml, self._handle)
        except self._nvml.NVMLError:
            return None

    def _processes(self) -> Reading:
        """Compute processes of the run and of others. Where the driver counts in the host's numbers and none of ours can be recognised,
        both are unknown."""
        own, other = f"{self.name}_own_processes", f"{self.name}_other_processes"
        try:
            pids = set(users(self._nvml, self._handle))
        except self._nvml.NVMLError as error:
            self._note("other_processes", error)
            return {own: None, other: None}
        ours = pids & set(self._tree.pids)
        if any(not (self._proc / str(pid)).exists() for pid in pids - ours):
            self.missing[other] = "the driver numbers processes as the host does, and this is a container"
            return {own: None, other: None}
        return {own: float(len(ours)), other: float(len(pids - ours))}


def _why(error: Any) -> str:
    if error.value == _LOST:
        return "the GPU is lost: it has fallen off the bus or does not answer any more"
    return _NEVER.get(error.value) or str(error)
