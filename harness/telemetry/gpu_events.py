"""XID errors as NVIDIA's driver tells them to whoever registers for them: for users who may not read the kernel's log, as in containers."""

from __future__ import annotations

import ctypes
from typing import Any

from harness.telemetry.nvidia_metrics import bus_id
from harness.telemetry.recording import Event
from harness.telemetry.sources import Reading

_TIMEOUT = 10
"""NVML_ERROR_TIMEOUT: nothing has happened since."""


class GpuEvents:
    """How many XID errors there were since it was made; each is an event. Registering changes nothing on the GPU."""

    def __init__(self, nvml: Any) -> None:
        """Raises OSError where no GPU tells them."""
        self._nvml, self._count = nvml, 0
        self.units = {"gpu_xid_errors": "errors"}
        self.missing: dict[str, str] = {}
        self.events: list[Event] = []
        self._buses: dict[int | None, str] = {}
        try:
            self._set = nvml.nvmlEventSetCreate()
        except nvml.NVMLError as error:
            raise OSError(f"the driver tells no XID errors: {error}") from None
        refused = [reason for index in range(nvml.nvmlDeviceGetCount()) if (reason := self._register(index))]
        if not self._buses:
            raise OSError(f"the driver tells no XID errors: {refused[0] if refused else 'it shows no GPU'}")
        if refused:
            self.missing["gpu_xid_errors"] = refused[0]

    def _register(self, index: int) -> str:
        """Why this GPU tells none; empty where it does."""
        try:
            gpu = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._nvml.nvmlDeviceRegisterEvents(gpu, self._nvml.nvmlEventTypeXidCriticalError, self._set)
            self._buses[_address(gpu)] = bus_id(self._nvml, gpu)
        except self._nvml.NVMLError as error:
            return f"gpu{index}: {error}"
        return ""

    def read(self, now_ns: int, _thorough: bool, /) -> Reading:
        try:
            while True:
                self._take(self._nvml.nvmlEventSetWait(self._set, 0), now_ns)
        except self._nvml.NVMLError as error:
            if error.value != _TIMEOUT:
                self.missing["gpu_xid_errors"] = str(error)
        return {"gpu_xid_errors": float(self._count)}

    def _take(self, told: Any, now_ns: int) -> None:
        if told.eventType != self._nvml.nvmlEventTypeXidCriticalError:
            return
        self._count += 1
        bus = self._buses.get(_address(told.device), "unknown")
        self.events.append(Event(now_ns, f"XID {told.eventData}", f"GPU {bus}: told by the driver"))


def _address(handle: Any) -> int | None:
    """What tells two handles of the library apart."""
    return ctypes.cast(handle, ctypes.c_void_p).value
