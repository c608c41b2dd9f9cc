"""Is this machine fit to measure on? Facts are gathered by `examine`, judged by one pure function each: OK, WARN or FAIL with the cure."""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import conditions, inputs, models, plugins, units
from harness.ceiling import measure_ceiling
from harness.core import SECOND_NS
from harness.doctoring import runtimes as doctor_runtimes
from harness.doctoring import sensors
from harness.doctoring import speed as doctor_speed
from harness.doctoring import threads as doctor_threads
from harness.doctoring.lines import Level, Line
from harness.errors import AssayError

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LEAST_MEMORY_BYTES = 2_000_000_000
LEAST_DISK_BYTES = 1_000_000_000
BUSY_SHARE = 0.2
"""Runnable processes a core, above which somebody else's work disturbs the tail of the latencies."""
COARSE_TIMER_NS = 1_000
LATE_SLEEP_NS = 5_000_000
SLOW_HARNESS_NS = 20_000
"""Cost of a query at which a 1 ms model would lose 2 % to the harness."""

_SLEEP_S = 0.001
_SLEEPS = 50


def examine(out: Path, *, speed: bool = True) -> list[Line]:
    """Every check on this machine; takes some seconds, most of them for the import of torch and, the first time, the peaks. `speed`:
    whether the peaks are among them."""
    cpu, cache, seen = conditions.cpu(), models.default_cache(), conditions.gpus()
    version, cuda = _torch()
    lines = [
        python(sys.version_info[:2]),
        cores(cpu),
        instruction_sets(cpu),
        doctor_threads.threads(cpu),
        doctor_threads.thread_environment(os.environ, cpu["usable_cores"]),
        governor(cpu.get("governor")),
        load(conditions.load_average(), cpu["usable_cores"]),
        memory(conditions.memory()["available"] or 0),
        doctor_threads.allocator(doctor_threads.preloaded_allocator(), doctor_threads.faulted_shares()),
        doctor_threads.huge_pages(doctor_threads.huge_page_setting(), os.environ),
        gpus(seen),
        torch_device(version, cuda, bool(seen)),
        *doctor_runtimes.lines(bool(seen)),
        *sensors.lines(),
        timer(timer_resolution_ns()),
        sleep(sleep_overshoot_ns()),
        harness_cost(measure_ceiling().query_ns),
    ]
    measured = doctor_speed.devices(len(seen), cuda, doctor_threads.advised_threads(cpu)) if speed else {}
    for device, threads in measured.items():
        lines += doctor_speed.lines(device, threads, cache)
    folders = {"disk for results": out, "disk for cache": cache}
    lines += [disk(name, folder, free_bytes(folder), obstacle(folder)) for name, folder in folders.items()]
    return lines + default_models(cache)


# ------------------------------------------------------------------------------------------------------------------------- checks


def python(version: Sequence[int]) -> Line:
    text = ".".join(map(str, version))
    if OLDEST_PYTHON <= tuple(version) <= NEWEST_PYTHON:
        return Line(Level.OK, "Python", text)
    return Line(Level.FAIL, "Python", f"{text} is not supported", "use Python 3.11, 3.12 or 3.13")


def cores(cpu: Mapping[str, Any]) -> Line:
    """A control group that allows less time than there are cores stops threads in mid-query."""
    usable, quota = cpu["usable_cores"], cpu["quota_cores"]
    text = f"{cpu['model'] or 'unknown model'}, {units.plural(usable, 'usable core')} of {cpu['logical_cores']}"
    if quota is None or quota >= usable:
        return Line(Level.OK, "cores", text)
    cure = f"give --threads {max(1, int(quota))}, or run in a container pinned to whole cores (--cpuset-cpus)"
    return Line(Level.WARN, "cores", f"{text}, but the control group allows {quota:g} cores of time", cure)


def instruction_sets(cpu: Mapping[str, Any]) -> Line:
    """AVX2 or Advanced SIMD is what FP32 needs; INT8 and BF16 gain only where the machine multiplies them."""
    found = cpu["instruction_sets"]
    text = " ".join(found) or "none of interest found"
    if not {"avx2", "asimd"} & set(found):
        return Line(Level.WARN, "instructions", text, "expect slow FP32: this CPU, or the way the machine is virtualised, offers no AVX2")
    lacking = [name for name, flags in _SPEEDS.items() if not flags & set(found)]
    return Line(Level.OK, "instructions", text + (f"; no fast {', no fast '.join(lacking)}" if lacking else ""))


_SPEEDS = {
    "INT8 (VNNI, AMX or dot products)": {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"},
    "BF16": {"avx512_bf16", "amx_bf16", "bf16"},
}


def governor(name: str | None) -> Line:
    if name in (None, "performance"):
        return Line(Level.OK, "governor", name or "not visible here")
    return Line(Level.WARN, "governor", f"{name}: the clock follows the load", "sudo cpupower frequency-set -g performance")


def load(average: Sequence[float] | None, usable: int) -> Line:
    if average is None:
        return Line(Level.OK, "other work", "not visible here")
    text = f"load average {average[0]:.2f} on {units.plural(usable, 'core')}"
    if average[0] <= BUSY_SHARE * usable:
        return Line(Level.OK, "other work", text)
    return Line(Level.WARN, "other work", text, "stop what else runs here, or wait: tail latencies will show it")


def memory(available: int) -> Line:
    text = f"{units.size(available)} available"
    if available >= LEAST_MEMORY_BYTES:
        return Line(Level.OK, "memory", text)
    return Line(Level.WARN, "memory", text, f"free some: a run wants {units.size(LEAST_MEMORY_BYTES)}")


def gpus(found: Sequence[Mapping[str, str]]) -> Line:
    if not found:
        return Line(Level.OK, "GPU", "none seen (no nvidia-smi)")
    text = "; ".join(f"{gpu['name']}, driver {gpu['driver_version']}, {gpu['memory.total']} MiB" for gpu in found)
    if any(gpu["persistence_mode"] == "Disabled" for gpu in found):
        return Line(Level.WARN, "GPU", f"{text}; persistence mode off", "sudo nvidia-smi -pm 1")
    return Line(Level.OK, "GPU", text)


def torch_device(version: str | None, cuda: int, gpu_present: bool) -> Line:
    """`cuda`: devices torch can use."""
    if version is None:
        return Line(Level.FAIL, "torch", "not installed", "pip install torch")
    if cuda:
        return Line(Level.OK, "torch", f"{version}, {units.plural(cuda, 'CUDA device')}")
    if gpu_present:
        return Line(Level.WARN, "torch", f"{version} cannot use the GPU", "install a CUDA build of torch that fits the driver")
    return Line(Level.OK, "torch", f"{version}, CPU")


def timer(resolution_ns: int) -> Line:
    text = f"resolution {units.time_ns(resolution_ns)}"
    if resolution_ns <= COARSE_TIMER_NS:
        return Line(Level.OK, "timer", text)
    return Line(Level.WARN, "timer", text, "use the tsc clock source: short latencies cannot be told apart")


def sleep(overshoot_ns: int) -> Line:
    text = f"a sleep ends {units.time_ns(overshoot_ns)} late (median of {_SLEEPS})"
    if overshoot_ns <= LATE_SLEEP_NS:
        return Line(Level.OK, "sleep", text)
    return Line(Level.WARN, "sleep", text, "stop what else runs here: queries would be taken late")


def harness_cost(query_ns: float) -> Line:
    text = f"{units.time_ns(query_ns)} a query, {units.rate(SECOND_NS / query_ns, 'queries/s')} at most with one worker"
    if query_ns <= SLOW_HARNESS_NS:
        return Line(Level.OK, "harness ceiling", text)
    return Line(Level.WARN, "harness ceiling", text, "stop what else runs here; models faster than 1 ms would be measured with the harness")


def disk(name: str, folder: Path, free: int | None, obstacle: str = "") -> Line:
    """`obstacle`: why nothing can be written there, empty if it can."""
    if obstacle or free is None:
        return Line(Level.FAIL, name, obstacle or f"{folder} cannot be looked at", "give another folder with --out, or set ASSAY_CACHE")
    text = f"{units.size(free)} free at {folder}"
    if free >= LEAST_DISK_BYTES:
        return Line(Level.OK, name, text)
    return Line(Level.WARN, name, text, f"free some: {units.size(LEAST_DISK_BYTES)} are wanted")


# -------------------------------------------------------------------------------------------------------------------------- facts


def timer_resolution_ns(reads: int = 2000) -> int:
    """Smallest step seen between two readings of the clock that latencies are taken with."""
    stamps = [time.monotonic_ns() for _ in range(reads)]
    steps = [after - before for before, after in itertools.pairwise(stamps) if after > before]
    return min(steps, default=0)


def sleep_overshoot_ns() -> int:
    """Median time by which a sleep of 1 ms ends too late."""
    late = []
    for _ in range(_SLEEPS):
        start = time.monotonic_ns()
        time.sleep(_SLEEP_S)
        late.append(time.monotonic_ns() - start - round(_SLEEP_S * SECOND_NS))
    return round(statistics.median(late))


def free_bytes(folder: Path) -> int | None:
    """Free space where the folder is, or would be made."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), None)
    try:
        return shutil.disk_usage(there).free if there else None
    except OSError:
        return None


def obstacle(folder: Path) -> str:
    """Why nothing can be written in the folder, or where it would have to be made; empty if it can."""
    there = next((place for place in (folder, *folder.absolute().parents) if os.path.lexists(place)), None)
    if there is None or not there.is_dir():
        return f"{there or folder} is not a folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written to"


def _torch() -> tuple[str | None, int]:
    """Version, and usable CUDA devices."""
    try:
        import torch
    except ImportError:
        return None, 0
    return str(torch.__version__), torch.cuda.device_count() if torch.cuda.is_available() else 0


def default_models(cache: Path, say: Callable[[str], None] = lambda _: None) -> list[Line]:
    """One line for each model that is the default of a task: on this machine and intact, or not here yet."""
    lines = []
    first = {task.default_model: task for task in reversed(plugins.describe("tasks")) if task.default_model}
    for task in sorted(first.values(), key=lambda task: task.name):
        try:
            model = models.resolve(task.default_model, inputs.head_of(task), cache=cache, offline=True, say=say)
        except AssayError as error:
            lines.append(Line(Level.WARN, f"model {task.default_model}", str(error), f"assay prepare --task {task.name}"))
        else:
            lines.append(Line(Level.OK, f"model {task.default_model}", f"{units.size(model.bytes)}, verified, {model.folder}"))
    return lines
