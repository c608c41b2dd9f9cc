"""The fastest matrix products and the copy that this machine makes now, each in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import conditions, peaks, units
from harness.doctoring.threads import advised_threads
from harness.peak_kernels import COPY, PRECISIONS
from harness.qualifying.check import Check, Context, Finding

REPEATS = 3
"""In the levels above quick; each is the best of many calls already."""


def run_quick(context: Context) -> list[Finding]:
    return measured(context.device, ("fp32",), 1)


def run_all(context: Context) -> list[Finding]:
    return measured(context.device, PRECISIONS, REPEATS)


def measured(device: str, precisions: Sequence[str], repeats: int) -> list[Finding]:
    """A finding for each precision that a device has and for its copy, to be held against a baseline. Raises MissingError where nothing
    can be measured."""
    found = []
    for place, (threads, prefix) in places(device).items():
        rounds = [_fresh(place, threads, precisions) for _ in range(repeats)]
        found += [_finding(prefix, name, [each[name] for each in rounds]) for name in rounds[0]]
    return found


def places(device: str) -> Mapping[str, tuple[int, str]]:
    """Devices to measure, with their threads and what the names of their figures begin with: every GPU, or the one that was named; the
    CPU where there is none."""
    gpus = len(conditions.gpus()) if device != "cpu" else 0
    if not gpus:
        return {"cpu": (advised_threads(conditions.cpu()), "")}
    index = device.partition(":")[2]
    return {f"cuda:{number}": (1, f"gpu{number}_") for number in ([int(index)] if index else range(gpus))}


def _fresh(place: str, threads: int, precisions: Sequence[str]) -> Mapping[str, float]:
    """Measured now, and kept nowhere: the cache holds the highest that was ever seen."""
    with tempfile.TemporaryDirectory(prefix="assay-qualify-") as folder:
        return peaks.measured(place, threads, precisions, cache=Path(folder), again=True)


def _finding(prefix: str, name: str, values: Sequence[float]) -> Finding:
    copy, value = name == COPY, statistics.median(values)
    shown = f"{units.size(value)}/s read and written" if copy else f"{units.scaled(value)} operations/s"
    what = "copy of memory" if copy else f"matrix product in {name.upper()}"
    return Finding(
        code="BANDWIDTH_LOW" if copy else "COMPUTE_LOW",
        name=f"{prefix}memory_copy" if copy else f"{prefix}gemm_{name}",
        outcome="PASS",
        text=f"{what}: {shown}",
        measured=value,
        unit="bytes/s" if copy else "operations/s",
        n=len(values),
        better="higher",
        next_step="see clocks, heat, power limit and other work; compare with a machine of the same kind",
        details={"values": list(values)},
    )


QUICK = Check(
    code="COMPUTE_LOW",
    name="speed_quick",
    title="small matrix product and memory copy",
    required=True,
    levels=("quick",),
    seconds=6,
    run=run_quick,
)

SPEED = Check(
    code="COMPUTE_LOW",
    name="speed",
    title="matrix products by precision and memory bandwidth",
    required=True,
    levels=("standard", "long"),
    seconds=20,
    run=run_all,
)
