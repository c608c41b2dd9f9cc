"""Is head less accurate than base? Both answered the same examples, so what they answer alike cancels out. Pure.

Scores say little here: the standard error of SQuAD's F1 is 0.24 points, of the difference of two passes over the same questions far less
(peers.md 3.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness import paired, units
from harness.ci.result import Finding
from harness.core import Accuracy
from harness.paired import Outcomes
from harness.stats import bootstrap_interval

MOST_P = 0.01
"""A difference is one if chance makes one like it less often than this: false alarms stay under 1 % of pushes even where a change tips
answers at random. One flip in eight, all to wrong, is the fewest that can show it (2 x 0.5^8 = 0.8 %)."""

DRAWS = 4000
"""Resamples of an interval of 99 %: its ends rest on 20 of them."""


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
    """By McNemar's test where the metric counts right answers, else by a paired bootstrap over examples; without either, by the gaps of
    both to FP32's answers. Missing the target that base meets is a regression whatever a test says."""
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
        return _by_points(one, other, lost)
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
    low, high = _interval(base, head) if len(base.points) else (None, None)
    text = f"{units.plural(to_wrong, 'answer')} became wrong and {to_right} right of {len(base.correct):,} (McNemar p {p:.2g})"
    if p >= MOST_P:
        return Judged("unchanged", lost, low, high, text)
    return Judged("regression" if to_wrong > to_right else "improvement", lost, low, high, text)


def _by_points(base: Outcomes, head: Outcomes, lost: float) -> Judged:
    low, high = _interval(base, head)
    text = f"points of {len(base.points):,} examples, paired: {lost:+.2f} lost, 99 % interval [{low:+.2f}, {high:+.2f}]"
    return Judged(_beyond_chance(low, high), lost, low, high, text)


def _interval(base: Outcomes, head: Outcomes) -> tuple[float, float]:
    """99 % of the points lost: percentile bootstrap over examples."""
    if (base.points == head.points).all():
        return 0.0, 0.0
    return bootstrap_interval(base.points - head.points, np.mean, paired.SEED, DRAWS, 1 - MOST_P)


def _by_gaps(base: Accuracy, head: Accuracy, lost: float) -> Judged:
    """The gaps to FP32 as if they were independent, which they are not: the interval is too wide, and errs towards no difference."""
    gaps = [each.paired.gap_interval if each.paired is not None else None for each in (base, head)]
    if gaps[0] is None or gaps[1] is None:
        text = "no examples are known: only a missed target shows"
        return Judged("unchanged" if lost == 0 else "undecided", lost, None, None, text)
    half = math.hypot(*((high - low) / 2 for low, high in (gaps[0], gaps[1])))
    low, high = lost - half, lost + half
    return Judged(_beyond_chance(low, high), lost, low, high, f"{lost:+.2f} points lost [{low:+.2f}, {high:+.2f}], by both gaps to FP32")


def _beyond_chance(low: float, high: float) -> Finding:
    if low > 0:
        return "regression"
    return "improvement" if high < 0 else "unchanged"
