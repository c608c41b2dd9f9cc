"""Traffic on its own, in a file: what `assay traffic` writes, and what `run --traffic` plays again. JSON or Parquet.

Columns, one entry a row: `query` (rows of one query have one number), `sample` (index into the task's samples) and `due_ns` (ns from the
start of its phase; null in closed loops, where a query is due when the one before it is answered). `queries.parquet` of a stored run has
these columns too, so any run can be replayed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import Int64, Limits, Traffic
from harness.errors import DataError, MissingError, UsageError

FORMATS = (".json", ".parquet")


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows of a file. `due_ns` is None where the file has none (a closed loop)."""

    query: Int64
    sample: Int64
    due_ns: Int64 | None

    @property
    def queries(self) -> int:
        return len(np.unique(self.query))

    @property
    def rate(self) -> float:
        """Queries per second of the schedule; 1 where there is none."""
        if self.due_ns is None or self.due_ns[-1] <= self.due_ns[0] or self.queries < 2:
            return 1.0
        return (self.queries - 1) / (float(self.due_ns[-1] - self.due_ns[0]) / 1e9)


def write(file: Path | None, columns: Mapping[str, Sequence[int] | Int64 | None], about: Mapping[str, Any]) -> str:
    """Write the three columns and, beside them, what `about` says of them; gives the JSON text where `file` is None.

    Raises UsageError for a file type that is not known and MissingError where it cannot be written.
    """
    if file is None or file.suffix == ".json":
        text = json.dumps({**about, **{name: _listed(name, columns) for name in columns}}) + "\n"
        if file is not None:
            _save(file, text.encode())
        return text
    if file.suffix != ".parquet":
        raise UsageError(f"--out {file}: traffic is written as .json or .parquet", "name the file so")
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(_listed(name, columns), pa.int64()) for name in columns})
    described = {f"assay_{key}": json.dumps(value) for key, value in about.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(described), sink)
    _save(file, sink.getvalue().to_pybytes())
    return ""


def _listed(name: str, columns: Mapping[str, Sequence[int] | Int64 | None]) -> list[int | None]:
    column = columns[name]
    if column is None:
        rows = next(len(other) for other in columns.values() if other is not None)
        return [None] * rows
    return np.asarray(column).tolist()  # type: ignore[no-any-return]


def _save(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise MissingError(f"--out {file} cannot be written: {error.strerror}", "give a file in an existing folder") from error


def read(file: Path) -> Recorded:
    """Rows of a traffic file. Raises MissingError if it cannot be read and DataError, naming what is wrong, if it is no traffic."""
    try:
        columns = _parquet(file) if file.suffix == ".parquet" else _json(file)
    except OSError as error:
        if error.errno is None and file.is_file():
            raise DataError(f"{file}: damaged: {error}", "write it with `assay traffic`") from error
        raise MissingError(f"--traffic {file} cannot be read: {error.strerror or error}", "give an existing file") from error
    query, sample, due = (_integers(file, name, columns.get(name)) for name in ("query", "sample", "due_ns"))
    if sample is None or query is None:
        raise DataError(f"{file}: no column {'sample' if sample is None else 'query'}", "write it with `assay traffic`")
    if not len(sample) == len(query) == (len(sample) if due is None else len(due)):
        raise DataError(f"{file}: columns of different lengths", "write it with `assay traffic`")
    if not len(sample):
        raise DataError(f"{file}: no rows", "write it with `assay traffic`")
    return Recorded(query, sample, due)


def _json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text", "give a .json or .parquet file of traffic") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: not JSON: {error.msg}", "write it with `assay traffic`") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists in lists
        raise DataError(f"{file}: not traffic: {error}", "write it with `assay traffic`") from None
    if not isinstance(found, dict):
        raise DataError(f"{file}: not an object with the columns query, sample, due_ns", "write it with `assay traffic`")
    return found


def _parquet(file: Path) -> Mapping[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except pa.ArrowInvalid as error:
        raise DataError(f"{file}: not Parquet: {error}", "write it with `assay traffic`") from None
    return {name: table[name].to_pylist() for name in table.column_names if name in ("query", "sample", "due_ns")}


def _integers(file: Path, name: str, values: Any) -> Int64 | None:
    """A column of whole numbers; None where it is not there or all null."""
    if values is None or (isinstance(values, list) and values and all(value is None for value in values)):
        return None
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise DataError(f"{file}: {name} is not a list of whole numbers", "write it with `assay traffic`")
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise DataError(f"{file}: {name} holds numbers beyond 64 bits", "write it with `assay traffic`") from None


def as_traffic(recorded: Recorded, file: Path, sample_count: int, *, closed_loop: bool, limits: Limits, at_once: bool = False) -> Traffic:
    """Recorded rows as a scenario's traffic; query numbers from 0.

    Due times are taken only where the scenario has a schedule, which ends where `limits` have a maximum, as LoadGen's does. `at_once`: one
    query that is due at the start, whatever was recorded (Offline).

    Raises DataError for samples that the task does not have, queries that the scenario cannot ask, a schedule that goes back in time, or
    one that is needed and not there.
    """
    outside = np.flatnonzero((recorded.sample < 0) | (recorded.sample >= sample_count))
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{file}: row {row} asks sample {recorded.sample[row]}, the data has {sample_count:,} samples",
            "replay it on the data it was made for",
        )
    sample, rows = recorded.sample.astype(np.int32), len(recorded.sample)
    if at_once:
        return Traffic(np.zeros(rows, np.int64), sample, np.zeros(rows, np.int64), limits)
    query = _numbered(recorded, file)
    if closed_loop:
        _refuse_mixed_sizes(query, file)
        return Traffic(query, sample, None, limits)
    due = _schedule(recorded, file)
    rows = _before_a_maximum(query, due, limits)
    return Traffic(query[:rows], sample[:rows], due[:rows], limits)


def _numbered(recorded: Recorded, file: Path) -> Int64:
    if (recorded.query[1:] < recorded.query[:-1]).any():
        raise DataError(f"{file}: query numbers do not ascend", "order the rows by query")
    return np.unique(recorded.query, return_inverse=True)[1].astype(np.int64)


def _refuse_mixed_sizes(query: Int64, file: Path) -> None:
    """The ledger serves a closed loop by the size of its first query."""
    sizes = np.bincount(query)
    odd = np.flatnonzero(sizes != sizes[0])
    if len(odd):
        raise DataError(
            f"{file}: query {int(odd[0])} has {sizes[odd[0]]} samples, the first has {sizes[0]}",
            "give all queries as many samples, or replay it with --scenario server or offline",
        )


def _schedule(recorded: Recorded, file: Path) -> Int64:
    due = recorded.due_ns
    if due is None:
        raise DataError(f"{file}: no due times", "replay it with --scenario single-stream or multi-stream, which need none")
    back = np.flatnonzero(due[1:] < due[:-1])
    if len(back):
        raise DataError(
            f"{file}: row {int(back[0]) + 1} is due before the row above it",
            "replay one phase of it (mode PerformanceOnly): due times begin again in each",
        )
    if due[0] < 0:
        raise DataError(f"{file}: row 0 is due at {due[0]} ns, before the start", "count due times from 0")
    return np.asarray(due - due[0])


def _before_a_maximum(query: Int64, due: Int64, limits: Limits) -> int:
    """Rows of the schedule that are played: whole queries, the last of them the first that is due after the maximum duration."""
    rows = len(due)
    if limits.max_duration_ns:
        late = int(np.searchsorted(due, limits.max_duration_ns, side="right"))
        rows = rows if late == rows else int(np.searchsorted(query, query[late], side="right"))
    return min(rows, int(np.searchsorted(query, limits.max_queries))) if limits.max_queries else rows
