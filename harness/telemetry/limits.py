"""Limits to be kept while something runs: temperatures that stop it, errors that must not grow. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.telemetry.recording import Recording


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` that columns of this name may say; `*` stands for any text (`gpu*_celsius`). `growth`: what counts is how much the column has
    grown since the first row."""

    column: str
    most: float
    growth: bool = False


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that was not kept: which column, its highest value, and when it was first above, monotonic ns."""

    limit: Limit
    column: str
    value: float
    at_ns: int
    unit: str


def exceeded(recording: Recording, limits: Sequence[Limit]) -> list[Exceeded]:
    """Every limit that some row is above, by column. A value that could not be read exceeds nothing: ask `unwatched`."""
    found = []
    for limit in limits:
        for name in fnmatch.filter(recording.columns, limit.column):
            values = _values(recording.columns[name], growth=limit.growth)
            above = [place for place, value in enumerate(values) if value is not None and value > limit.most]
            if above:
                worst = max(value for value in values if value is not None)
                found.append(Exceeded(limit, name, worst, recording.at_ns[above[0]], recording.units[name]))
    return found


def unwatched(recording: Recording, limits: Sequence[Limit]) -> dict[str, str]:
    """Limits that nothing stands behind, and why: no such column, or no value in its last row."""
    latest: Mapping[str, float | None] = recording.latest()
    reasons = {}
    for limit in limits:
        names = fnmatch.filter(recording.columns, limit.column)
        if not names or any(latest.get(name) is None for name in names):
            known = [reason for name, reason in recording.missing.items() if fnmatch.fnmatch(name, limit.column)]
            reasons[limit.column] = known[0] if known else recording.missing.get("sampler", "there is no such column, or no value in it")
    return reasons


def _values(values: Sequence[float | None], *, growth: bool) -> list[float | None]:
    first = next((value for value in values if value is not None), 0.0)
    return [None if value is None else value - first if growth else value for value in values]
