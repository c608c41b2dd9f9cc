"""How far a figure of a good machine may lie from those that a baseline was learned from. Pure.

A limit is a one-sided bound for a single further measurement (prediction interval): the median of the n learned ones, k standard
deviations towards the bad side, k = t(1 - a; d) sqrt(1 + 1/n) (Hahn and Meeker, Statistical Intervals, section 4.8). a is 1 % over the
number of figures that are judged (Bonferroni), so that a good machine is rejected by chance once in a hundred qualifications, whatever the
number of figures. It is never tighter than the worst measurement that was accepted.

Three measurements hardly know their own spread (t(0.999; 2) is 22), so figures lend each other what they know: each variance is shrunk
towards that of the others by as much as they agree, with more degrees of freedom in turn (Smyth, Linear models and empirical Bayes
methods, Statistical Applications in Genetics and Molecular Biology 3, 2004, section 6.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev, variance

from harness.compare import student_quantile
from harness.qualifying.check import Better

FEWEST = 3
"""Measurements below which a spread is a guess, and no limit is drawn."""
FALSE_REJECTIONS = 0.01
"""Of good machines, by all figures together."""
MOST_LENT = 4.0
"""Degrees of freedom that a figure may be lent: how alike a handful of spreads are is itself not well known."""
FEWEST_LENDERS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one measurement. `error`: standard error of `value` by its own repeats, same unit; 0 where there were none."""

    value: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Limit:
    """`median` and `spread` (standard deviation of one measurement: a share where `relative`) of `n`; `freedom` with what was lent, `k`
    spreads are allowed; `worst`: the worst that was accepted; `low`, `high`: what a figure may not lie below or above, None: any."""

    n: int
    median: float
    spread: float
    relative: bool
    freedom: float
    k: float
    worst: float
    low: float | None
    high: float | None


def limits(samples: Mapping[str, Sequence[Sample]], better: Mapping[str, Better]) -> dict[str, Limit]:
    """Of each figure that has at least `FEWEST` samples."""
    known = {name: each for name, each in samples.items() if len(each) >= FEWEST}
    spreads = {name: _spread(each) for name, each in known.items()}
    alike = {name: (own, len(known[name]) - 1) for name, own in spreads.items() if own > 0 and _relative(known[name])}
    lent, prior = _prior([own**2 for own, _ in alike.values()], [freedom for _, freedom in alike.values()])
    share = 1 - FALSE_REJECTIONS / max(1, len(known))
    made = {}
    for name, each in known.items():
        freedom, spread = float(len(each) - 1), spreads[name]
        if name in alike:
            spread = math.sqrt((lent * prior + freedom * spread**2) / (lent + freedom))
            freedom += lent
        k = student_quantile(share, max(1, math.floor(freedom))) * math.sqrt(1 + 1 / len(each))
        made[name] = _limit(each, better[name], spread, freedom, k)
    return made


def standard_error(values: Sequence[float]) -> float:
    """Of the median of independent repeats: sqrt(pi / 2) standard errors of the mean, as if normal. 0 for fewer than two."""
    return math.sqrt(math.pi / 2 / len(values)) * stdev(values) if len(values) > 1 else 0.0


def _relative(samples: Sequence[Sample]) -> bool:
    return min(each.value for each in samples) > 0


def _spread(samples: Sequence[Sample]) -> float:
    """Between the measurements, but at least what their own repeats explain."""
    values = [each.value for each in samples]
    if len(set(values)) == 1:
        return 0.0  # what comes out the same each time is exact: an accuracy, a count
    if not _relative(samples):
        return stdev(values)
    between = stdev([math.log(value) for value in values])
    within = math.sqrt(fmean((each.error / each.value) ** 2 for each in samples))
    return max(between, within)


def _limit(samples: Sequence[Sample], better: Better, spread: float, freedom: float, k: float) -> Limit:
    values, relative = [each.value for each in samples], _relative(samples)
    middle = median(values)
    low, high = (middle * math.exp(-k * spread), middle * math.exp(k * spread)) if relative else (middle - k * spread, middle + k * spread)
    worst = max(values) if better == "lower" else min(values)
    return Limit(
        len(values),
        middle,
        spread,
        relative,
        freedom,
        k,
        worst,
        None if better == "lower" else min(low, *values),
        None if better == "higher" else max(high, *values),
    )


# ------------------------------------------------------------------------------------------------------------- what figures lend


def _prior(variances: Sequence[float], freedoms: Sequence[int]) -> tuple[float, float]:
    """Degrees of freedom and variance that each figure is lent, from the moments of the logarithms of all variances; (0, 0) for too few
    figures to lend."""
    if len(variances) < FEWEST_LENDERS:
        return 0.0, 0.0
    logs = [math.log(each) - _digamma(freedom / 2) + math.log(freedom / 2) for each, freedom in zip(variances, freedoms, strict=True)]
    excess = variance(logs) - fmean(_trigamma(freedom / 2) for freedom in freedoms)
    lent = MOST_LENT if excess <= 0 else min(MOST_LENT, 2 * _trigamma_inverse(excess))
    return lent, math.exp(fmean(logs) + _digamma(lent / 2) - math.log(lent / 2))


def _digamma(x: float) -> float:
    """Abramowitz and Stegun 6.3.5 up to 6, then 6.3.18; to 1e-9."""
    shift = 0.0
    while x < 6:
        shift, x = shift - 1 / x, x + 1
    square = 1 / x**2
    return shift + math.log(x) - 1 / (2 * x) - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))


def _trigamma(x: float) -> float:
    """Abramowitz and Stegun 6.4.6 up to 6, then 6.4.12; to 1e-8."""
    shift = 0.0
    while x < 6:
        shift, x = shift + 1 / x**2, x + 1
    square = 1 / x**2
    return shift + 1 / x + square / 2 + square / x * (1 / 6 - square * (1 / 30 - square * (1 / 42 - square / 30)))


def _trigamma_inverse(value: float) -> float:
    """Where trigamma, which falls from infinity to 0, is `value` > 0: bisection between powers of two."""
    low = high = 1.0
    while _trigamma(low) < value:
        low /= 2
    while _trigamma(high) > value:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _trigamma(middle) > value else (low, middle)
    return (low + high) / 2
