"""A backend's answers against the FP32 reference's answers to the same examples: flips, their p, the gap and its interval. Pure.

What both answer alike cancels out, so the gap of two passes over the same examples is known far better than either score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.core import Paired, Word
from harness.stats import bootstrap_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SEED = 1
"""Any constant: the same answers give the same interval."""

DRAWS = 2000
"""Resamples of the bootstrap: the ends of a 95 % interval move by some hundredths of its width from seed to seed."""

RESCORED_DRAWS = 1000
"""Where the metric is computed anew for every resample, twice."""

ALLOWED_FLIPS = 3
"""Right answers that may become wrong on any set, however small: 99 % of FP32 would be a budget of one answer on RTE's 277."""

_ROUNDING = 1e-9
"""Points by which a mean may miss its exact value."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each example of a pass, (examples,) each, in one order; (0,) for what the task's metric does not have.

    points    share in the metric, 0 to 100; their mean is the metric
    correct   right or wrong
    answered  what was answered, as a number
    truths    what would have been right, in the numbers of `answered`; not kept with a reference
    """

    points: Floats
    correct: Bools
    answered: Floats
    truths: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return max(len(self.points), len(self.correct), len(self.answered))


@dataclass(frozen=True, slots=True)
class Rescore:
    """How a metric that is no mean is computed from any examples: `metric_of(truths, answered)` in points, (n,) each."""

    truths: Floats
    metric_of: Callable[[Floats, Floats], float]


@dataclass(frozen=True, slots=True)
class Held:
    """A score and what it is held against, in points. `target`: `share_target`, or less where a small set allows 3 flips."""

    value: float
    reference: float
    share_target: float
    target: float

    @property
    def passed(self) -> bool:
        """The verdict: point value against target, as in MLPerf."""
        return self.value >= self.target


def compare(reference: Outcomes, here: Outcomes, held: Held, rescore: Rescore | None) -> Paired:
    """All figures of a pair of passes over the same examples. Raises ValueError where they are not as many."""
    if len(reference) != len(here):
        raise ValueError(f"{len(here)} examples against {len(reference)} of the reference")
    counted = flips(reference.correct, here.correct)
    interval = gap_interval(reference, here, rescore)
    return Paired(
        flips_to_wrong=counted[0] if counted else None,
        flips_to_right=counted[1] if counted else None,
        changed=changed(reference, here),
        mcnemar_p=mcnemar(*counted) if counted else None,
        gap=held.value - held.reference,
        gap_interval=interval,
        allowed_flips=allowed_flips(held, here),
        word=word(held, interval),
    )


def flips(reference: Bools, here: Bools) -> tuple[int, int] | None:
    """Right in `reference` and wrong `here`, and the other way round; None where either does not know right and wrong."""
    if not len(reference) or not len(here):
        return None
    return int((reference & ~here).sum()), int((~reference & here).sum())


def changed(reference: Outcomes, here: Outcomes) -> int | None:
    """Examples with another answer that is as right or as wrong as the reference's; None where answers or rightness are not known."""
    if not all(map(len, (reference.answered, here.answered, reference.correct, here.correct))):
        return None
    return int(((reference.answered != here.answered) & (reference.correct == here.correct)).sum())


def mcnemar(to_wrong: int, to_right: int) -> float:
    """Two-sided exact p that flips split so unevenly if each went either way with probability 1/2; 1 where nothing flipped.

    min(1, 2 P(X <= min(b, c))) with X ~ Binomial(b + c, 1/2): the sign test on the discordant pairs of McNemar (Psychometrika 12, 1947).
    Integers until the last division, so exact for any number of flips. Raises ValueError for a negative number.
    """
    if to_wrong < 0 or to_right < 0:
        raise ValueError(f"{to_wrong} and {to_right} flips")
    count = to_wrong + to_right
    term = total = 1  # binomial(count, 0)
    for drawn in range(1, min(to_wrong, to_right) + 1):
        term = term * (count - drawn + 1) // drawn
        total += term
    return min(1.0, float(2 * total / 2**count))


def gap_interval(reference: Outcomes, here: Outcomes, rescore: Rescore | None) -> tuple[float, float] | None:
    """95 % interval of the metric here minus that of the reference, points: percentile bootstrap over examples, both answers to an
    example drawn together (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). None where it cannot be formed."""
    if len(reference.points) and len(here.points):
        return bootstrap_interval(here.points - reference.points, np.mean, SEED, DRAWS)
    if rescore is None or not len(reference.answered) or not len(here.answered):
        return None

    def gap(chosen: NDArray[np.int64]) -> float:
        truths = rescore.truths[chosen]
        return rescore.metric_of(truths, here.answered[chosen]) - rescore.metric_of(truths, reference.answered[chosen])

    low, high = bootstrap_interval(np.arange(len(here.answered)), gap, SEED, RESCORED_DRAWS)
    return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def hold(value: float, reference: float, share: float, floor: float | None) -> Held:
    """The score against `share` of the reference, or against `floor` where that is less. A reference below zero (Matthews) may be missed
    by the same part of its size."""
    share_target = reference * share if reference >= 0 else reference * (2 - share)
    return Held(value, reference, share_target, share_target if floor is None else min(share_target, floor))


def floor(value: float, here: Outcomes, reference: Outcomes | None, rescore: Rescore | None) -> float | None:
    """What ALLOWED_FLIPS flips can make of the reference's score `value`; None where that is not known."""
    least = floor_of_mean(value, here)
    return floor_rescored(reference, rescore) if least is None and reference is not None and rescore is not None else least


def floor_of_mean(reference: float, here: Outcomes) -> float | None:
    """The least a mean over examples can come to by ALLOWED_FLIPS flips from `reference`: each costs at most 100 points of one example.
    None for other metrics, and where there is no right and wrong."""
    if not len(here.points) or not len(here.correct):
        return None
    return reference - 100.0 * ALLOWED_FLIPS / len(here.points) - _ROUNDING


def floor_rescored(reference: Outcomes, rescore: Rescore) -> float | None:
    """The least that ALLOWED_FLIPS flips of right answers of the reference can make of a metric over two classes, tried for each number
    of flips in each class. None where there is no right and wrong, or not two classes."""
    truths, answered = rescore.truths, reference.answered
    classes = np.unique(np.concatenate([truths, answered]))
    if not len(reference.correct) or len(answered) != len(truths) or len(classes) != 2:
        return None
    first, second = (np.flatnonzero((truths == each) & (answered == each)) for each in classes)
    found = []
    for flipped in range(ALLOWED_FLIPS + 1):
        for others in range(ALLOWED_FLIPS + 1 - flipped):
            tried = answered.copy()
            tried[first[:flipped]], tried[second[:others]] = classes[1], classes[0]
            found.append(rescore.metric_of(truths, tried))
    return float(min(found)) - _ROUNDING


def allowed_flips(held: Held, here: Outcomes) -> int | None:
    """Right answers that may become wrong, none the other way, before the target can be missed; None where that is not known."""
    if held.target < held.share_target:
        return ALLOWED_FLIPS
    if not len(here.points) or not len(here.correct):
        return None
    return int((held.reference - held.target + _ROUNDING) * len(here.points) / 100)


def word(held: Held, interval: tuple[float, float] | None) -> Word:
    """ "passed" or "missed" by the score itself; "within noise" where the target lies inside the interval of the gap: a passed score
    whose lower end is below it, a missed one whose upper end reaches it."""
    if held.passed:
        return "passed, within noise" if interval is not None and held.reference + interval[0] < held.target else "passed"
    return "missed, within noise" if interval is not None and held.reference + interval[1] >= held.target else "missed"
