"""Is head less accurate than base? Both answered the same examples, so what they answer alike cancels out. Pure.

Scores say little here: the standard error of SQuAD's F1 is 0.24 points, of the difference of two passes over the same questions far less
(peers.md 3.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import paired, units
from harness.ci.result import Finding
from harness.ci.wording import signed
from harness.core import Accuracy
from harness.metrics import METRICS
from harness.paired import Outcomes
from harness.stats import bootstrap_interval

MOST_P = 0.01
"""A difference is one if chance makes one like it less often than this: false alarms stay under 1 % of pushes even where a change tips
answers at random. One flip in eight, all to wrong, is the fewest that can show it (2 x 0.5^8 = 0.8 %)."""

DRAWS = 4000
"""Resamples of an interval of 99 %: its ends rest on 20 of them."""

_ROUNDING = 1e-6
"""Points by which a metric that is computed again may miss the score."""

Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""`metric(truths, answered)` in points."""

Lost = Callable[[NDArray[np.int64]], float]
"""Points that head loses on these examples, given by their places, possibly more than once."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Of one side: the score, and what became of each example where that is known."""

    accuracy: Accuracy
    outcomes: Outcomes | None


@dataclass(frozen=True, slots=True)
class Judged:
    """`lost`: points of the metric, with `low` and `high` (99 %) where they can be formed; `text`: how it was decided."""

    verdict: Finding
    lost: float
    low: float | None
    high: float | None
    text: str


def judge(base: Answers, head: Answers) -> Judged:
    """By McNemar's test where the metric counts right answers, else by a paired bootstrap over examples: of their points, or of a metric
    that is no mean (Matthews, F1 of a class, a correlation) computed again; without either, by the gaps of both to FP32's answers. Missing
    the target that base meets is a regression whatever a test says."""
    found = _tested(base, head)
    if base.accuracy.passed and head.accuracy.passed is False:
        missed = (
            f"{head.accuracy.value:.2f} misses the target of {head.accuracy.target:.2f}, which base meets with {base.accuracy.value:.2f}"
        )
        return Judged("regression", found.lost, found.low, found.high, f"{missed}; {found.text}")
    return found


def _tested(base: Answers, head: Answers) -> Judged:
    lost = base.accuracy.value - head.accuracy.value
    one, other = base.outcomes, head.outcomes
    if one is None or other is None or len(one) != len(other):
        return _by_gaps(base.accuracy, head.accuracy, lost)
    if _counts_right_ones(one) and _counts_right_ones(other):
        return _by_flips(one, other, lost)
    if len(one.points) and len(other.points):
        return _by_examples(_of_points(one, other), len(one), lost)
    if (metric_of := _computed_again(base, head)) is not None:
        return _by_examples(_of_metric(one, other, metric_of), len(one), lost)
    flips = paired.flips(one.correct, other.correct)
    return _by_flips(one, other, lost) if flips is not None else _by_gaps(base.accuracy, head.accuracy, lost)


def _counts_right_ones(outcomes: Outcomes) -> bool:
    """The metric is the share of right answers."""
    points = outcomes.points
    return bool(len(outcomes.correct)) and len(points) == len(outcomes.correct) and bool((points == 100.0 * outcomes.correct).all())


def _by_flips(base: Outcomes, head: Outcomes, lost: float) -> Judged:
    flips = paired.flips(base.correct, head.correct)
    assert flips is not None
    to_wrong, to_right = flips
    p = paired.mcnemar(to_wrong, to_right)
    low, high = _interval(_of_points(base, head), len(base)) if len(base.points) else (None, None)
    text = f"{units.plural(to_wrong, 'answer')} became wrong and {to_right} right of {len(base.correct):,} (McNemar p {p:.2g})"
    if p >= MOST_P:
        return Judged("unchanged", lost, low, high, text)
    return Judged("regression" if to_wrong > to_right else "improvement", lost, low, high, text)


def _computed_again(base: Answers, head: Answers) -> Metric | None:
    """The metric, where it can be computed on any examples; None for one of the user's own."""
    metric_of = METRICS.get(base.accuracy.metric)
    return metric_of if metric_of is not None and all(_is_score(metric_of, each) for each in (base, head)) else None


def _is_score(metric_of: Metric, side: Answers) -> bool:
    """Whether it gives the score itself: a task of the user's may call another metric by the same name."""
    found = side.outcomes
    if found is None or not len(found.truths) or len(found.truths) != len(found.answered):
        return False
    return abs(metric_of(found.truths, found.answered) - side.accuracy.value) < _ROUNDING


def _of_points(base: Outcomes, head: Outcomes) -> Lost:
    differences = base.points - head.points
    return lambda chosen: float(differences[chosen].mean())


def _of_metric(base: Outcomes, head: Outcomes, metric_of: Metric) -> Lost:
    def lost(chosen: NDArray[np.int64]) -> float:
        truths = base.truths[chosen]
        return metric_of(truths, base.answered[chosen]) - metric_of(truths, head.answered[chosen])

    return lost


def _by_examples(measured: Lost, examples: int, lost: float) -> Judged:
    low, high = _interval(measured, examples)
    text = f"{examples:,} examples, paired: {signed(lost)} points lost, 99 % interval [{signed(low)}, {signed(high)}]"
    return Judged(_beyond_chance(low, high), lost, low, high, text)


def _interval(measured: Lost, examples: int) -> tuple[float, float]:
    """99 % of the points lost: percentile bootstrap over examples, both answers to an example drawn together."""
    return bootstrap_interval(np.arange(examples), measured, paired.SEED, DRAWS, 1 - MOST_P)


def _by_gaps(base: Accuracy, head: Accuracy, lost: float) -> Judged:
    """The gaps to FP32 as if they were independent, which they are not: the interval is too wide, and errs towards no difference."""
    gaps = [each.paired.gap_interval if each.paired is not None else None for each in (base, head)]
    if gaps[0] is None or gaps[1] is None:
        text = "no examples are known: only a missed target shows"
        return Judged("unchanged" if lost == 0 else "undecided", lost, None, None, text)
    half = math.hypot(*((high - low) / 2 for low, high in (gaps[0], gaps[1])))
    low, high = lost - half, lost + half
    text = f"{signed(lost)} points lost [{signed(low)}, {signed(high)}], by both gaps to FP32"
    return Judged(_beyond_chance(low, high), lost, low, high, text)


def _beyond_chance(low: float, high: float) -> Finding:
    if low > 0:
        return "regression"
    return "improvement" if high < 0 else "unchanged"
