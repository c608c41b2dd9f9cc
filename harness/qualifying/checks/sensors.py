"""Telemetry beside all checks: was it there all the time, and what held the machine back meanwhile?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from harness import interference, units
from harness.qualifying.check import Check, Context, Finding
from harness.qualifying.shares import at_most
from harness.telemetry.recording import Recording
from harness.telemetry.throttling import WORTH_SAYING, stretches, throttled_share

GAP_INTERVALS = 5.0
GAP_S = 5.0
"""A row that is late by more intervals than this, and by more than so many seconds, was lost. A sampler waits for a core like anybody."""
START_S = 5.0
"""A sampler may take so long to its first row."""


def run(context: Context) -> list[Finding]:
    """Telemetry first; then what it tells of CPU and control group. GPUs have a check of their own."""
    if context.stream is None:
        return [_lost("SKIP", "no telemetry was asked for (--telemetry 0)")]
    _await_first_row(context)
    recording = context.stream.rows()
    return [alive(recording, time.monotonic_ns(), running=context.stream.running), *held_back(recording)]


def _await_first_row(context: Context) -> None:
    end = time.monotonic() + START_S
    while context.stream is not None and context.stream.running and not context.stream.rows().at_ns and time.monotonic() < end:
        time.sleep(0.05)


def alive(recording: Recording, now_ns: int, *, running: bool) -> Finding:
    """Whether the sampler runs, and has written all the time."""
    if not running:
        return _lost("FAIL", f"the sampler is gone: {recording.missing.get('sampler', 'it ended in mid-run')}")
    if not recording.at_ns:
        return _lost("FAIL", f"the sampler has told nothing: {recording.missing.get('sampler', 'no row came')}")
    gap_s = max(after - before for before, after in itertools.pairwise([*recording.at_ns, now_ns])) / 1e9
    allowed_s = max(GAP_S, GAP_INTERVALS * recording.interval_s)
    rows = len(recording.at_ns)
    text = f"{units.plural(rows, 'row')} of {units.plural(len(recording.columns), 'column')}, the longest gap {gap_s:.3g} s"
    return Finding(
        code="TELEMETRY_LOST",
        name="telemetry",
        outcome="PASS" if gap_s <= allowed_s else "FAIL",
        text=text,
        measured=gap_s,
        unit="s",
        n=rows,
        expected=recording.interval_s,
        tolerance=allowed_s - recording.interval_s,
        margin=(allowed_s - gap_s) / recording.interval_s,
        better="lower",
        next_step="" if gap_s <= allowed_s else "see what stopped the sampler: memory, a limit on processes, other work",
        details={"missing": dict(recording.missing)},
    )


def _lost(outcome: str, text: str) -> Finding:
    step = "see who ended it (the kernel log names what the memory killer chose), and qualify again"
    if outcome == "SKIP":
        return Finding("TELEMETRY_LOST", "telemetry", "SKIP", text, next_step="leave --telemetry at its default")
    return Finding("TELEMETRY_LOST", "telemetry", "FAIL", text, next_step=step)


def held_back(recording: Recording) -> Iterator[Finding]:
    """Heat and quota of the CPU, and time stolen by other guests, each only where it can be read."""
    if not recording.at_ns:
        return
    found = [each for each in stretches(recording) if each.what == "cpu"]
    from_ns, to_ns = recording.at_ns[0], recording.at_ns[-1]
    for code, name, reason, columns, step in _KINDS:
        if columns not in recording.columns:
            why = recording.missing.get(columns, "there is no such sensor here")
            yield Finding(code, name, "SKIP", f"{reason}: {why}", required=False)
            continue
        share = throttled_share([each for each in found if each.reason == reason], "cpu", from_ns, to_ns)
        yield _share(code, name, f"{reason} of the CPU", share, step)
    if stolen := [value for value in recording.columns.get("steal_share", ()) if value is not None]:
        share = sum(stolen) / len(stolen)
        text = f"time that the host gave to other guests: {units.share(share)} of the time"
        yield at_most("CPU_STOLEN", "cpu_stolen", share, interference.WORTH_SAYING, text, "move to a host that is not oversold")


_KINDS = (
    ("CPU_THROTTLED", "cpu_throttled", "thermal throttling", "cpu_throttle_events", "see to the cooling"),
    (
        "CPU_QUOTA",
        "cpu_quota",
        "quota of the control group",
        "cgroup_throttled_share",
        "give the container whole cores (--cpuset-cpus) or a larger quota",
    ),
)


def _share(code: str, name: str, what: str, share: float, step: str) -> Finding:
    return at_most(code, name, share, WORTH_SAYING, f"{what}: {units.share(share)} of the time", step)


SENSORS = Check(
    code="TELEMETRY_LOST",
    name="telemetry",
    title="telemetry: there all the time, and what held the machine back",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=0.2,
    run=run,
    last=True,
)
