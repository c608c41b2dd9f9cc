"""A stand-in for NVIDIA's management library: the C functions under `pynvml`, answering from a stream that the project recorded by hand.

    with replayed(STREAM) as gpu:          # what loads libnvidia-ml.so.1 inside gets this
        gpu.advance()                      # one step of the stream on

Every function takes what the C one takes, writes through the pointers it is given, and returns an error code. Nothing above it knows.
A step of the stream names only what changed; `{"error": N}` in place of a value makes the function that reads it return N.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

STREAM = Path(__file__).resolve().parent / "golden" / "nvml_stream.json"
LIBRARY = "libnvidia-ml.so.1"

SUCCESS, INVALID_ARGUMENT, NOT_SUPPORTED, INSUFFICIENT_SIZE, TIMEOUT, GPU_IS_LOST = 0, 2, 3, 7, 10, 15
_SM, _MEMORY = 1, 2
_CORRECTED = 0
_VOLATILE = 0
_SLOWDOWN, _SHUTDOWN = 1, 0
_XID = 0x8


class Refused(Exception):
    """The function returns this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FakeNvml:
    """The library. `own`: the process id that stands for "own" in the stream; `by_itself`: a step begins whenever the SM clock of the
    first GPU is read, for a sampler that nobody steers."""

    def __init__(self, stream: Path, own: int, *, by_itself: bool = False, missing: frozenset[str] = frozenset()) -> None:
        recorded = json.loads(stream.read_text(encoding="utf-8"))
        self._driver, self._fixed, self._steps = recorded["driver"], recorded["gpus"], recorded["steps"]
        self._own, self._by_itself, self._missing = own, by_itself, missing
        self._now: list[dict[str, Any]] = [{} for _ in self._fixed]
        self._step = -1
        self.calls: list[str] = []
        self._listened: set[int] = set()
        self._xids: list[tuple[int, int]] = []
        self.advance()

    def advance(self) -> None:
        """The next step; the last one stays."""
        if self._step + 1 < len(self._steps):
            self._step += 1
            for index, changes in self._steps[self._step].items():
                self._now[int(index)] |= changes
                self._xids += [(int(index), number) for number in changes.get("xid", ()) if int(index) in self._listened]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A function of the library, as ctypes gives one; AttributeError for what a driver does not have."""
        answer = None if name in self._missing else getattr(type(self), f"c_{name}", None)
        if answer is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> int | bytes:
            self.calls.append(name)
            try:
                said = answer(self, *arguments)
            except Refused as refused:
                return refused.code
            return said if isinstance(said, bytes) else SUCCESS

        return call

    # ------------------------------------------------------------------------------------------------------------ what it knows

    def _fix(self, gpu: Any, name: str) -> Any:
        return _refusing(self._fixed[self._index(gpu)][name])

    def _value(self, gpu: Any, name: str) -> Any:
        return _refusing(self._now[self._index(gpu)][name])

    def _index(self, gpu: Any) -> int:
        index = (ctypes.cast(gpu, ctypes.c_void_p).value or 0) - 1
        if self._now[index].get("lost"):
            raise Refused(GPU_IS_LOST)
        return index

    # ---------------------------------------------------------------------------------------------------- the library's functions

    def c_nvmlInitWithFlags(self, flags: int) -> None: ...

    def c_nvmlShutdown(self) -> None: ...

    def c_nvmlErrorString(self, code: int) -> bytes:
        return f"error {code}".encode()

    def c_nvmlSystemGetDriverVersion(self, text: Any, _size: Any) -> None:
        text.value = self._driver.encode()

    def c_nvmlDeviceGetCount_v2(self, count: Any) -> None:
        count._obj.value = len(self._fixed)

    def c_nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> None:
        if self._now[index.value].get("lost"):
            raise Refused(GPU_IS_LOST)
        _point(handle._obj, index.value + 1)

    def c_nvmlDeviceGetName(self, gpu: Any, text: Any, _size: Any) -> None:
        text.value = self._fix(gpu, "name").encode()

    def c_nvmlDeviceGetUUID(self, gpu: Any, text: Any, _size: Any) -> None:
        text.value = self._fix(gpu, "uuid").encode()

    def c_nvmlDeviceGetSerial(self, gpu: Any, text: Any, _size: Any) -> None:
        text.value = self._fix(gpu, "serial").encode()

    def c_nvmlDeviceGetPciInfo_v3(self, gpu: Any, info: Any) -> None:
        info._obj.busId = self._fix(gpu, "bus_id").encode()

    def c_nvmlDeviceGetMaxClockInfo(self, gpu: Any, kind: Any, clock: Any) -> None:
        clock._obj.value = self._fix(gpu, {_SM: "sm_max_mhz", _MEMORY: "memory_max_mhz"}[kind.value])

    def c_nvmlDeviceGetEnforcedPowerLimit(self, gpu: Any, milliwatts: Any) -> None:
        milliwatts._obj.value = self._fix(gpu, "power_limit_milliwatts")

    def c_nvmlDeviceGetTemperatureThreshold(self, gpu: Any, kind: Any, celsius: Any) -> None:
        celsius._obj.value = self._fix(gpu, {_SLOWDOWN: "slowdown_celsius", _SHUTDOWN: "shutdown_celsius"}[kind.value])

    def c_nvmlDeviceGetMaxPcieLinkGeneration(self, gpu: Any, generation: Any) -> None:
        generation._obj.value = self._fix(gpu, "pcie_max")[0]

    def c_nvmlDeviceGetMaxPcieLinkWidth(self, gpu: Any, lanes: Any) -> None:
        lanes._obj.value = self._fix(gpu, "pcie_max")[1]

    def c_nvmlDeviceGetEccMode(self, gpu: Any, current: Any, pending: Any) -> None:
        current._obj.value = pending._obj.value = int(self._fix(gpu, "ecc_on"))

    def c_nvmlDeviceGetMigMode(self, gpu: Any, current: Any, pending: Any) -> None:
        current._obj.value = pending._obj.value = int(self._fix(gpu, "mig_on"))

    def c_nvmlDeviceGetClockInfo(self, gpu: Any, kind: Any, clock: Any) -> None:
        if self._by_itself and kind.value == _SM and ctypes.cast(gpu, ctypes.c_void_p).value == 1:
            self.advance()
        clock._obj.value = self._value(gpu, {_SM: "sm_mhz", _MEMORY: "memory_mhz"}[kind.value])

    def c_nvmlDeviceGetCurrentClocksEventReasons(self, gpu: Any, mask: Any) -> None:
        mask._obj.value = self._value(gpu, "reasons")

    def c_nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: Any, mask: Any) -> None:
        self.c_nvmlDeviceGetCurrentClocksEventReasons(gpu, mask)

    def c_nvmlDeviceGetTemperature(self, gpu: Any, _sensor: Any, celsius: Any) -> None:
        celsius._obj.value = self._value(gpu, "celsius")

    def c_nvmlDeviceGetPowerUsage(self, gpu: Any, milliwatts: Any) -> None:
        milliwatts._obj.value = self._value(gpu, "milliwatts")

    def c_nvmlDeviceGetTotalEnergyConsumption(self, gpu: Any, millijoules: Any) -> None:
        millijoules._obj.value = self._value(gpu, "millijoules")

    def c_nvmlDeviceGetUtilizationRates(self, gpu: Any, rates: Any) -> None:
        rates._obj.gpu, rates._obj.memory = self._value(gpu, "busy_percent")

    def c_nvmlDeviceGetMemoryInfo(self, gpu: Any, memory: Any) -> None:
        memory._obj.total, memory._obj.used = self._fix(gpu, "memory_total_bytes"), self._value(gpu, "used_bytes")
        memory._obj.free = memory._obj.total - memory._obj.used

    def c_nvmlDeviceGetCurrPcieLinkGeneration(self, gpu: Any, generation: Any) -> None:
        generation._obj.value = self._value(gpu, "pcie")[0]

    def c_nvmlDeviceGetCurrPcieLinkWidth(self, gpu: Any, lanes: Any) -> None:
        lanes._obj.value = self._value(gpu, "pcie")[1]

    def c_nvmlDeviceGetTotalEccErrors(self, gpu: Any, kind: Any, counter: Any, count: Any) -> None:
        place = 0 if kind.value == _CORRECTED else 1
        count._obj.value = self._value(gpu, "ecc" if counter.value == _VOLATILE else "ecc_ever")[place]

    def c_nvmlDeviceGetRetiredPages(self, gpu: Any, _cause: Any, count: Any, pages: Any) -> None:
        found = self._value(gpu, "retired_pages")
        room, count._obj.value = count._obj.value, len(found)
        if pages is None or room < len(found):
            if found:
                raise Refused(INSUFFICIENT_SIZE)
            return
        pages[: len(found)] = found

    def c_nvmlDeviceGetRemappedRows(self, gpu: Any, corrected: Any, uncorrected: Any, pending: Any, failed: Any) -> None:
        rows = self._value(gpu, "remapped_rows")
        corrected._obj.value, uncorrected._obj.value, pending._obj.value, failed._obj.value = rows

    def c_nvmlDeviceGetComputeRunningProcesses_v3(self, gpu: Any, count: Any, processes: Any) -> None:
        found = [self._own if pid == "own" else pid for pid in self._value(gpu, "processes")]
        room, count._obj.value = count._obj.value, len(found)
        if found and (processes is None or room < len(found)):
            raise Refused(INSUFFICIENT_SIZE)
        for place, pid in enumerate(found):
            processes[place].pid, processes[place].usedGpuMemory = pid, 1 << 30

    def c_nvmlEventSetCreate(self, events: Any) -> None:
        _point(events._obj, 1)

    def c_nvmlDeviceRegisterEvents(self, gpu: Any, kinds: Any, _events: Any) -> None:
        if kinds.value != _XID or not self._fix(gpu, "tells_xid"):
            raise Refused(NOT_SUPPORTED)
        self._listened.add(self._index(gpu))

    def c_nvmlEventSetWait_v2(self, _events: Any, told: Any, _milliseconds: Any) -> None:
        if not self._xids:
            raise Refused(TIMEOUT)
        index, told._obj.eventData = self._xids.pop(0)
        told._obj.eventType = _XID
        _point(told._obj, index + 1)  # its first field is the GPU's handle


def _point(place: Any, number: int) -> None:
    """Write a pointer where a handle begins."""
    ctypes.memmove(ctypes.addressof(place), ctypes.byref(ctypes.c_void_p(number)), ctypes.sizeof(ctypes.c_void_p))


def _refusing(value: Any) -> Any:
    if isinstance(value, dict):
        raise Refused(value["error"])
    return value


@contextmanager
def replayed(stream: Path = STREAM, own: int = 0, **options: Any) -> Iterator[FakeNvml]:
    """Inside, this process finds the stand-in where it loads NVIDIA's library."""
    import pynvml

    fake, real = FakeNvml(stream, own, **options), ctypes.CDLL

    def load(name: Any, *arguments: Any, **more: Any) -> Any:
        return fake if name == LIBRARY else real(name, *arguments, **more)

    with (
        patch.object(ctypes, "CDLL", load),
        patch.object(pynvml, "CDLL", load),
        patch.object(pynvml, "nvmlLib", None),
        patch.object(pynvml, "_nvmlGetFunctionPointer_cache", {}),
        patch.object(pynvml.NVMLError, "_errcode_to_string", dict(pynvml.NVMLError._errcode_to_string)),
    ):
        yield fake
