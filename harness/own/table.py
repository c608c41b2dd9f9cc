"""Rows of a user's own file: CSV, TSV or one JSON object a line. An error names the file and the line.

CSV is read with quoting, and its delimiter is `,`, or `;` where the header has no `,`. TSV is read without quoting: a quote is an ordinary
character. Lines without any character but white space are skipped. UTF-8, with or without a byte-order mark.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.datafiles import decode, read_bytes
from harness.errors import DataError
from harness.units import plural

FORMATS = (".csv", ".tsv", ".jsonl")
"""Suffixes of the files that can be read; capitals are accepted."""

Cells = Mapping[str, Any]
"""Values of one row by column. CSV and TSV give text; a JSON line gives what it holds, and may lack a column."""

_HEADER = "The first line names the columns."


@dataclass(frozen=True, slots=True)
class Table:
    """A file as rows. `lines` are the line numbers at which the rows begin, from 1."""

    path: Path
    sha256: str
    columns: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[Cells, ...]

    def error(self, row: int, what: str, cure: str) -> DataError:
        """The error for what is wrong in row `row`."""
        return DataError(f"{self.path}:{self.lines[row]}: {what}", cure)

    def text(self, row: int, column: str, *, empty: bool = False) -> str:
        """Value of a cell as text; a number or truth value of JSON is written as JSON writes it.

        Raises DataError where it is absent, null, a list or an object, half a character, or (unless `empty`) white space alone.
        """
        value = self.rows[row].get(column)
        if isinstance(value, bool | int | float):
            value = json.dumps(value)
        if not isinstance(value, str):
            what = "is a list" if isinstance(value, list) else "is an object" if isinstance(value, dict) else "is missing"
            raise self.error(row, f"{column!r} {what}", "Give each row a text there, or name another column.")
        if not empty and not value.strip():
            raise self.error(row, f"{column!r} is empty", "Fill it in or remove the row.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.error(row, f"{column!r} holds half a surrogate pair", "Write the character whole, or as a pair of \\u escapes.")
        return value


def read_table(path: Path) -> Table:
    """All rows of `path`, in file order.

    Raises MissingError where it cannot be read and DataError, with the line, for text that is not UTF-8, a row that does not fit the
    header, a quote that is not closed, a line that is no JSON object, a column name used twice, and a file without rows.
    """
    content = read_bytes(path)
    text = decode(content, path)
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"{path}: the format is not known by this ending", f"Name the file {', '.join('*' + suffix for suffix in FORMATS)}."
        )
    columns, numbered = readers[path.suffix.lower()](text, path)
    if not numbered:
        raise DataError(f"{path}: has a header but no rows", "Add rows below the header.")
    lines, rows = zip(*numbered, strict=True)
    return Table(path, hashlib.sha256(content).hexdigest(), columns, lines, rows)


Numbered = list[tuple[int, Cells]]


def _csv(text: str, path: Path) -> tuple[tuple[str, ...], Numbered]:
    records = _records(text, path, _delimiter(text, path))
    return _under_header(records, path, "Put double quotes around a value that holds the delimiter, and double a quote inside it.")


def _tsv(text: str, path: Path) -> tuple[tuple[str, ...], Numbered]:
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    records = ((number, line.split("\t")) for number, line in enumerate(lines, start=1) if line.strip())
    return _under_header(records, path, "Columns are separated by one tab; a text must hold neither tab nor line break.")


def _delimiter(text: str, path: Path) -> str:
    """`,` or `;`, whichever the header has outside of quotes; `,` where it has neither."""
    header = text.lstrip().partition("\n")[0]
    outside = "".join(header.split('"')[::2])
    if "," in outside and ";" in outside:
        raise DataError(
            f"{path}:1: the header holds both , and ;: which of them separates the columns?", "Put double quotes around the names."
        )
    return ";" if ";" in outside else ","


def _records(text: str, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each record. Raises DataError, naming the line on which the record begins."""
    limit = csv.field_size_limit(max(len(text), 1))  # the library's own limit is 131,072 characters; a context may be longer
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        line = 1
        try:
            for fields in reader:
                if any(field.strip() for field in fields):
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            what = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
            raise DataError(f"{path}:{line}: {what}", "Inside a quoted value a quote is written twice.") from error
    finally:
        csv.field_size_limit(limit)


def _under_header(records: Iterator[tuple[int, list[str]]], path: Path, cure: str) -> tuple[tuple[str, ...], Numbered]:
    """Names of the first record, and the others by these names."""
    everything = list(records)
    line, names = everything[0]  # the file is not empty: read_bytes saw to that
    columns = tuple(name.strip() for name in names)
    for name in columns:
        if name and columns.count(name) > 1:
            raise DataError(f"{path}:{line}: two columns are called {name!r}", f"Give each column a name of its own. {_HEADER}")
    rows: Numbered = []
    for number, fields in everything[1:]:
        if len(fields) != len(columns):
            raise DataError(f"{path}:{number}: {plural(len(fields), 'column')}, the header has {len(columns)}", cure)
        rows.append((number, dict(zip(columns, fields, strict=True))))
    return tuple(name for name in columns if name), rows


def _jsonl(text: str, path: Path) -> tuple[tuple[str, ...], Numbered]:
    rows: Numbered = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        item = _parsed(line, path, number)
        columns |= dict.fromkeys(item)
        rows.append((number, item))
    return tuple(columns), rows


def _parsed(line: str, path: Path, number: int) -> Cells:
    cure = 'Write one JSON object a line, as in {"text": "good", "label": "yes"}.'
    try:
        item = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}:{error.colno}: the line is not JSON ({error.msg})", cure) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of more than 4,300 digits
        raise DataError(f"{path}:{number}: the line cannot be read ({error})", cure) from error
    if not isinstance(item, dict):
        raise DataError(f"{path}:{number}: the line is not a JSON object", cure)
    return item


def listed(columns: Sequence[str]) -> str:
    """Columns as an error lists them."""
    return ", ".join(map(repr, columns)) or "none"
