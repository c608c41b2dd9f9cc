"""A history as one table that other programs read: a row for each figure of each run, also of runs that do not count."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import csv_text, store
from harness.errors import MissingError, UsageError
from harness.history.database import History

COLUMNS = (
    *("series", "subject", "run_id", "started_utc", "at_utc", "commit", "branch", "dirty", "exit_code", "counts", "why"),
    *("metric", "value", "unit", "better", "headline", "n", "low", "high"),
)
ENDINGS = (".csv", ".json", ".parquet")

_QUERY = """SELECT series.key, subject, runs.run_id, started_utc, ordered_utc, commit_sha, branch, dirty, exit_code, why = '', why,
    name, value, unit, better, headline, n, low, high
    FROM series JOIN runs ON runs.series = series.key LEFT JOIN metrics ON metrics.run = runs.id
    WHERE ? IN ('', series.key) ORDER BY subject, series.key, ordered_utc, started_utc, runs.run_id, headline DESC, name"""
_TRUTHS = ("dirty", "counts", "headline")


def export(history: History, file: Path, key: str = "") -> int:
    """Write the table of one series, or of all, in the format of the file's ending; rows written. Raises UsageError for another ending,
    MissingError where it cannot be written."""
    if file.suffix not in ENDINGS:
        raise UsageError(f"--export: {file.name} ends in none of {', '.join(ENDINGS)}", "give the file one of these endings")
    rows = list(_rows(history, key))
    data = {".csv": _csv, ".json": _json, ".parquet": _parquet}[file.suffix](rows)
    try:
        store.write_atomically(file, data)
    except OSError as error:
        raise MissingError(
            f"--export: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written"
        ) from error
    return len(rows)


def _rows(history: History, key: str) -> Iterator[dict[str, Any]]:
    for values in history.asked(_QUERY, (key,)):
        row = dict(zip(COLUMNS, values, strict=True))
        yield row | {name: bool(row[name]) if row[name] is not None else None for name in _TRUTHS}


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    return csv_text.records([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]).encode()


def _json(rows: Sequence[dict[str, Any]]) -> bytes:
    return store.as_json(rows).encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = {"series", "subject", "run_id", "started_utc", "at_utc", "commit", "branch", "why", "metric", "unit", "better"}
    types = {name: pa.string() for name in texts} | {name: pa.bool_() for name in _TRUTHS} | {"exit_code": pa.int64(), "n": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in COLUMNS])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    return sink.getvalue()
