"""A change of the history that somebody looked at and takes: found by its series, or by the commit it came with in every series."""

from __future__ import annotations

from dataclasses import replace

from harness.ci.changes import Change, of_points
from harness.errors import UsageError
from harness.history.database import History
from harness.history.records import Point, Series
from harness.suggest import advice

_LISTS = "`assay history SERIES` shows the changes of a series"


def accept(history: History, named: str, commit: str | None, note: str, metric: str = "") -> list[str]:
    """Store the note; a sentence for each change that it was given to. `named`: a series (its key or words), or else a commit, whose
    changes are accepted in all series; `metric`: the figure whose changes are meant, "" for the headline. Raises UsageError where there is
    no such change or figure, MissingError without Apache Otava."""
    if not note.strip():
        raise UsageError("--note is empty", "say why the change is accepted")
    taken = [_take(history, key, changes, note) for key, changes in _asked(history, named, commit, metric)]
    return [line for lines in taken for line in lines]


def _asked(history: History, named: str, commit: str | None, metric: str) -> list[tuple[str, list[tuple[Change, Point]]]]:
    """The changes that are meant, by key of their series."""
    known_keys = [each.key for each in history.series()]
    if commit is None and named not in known_keys:  # looked for in every series: seconds where there are many
        of_commit = {key: found for key in known_keys if (found := _with(changes_of(history, key, metric), named))}
        if of_commit:
            return list(of_commit.items())
    series = _series(history, named, tried=commit is None)
    if metric and metric not in (figures := history.metrics(series.key)):
        raise UsageError(f"--metric: series {series.key} has no figure {metric}", advice(metric, figures, "figures"))
    known = changes_of(history, series.key, metric)
    found = _with(known, commit) if commit else known[-1:]
    if not found:
        there = "; ".join(change.text for change, _ in known) or "none were found"
        of = f" of {metric}" if metric else ""
        raise UsageError(f"{series.key} has no change{of}{f' at {commit}' if commit else ''}: {there}", _LISTS)
    return [(series.key, found)]


def _series(history: History, named: str, *, tried: bool) -> Series:
    """`tried`: it was looked for among the commits of changes, too."""
    try:
        return history.find(named)
    except UsageError as error:
        raise UsageError(f"{error}{', and no change came with such a commit' if tried else ''}", error.cure) from None


def changes_of(history: History, key: str, metric: str = "") -> list[tuple[Change, Point]]:
    """Every change of a figure of a series ("": its headline) with the first run of its new level."""
    points = history.points(key, metric)
    notes = [each for each in history.accepted(key) if each.metric == (metric or history.headline(key))]
    return [(change, points[change.index]) for change in of_points(points, notes)]


def _with(changes: list[tuple[Change, Point]], commit: str | None) -> list[tuple[Change, Point]]:
    """Those whose first bad commit begins so; 4 digits at least."""
    return [each for each in changes if commit and len(commit) >= 4 and each[0].first_bad.startswith(commit)]


def _take(history: History, key: str, changes: list[tuple[Change, Point]], note: str) -> list[str]:
    for _, point in changes:
        history.accept(key, point.row.run_id, note, point.figure.name)
    return [f"accepted in {key}: {point.figure.name} {replace(change, accepted=None).text}" for change, point in changes]
