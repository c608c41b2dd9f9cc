"""The sampler: a process of its own that reads the machine now and then, beside a run.

    python -m harness.telemetry.sampler PID SECONDS

It writes lines of JSON to its output: a header with the columns, then a row for each reading, then again what became unreadable on the
way. It ends when its input ends, which it does when the run says so and when the run is gone, however it went. It imports nothing heavy,
is nicer than the run, and reads less often where a reading would cost more than `MOST_SHARE` of a core.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.telemetry.sources import Places, Source

MOST_SHARE = 0.01
"""Most of one core that it takes."""

THOROUGH_EVERY = 10
"""What changes slowly is read with each tenth reading, the first and the last."""

_NICENESS = 10


def open_sources(pid: int, places: Places, missing: dict[str, str]) -> list[Source]:
    """Everything that can be read here. What cannot goes into `missing` by the name of its source."""
    found: list[Source] = []
    for name, make in _makers(pid, places).items():
        try:
            found.append(make())
        except (OSError, ValueError, ImportError) as error:
            missing[name] = str(error)
    return found


def _makers(pid: int, places: Places) -> dict[str, Callable[[], Source]]:
    if not places.proc.is_dir():
        from harness.telemetry.portable import Portable

        return {"psutil": Portable}
    from harness.telemetry.control_group import ControlGroup
    from harness.telemetry.frequency import Frequency
    from harness.telemetry.heat import Heat, ThrottleCount
    from harness.telemetry.pressure import Memory, Waiting
    from harness.telemetry.process_tree import ProcessTree
    from harness.telemetry.processor import Processor
    from harness.telemetry.rapl import Rapl

    cores, tree = usable_cores(pid), ProcessTree(places.proc, pid)
    return {
        "processor": lambda: Processor(places, cores, tree),
        "frequency": lambda: Frequency(places, cores),
        "heat": lambda: Heat(places),
        "throttling": lambda: ThrottleCount(places, cores),
        "memory": lambda: Memory(places),
        "waiting": lambda: Waiting(places),
        "control_group": lambda: ControlGroup(places, pid, len(cores)),
        "rapl": lambda: Rapl(places),
        **_gpu_makers(places, tree),
    }


def _gpu_makers(places: Places, tree: Any) -> dict[str, Callable[[], Source]]:
    """One reason is enough where there is no GPU: then nobody is asked for its errors."""
    from harness.telemetry.nvidia import Gpus, open_library

    try:
        nvml = open_library()
    except OSError as error:
        reason = error
        return {"gpu": lambda: _refuse(reason)}
    return {"gpu": lambda: Gpus(nvml, places, tree), "gpu_xid_errors": lambda: _xid(nvml, places)}


def _xid(nvml: Any, places: Places) -> Source:
    """From the kernel's log, which says more of an error than its number; from the driver where this user may not read that."""
    from harness.telemetry.gpu_events import GpuEvents
    from harness.telemetry.kernel_log import KernelLog

    try:
        return KernelLog(places)
    except OSError as error:
        reason = str(error)
    try:
        return GpuEvents(nvml)
    except OSError as error:
        raise OSError(f"{reason}; {error}") from None


def _refuse(reason: OSError) -> Source:
    raise reason


def usable_cores(pid: int) -> Sequence[int]:
    """Logical cores that the run may be scheduled on."""
    try:
        return sorted(os.sched_getaffinity(pid))
    except OSError:
        return list(range(os.cpu_count() or 1))


class Sampler:
    """Sources, read together. `emit` is given each line as a value of JSON."""

    def __init__(self, sources: Sequence[Source], missing: dict[str, str], emit: Callable[[dict[str, Any]], None]) -> None:
        self._sources, self._missing, self._emit = sources, missing, emit
        self._names = [name for source in sources for name in source.units]
        self._readings = 0
        self._told: dict[str, str] = {}

    def header(self, interval_s: float) -> None:
        """Columns, what is missing, and what was asked once."""
        facts: dict[str, Any] = {}
        for source in self._sources:
            facts |= getattr(source, "facts", {})
        columns = {name: unit for source in self._sources for name, unit in source.units.items()}
        self._told = self._all_missing()
        self._emit({"interval_s": interval_s, "columns": columns, "missing": self._told, "facts": facts})

    def row(self, now_ns: int, *, thorough: bool = False) -> None:
        """One reading of everything. A source that fails gives None this time and a reason; the others go on."""
        values: dict[str, float | None] = {}
        thorough = thorough or self._readings % THOROUGH_EVERY == 0
        for source in self._sources:
            try:
                values |= source.read(now_ns, thorough)
            except (OSError, ValueError, ArithmeticError, LookupError) as error:
                self._missing[next(iter(source.units), type(source).__name__)] = f"{type(error).__name__}: {error}"
        self._readings += 1
        self._emit({"at": now_ns, "cpu": time.process_time_ns(), "row": [values.get(name) for name in self._names]})
        self._tell_changes()

    def _tell_changes(self) -> None:
        now = self._all_missing()
        if new := {name: reason for name, reason in now.items() if self._told.get(name) != reason}:
            self._told = now
            self._emit({"missing": new})
        for source in self._sources:
            events = getattr(source, "events", [])
            for event in events:
                self._emit({"event": [event.at_ns, event.what, event.text]})
            events.clear()

    def _all_missing(self) -> dict[str, str]:
        found = dict(self._missing)
        for source in self._sources:
            found |= source.missing
        return found


def pause_s(due_ns: int, now_ns: int, cost_ns: int) -> float:
    """How long to rest before the next reading: until it is due, and so long that the last one cost no more than `MOST_SHARE`."""
    return max((due_ns - now_ns) / 1e9, cost_ns / 1e9 / MOST_SHARE)


def _wanted(pause: float, parent: int) -> bool:
    """Rest; False when the run has closed the pipe or is gone (a child that it forked could hold the pipe open)."""
    ready, _, _ = select.select([0], [], [], pause)
    return not ready and os.getppid() == parent


def _emit(line: dict[str, Any]) -> None:
    os.write(1, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def main(pid: int, interval_s: float) -> None:
    """Sample until told to stop. Interrupts do not reach it: the run starts it in a process group of its own."""
    parent = os.getppid()
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    missing: dict[str, str] = {}
    sampler = Sampler(open_sources(pid, Places(), missing), missing, _emit)
    sampler.header(interval_s)
    due = time.monotonic_ns()
    while True:
        spent = time.process_time_ns()
        sampler.row(time.monotonic_ns())
        now = time.monotonic_ns()
        due = max(due + round(interval_s * 1e9), now)
        if not _wanted(pause_s(due, now, time.process_time_ns() - spent), parent):
            break
    sampler.row(time.monotonic_ns(), thorough=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
    os._exit(0)  # nothing is left to be tidied up, and the run waits
