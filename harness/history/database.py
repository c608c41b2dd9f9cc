"""A history of runs in one SQLite file: what is recorded, and what is asked of it.

Every write is one transaction that takes the write lock first, so that it is there as a whole or not at all, and never fails half-way for
another writer. What is found in a history (change points, noise) is computed from it each time and never stored; only what somebody decided
is: accepted changes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import store
from harness.core import Columns, Run
from harness.errors import DataError, MissingError, UsageError
from harness.history import series_key
from harness.history.connection import BUSY_S, connect, told
from harness.history.recording import Origin, add_run, add_shared, commit_of, commit_time, now, utc
from harness.history.records import Accepted, Figure, Point, Row, Series
from harness.history.run_figures import figures

_ROW = "runs.run_id, series, started_utc, ordered_utc, commit_sha, branch, dirty, exit_code, why, conditions, folder"
_FIGURE = "name, value, unit, better, headline, n, low, high"
_ORDER = "series, ordered_utc {0}, started_utc {0}, runs.run_id {0}"
_SERIES = """SELECT key, subject, parts, runs, points,
    (SELECT min(ordered_utc) FROM runs WHERE series = key),
    (SELECT max(ordered_utc) FROM runs WHERE series = key)
    FROM series JOIN sizes ON sizes.series = key"""


class History:
    """An open history. `make`: the file may be new. Use it as a context manager, or close it."""

    def __init__(self, file: Path, make: bool = True, busy_s: float = BUSY_S) -> None:
        self.file = file
        self.connection = connect(file, make, busy_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    # ----------------------------------------------------------------------------------------------------------------- writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, the write lock taken first. Raises MissingError and DataError."""
        with told(self.file):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def record(
        self,
        run: Run,
        columns: Columns | None = None,
        *,
        commit: str | None = None,
        branch: str = "",
        committed_utc: str = "",
        dirty: bool | None = None,
        folder: Path | None = None,
        machine: str = "",
    ) -> str:
        """Keep a run, whatever became of it; the key of its series. On return it is on the disk. A run that is there already stays as it
        is. Raises MissingError and DataError for the file.

        columns        the ledger, for intervals
        commit         of the project that was measured; None: the one that the run names
        committed_utc  when that was made, ISO 8601 with any offset; "" for unknown
        dirty          with changes; None: as the run says
        """
        made_of = series_key.parts(run, machine)
        key = series_key.key(made_of)
        with self.writing() as connection:
            known = connection.execute("SELECT series FROM runs WHERE run_id = ?", (run.run_id,)).fetchone()
            if known:
                return str(known[0])
            conditions = add_shared(connection, run, key, made_of)
            sha = commit_of(run) if commit is None else commit
            at = utc(committed_utc) if committed_utc else commit_time(connection, sha)
            if sha and committed_utc:
                connection.execute("INSERT OR IGNORE INTO commits VALUES (?, ?)", (sha, at))
            number = add_run(connection, run, key, conditions, Origin(sha, at, branch, dirty, folder))
            rows = [(number, *(getattr(each, field.name) for field in fields(each))) for each in figures(run, columns)]
            connection.executemany(f"INSERT INTO metrics (run, {_FIGURE}) VALUES ({', '.join('?' * 9)})", rows)
        return key

    def accept(self, key: str, run_id: str, note: str, metric: str = "") -> Accepted:
        """Take a change of the series that begins with this run; said again, its note is replaced. "" is the headline figure. Raises
        UsageError for a run that is not in the series."""
        row = next((row for row in self._rows("runs.run_id = ?", (run_id,)) if row.series == key), None)
        if row is None:
            raise UsageError(f"{run_id} is no run of series {key}", f"`assay history {key}` lists its runs")
        found = Accepted(key, metric or self.headline(key), run_id, row.commit, note, now())
        with self.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO accepted (series, metric, run_id, commit_sha, note, accepted_utc) VALUES (?, ?, ?, ?, ?, ?)",
                tuple(getattr(found, field.name) for field in fields(found)),
            )
        return found

    # ----------------------------------------------------------------------------------------------------------------- reading

    def asked(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of any question. Raises MissingError and DataError."""
        with told(self.file):
            yield from self.connection.execute(query, values)

    def series(self, words: Sequence[str] = ()) -> list[Series]:
        """All of them, or those that fit the words: by subject, then by time."""
        found = [Series(each[0], each[1], json.loads(each[2]), *each[3:]) for each in self.asked(_SERIES) if each[5] is not None]
        return sorted((each for each in found if each.fits(words)), key=_by_subject)

    def find(self, text: str) -> Series:
        """One series by its key, the beginning of it, or words that fit no other. Raises UsageError."""
        known = self.series()
        by_key = [each for each in known if each.key.startswith(text.lower())]
        found = by_key or [each for each in known if each.fits(text.split())]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"{text} may be any of {len(found)} series", "name one by its key: " + ", ".join(each.key for each in found[:8])
            )
        raise UsageError(f"there is no series {text}", "name one by its key or by words of its name: `assay history` lists them")

    def knows(self, run_id: str) -> bool:
        """True where the run was recorded."""
        return next(self.asked("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)), None) is not None

    def rows(self, key: str) -> list[Row]:
        """Every run of a series in order, also those that do not count."""
        return self._rows(f"series = ? ORDER BY {_ORDER.format('')}", (key,))

    def points(self, key: str, metric: str = "", last: int = 0, branch: str = "") -> list[Point]:
        """Runs that count, oldest first, with one figure: the headline where `metric` is "". `last`: only so many, the newest."""
        name = metric or self.headline(key)
        where = f"series = ? AND why = '' {'AND branch = ? ' if branch else ''}ORDER BY {_ORDER.format('DESC')} LIMIT ?"
        values = [name, key, *([branch] if branch else []), last or -1]
        return list(self._points(where, values))[::-1]

    def last_good(self, key: str, metric: str = "", commit: str = "", branch: str = "") -> Point | None:
        """The newest run that counts, of this commit and branch where they are given."""
        if not commit:
            return next(iter(self.points(key, metric, last=1, branch=branch)), None)
        where = "series = ? AND commit_sha = ? AND why = '' ORDER BY started_utc DESC LIMIT 1"
        return next(self._points(where, [metric or self.headline(key), key, commit]), None)

    def figures(self, run_id: str) -> list[Figure]:
        """All figures of a run, headline first."""
        query = f"SELECT {_FIGURE} FROM metrics JOIN runs ON runs.id = run WHERE runs.run_id = ? ORDER BY headline DESC, name"
        return [_figure(each) for each in self.asked(query, (run_id,))]

    def metrics(self, key: str) -> list[str]:
        """Names of the figures that the newest run of a series has, headline first."""
        newest = next(self.asked(f"SELECT run_id FROM runs WHERE series = ? ORDER BY {_ORDER.format('DESC')} LIMIT 1", (key,)), None)
        return [each.name for each in self.figures(newest[0])] if newest else []

    def headline(self, key: str) -> str:
        """Name of the figure that the newest run of a series is judged by; "" where none has one."""
        where = f"WHERE series = ? AND why = '' ORDER BY {_ORDER.format('DESC')} LIMIT 1"
        query = f"SELECT name FROM metrics WHERE headline AND run = (SELECT id FROM runs {where})"
        found = next(self.asked(query, (key,)), None)
        return str(found[0]) if found else ""

    def accepted(self, key: str = "") -> list[Accepted]:
        """Accepted changes of a series, or of all of them, in the order they were accepted."""
        query = "SELECT series, metric, run_id, commit_sha, note, accepted_utc FROM accepted WHERE ? IN ('', series) ORDER BY accepted_utc"
        return [Accepted(*each) for each in self.asked(query, (key,))]

    def run(self, run_id: str) -> Run:
        """run.json of a run, as it was recorded. Raises MissingError and DataError."""
        query = "SELECT json FROM records JOIN runs ON runs.id = run WHERE run_id = ?"
        found = next(self.asked(query, (run_id,)), None)
        if found is None:
            raise MissingError(f"{run_id} is not in {self.file}", "`assay history` lists what is there")
        return store.parse_run(self.file, zlib.decompress(found[0]).decode())

    def folder(self, run_id: str) -> Path | None:
        """The folder that a run was recorded from, if it was from one; it may be gone."""
        found = next(self.asked("SELECT folder FROM runs WHERE run_id = ?", (run_id,)), None)
        return Path(found[0]) if found and found[0] else None

    def conditions(self, of: str) -> dict[str, Any]:
        """What stays the same from run to run, by the hash that a row has. Raises DataError."""
        found = next(self.asked("SELECT json FROM conditions WHERE hash = ?", (of,)), None)
        if found is None:
            raise DataError(f"{self.file}: there are no conditions {of}", "the file is damaged: give another one with --db")
        known: dict[str, Any] = json.loads(found[0])
        return known

    def _rows(self, where: str, values: Sequence[Any]) -> list[Row]:
        return [_row(each) for each in self.asked(f"SELECT {_ROW} FROM runs WHERE {where}", values)]

    def _points(self, where: str, values: Sequence[Any]) -> Iterator[Point]:
        query = f"SELECT {_ROW}, {_FIGURE} FROM runs JOIN metrics ON metrics.run = runs.id AND name = ? WHERE {where}"
        width = _ROW.count(",") + 1
        for each in self.asked(query, values):
            yield Point(_row(each[:width]), _figure(each[width:]))


def _row(values: tuple[Any, ...]) -> Row:
    run_id, series, started, at, commit, branch, dirty, *rest = values
    return Row(run_id, series, started, at, commit, branch, bool(dirty), *rest)


def _figure(values: tuple[Any, ...]) -> Figure:
    name, value, unit, better, headline, n, low, high = values
    return Figure(name, value, unit, better, bool(headline), n, low, high)


def _by_subject(each: Series) -> tuple[str, str]:
    return each.subject, each.first_utc
