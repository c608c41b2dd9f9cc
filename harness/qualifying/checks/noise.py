"""Is the machine ours? A fixed product, again and again: who else computes meanwhile, and how much the same work varies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from harness import compare, units
from harness.interference import WORTH_SAYING, CpuTime, cpu_time, others_share
from harness.qualifying.check import Check, Context, Finding
from harness.qualifying.shares import STOP_OTHERS, at_most

BLOCKS = 24
BLOCK_S = 0.12
SHAPE = (256, 384, 1536)
"""A feed-forward product of MiniLM on some rows."""
NOISY = 0.10
"""Blocks of the same work that differ by more than this (95 %) are worth a warning: a change of a tenth could not be seen."""

READ: Callable[[], CpuTime] = cpu_time
"""What tells the use of the cores; tests put another machine here."""


def run(context: Context) -> list[Finding]:
    """Others' share of the cores, and what blocks of a system against itself differ by."""
    del context
    before = READ()
    rates = blocks()
    return [contended(others_share(before, READ())), noise(rates)]


def blocks() -> list[float]:
    """Products a second in each of `BLOCKS` blocks, as many products in each."""
    rng = np.random.default_rng(0)
    m, k, n = SHAPE
    left, right, into = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32), np.empty((m, n), np.float32)
    calls, _ = _time(left, right, into, BLOCK_S)
    calls, _ = _time(left, right, into, BLOCK_S)  # the first was cold
    rates = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(calls):
            np.matmul(left, right, out=into)
        rates.append(calls / (time.perf_counter() - start))
    return rates


def _time(left: np.ndarray, right: np.ndarray, into: np.ndarray, seconds: float) -> tuple[int, float]:
    """Products within some seconds, at least one."""
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() < start + seconds:
        np.matmul(left, right, out=into)
        calls += 1
    return calls, time.perf_counter() - start


def contended(share: float | None) -> Finding:
    """Others' share of all cores, 0 to 1."""
    if share is None:
        return Finding("CPU_CONTENDED", "others_cpu_share", "SKIP", "the use of the cores cannot be read here", next_step="see /proc/stat")
    text = f"other processes and other machines of the host used {units.share(share)} of the cores"
    return at_most("CPU_CONTENDED", "others_cpu_share", share, WORTH_SAYING, text, STOP_OTHERS)


def noise(rates: Sequence[float]) -> Finding:
    """A/A: the first half of each pair of blocks against the second."""
    logs = [compare.log_ratio(top, bottom) for top, bottom in zip(rates[::2], rates[1::2], strict=True)]
    floor = compare.noise_floor(logs)
    return Finding(
        code="NOISY",
        name="noise",
        outcome="PASS" if floor <= NOISY else "WARN",
        text=f"blocks of the same {units.time_ns(round(BLOCK_S * 1e9))} of work differ by less than {units.share(floor)} (95 %)",
        measured=floor,
        unit="1",
        n=len(logs),
        expected=0.0,
        tolerance=NOISY,
        margin=NOISY - floor,
        better="lower",
        required=False,
        next_step="" if floor <= NOISY else "see what else runs, and whether the clock changes under load",
        details={"values": list(rates), "median_per_s": statistics.median(rates)},
    )


NOISE = Check(
    code="CPU_CONTENDED",
    name="noise",
    title="other work on the cores, and noise of the same work",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=4,
    run=run,
)
