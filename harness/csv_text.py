"""Tables as CSV (RFC 4180): units in the headings, values as they are stored, one record a row. Pure.

A text that a spreadsheet would take for a formula is given an apostrophe, as OWASP advises ("CSV injection"): names come from anybody.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

from harness.document import Cell, Document, Table

Value = float | int | str | bool | None

STRUCK = "no result"
"""Heading of the column that names what is struck out in a row."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NOTHING = ("", "-", "–")


def named(made: Document) -> dict[str, str]:
    """Each table of a document by its name."""
    return {each.name: table(each) for each in made.parts if isinstance(each, Table)}


def document(made: Document) -> str:
    """Its table; of several, each behind a record that is its title alone, an empty line between them."""
    tables = [each for each in made.parts if isinstance(each, Table)]
    if len(tables) == 1:
        return table(tables[0])
    return "\r\n".join(records([[each.title]]) + table(each) for each in tables)


def table(made: Table) -> str:
    """Headings and rows: the table's own records, else its cells. What cells say beside their value has columns of its own, behind that of
    the cell; where something is struck out, the last column names it."""
    if made.records:
        return records([list(made.records[0]), *([each.get(key) for key in made.records[0]] for each in made.records)])
    beside = [_beside(row[place] for row in made.rows) for place in range(len(made.columns))]
    struck = any(cell.struck for row in made.rows for cell in row)
    heading = [name for column, more in zip(made.columns, beside, strict=True) for name in (headed(column.name, column.unit), *more)]
    rows = [_record(row, beside) + ([_struck(made, row)] if struck else []) for row in made.rows]
    return records([heading + [STRUCK] * struck, *rows])


def records(rows: Iterable[Sequence[Value]]) -> str:
    """CRLF ends each; True and False are written yes and no, None is empty."""
    lines: list[str] = []
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerows([_written(value) for value in row] for row in rows)
    return "".join(lines)


def headed(name: str, unit: str) -> str:
    """ "p99", "ns" -> "p99 (ns)"."""
    return f"{name} ({unit})" if unit else name


def _beside(cells: Iterable[Cell]) -> list[str]:
    return list(dict.fromkeys(name for cell in cells for name in cell.more))


def _record(row: Sequence[Cell], beside: Sequence[Sequence[str]]) -> list[Value]:
    return [value for cell, names in zip(row, beside, strict=True) for value in (_value(cell), *(cell.more.get(name) for name in names))]


def _value(cell: Cell) -> Value:
    return cell.value if cell.value is not None else None if cell.text in _NOTHING else cell.text


def _struck(made: Table, row: Sequence[Cell]) -> str:
    return "; ".join(column.name for column, cell in zip(made.columns, row, strict=True) if cell.struck)


def _written(value: Value) -> float | int | str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
