"""What is run before the clock: every shape the run will meet, at the run's own concurrency, until it gets no faster.

How long each shape took then is what the run itself is held against: whether it stayed as fast (`expected`, for `harness.steady`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import units
from harness.batching import Policy, padded_lengths
from harness.core import Columns, Int64, Samples, Scenario, Settings
from harness.steady import Work

GAIN = 0.05
"""A shape has settled when a further call takes no less than this share off the fastest before it. Noise only adds time, so that a burst
of it delays nothing; peers.md 3.3 has rules of 2 to 10 % on means, which need many more calls."""

LEAST_CALLS, MOST_CALLS = 2, 10
"""Of one shape."""

NAMED = 3
"""Shapes that a warning names."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What warm-up did with batches of `rows` rows padded to `length`. `calls`: of the worker that made fewest; `best_ns`: its fastest
    call but for the first, the median over the workers (None: there was one call, or none)."""

    rows: int
    length: int
    calls: int
    settled: bool
    best_ns: float | None


@dataclass(frozen=True, slots=True)
class Warmed:
    """All of a warm-up. `calls`: over all shapes and workers; `scatter`: relative standard deviation of a call's time, by how far the last
    call of each shape is from the one before it (median absolute deviation)."""

    shapes: tuple[Shape, ...]
    calls: int
    scatter: float

    def record(self) -> dict[str, Any]:
        """As run.json has it."""
        unsettled = [{"rows": each.rows, "length": each.length, "calls": each.calls} for each in self.shapes if not each.settled]
        return {"shapes": len(self.shapes), "calls": self.calls, "scatter": self.scatter, "unsettled": unsettled}


def has_settled(times_ns: Sequence[int]) -> bool:
    """Whether a shape with these calls needs no further one."""
    return len(times_ns) >= LEAST_CALLS and times_ns[-1] > (1 - GAIN) * min(times_ns[:-1])


def is_over(times_ns: Sequence[int]) -> bool:
    """Settled, or given up."""
    return len(times_ns) >= MOST_CALLS or has_settled(times_ns)


def warmed(batches: Sequence[Int64], samples: Samples, policy: Policy, times_ns: Sequence[Sequence[Sequence[int]]]) -> Warmed:
    """`times_ns`: by worker and by batch, the time of each call."""
    shapes = []
    for place, batch in enumerate(batches):
        calls = [worker[place] for worker in times_ns]
        width = int(padded_lengths(samples.lengths[batch].max(keepdims=True), policy, samples.max_length)[0])
        best = [min(each[1:]) for each in calls if len(each) > 1]
        known = float(np.median(best)) if len(best) == len(calls) else None
        shapes.append(Shape(len(batch), width, min(map(len, calls)), all(map(has_settled, calls)), known))
    every = [calls for worker in times_ns for calls in worker]
    return Warmed(tuple(shapes), sum(map(len, every)), _scatter(every))


def _scatter(calls_ns: Sequence[Sequence[int]]) -> float:
    steps = np.array([math.log(max(each[-1], 1) / max(each[-2], 1)) for each in calls_ns if len(each) > 1])
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / math.sqrt(2)) if len(steps) else 0.0


def warnings(found: Warmed, budget_s: float) -> Iterator[str]:
    """What did not become warm."""
    missed = sum(not each.calls for each in found.shapes)
    if missed:
        yield f"warm-up ran {len(found.shapes) - missed} of {len(found.shapes)} shapes in {budget_s:g} s; --warmup gives it more time"
    open_ = [each for each in found.shapes if each.calls and not each.settled]
    falling = [each for each in open_ if each.calls >= MOST_CALLS]
    if falling:
        yield f"{_named(falling)} still became faster with the last of {MOST_CALLS} calls in warm-up"
    if len(open_) > len(falling) and not missed:
        rest = [each for each in open_ if each.calls < MOST_CALLS]
        yield f"{_named(rest)} had not settled after {budget_s:g} s of warm-up; --warmup gives it more time"


def _named(shapes: Sequence[Shape]) -> str:
    named = ", ".join(f"{each.rows} × {each.length}" for each in shapes[:NAMED])
    return f"{units.plural(len(shapes), 'shape')} ({named}{', ...' if len(shapes) > NAMED else ''})"


def expected(columns: Columns, samples: Samples, policy: Policy, found: Warmed) -> Work | None:
    """How long each row of a ledger should have taken: its part of its call, by what calls of that length took in warm-up, with one row
    and full, and in between on a straight line. Lengths that warm-up did not reach lie between those it did; None where it reached none,
    or nothing was served."""
    alone, full = _curve(found, single=True), _curve(found, single=False)
    served = np.flatnonzero(columns.served)
    if not len(alone[0]) or not len(served):
        return None
    _, call, rows = np.unique(columns.batch[served], return_inverse=True, return_counts=True)
    longest = np.zeros(len(rows), np.int64)
    np.maximum.at(longest, call, samples.lengths[columns.sample[served]])
    widths = padded_lengths(longest, policy, samples.max_length)
    time = np.interp(widths, *alone[[0, 2]])
    if len(full[0]):
        most = np.interp(widths, *full[:2])
        time = time + (np.interp(widths, *full[[0, 2]]) - time) * (rows - 1) / (most - 1)
    work, kind = np.zeros(len(columns.batch)), np.zeros(len(columns.batch), np.int64)
    work[served] = np.maximum(time / rows, 1.0)[call]
    kind[served] = np.unique(widths, return_inverse=True)[1][call]
    return Work(work, kind, found.scatter)


def _curve(found: Warmed, *, single: bool) -> NDArray[np.float64]:
    """(3, shapes): length, rows and ns of the shapes with one row, or of those with more; lengths ascend."""
    known = [(each.length, each.rows, each.best_ns) for each in found.shapes if each.best_ns is not None and (each.rows == 1) == single]
    return np.array(sorted(known), np.float64).reshape(-1, 3).T


def largest_batch(scenario: Scenario, settings: Settings, policy: Policy, sample_count: int) -> int:
    """Most rows that one call of this run can get: in a closed loop never more than one query is waiting."""
    if not scenario.closed_loop:
        return policy.max_batch
    query = scenario.traffic(settings, sample_count).query
    return min(policy.max_batch, int(np.count_nonzero(query == query[0])))


def warm_up_batches(samples: Samples, policy: Policy, largest: int) -> list[Int64]:
    """Sample indices of the batches to run: one sample of each padded length, longest first (so that buffers grow once), then a full
    batch of each: first the longest, then by how many samples have that length, so that what is met most is warm if time runs out."""
    padded = padded_lengths(samples.lengths, policy, samples.max_length)
    widths, first, counts = np.unique(padded, return_index=True, return_counts=True)
    batches = [np.array([place]) for place in first[::-1]]
    longest = np.arange(len(widths)) == len(widths) - 1
    for bucket in np.lexsort((-counts, ~longest)):
        rows = min(largest, policy.most_rows(int(widths[bucket])))
        if rows > 1:
            batches.append(np.resize(np.flatnonzero(padded == widths[bucket]), rows))
    return batches
