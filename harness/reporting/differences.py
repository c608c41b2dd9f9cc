"""What differs between runs in a group: conditions and settings, each with who has which value. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.document import Cell, Column, Table

_PASSING = ("load_average", "memory.available", "cpu.mhz", "peak", "instances", "others_cpu_share", "warm_up", "data.fingerprint")
_NOWHERE = ("name", "out", "progress", "resolved")
"""What is measured anew each time, what says where results went, and what follows from the settings."""

MOST_SIDE_BY_SIDE = 4
"""Runs that have a column each."""

MOST_ROWS = 8
"""Of a table that is shown at once."""

MOST_SHOWN = 4
"""Values of one thing; how many more there are is said."""


def table(name: str, title: str, labels: Sequence[str], found: Sequence[Mapping[str, Any]]) -> Table | None:
    """One row for each thing that is not alike in all of `found`, (runs,) each by the run called `labels`; None where all are alike."""
    flat = [dict(flattened(each)) for each in found]
    keys = [key for key in dict.fromkeys(key for each in flat for key in each) if len({str(each.get(key)) for each in flat}) > 1]
    if not keys:
        return None
    wide = len(labels) > MOST_SIDE_BY_SIDE
    rows = [[Cell(key, key), *_cells(labels, [each.get(key) for each in flat], wide=wide)] for key in keys]
    columns = [Column("what"), *([Column("which run has which")] if wide else map(Column, labels))]
    return Table(name, title, columns, rows, detail=len(rows) > MOST_ROWS)


def _cells(labels: Sequence[str], values: Sequence[Any], *, wide: bool) -> list[Cell]:
    return [Cell(_who(labels, values))] if wide else [Cell(_told(value)) for value in values]


def flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by dotted path; what changes from one moment to the next is left out."""
    for key, each in value.items():
        path = f"{prefix}{key}"
        if path.startswith(_PASSING) or path in _NOWHERE:
            continue
        if isinstance(each, Mapping):
            yield from flattened(each, f"{path}.")
        else:
            yield path, each


def _who(labels: Sequence[str], values: Sequence[Any]) -> str:
    """ "2.13.0: a, b; 2.12.0: c"."""
    by_value: dict[str, list[str]] = {}
    for label, value in zip(labels, values, strict=True):
        by_value.setdefault(_told(value), []).append(label)
    shown = [f"{value}: {', '.join(named)}" for value, named in list(by_value.items())[:MOST_SHOWN]]
    return "; ".join([*shown, *([f"{len(by_value) - MOST_SHOWN} more values"] if len(by_value) > MOST_SHOWN else [])])


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
