"""Which cores and how many threads each worker gets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.conditions import usable_cores

CPUS = Path("/sys/devices/system/cpu")
"""Where Linux tells which logical cores share a physical one."""


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's part of the machine. `cores` None: not pinned."""

    threads: int
    cores: tuple[int, ...] | None


def place(workers: int, threads: int | None, *, processes: bool, cpus: Path = CPUS) -> list[Share]:
    """Divide `threads` (None: all usable cores) among workers, the first ones getting what is left over; at least one each.

    Worker processes are pinned to disjoint sets of cores where there are enough of them and the system can pin (Linux).
    """
    total = threads or usable_cores()
    counts = [max(1, total // workers + (index < total % workers)) for index in range(workers)]
    cores = os.sched_getaffinity(0) if processes and hasattr(os, "sched_getaffinity") else set()
    if len(cores) < sum(counts):
        return [Share(count, None) for count in counts]
    ordered = spread(cores, sum(counts), cpus)
    shares, first = [], 0
    for count in counts:
        shares.append(Share(count, tuple(sorted(ordered[first : first + count]))))
        first += count
    return shares


def spread(cores: Iterable[int], count: int, cpus: Path = CPUS) -> list[int]:
    """`count` of these logical cores in the order in which workers get them: as many physical cores as there are before a second thread
    of any, the threads of one beside each other so that two workers do not share it, and package by package."""
    physical: dict[tuple[int, int], list[int]] = {}
    for core in sorted(cores):
        physical.setdefault(_physical(core, cpus), []).append(core)
    by_turn = sorted((turn, place, core) for place, threads in physical.items() for turn, core in enumerate(threads))
    return [core for _, core in sorted((place, core) for _, place, core in by_turn[:count])]


def _physical(core: int, cpus: Path) -> tuple[int, int]:
    """Package and physical core of a logical one; the core itself where the system does not tell."""
    folder = cpus / f"cpu{core}" / "topology"
    try:
        return int((folder / "physical_package_id").read_text()), int((folder / "core_id").read_text())
    except (OSError, ValueError):
        return 0, core
