"""Was the run as fast at its end as at its beginning: where it settled, and whether it drifted. Pure.

Sources: MSER-5 from K. P. White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69 (1997); the
trend test is Mann-Kendall, the slope Theil and Sen's. Thresholds: peers.md 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import units
from harness.compare import student_quantile
from harness.core import Columns, Int64

STRETCHES = 50
"""Parts of the run that are looked at."""
LEAST_STRETCHES = 20
"""With fewer, of two calls each, a trend is no more than a guess."""
BATCH = 5
"""MSER-5 looks at means of five."""
DRIFT = 0.05
"""Drift over the run, as a share of its median, that marks it, where the trend is significant at `TREND_P`."""
TREND_P = 0.01
CUT = 0.2
"""A start-up longer than this share of the run marks it as well, where it differs from the rest by `DRIFT` and `ERRORS`."""
ERRORS = 4.0
"""Standard errors: MSER chooses the cut that differs most, so that two would be common by chance."""
CERTAIN = 3.0
"""Standard errors of what is known of the lengths that a drift must exceed."""
LEAST_ROWS = 500
"""Samples whose times are not known beforehand: fewer than ten a stretch say nothing."""

RATE, WEIGHED, LATENCY = "rate", "rate by length", "median latency"
"""What is looked at. By length: each sample counts as long as one of its length took in warm-up, so that a run that serves its longest
samples first has a rate, too; 1 is the warm-up's own."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """How long rows should take, and how well that is known.

    ns     (rows,) of each row
    kind   (rows,) rows of one kind, such as one length, are wrong by one factor
    error  relative standard error of that factor
    """

    ns: Floats
    kind: Int64
    error: float


@dataclass(frozen=True, slots=True)
class Steady:
    """What a run did over time.

    figure         what was looked at: `RATE` (samples/s), `WEIGHED` (1: as in warm-up) or `LATENCY` (ns)
    settled_share  of the run that passed before it was steady, by MSER-5; on mere noise it may be anything up to a half
    start          how the figure in that part differs from that of the rest, as a share of the latter, and
    start_errors   by how many standard errors
    drift          change from begin to end by its slope, as a share of the median, and
    p              how likely so much of a trend is by chance, two-sided
    drift_error    standard error of the drift by what warm-up knew of the lengths; 0 where nothing is weighed
    at_s, values   middle of each part that was looked at, and the figure in it
    """

    figure: str
    settled_share: float
    start: float
    start_errors: float
    drift: float
    p: float
    drift_error: float
    at_s: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def drifts(self) -> bool:
        return abs(self.drift) >= max(DRIFT, CERTAIN * self.drift_error) and self.p < TREND_P

    @property
    def starts_otherwise(self) -> bool:
        return self.settled_share > CUT and abs(self.start) >= DRIFT and self.start_errors > ERRORS

    @property
    def stable(self) -> bool:
        return not (self.drifts or self.starts_otherwise)

    def record(self) -> dict[str, Any]:
        """As run.json has it."""
        return {"stable": self.stable, **asdict(self)}


def read(record: Mapping[str, Any] | None) -> Steady | None:
    """`steady` of a stored run; None where nothing was looked at."""
    if not record:
        return None
    kept = {name: record[name] for name in Steady.__slots__}
    return Steady(**kept | {"at_s": tuple(record["at_s"]), "values": tuple(record["values"])})


def sentence(found: Steady) -> str:
    """The verdict and its figures: the drift, and the start where it was different."""
    figure = {RATE: "the rate", WEIGHED: "the rate (each sample counted by its length)", LATENCY: "the median latency"}[found.figure]
    known = f", ± {CERTAIN * found.drift_error:.1%} by the scatter of warm-up" if found.figure == WEIGHED else ""
    trend = f"(Theil-Sen slope, Mann-Kendall p = {units.number(found.p, 2)}{known})"
    moved = f"{figure} {'rose' if found.drift > 0 else 'fell'} by {abs(found.drift):.1%} of its median from begin to end {trend}"
    if found.stable:
        return f"{'steady' if abs(found.drift) < DRIFT else 'no certain drift'}: {moved}"
    said = [moved] if found.drifts else []
    if found.starts_otherwise:
        off = f"{abs(found.start):.1%} {'above' if found.start > 0 else 'below'} the rest"
        said.append(f"{figure} in the first {found.settled_share:.0%} was {off} (MSER-5, {found.start_errors:.0f} standard errors)")
    return f"UNSTABLE: {'; '.join(said)}"


def look(columns: Columns, *, paced: bool, work: Work | None = None) -> Steady | None:
    """By the rate of answers or, where arrivals are paced and the rate is theirs, by latency. None where there are too few samples.

    work  how long each row should take; None: all the same
    """
    if paced:
        return _by_latency(columns)
    return _by_rate(columns, work)


def _by_latency(columns: Columns) -> Steady | None:
    served = columns.served
    done = columns.done_ns[served]
    if len(done) < LEAST_ROWS:
        return None
    latency = columns.latency_ns[served]
    parts = np.array_split(np.argsort(done, kind="stable"), STRETCHES)
    values = np.array([float(np.median(latency[part])) for part in parts])
    return _described(LATENCY, done[[part[-1] for part in parts]].astype(np.float64), values, np.zeros((STRETCHES, 1)))


def _by_rate(columns: Columns, work: Work | None) -> Steady | None:
    """Parts hold whole calls, for all answers of a call come at once, and about the same work each."""
    done, amount, kind = _calls(columns, work)
    if work is None and amount.sum() < LEAST_ROWS:
        return None
    ends = _ends(amount)
    if len(ends) < LEAST_STRETCHES:
        return None
    values = np.diff(np.cumsum(amount)[ends], prepend=0.0) / np.maximum(np.diff(done[ends], prepend=0.0), 1.0)
    if work is None:
        return _described(RATE, done[ends], values * 1e9, np.zeros((len(ends), 1)))
    shares = _shares(ends, amount, kind) * work.error
    return _described(WEIGHED, done[ends], values / (int(columns.worker[columns.served].max()) + 1), shares)


def _calls(columns: Columns, work: Work | None) -> tuple[Floats, Floats, Int64]:
    """(calls,) of served rows: when each was answered, ascending, how much it held, and of what kind."""
    served = np.flatnonzero(columns.served)
    _, first, call = np.unique(columns.batch[served], return_index=True, return_inverse=True)
    amount = np.bincount(call, weights=None if work is None else work.ns[served], minlength=len(first)).astype(np.float64)
    done = columns.done_ns[served[first]].astype(np.float64)
    order = np.argsort(done, kind="stable")
    kind = np.zeros(len(first), np.int64) if work is None else work.kind[served[first]]
    return done[order], amount[order], kind[order]


def _ends(amount: Floats) -> Int64:
    """The last call of each part, ascending; none where there are too few calls."""
    count = min(STRETCHES, len(amount) // 2)
    if count < LEAST_STRETCHES:
        return np.zeros(0, np.int64)
    total = np.cumsum(amount)
    return np.unique(np.searchsorted(total, total[-1] * np.arange(1, count + 1) / count * (1 - 1e-12)))


def _shares(ends: Int64, amount: Floats, kind: Int64) -> Floats:
    """(parts, kinds): what share of each part's work is of each kind."""
    shares = np.zeros((len(ends), int(kind.max()) + 1))
    np.add.at(shares, (np.searchsorted(ends, np.arange(len(amount))), kind), amount)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float64)


def _described(figure: str, ends_ns: Floats, values: Floats, errors: Floats) -> Steady:
    """`errors`: (parts, kinds), standard errors by which the kinds, each by itself, move each part, as a share of it."""
    count, cut = len(values), mser(values)
    apart = np.where(np.arange(count) < cut, 1 / max(cut, 1), -1 / (count - cut))
    start, certain = _difference(values[:cut], values[cut:], float(np.linalg.norm(apart @ errors)))
    slope = np.arange(count) - (count - 1) / 2
    drift_error = float(np.linalg.norm(slope @ errors)) / float(slope @ slope) * (count - 1)
    drift = theil_sen(values) * (count - 1) / float(np.median(values))
    at_s = (ends_ns - np.diff(ends_ns, prepend=0.0) / 2) / 1e9
    settled = float(ends_ns[cut - 1] / ends_ns[-1]) if cut else 0.0
    return Steady(figure, settled, start, certain, drift, mann_kendall(values), drift_error, _rounded(at_s), _rounded(values))


def _rounded(values: Floats) -> tuple[float, ...]:
    """Six digits are more than a figure can show."""
    return tuple(float(f"{each:.6g}") for each in values)


def _difference(first: Floats, rest: Floats, known: float) -> tuple[float, float]:
    """Mean of `first` beside that of `rest`: the difference as a share of the latter, and in standard errors. `known`: a further standard
    error, as a share."""
    if len(first) < 2:
        return 0.0, 0.0
    gap = float(first.mean() - rest.mean())
    error = math.sqrt(first.var(ddof=1) / len(first) + rest.var(ddof=1) / len(rest) + (known * float(rest.mean())) ** 2)
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


def rate_spread(columns: Columns, found: Steady | None = None, parts: int = 20) -> float | None:
    """Half of the 95 % interval of the rate as a share of it, by the means of `parts` equal parts of the samples (non-overlapping batch
    means, Student's t); None where there are too few. It says nothing of how the next run may differ.

    found  with a rate by length its parts are taken instead: longest samples first, the rate in samples differs between parts by itself
    """
    if found is not None and found.figure == WEIGHED:
        values = np.array(found.values)
        return float(student_quantile(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)) / values.mean())
    done = np.sort(columns.done_ns[columns.served])
    if len(done) < LEAST_ROWS:
        return None
    took = np.diff(done[np.linspace(0, len(done) - 1, parts + 1).astype(np.int64)]).astype(np.float64)
    return float(student_quantile(0.975, parts - 1) * took.std(ddof=1) / math.sqrt(parts) / took.mean())
