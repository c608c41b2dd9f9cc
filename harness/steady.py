"""Was the run as fast at its end as at its beginning: where it settled, and whether it drifted. Pure.

Sources: MSER-5 from K. P. White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69 (1997); the
trend test is Mann-Kendall, the slope Theil and Sen's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.compare import student_quantile
from harness.core import Columns

STRETCHES = 50
"""Equal parts of the run whose rates are looked at."""
BATCH = 5
"""MSER-5 looks at means of five."""
DRIFT = 0.05
"""Drift over the run, as a share of its median rate, that marks it, where the trend is significant at `TREND_P`."""
TREND_P = 0.01
CUT = 0.2
"""A start-up longer than this share of the run marks it as well, where it differs from the rest by `DRIFT` and `ERRORS`."""
ERRORS = 4.0
"""Standard errors: MSER chooses the cut that differs most, so that two would be common by chance."""
LEAST_ROWS = 500
"""Fewer samples than ten a stretch say nothing about a rate."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steady:
    """What a run did over time.

    figure         what was looked at: "rate" or "median latency"
    settled_share  of the run that passed before it was steady, by MSER-5; on mere noise it may be anything up to a half
    start          how the figure in that part differs from that of the rest, as a share of the latter, and
    start_errors   by how many standard errors
    drift          change from begin to end by its slope, as a share of the median, and
    p              how likely so much of a trend is by chance, two-sided
    """

    figure: str
    settled_share: float
    start: float
    start_errors: float
    drift: float
    p: float

    @property
    def stable(self) -> bool:
        drifts = abs(self.drift) >= DRIFT and self.p < TREND_P
        starts = self.settled_share > CUT and abs(self.start) >= DRIFT and self.start_errors > ERRORS
        return not (drifts or starts)


def look(columns: Columns, *, paced: bool) -> Steady | None:
    """In `STRETCHES` parts with as many samples each, of the rate at which samples were answered or, where they come at a rate of their
    own (`paced`), of the median latency. None where there are too few samples."""
    served = columns.served
    done = columns.done_ns[served]
    if len(done) < LEAST_ROWS:
        return None
    order = np.argsort(done, kind="stable")
    parts = np.array_split(order, STRETCHES)
    if paced:
        latency = columns.latency_ns[served]
        values = np.array([float(np.median(latency[part])) for part in parts])
    else:
        ends = done[[part[-1] for part in parts]].astype(np.float64)
        values = np.array([len(part) for part in parts]) / np.maximum(np.diff(ends, prepend=0.0), 1.0)
    return _described("median latency" if paced else "rate", values)


def _described(figure: str, values: Floats) -> Steady:
    cut = mser(values)
    start, errors = _difference(values[:cut], values[cut:])
    drift = theil_sen(values) * (len(values) - 1) / float(np.median(values))
    return Steady(figure, cut / len(values), start, errors, drift, mann_kendall(values))


def _difference(first: Floats, rest: Floats) -> tuple[float, float]:
    """Mean of `first` beside that of `rest`: the difference as a share of the latter, and in standard errors."""
    if len(first) < 2:
        return 0.0, 0.0
    gap = float(first.mean() - rest.mean())
    error = math.sqrt(first.var(ddof=1) / len(first) + rest.var(ddof=1) / len(rest))
    return gap / float(rest.mean()), abs(gap) / error if error else 0.0


def mser(values: Floats, batch: int = BATCH) -> int:
    """How many leading values to leave out, a multiple of `batch`: where the standard error of the mean of what is left is least. At most
    half of them, beyond which the rule is known to fail."""
    means = values[: len(values) // batch * batch].reshape(-1, batch).mean(axis=1)
    errors = [float(means[cut:].var()) / (len(means) - cut) for cut in range(len(means) // 2 + 1)]
    return int(np.argmin(errors)) * batch if errors else 0


def mann_kendall(values: Floats) -> float:
    """Two-sided p of no trend in (n,) values, by the normal approximation with correction for ties and continuity; 1.0 below 4 values."""
    count = len(values)
    if count < 4:
        return 1.0
    score = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(count, 1)].sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if score == 0 or variance <= 0:
        return 1.0
    return float(2 * NormalDist().cdf(-(abs(score) - 1) / math.sqrt(variance)))


def theil_sen(values: Floats) -> float:
    """Median slope over all pairs of (n,) equally spaced values, per step."""
    first, second = np.triu_indices(len(values), 1)
    return float(np.median((values[second] - values[first]) / (second - first)))


def rate_spread(columns: Columns, parts: int = 20) -> float | None:
    """Half of the 95 % interval of the rate as a share of it, by the means of `parts` equal parts of the samples (non-overlapping batch
    means, Student's t); None where there are too few. It says nothing of how the next run may differ."""
    done = np.sort(columns.done_ns[columns.served])
    if len(done) < LEAST_ROWS:
        return None
    took = np.diff(done[np.linspace(0, len(done) - 1, parts + 1).astype(np.int64)]).astype(np.float64)
    return float(student_quantile(0.975, parts - 1) * took.std(ddof=1) / math.sqrt(parts) / took.mean())
