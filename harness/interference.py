"""What else ran on this machine meanwhile: a run beside other work measures that work, too."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

WORTH_SAYING = 0.05
"""Share of the machine's cores used by others above which a run warns. Two threads that wait for each other at every layer suffer far
more than that share: one competing process on two cores made a 40 ms call take over a second."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU used so far: by everything on the machine (stolen time included), and by this process and its workers; and the
    seconds that were there to be used."""

    all_s: float
    ours_s: float
    available_s: float


def cpu_time() -> CpuTime:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # guest time is part of user time
    return CpuTime(total - idle, _ours(), total)


def _ours() -> float:
    me = psutil.Process()
    used = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # a worker that died: its time is among the children's of this process
            continue
        used += times.user + times.system
    own = me.cpu_times()
    return used + own.children_user + own.children_system


def others_share(before: CpuTime, after: CpuTime) -> float | None:
    """Share of the machine's CPU time between two moments that went to others, 0 to 1; None where no time has passed."""
    available = after.available_s - before.available_s
    if available <= 0:
        return None
    others = (after.all_s - before.all_s) - (after.ours_s - before.ours_s)
    return min(1.0, max(0.0, others / available))
