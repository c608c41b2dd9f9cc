"""Which cores and how many threads each worker gets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.conditions import usable_cores


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's part of the machine. `cores` None: not pinned."""

    threads: int
    cores: tuple[int, ...] | None


def place(workers: int, threads: int | None, *, processes: bool) -> list[Share]:
    """Divide `threads` (None: all usable cores) among workers, the first ones getting what is left over; at least one each.

    Worker processes are pinned to disjoint sets of cores where there are enough of them and the system can pin (Linux).
    """
    total = threads or usable_cores()
    counts = [max(1, total // workers + (index < total % workers)) for index in range(workers)]
    cores = sorted(os.sched_getaffinity(0)) if processes and hasattr(os, "sched_getaffinity") else []
    if len(cores) < sum(counts):
        return [Share(count, None) for count in counts]
    shares, first = [], 0
    for count in counts:
        shares.append(Share(count, tuple(cores[first : first + count])))
        first += count
    return shares
