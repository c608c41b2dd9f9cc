"""The points behind a page's figures: few enough to draw, and no extreme lost. Pure.

All times are ms or s as the names say, ready to draw; arrays are (points,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Columns, Int64
from harness.early_stopping import estimate
from harness.stats import percentile_interval, percentile_rank

SPECTRUM_POINTS = 400
BINS = 120
"""Stretches of a timeline: as many as a phone can show."""
GROUPS = 20
"""Groups of queries from the fastest to the slowest, 5 % each."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Latency by percentile, so that each further nine is as wide as the one before.

    share       of queries below, in [0, 1)
    low, high   95 % interval of each by order statistics, as `stats.percentile_interval`; NaN where there are too few queries for an end
    bound       what the percentile is at most with 99 % confidence, by early stopping; NaN where there are too few
    """

    share: Floats
    latency_ms: Floats
    low_ms: Floats
    high_ms: Floats
    bound_ms: Floats


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when, in equal stretches of the run by the time of the answer. Where nothing was answered in one, rate is 0 and the
    latencies are NaN."""

    at_s: Floats
    rate: Floats
    min_ms: Floats
    p50_ms: Floats
    p99_ms: Floats
    max_ms: Floats


@dataclass(frozen=True, slots=True)
class Split:
    """Mean times of queries in groups from the fastest to the slowest. `share`: the upper end of each group.

    queueing   waiting while every worker was busy
    filling    waiting while a worker was free: for company (`--batch-wait`), and for the harness to hand them over
    computing  from being taken to the answer
    """

    share: Floats
    queueing_ms: Floats
    filling_ms: Floats
    computing_ms: Floats


@dataclass(frozen=True, slots=True)
class Batches:
    """By rows of a batch: how many there were, and the median time of one."""

    size: NDArray[np.int64]
    count: NDArray[np.int64]
    median_ms: Floats


def spectrum(latency_ns: NDArray[np.int64], points: int = SPECTRUM_POINTS) -> Spectrum:
    """Latencies (n,) in any order. Every point is a measured latency by LoadGen's index rule; the last is the largest."""
    ordered = np.sort(latency_ns)
    count = len(ordered)
    if not count:
        return Spectrum(*[np.zeros(0)] * 5)
    shares = np.unique(np.r_[1 - np.geomspace(1, 1 / count, points), (count - 1) / count])
    ranks = np.minimum([percentile_rank(count, float(share) + 1e-12) for share in shares], count - 1)
    ends = [percentile_interval(ordered, float(share)) for share in shares]
    bounds = [estimate(ordered, float(share)) if share > 0 else None for share in shares]
    low, high, bound = (_ms(each) for each in ([low for low, _ in ends], [high for _, high in ends], bounds))
    return Spectrum(shares, ordered[ranks] / 1e6, low, high, bound)


def _ms(values_ns: Sequence[int | None]) -> Floats:
    return np.array([math.nan if value is None else value / 1e6 for value in values_ns])


def timeline(columns: Columns, bins: int = 0) -> Timeline:
    """Rates of served samples and their latencies, over the run. `bins` 0: up to `BINS`, with two batches or more in each on average, for
    answers come batch by batch: fewer would be a comb."""
    served = columns.served
    done, latency = columns.done_ns[served], columns.latency_ns[served]
    bins = bins or min(BINS, max(1, len(np.unique(columns.batch[served])) // 2))
    end = max(columns.end_ns, int(done.max(initial=1)))
    width = end / bins
    place = np.minimum((done / width).astype(np.int64), bins - 1)
    order = np.lexsort((latency, place))
    place, latency = place[order], latency[order]
    first, last = np.searchsorted(place, np.arange(bins)), np.searchsorted(place, np.arange(bins), side="right")
    count = last - first
    return Timeline(
        at_s=np.asarray((np.arange(bins) + 0.5) * width / 1e9, np.float64),
        rate=count / (width / 1e9),
        min_ms=_within(latency, first, count, 0.0),
        p50_ms=_within(latency, first, count, 0.50),
        p99_ms=_within(latency, first, count, 0.99),
        max_ms=_within(latency, first, count, 1.0),
    )


def _within(latency: NDArray[np.int64], first: NDArray[Any], count: NDArray[Any], share: float) -> Floats:
    """A percentile of each stretch of values that ascend inside it; NaN for an empty one."""
    rank = np.minimum((count * share).astype(np.int64), np.maximum(count - 1, 0))
    found = latency[np.minimum(first + rank, max(len(latency) - 1, 0))] / 1e6 if len(latency) else np.zeros(len(count))
    return np.where(count > 0, found, np.nan)


def split(columns: Columns, groups: int = GROUPS) -> Split:
    """What served samples spent their time on, by how slow they were."""
    times = spent(columns)
    order = np.argsort(sum(times), kind="stable")
    parts = [part for part in np.array_split(order, groups) if len(part)]
    ends = np.cumsum([len(part) for part in parts]) / max(len(order), 1)
    means = [np.array([each[part].mean() for part in parts]) / 1e6 for each in times]
    return Split(np.asarray(ends, np.float64), *means)


def spent(columns: Columns) -> tuple[Int64, Int64, Int64]:
    """(served,) ns each: queueing, filling, computing, as `Split` has them. They add up to the latency.

    A worker is busy while a call of it is on its way, so what the ledger knows of calls tells when all of them were.
    """
    served = columns.served
    due, taken, done = (each[served] for each in (columns.due_ns, columns.taken_ns, columns.done_ns))
    times, busy = _all_busy(columns)
    queueing = _busy_until(times, busy, taken) - _busy_until(times, busy, due)
    return queueing, taken - due - queueing, done - taken


def _all_busy(columns: Columns) -> tuple[Int64, Int64]:
    """(moments,) ascending, and for how long up to each every worker was busy, ns. Workers are those that served anything."""
    served = np.flatnonzero(columns.served)
    calls = served[np.unique(columns.batch[served], return_index=True)[1]]
    workers = len(np.unique(columns.worker[calls]))
    moments = np.concatenate([columns.taken_ns[calls], columns.done_ns[calls]])
    change = np.repeat(np.array([1, -1], np.int64), len(calls))
    order = np.lexsort((change, moments))  # a call that ends when the next begins: first the end
    moments = moments[order]
    full = np.cumsum(change[order])[:-1] >= workers
    return moments, np.concatenate([[0], np.cumsum(np.diff(moments) * full)]).astype(np.int64)


def _busy_until(moments: Int64, busy: Int64, at: Int64) -> Int64:
    """`busy` between the moments, where it grows evenly or not at all; none before the first or after the last."""
    place = np.clip(np.searchsorted(moments, at, side="right") - 1, 0, len(moments) - 1)
    after = np.minimum(place + 1, len(moments) - 1)
    growing = busy[after] > busy[place]
    return np.asarray(busy[place] + np.where(growing & (at > moments[place]), at - moments[place], 0), np.int64)


def batches(columns: Columns) -> Batches:
    """Batches by their number of served rows."""
    served = np.flatnonzero(columns.served)
    if not len(served):
        return Batches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    _, first, rows = np.unique(columns.batch[served], return_index=True, return_counts=True)
    times = (columns.done_ns - columns.taken_ns)[served[first]] / 1e6
    sizes, count = np.unique(rows, return_counts=True)
    return Batches(sizes.astype(np.int64), count.astype(np.int64), np.array([np.median(times[rows == size]) for size in sizes]))
