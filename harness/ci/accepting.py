"""A change of the history that somebody looked at and takes: found by its series, or by the commit it came with in every series."""

from __future__ import annotations

from harness.ci.changes import Change, of_points
from harness.errors import UsageError
from harness.history.database import History
from harness.history.records import Point

_LISTS = "`assay history SERIES` shows the changes of a series"


def accept(history: History, named: str, commit: str | None, note: str) -> list[str]:
    """Store the note; a sentence for each change that it was given to. `named`: a series (its key or words), or else a commit, whose
    changes are accepted in all series. Raises UsageError where there is no such change, MissingError without Apache Otava."""
    if not note.strip():
        raise UsageError("--note is empty", "say why the change is accepted")
    taken = [_take(history, key, changes, note) for key, changes in _asked(history, named, commit)]
    return [line for lines in taken for line in lines]


def _asked(history: History, named: str, commit: str | None) -> list[tuple[str, list[tuple[Change, Point]]]]:
    """The changes that are meant, by key of their series."""
    known_keys = [each.key for each in history.series()]
    if commit is None and named not in known_keys:  # looked for in every series: seconds where there are many
        of_commit = {key: found for key in known_keys if (found := _with(changes_of(history, key), named))}
        if of_commit:
            return list(of_commit.items())
    series = history.find(named)
    known = changes_of(history, series.key)
    found = _with(known, commit) if commit else known[-1:]
    if not found:
        there = "; ".join(change.text for change, _ in known) or "none were found"
        raise UsageError(f"{series.key} has no change{f' at {commit}' if commit else ''}: {there}", _LISTS)
    return [(series.key, found)]


def changes_of(history: History, key: str) -> list[tuple[Change, Point]]:
    """Every change of a series' headline figure with the first run of its new level."""
    points = history.points(key)
    return [(change, points[change.index]) for change in of_points(points, history.accepted(key))]


def _with(changes: list[tuple[Change, Point]], commit: str | None) -> list[tuple[Change, Point]]:
    """Those whose first bad commit begins so; 4 digits at least."""
    return [each for each in changes if commit and len(commit) >= 4 and each[0].first_bad.startswith(commit)]


def _take(history: History, key: str, changes: list[tuple[Change, Point]], note: str) -> list[str]:
    for _, point in changes:
        history.accept(key, point.row.run_id, note, point.figure.name)
    return [f"accepted in {key}: {change.text.partition('; accepted')[0]}" for change, _ in changes]
