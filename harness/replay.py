"""At which rate would a run have met its bound? The same arrivals stretched in time, served again with the service times that were
measured. Pure.

Batches form as they did: a worker that is free takes what is due, up to the largest batch seen. A batch of n rows takes `a + b * n`, the
line through the measured batches, times what the next measured batch took beyond its own line: slow batches stay slow.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core import Columns, Int64
from harness.stats import percentile

MOST_ROWS = 4000
"""Rows that are served again: enough for a 99th percentile, few enough for a tenth of a second."""

STEPS = 14
"""Halvings of the interval of rates: to a part in ten thousand."""


@dataclass(frozen=True, slots=True)
class Service:
    """Measured batches: the line of time over rows (ns, ns per row), each batch's share of it, workers, and the largest batch."""

    base_ns: float
    row_ns: float
    shares: NDArray[np.float64]
    workers: int
    most: int


def measured(rows: Columns) -> Service | None:
    """Service times of the answered rows; None where there are none."""
    served = np.flatnonzero(rows.served)
    if not len(served):
        return None
    call = (rows.worker[served].astype(np.int64) << 32) | rows.batch[served]
    _, first, sizes = np.unique(call, return_index=True, return_counts=True)
    order = np.argsort(rows.taken_ns[served[first]], kind="stable")
    first, sizes = served[first][order], sizes[order]
    took = np.maximum(1.0, (rows.done_ns[first] - rows.taken_ns[first]).astype(np.float64))
    slope = max(0.0, float(np.polyfit(sizes, took, 1)[0])) if len(np.unique(sizes)) > 1 else 0.0
    base = max(0.0, float(took.mean() - slope * sizes.mean()))
    line = np.maximum(1.0, base + slope * sizes)
    return Service(base, slope, took / line, len(np.unique(rows.worker[served])), int(sizes.max()))


def tail_ns(due_ns: Int64, service: Service, share: float) -> int:
    """Percentile `share` of latency when arrivals at `due_ns` (ascending) are served so."""
    due, times = due_ns.tolist(), service.shares.tolist()
    free = [0.0] * service.workers
    done_ns, row, batch = [], 0, 0
    while row < len(due):
        start = max(heapq.heappop(free), due[row])
        end = bisect_right(due, start, row, min(row + service.most, len(due)))
        end_ns = start + (service.base_ns + service.row_ns * (end - row)) * times[batch % len(times)]
        heapq.heappush(free, end_ns)
        done_ns += [end_ns] * (end - row)
        row, batch = end, batch + 1
    return percentile((np.array(done_ns) - due_ns).astype(np.int64), share)


def share_of_rate(rows: Columns, bound_ns: int, share: float) -> float | None:
    """The largest share of the run's own arrival rate, at most 1, at which percentile `share` would have met the bound; None where no
    rate does."""
    service = measured(rows)
    if service is None:
        return None
    due = rows.due_ns[:MOST_ROWS]
    low, high = 0.0, 1.0
    if tail_ns(due * 1000, service, share) > bound_ns:
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        met = tail_ns((due / middle).astype(np.int64), service, share) <= bound_ns
        low, high = (middle, high) if met else (low, middle)
    return low
