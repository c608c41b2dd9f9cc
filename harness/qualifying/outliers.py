"""Which of several machines of one kind, or of several GPUs of one machine, is not like the others. Pure.

Each figure of each unit is held against the same figure of the *other* units, in logarithms: their median, and their spread by the median
absolute deviation, 1.4826 · MAD (Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, JASA 88, 1993). Neither moves before
half of the others are bad. The distance over the spread is held against Student's t with 0.37 (m - 1) degrees of freedom for m others:
0.37 is the efficiency of the MAD in that paper, and sqrt(1 + pi / 2m) the error of their median. Simulated, that is at most 1 % below the
true quantile for m from 4 to 200 and chances from 5 % to 1 in 100,000, and over it for small m (6 times at m = 4 and 1 in 1,000; 28 % at
m = 10): with few units it names less.

Many units and figures are many chances to name a good one. The figures of a unit are joined by Simes' inequality (Biometrika 73, 1986),
which holds for figures that move together, and the units by Benjamini and Hochberg (JRSS B 57, 1995): of the named ones at most `RATE` are
good in the mean, and where none is bad, any is named in at most that share of fleets. What is nearer than `LEAST` is never named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.qualifying.student_tail import above, beyond

RATE = 0.05
"""Good units among those named, in the mean; and fleets without a bad one in which one is named."""

LEAST = 0.03
"""A difference of less is none, however sure: submitters of one GPU lie within about 3 % of each other in MLPerf Inference 4.1."""

FEWEST = 5
"""Units below which nothing is named: by three or four, a spread is not known."""

SIGMA = 1.4826
EFFICIENCY = 0.37
_FAR = 100.0
"""A logarithm beyond every difference that means something."""

Direction = Literal["worse", "better"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of all units: `values` by unit, all above 0. `two_sided`: it is bad in both directions."""

    name: str
    unit: str
    better: Literal["higher", "lower", "equal"]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one figure of one unit lies. `share`: from the median of the others, 0.05 is 5 % above; `spreads`: the same in their spreads,
    positive is worse, None where they are all equal and this one is not; `worse`, `better`: chance of a good unit to lie so far out."""

    share: float
    spreads: float | None
    worse: float
    better: float


@dataclass(frozen=True, slots=True)
class Ground:
    """What the units of a metric are like: median and spread (a share) of all n, and `finest`: the difference, as a share, from which a
    single unit would be named."""

    n: int
    median: float
    spread: float
    finest: float


@dataclass(frozen=True, slots=True)
class Named:
    """A unit that is not like the others, in the metrics named, the furthest first; `chance`: of a good unit to be so."""

    unit: str
    direction: Direction
    metrics: tuple[str, ...]
    chance: float


def places(metric: Metric, least: float = LEAST) -> dict[str, Place]:
    """By unit. Empty for fewer than `FEWEST` units."""
    if len(metric.values) < FEWEST:
        return {}
    logs = np.log(np.asarray(list(metric.values.values()), np.float64))
    return {unit: _place(logs[index], np.delete(logs, index), metric.better, least) for index, unit in enumerate(metric.values)}


def _place(own: float, others: NDArray[np.float64], better: str, least: float) -> Place:
    away, spread, freedom = float(own - np.median(others)), _spread(others), EFFICIENCY * (len(others) - 1)
    width = spread * _of_median(len(others))
    far = away / width if width > 0 else math.copysign(math.inf, away) if away else 0.0
    share = math.expm1(away)
    worse, other = (far, -far) if better == "lower" else (-far, far)
    if better == "equal":
        worse, other = abs(far), -math.inf
    small = abs(share) < least
    tails = [1.0 if small or value <= 0 else above(value, freedom) * (2 if better == "equal" else 1) for value in (worse, other)]
    return Place(share, None if math.isinf(far) else worse, *tails)


def ground(metric: Metric, chance: float, least: float = LEAST) -> Ground:
    """`chance`: what a figure must fall below to be named alone (`alone`). Raises ValueError for fewer than two units."""
    logs = np.log(np.asarray(list(metric.values.values()), np.float64))
    if len(logs) < 2:
        raise ValueError(f"{metric.name}: a spread of one")
    spread, others = _spread(logs), len(logs) - 1
    found = (len(logs), float(np.exp(np.median(logs))), spread)
    if len(logs) < FEWEST:
        return Ground(*found, math.inf)
    away = beyond(chance, EFFICIENCY * (others - 1)) * spread * _of_median(others)
    return Ground(*found, max(least, math.expm1(min(away, _FAR)) if metric.better == "lower" else -math.expm1(-away)))


def alone(units: int, metrics: int, rate: float = RATE) -> float:
    """Chance that the figure of a single unit must fall below to be named, if no other is named and none of its own figures agrees."""
    return rate / max(1, units) / max(1, metrics)


def named(found: Mapping[str, Mapping[str, Place]], direction: Direction, rate: float = RATE) -> list[Named]:
    """Of all units of a fleet (metric -> place by unit), those that are not like theirs, the least likely first."""
    chances = {unit: {name: getattr(place, direction) for name, place in each.items()} for unit, each in found.items() if each}
    joined = {unit: simes(list(each.values())) for unit, each in chances.items()}
    cut = benjamini_hochberg(list(joined.values()), rate)
    chosen = sorted((unit for unit, chance in joined.items() if chance <= cut), key=lambda unit: joined[unit])
    return [Named(unit, direction, _which(chances[unit], found[unit], cut), joined[unit]) for unit in chosen]


def _which(chances: Mapping[str, float], found: Mapping[str, Place], cut: float) -> tuple[str, ...]:
    """By Simes at least one of a unit's figures is below the cut that the unit is below."""
    below = [name for name, chance in chances.items() if chance <= cut]
    return tuple(sorted(below, key=lambda name: -abs(found[name].share)))


def simes(chances: Sequence[float]) -> float:
    """One chance for several figures of a unit, which may move together. Raises ValueError for none."""
    return min(len(chances) / (rank + 1) * chance for rank, chance in enumerate(sorted(chances)))


def benjamini_hochberg(chances: Sequence[float], rate: float) -> float:
    """Chance up to which each is named; -1 where none is."""
    ordered = sorted(chances)
    cuts = (rate * rank / len(ordered) for rank in range(len(ordered), 0, -1))
    return next((cut for cut, chance in zip(cuts, reversed(ordered), strict=True) if chance <= cut), -1.0)


def signed(share: float) -> str:
    """As people read it: -0.05 -> "−5.0 %"."""
    return f"{100 * share:+.1f} %".replace("-", "−")


def _spread(logs: NDArray[np.float64]) -> float:
    return SIGMA * float(np.median(np.abs(logs - np.median(logs))))


def _of_median(others: int) -> float:
    """Of the difference to a median of so many, in spreads of one."""
    return math.sqrt(1 + math.pi / 2 / others)
