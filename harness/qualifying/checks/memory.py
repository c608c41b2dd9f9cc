"""Is there memory for a run, and does anybody else press for it?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness import units
from harness.doctoring.examination import LEAST_MEMORY_BYTES
from harness.qualifying.check import Check, Context, Finding, Known
from harness.telemetry.sources import pairs, text

WATCH_S = 1.0
MODEL_COPIES = 6
"""A worker needs about this many times the size of its model: the file, the weights, their prepared copies and the activations."""
PAGES_PER_S = 100.0
"""Pages swapped in and out a second, above which calls wait for the disk (0.4 MB/s; a disk that turns serves about as many)."""
STALLED_SHARE = 0.01
"""Share of time in which work waited for memory; WORTH_SAYING of throttling is the same."""
LESS_SHARE = 0.10
"""Less than in the baseline by more than this share of all memory is a neighbour, not the scatter of the page tables and caches that
`MemAvailable` counts as free anyway."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes in all, what can be had without swapping, and what this process and its children hold; totals since boot: pages swapped, µs
    that some work waited for memory (None: not told)."""

    total: int
    available: int
    own: int
    swapped_pages: int | None
    stalled_us: int | None
    at_s: float


def read() -> Reading:
    """This machine's memory; a control group's limit counts as its size."""
    found, limit = psutil.virtual_memory(), _limit(Path("/sys/fs/cgroup"))
    available = found.available
    if limit is not None and limit[0] < found.total:
        available = min(available, limit[0] - limit[1])
    total = min(found.total, limit[0]) if limit else found.total
    paged = pairs(Path("/proc/vmstat"))
    swapped = paged["pswpin"] + paged["pswpout"] if {"pswpin", "pswpout"} <= paged.keys() else None
    return Reading(total, available, _own(), swapped, _stalled_us(), time.monotonic())


READ: Callable[[], Reading] = read
"""What is read; tests put another machine here."""


def run(context: Context) -> list[Finding]:
    """Room for a run, room compared with the baseline, and pressure while nothing of ours runs."""
    before = READ()
    time.sleep(WATCH_S)
    after = READ()
    bench = context.keep.get("bench")
    model = bench.model.bytes if bench is not None and bench.model is not None else 0
    return [room(after, model), neighbours(after, context.baseline), pressure(before, after)]


def room(found: Reading, model_bytes: int) -> Finding:
    """What a run wants is what the doctor says, and more for a large model."""
    wanted = max(LEAST_MEMORY_BYTES, MODEL_COPIES * model_bytes)
    enough = found.available >= wanted
    return Finding(
        code="MEMORY_PRESSURE",
        name="memory_room",
        outcome="PASS" if enough else "FAIL",
        text=f"{units.size(found.available)} of {units.size(found.total)} can be had without swapping; a run wants {units.size(wanted)}",
        measured=float(found.available),
        unit="bytes",
        n=1,
        expected=float(wanted),
        tolerance=0.0,
        margin=found.available / wanted - 1,
        better="higher",
        next_step="" if enough else "see who holds it (ps --sort=-rss), and free some",
    )


def neighbours(found: Reading, known: Known | None) -> Finding:
    """Memory that others hold: learned, and held against the baseline with a tolerance of a tenth of all memory."""
    others = max(0, found.total - found.available - found.own)
    figure = known.figure("memory_of_others") if known is not None else None
    text = f"other processes and the system hold {units.size(others)} of {units.size(found.total)}"
    told = Finding("MEMORY_PRESSURE", "memory_of_others", "PASS", text, float(others), "bytes", 1, better="lower", required=False)
    if figure is None or figure.limit is None:
        return told
    expected, tolerance = figure.limit.median, max(LESS_SHARE * found.total, (figure.limit.high or 0.0) - figure.limit.median)
    inside = others <= expected + tolerance
    return Finding(
        code="MEMORY_PRESSURE",
        name="memory_of_others",
        outcome="PASS" if inside else "FAIL",
        text=f"{text}, {units.size(expected)} in the baseline",
        measured=float(others),
        unit="bytes",
        n=1,
        expected=expected,
        tolerance=tolerance,
        margin=(expected + tolerance - others) / max(expected, 1.0),
        better="lower",
        next_step="" if inside else "see who holds it (ps --sort=-rss), and stop it",
    )


def pressure(before: Reading, after: Reading) -> Finding:
    """Swapping, and time that work waited for memory."""
    passed = max(after.at_s - before.at_s, 1e-9)
    swapped = _rate(before.swapped_pages, after.swapped_pages, passed)
    stalled = _rate(before.stalled_us, after.stalled_us, passed)
    if swapped is None and stalled is None:
        text = "neither swapping nor pressure of memory can be read here"
        return Finding("MEMORY_PRESSURE", "memory_pressure", "SKIP", text, required=False)
    share = (stalled or 0.0) / 1e6
    calm = (swapped or 0.0) <= PAGES_PER_S and share <= STALLED_SHARE
    waited = "waiting for memory cannot be read" if stalled is None else f"some work waited for memory {units.share(share)} of the time"
    return Finding(
        code="MEMORY_PRESSURE",
        name="memory_pressure",
        outcome="PASS" if calm else "FAIL",
        text=f"{swapped or 0.0:.0f} pages/s swapped, {waited}",
        measured=swapped,
        unit="pages/s",
        n=1,
        expected=0.0,
        tolerance=PAGES_PER_S,
        margin=PAGES_PER_S - (swapped or 0.0),
        better="lower",
        next_step="" if calm else "free memory: a run that swaps measures the disk",
        details={"stalled_share": None if stalled is None else share},
    )


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    return None if before is None or after is None else max(0, after - before) / seconds


def _own() -> int:
    """Resident bytes of this process and its children; shared pages count once for each."""
    held = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            held += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held


def _limit(folder: Path) -> tuple[int, int] | None:
    """Bytes that the control group may hold, and holds; None without a limit (cgroup v2)."""
    most, current = text(folder / "memory.max"), text(folder / "memory.current")
    return (int(most), int(current)) if most and most.isdecimal() and current and current.isdecimal() else None


def _stalled_us() -> int | None:
    """`some avg10=... total=MICROSECONDS` of /proc/pressure/memory (Linux 4.20)."""
    line = next((line for line in (text(Path("/proc/pressure/memory")) or "").splitlines() if line.startswith("some ")), "")
    total = line.rpartition("total=")[2]
    return int(total) if total.isdecimal() else None


MEMORY = Check(
    code="MEMORY_PRESSURE",
    name="memory",
    title="memory: room, neighbours, swapping",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=1,
    run=run,
)
