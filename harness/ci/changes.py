"""Where a history changed its level: E-divisive as in Hunter, by Apache Otava. A step has a size, a confidence and a range of commits.

Fleming et al., "Hunter: Using Change Point Detection to Hunt for Performance Regressions", ICPE 2023; Matteson and James, "A Nonparametric
Approach for Multiple Change Point Analysis of Multivariate Data", 2014. Only Otava's analysis is used, which needs numpy and scipy; the
clients of databases and chat programs that its package asks for are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingError

if TYPE_CHECKING:
    from harness.history.records import Accepted, Point

WINDOW = 50
"""Points that a change is looked for in at a time: Otava's default."""

MOST_P = 0.0001
"""A step is reported if chance makes one like it less often than this (t-test): Otava's default."""

LEAST_SIZE = 0.03
"""A step of less is not reported: runs of one machine differ by 1 to 2 % from day to day for no reason of the project's (docs/ci.md)."""

LEAST_POINTS = 6
"""No change is looked for in fewer points."""

LEAST_LEVEL = 2
"""Points of a level: one alone may be a burst. A step is thus reported from the second push after it on, never at the first."""

SPIKE = 5.0
"""A point this many deviations away from its neighbours, which agree among each other, is a burst and left out."""

INSTALL = "pip install scipy && pip install --no-deps apache-otava==0.8.0"


@dataclass(frozen=True, slots=True)
class Change:
    """A step in a series.

    index      of the first point of the new level
    before     mean of the level before, `after` of the level since, in the series' own unit
    share      after / before - 1
    p          probability of such a step by chance (t-test)
    first_bad  commit of the point at `index`; `last_good`: of the last before it that is no burst. The change lies
               after that, up to `first_bad`
    worse      by what is better in this series
    accepted   note of the person who accepted it; None: nobody did
    """

    index: int
    before: float
    after: float
    share: float
    p: float
    last_good: str = ""
    first_bad: str = ""
    worse: bool = False
    accepted: str | None = None

    @property
    def confidence(self) -> float:
        """1 - p."""
        return 1 - self.p

    @property
    def text(self) -> str:
        """One sentence: how much, where, how sure, and whether somebody accepted it."""
        between = f" after {self.last_good[:10]}, up to {self.first_bad[:10]}" if self.first_bad else f" at point {self.index + 1}"
        note = f"; accepted: {self.accepted}" if self.accepted is not None else ""
        sure = f"p {self.p:.1g}" if self.p >= 1e-9 else "p below 1e-9"
        return f"{'worse' if self.worse else 'better'} by {abs(self.share):.1%}{between} ({sure}){note}"


def change_points(
    values: Sequence[float],
    commits: Sequence[str] = (),
    *,
    better: Literal["higher", "lower"] = "lower",
    least_size: float = LEAST_SIZE,
    most_p: float = MOST_P,
) -> list[Change]:
    """The steps of a series in order of time, all values finite and above 0; none in a short one. `commits`: of each value, or none.

    A missing point is left out by the caller: Otava would repeat its neighbour. Raises MissingError where Otava is not installed,
    ValueError for values that are not above 0 or commits of another number.
    """
    if commits and len(commits) != len(values):
        raise ValueError(f"{len(commits)} commits of {len(values)} values")
    series = [float(value) for value in values]
    if not all(np.isfinite(value) and value > 0 for value in series):
        raise ValueError("a history needs values above 0")
    if len(series) < LEAST_POINTS:
        return []
    kept = _without_spikes(np.log(series))
    analysis = _analysis()
    with np.errstate(all="ignore"):  # levels without any spread divide by 0; their p is 0
        found, _ = analysis.compute_change_points([series[at] for at in kept], WINDOW, most_p, least_size)
    places = [0, *(point.index for point in found), len(kept)]
    lasting = [point for point, last, after in zip(found, places, places[2:], strict=False) if _lasts(point.index, last, after)]
    return [_change(point, kept, commits, better) for point in lasting]


def _lasts(index: int, before: int, after: int) -> bool:
    """Both levels have points enough. `before`, `after`: where the one begins and the other ends."""
    return min(index - before, after - index) >= LEAST_LEVEL


def _without_spikes(logs: NDArray[np.float64]) -> list[int]:
    """Places of the points that are no burst: one of which both sides (two points each) are far, and near each other.

    The deviation is that of successive differences, by their median, so that steps and bursts do not widen it.
    """
    spread = 1.4826 * float(np.median(np.abs(np.diff(logs)))) / math.sqrt(2)
    kept = []
    for at in range(len(logs)):
        left, right = logs[max(0, at - 2) : at], logs[at + 1 : at + 3]
        sides = [float(np.median(side)) for side in (left, right) if len(side)]
        away = min(abs(float(logs[at]) - side) for side in sides)
        if len(sides) < 2 or away <= SPIKE * spread or abs(sides[0] - sides[1]) > away / 2:
            kept.append(at)
    return kept


def of_points(points: Sequence[Point], accepted: Iterable[Accepted] = ()) -> list[Change]:
    """The changes of a figure of a series, none where it was ever 0; accepted ones with their notes. Raises MissingError."""
    if not points:
        return []
    if min(point.value for point in points) <= 0:  # no ratio of an accuracy of 0
        return []
    better = points[0].figure.better
    notes = {each.run_id: each.note for each in accepted}
    found = change_points([point.value for point in points], [point.row.commit or point.row.run_id for point in points], better=better)
    return [replace(each, accepted=notes.get(points[each.index].row.run_id)) for each in found]


def _change(point: Any, kept: Sequence[int], commits: Sequence[str], better: str) -> Change:
    """Otava's point in terms of the whole series: what was left out before it lies in the range of commits."""
    index, last, stats = kept[point.index], kept[point.index - 1], point.stats
    before, after = float(stats.mean_1), float(stats.mean_2)
    return Change(
        index=index,
        before=before,
        after=after,
        share=after / before - 1,
        p=float(stats.pvalue),
        last_good=commits[last] if commits else "",
        first_bad=commits[index] if commits else "",
        worse=(after > before) == (better == "lower"),
    )


def _analysis() -> Any:
    try:
        from otava import analysis
    except ImportError as error:
        raise MissingError(f"change points are found by Apache Otava, which cannot be imported: {error}", INSTALL) from error
    return analysis
