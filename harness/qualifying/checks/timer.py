"""The clocks: fine enough, never going back, and of one mind about how long a second is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness import units
from harness.doctoring.examination import COARSE_TIMER_NS, timer_resolution_ns
from harness.qualifying.check import Check, Context, Finding

SLACK_NS = 2_000_000
"""Clocks may differ by this much over any time: a few reads that were interrupted."""
SLACK_SHARE = 1e-3
"""And by this share of it: the kernel steers the wall clock, and with it the monotonic one, by at most 500 ppm (man 2 adjtimex), the raw
one not at all."""
WATCH_S = 1.0
STEP_S = 0.005
TRIES = 20
NARROW_NS = 50_000
"""Two clocks read within this time of each other are compared as if read at once."""

FIRST = "clocks_first"
"""Key of the first instant in what checks share."""


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on several clocks, ns. `raw`: not steered; `boot`: goes on while the machine sleeps; those that are not here are the
    monotonic one. `apart`: time that the reading took."""

    monotonic: int
    raw: int
    boot: int
    wall: int
    apart: int


def read() -> Instant:
    """The clocks of this machine, the tightest of some readings."""
    found = _read()
    for _ in range(TRIES):
        if found.apart <= NARROW_NS:
            break
        found = min(found, _read(), key=lambda each: each.apart)
    return found


def _read() -> Instant:
    start = time.monotonic_ns()
    raw, boot = (time.clock_gettime_ns(clock) if clock is not None else start for clock in (_RAW, _BOOT))
    wall = time.time_ns()
    end = time.monotonic_ns()
    return Instant((start + end) // 2, raw, boot, wall, end - start)


_RAW: int | None = getattr(time, "CLOCK_MONOTONIC_RAW", None)
_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)

READ: Callable[[], Instant] = read
"""What is read; tests put a clock that jumps here."""

NAMES = {"raw": "the unsteered clock", "boot": "the clock since boot", "wall": "the wall clock"}


@dataclass(frozen=True, slots=True)
class Jump:
    """Between two readings `clock` moved by `by_ns` more than the monotonic clock, and could have moved by `allowed_ns`. `clock` is
    "monotonic" where that one went back."""

    clock: str
    by_ns: int
    allowed_ns: int


def jumps(readings: Sequence[Instant]) -> Iterator[Jump]:
    """Each difference between neighbours that is more than steering explains."""
    for before, after in itertools.pairwise(readings):
        passed = after.monotonic - before.monotonic
        if passed < 0:
            yield Jump("monotonic", passed, 0)
        allowed = allowed_ns(before, after)
        for name in NAMES:
            by = getattr(after, name) - getattr(before, name) - passed
            if abs(by) > allowed:
                yield Jump(name, by, allowed)


def allowed_ns(before: Instant, after: Instant) -> int:
    return round(SLACK_NS + SLACK_SHARE * abs(after.monotonic - before.monotonic)) + before.apart + after.apart


def largest_ns(before: Instant, after: Instant) -> int:
    """Largest difference between what the clocks say has passed."""
    passed = after.monotonic - before.monotonic
    return max((abs(getattr(after, name) - getattr(before, name) - passed) for name in NAMES), default=0)


# -------------------------------------------------------------------------------------------------------------------------- checks


def run_timer(context: Context) -> list[Finding]:
    """Resolution, and a second of readings."""
    del context
    resolution = timer_resolution_ns()
    readings = [READ()]
    end = time.perf_counter() + WATCH_S
    while time.perf_counter() < end:
        time.sleep(STEP_S)
        readings.append(READ())
    return [_resolution(resolution), told("clocks", readings)]


def begin(context: Context) -> None:
    """The first reading of this session: a machine may be suspended or rebooted between two."""
    context.keep[FIRST] = READ()


def run_clocks(context: Context) -> Finding:
    """From the first reading of this session to now."""
    first = context.keep.get(FIRST)
    if first is None:
        return Finding("CLOCK_JUMPED", "clocks_overall", "SKIP", "no clock was read at the beginning", required=False)
    return told("clocks_overall", [first, READ()])


def told(name: str, readings: Sequence[Instant]) -> Finding:
    """One finding about readings in order."""
    found = list(jumps(readings))
    worst = max(found, key=lambda each: abs(each.by_ns) - each.allowed_ns, default=None)
    off = max((largest_ns(before, after) for before, after in itertools.pairwise(readings)), default=0)
    allowed = max((allowed_ns(before, after) for before, after in itertools.pairwise(readings)), default=SLACK_NS)
    passed_s = (readings[-1].monotonic - readings[0].monotonic) / 1e9
    text = f"over {passed_s:.3g} s the clocks differ by at most {units.time_ns(off)} between two of {len(readings)} readings"
    if worst is not None:
        text = _words(worst) + f" ({len(found)} times in {passed_s:.3g} s)"
    return Finding(
        code="CLOCK_JUMPED",
        name=name,
        outcome="PASS" if worst is None else "FAIL",
        text=text,
        measured=abs(worst.by_ns if worst else off) / 1e6,
        unit="ms",
        n=len(readings) - 1,
        expected=0.0,
        tolerance=allowed / 1e6,
        margin=(allowed - abs(worst.by_ns if worst else off)) / 1e6,
        better="lower",
        next_step="" if worst is None else "see what sets the clock (chronyc tracking, timedatectl), or whether the machine was suspended",
    )


def _words(jump: Jump) -> str:
    if jump.clock == "monotonic":
        return f"the monotonic clock went back by {units.time_ns(-jump.by_ns)}"
    way = "further" if jump.by_ns > 0 else "less far"
    return f"{NAMES[jump.clock]} went {units.time_ns(abs(jump.by_ns))} {way} than the monotonic one between two readings"


def _resolution(resolution_ns: int) -> Finding:
    good = 0 < resolution_ns <= COARSE_TIMER_NS
    return Finding(
        code="TIMER_COARSE",
        name="timer_resolution",
        outcome="PASS" if good else "FAIL",
        text=f"the clock that latencies are taken with moves in steps of {units.time_ns(resolution_ns)}",
        measured=float(resolution_ns),
        unit="ns",
        n=1,
        expected=0.0,
        tolerance=float(COARSE_TIMER_NS),
        margin=float(COARSE_TIMER_NS - resolution_ns),
        better="lower",
        next_step="" if good else "use the tsc clock source: short latencies cannot be told apart",
    )


TIMER = Check(
    code="CLOCK_JUMPED",
    name="timer",
    title="timer: resolution and agreement of the clocks",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=1,
    run=run_timer,
)

CLOCKS = Check(
    code="CLOCK_JUMPED",
    name="clocks_overall",
    title="clocks from the first check to the last",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=0.1,
    run=run_clocks,
    last=True,
    begin=begin,
)
