"""Figures made from a ledger or from scores: percentiles, intervals, Little's law. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Columns, Int64
from harness.early_stopping import required

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p97": 0.97, "p99": 0.99, "p99.9": 0.999}
"""The percentiles LoadGen prints."""

_Z95 = 1.96


def percentile_rank(count: int, percentile: float) -> int:
    """Zero-based index of a percentile among `count` ordered values, by LoadGen's rule trunc(n * p): no interpolation."""
    return int(count * percentile)


def percentile(values: Int64, share: float) -> int:
    """The value at LoadGen's index; `values` (n,) in any order, 0 <= share < 1. Raises ValueError where there are none."""
    if len(values) == 0:
        raise ValueError("a percentile of no values")
    rank = percentile_rank(len(values), share)
    return int(np.partition(values, rank)[rank])


def percentile_floor(share: float) -> int:
    """Least number of values at which a percentile is certain: one value may be over it and 99 % confidence still holds, h(1) + 1 of
    LoadGen's early stopping (p50: 11, p90: 64, p95: 130, p97: 219, p99: 662, p99.9: 6,636)."""
    return required(1, share)


def latency_summary(latency_ns: Int64) -> dict[str, int | None]:
    """min, mean, p50 ... p99.9 and max in ns of latencies (n,) in any order; the mean is rounded down, as LoadGen does it.

    Everything is None where there are no values. Whether n carries a percentile is for the reports to say (`percentile_floor`).
    """
    count = len(latency_ns)
    if count == 0:
        return dict.fromkeys(("min", "mean", *PERCENTILES, "max"))
    ordered = np.sort(latency_ns)
    summary: dict[str, int | None] = {"min": int(ordered[0]), "mean": mean_ns(ordered)}
    for name, share in PERCENTILES.items():
        summary[name] = int(ordered[percentile_rank(count, share)])
    summary["max"] = int(ordered[-1])
    return summary


def mean_ns(latency_ns: Int64) -> int:
    """Integer mean, rounded down, as LoadGen does it. Raises ValueError where there are no values."""
    if len(latency_ns) == 0:
        raise ValueError("a mean of no values")
    return int(latency_ns.sum(dtype=np.int64)) // len(latency_ns)


def percentile_interval(ordered: Int64, share: float) -> tuple[int | None, int | None]:
    """95 % interval of a percentile from ascending values (n,), by order statistics: ranks floor(nq - 1.96 s) and
    ceil(nq + 1.96 s) + 1 with s = sqrt(nq(1 - q)), counted from 1. An end whose rank does not exist is None."""
    count = len(ordered)
    spread = _Z95 * math.sqrt(count * share * (1 - share))
    low = math.floor(count * share - spread)
    high = math.ceil(count * share + spread) + 1
    return (int(ordered[low - 1]) if low >= 1 else None, int(ordered[high - 1]) if high <= count else None)


def bootstrap_interval(
    values: NDArray[Any], statistic: Callable[[NDArray[Any]], float], seed: int, draws: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of `statistic` over the first axis of `values`: rows are drawn with replacement, so rows may be pairs.

    Raises ValueError where there are no values.
    """
    count = len(values)
    if count == 0:
        raise ValueError("an interval of no values")
    generator = np.random.default_rng(seed)
    found = [statistic(values[generator.integers(0, count, count)]) for _ in range(draws)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def littles_law(columns: Columns) -> tuple[float, float]:
    """Mean number of served rows in flight between 0 and the end of the run, and rate × mean latency of the same rows.

    The first is measured by sweeping over arrivals and departures inside the run, never below zero. The two are equal where the columns
    are sound; stamps outside the run, or answers before their questions, drive them apart. (0, 0) where nothing was served.
    """
    served = columns.served
    due, done = columns.due_ns[served], columns.done_ns[served]
    end = columns.end_ns
    if len(due) == 0 or end <= 0:
        return 0.0, 0.0
    times = np.concatenate([due, np.sort(done)]).clip(0, end)  # `due` ascends already: the stable sort only merges
    change = np.repeat(np.array([1, -1]), len(due))
    order = np.argsort(times, kind="stable")
    in_flight = np.maximum(np.cumsum(change[order])[:-1], 0).astype(np.float64)
    area = float(np.dot(in_flight, np.diff(times[order]).astype(np.float64)))
    return area / end, len(due) / end * float((done - due).mean(dtype=np.float64))
