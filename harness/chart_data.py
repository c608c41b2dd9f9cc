"""The points behind a page's figures: few enough to draw, and no extreme lost. Pure.

All times are ms or s as the names say, ready to draw; arrays are (points,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Columns
from harness.stats import percentile_rank

SPECTRUM_POINTS = 400
BINS = 120
"""Stretches of a timeline: as many as a phone can show."""
GROUPS = 20
"""Groups of queries from the fastest to the slowest, 5 % each."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Latency by percentile, so that each further nine is as wide as the one before. `share`: of queries below, in [0, 1)."""

    share: Floats
    latency_ms: Floats


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when, in equal stretches of the run by the time of the answer. Where nothing was answered in one, rate is 0 and the
    latencies are NaN."""

    at_s: Floats
    rate: Floats
    p50_ms: Floats
    p99_ms: Floats
    max_ms: Floats


@dataclass(frozen=True, slots=True)
class Split:
    """Mean times of queries in groups from the fastest to the slowest: waiting until a worker took them, then computing. `share`: the upper
    end of each group."""

    share: Floats
    waiting_ms: Floats
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
        return Spectrum(np.zeros(0), np.zeros(0))
    shares = np.unique(np.r_[1 - np.geomspace(1, 1 / count, points), (count - 1) / count])
    ranks = np.minimum([percentile_rank(count, float(share) + 1e-12) for share in shares], count - 1)
    return Spectrum(shares, ordered[ranks] / 1e6)


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
    """Waiting and computing of served samples, by how slow they were."""
    served = columns.served
    waiting, computing = (columns.taken_ns - columns.due_ns)[served], (columns.done_ns - columns.taken_ns)[served]
    order = np.argsort(waiting + computing, kind="stable")
    parts = [part for part in np.array_split(order, groups) if len(part)]
    ends = np.cumsum([len(part) for part in parts]) / max(len(order), 1)
    return Split(
        np.asarray(ends, np.float64),
        np.array([waiting[part].mean() for part in parts]) / 1e6,
        np.array([computing[part].mean() for part in parts]) / 1e6,
    )


def batches(columns: Columns) -> Batches:
    """Batches by their number of served rows."""
    served = np.flatnonzero(columns.served)
    if not len(served):
        return Batches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    _, first, rows = np.unique(columns.batch[served], return_index=True, return_counts=True)
    times = (columns.done_ns - columns.taken_ns)[served[first]] / 1e6
    sizes, count = np.unique(rows, return_counts=True)
    return Batches(sizes.astype(np.int64), count.astype(np.int64), np.array([np.median(times[rows == size]) for size in sizes]))
