"""A series as it is shown: its runs, the level changes found in them, and what happened between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from harness.history.database import History
from harness.history.records import Accepted, Figure, Point, Row, Series
from harness.history.series_key import differences
from harness.history.spread import spread

NEWEST = 30
"""Points that the noise of a whole series is judged by."""


class Change(Protocol):
    """A step, as whatever looks for them describes it: the first point of the new level, the means before and after, and a sentence."""

    @property
    def index(self) -> int: ...
    @property
    def before(self) -> float: ...
    @property
    def after(self) -> float: ...
    @property
    def share(self) -> float: ...
    @property
    def worse(self) -> bool: ...
    @property
    def accepted(self) -> str | None: ...
    @property
    def text(self) -> str: ...


Finder = Callable[[Sequence[Point], Sequence[Accepted]], Sequence[Change]]
"""Finds the changes of one figure; the notes of accepted ones are given to it."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over time: its points, oldest first, the changes in it, and those that were accepted."""

    metric: str
    points: Sequence[Point]
    changes: Sequence[Change]
    accepted: Sequence[Accepted]


@dataclass(frozen=True, slots=True)
class Event:
    """What was other than before when a run was made: versions, kernel, settings of the machine."""

    row: Row
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trend:
    """`curves`: the headline first. `rows`: all runs, also those that do not count. `before` and `after`: the series that this one took
    over from, and the one that took over from it, each with what changed. `searched`: changes were looked for."""

    series: Series
    curves: Sequence[Curve]
    rows: Sequence[Row]
    events: Sequence[Event]
    before: tuple[Series, Sequence[str]] | None
    after: tuple[Series, Sequence[str]] | None
    searched: bool


@dataclass(frozen=True, slots=True)
class Latest:
    """Where a series stands: its headline figure in the newest run that counts, and how much points differ by themselves (a share; None
    for too few). `open_changes`: those nobody accepted, None where none were looked for."""

    series: Series
    figure: Figure | None
    noise: float | None
    open_changes: Sequence[Change] | None = None


def latest(history: History, series: Series) -> Latest:
    """Where a series stands, by its newest points alone."""
    points = history.points(series.key, last=NEWEST)
    return Latest(series, points[-1].figure if points else None, spread([point.value for point in points]))


def stands(found: Trend) -> Latest:
    """The same of a trend, with the changes that were found in its headline."""
    curve = found.curves[0] if found.curves and found.curves[0].points else None
    if curve is None:
        return Latest(found.series, None, None, () if found.searched else None)
    open_ones = [each for each in curve.changes if each.accepted is None] if found.searched else None
    return Latest(found.series, curve.points[-1].figure, noise(curve), open_ones)


def trend(history: History, series: Series, metrics: Sequence[str], find: Finder | None, known: Sequence[Series] = ()) -> Trend:
    """Everything that is shown of a series. `find`: None looks for no changes. `known`: all series, where they were read already. Raises
    what the history and `find` do."""
    rows = history.rows(series.key)
    accepted = history.accepted(series.key)
    links = successions(known or history.series())
    before = next((old for old, new in links if new.key == series.key), None)
    after = next((new for old, new in links if old.key == series.key), None)
    return Trend(
        series,
        [_curve(history, series.key, metric, [each for each in accepted if each.metric == metric], find) for metric in metrics],
        rows,
        _events(history, rows),
        (before, changed(before, series)) if before else None,
        (after, changed(series, after)) if after else None,
        searched=find is not None,
    )


def levels(curve: Curve) -> list[tuple[int, int]]:
    """Stretches between changes, the first point and the one behind the last of each."""
    starts = [0, *(change.index for change in curve.changes)]
    return list(zip(starts, [*starts[1:], len(curve.points)], strict=True))


def noise(curve: Curve) -> float | None:
    """Spread of the newest level as a share, None where it has too few points."""
    first, end = levels(curve)[-1]
    return spread([point.value for point in curve.points[first:end]])


def successions(known: Iterable[Series]) -> list[tuple[Series, Series]]:
    """Which series took over from which: of the same subject, begun after the other's last run, and the first to do so. Two that overlap
    in time run beside each other (two machines)."""
    found = []
    for series in _grouped(known).values():
        for later in series:
            earlier = [each for each in series if each.last_utc < later.first_utc]
            if earlier:
                found.append((min(earlier, key=lambda each: (len(changed(each, later)), _backwards(each.last_utc))), later))
    return found


def changed(before: Series, after: Series) -> list[str]:
    """What differs between two series, a line each."""
    return list(differences(before.parts, after.parts))


def _backwards(time: str) -> tuple[int, ...]:
    """Sorts the latest time first."""
    return tuple(-ord(letter) for letter in time)


def _grouped(known: Iterable[Series]) -> Mapping[str, list[Series]]:
    groups: dict[str, list[Series]] = {}
    for each in known:
        groups.setdefault(each.subject, []).append(each)
    return groups


def _curve(history: History, key: str, metric: str, accepted: Sequence[Accepted], find: Finder | None) -> Curve:
    points = history.points(key, metric)
    return Curve(metric, points, find(points, accepted) if find else (), accepted)


def _events(history: History, rows: Sequence[Row]) -> list[Event]:
    """Between neighbours whose conditions differ; the host's name alone is no event."""
    known = {of: _without_host(history.conditions(of)) for of in {row.conditions for row in rows}}
    pairs = ((row, list(differences(known[before.conditions], known[row.conditions]))) for before, row in pairwise(rows))
    return [Event(row, lines) for row, lines in pairs if lines]


def _without_host(conditions: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in conditions.items() if name != "hostname"}
