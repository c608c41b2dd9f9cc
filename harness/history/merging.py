"""One history into another: what the other has and this one lacks. Done twice, the second time nothing happens."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MissingError, UsageError
from harness.history import schema
from harness.history.connection import told
from harness.history.database import History

_RUN = "run_id, series, started_utc, ordered_utc, commit_sha, branch, dirty, exit_code, why, conditions, folder, digest, recorded_utc"
_FIGURE = "name, value, unit, better, headline, n, low, high"
_SAME = "SELECT run_id FROM other.runs AS theirs JOIN main.runs AS ours USING (run_id)"
_DIFFERENT = """theirs.digest <> ours.digest OR theirs.commit_sha <> ours.commit_sha OR theirs.series <> ours.series"""

_COPY = (
    "INSERT OR IGNORE INTO main.conditions SELECT * FROM other.conditions",
    "INSERT OR IGNORE INTO main.commits SELECT * FROM other.commits",
    "INSERT OR IGNORE INTO main.series SELECT * FROM other.series",
    "CREATE TEMP TABLE coming AS SELECT id, run_id FROM other.runs WHERE run_id NOT IN (SELECT run_id FROM main.runs)",
    f"INSERT INTO main.runs ({_RUN}) SELECT {_RUN} FROM other.runs WHERE id IN (SELECT id FROM coming)",
    """INSERT INTO main.records SELECT ours.id, json FROM other.records
        JOIN coming ON coming.id = other.records.run JOIN main.runs AS ours ON ours.run_id = coming.run_id""",
    f"""INSERT INTO main.metrics (run, {_FIGURE}) SELECT ours.id, {_FIGURE} FROM other.metrics
        JOIN coming ON coming.id = other.metrics.run JOIN main.runs AS ours ON ours.run_id = coming.run_id""",
    "INSERT OR IGNORE INTO main.accepted SELECT * FROM other.accepted",
)


@dataclass(frozen=True, slots=True)
class Merged:
    """`new` runs came, `known` were there; `conflicts`: what both have and do not agree on, a sentence each. This history's is kept."""

    new: int
    known: int
    conflicts: Sequence[str]


def merge(history: History, other: Path) -> Merged:
    """Take over what `other` has, in one transaction. The other file is not changed; one of an older version is brought up to date in a
    copy. Raises UsageError for a history with itself, MissingError and DataError for the files."""
    if not other.is_file():
        raise MissingError(f"--merge: {other} is not there", "name the file of another history")
    if other.resolve() == history.file.resolve():
        raise UsageError(f"--merge: {other} is this history itself", "name another one")
    with _attached(history, other), history.writing() as connection:
        conflicts = [*_conflicts(connection)]
        known = connection.execute(f"SELECT count(*) FROM ({_SAME})").fetchone()[0]
        for statement in _COPY:
            connection.execute(statement)
        new = connection.execute("SELECT count(*) FROM coming").fetchone()[0]
        connection.execute("DROP TABLE coming")
    return Merged(new, known, conflicts)


@contextlib.contextmanager
def _attached(history: History, other: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="assay-") as folder, told(other):
        file = _up_to_date(other, Path(folder) / "copy.db")
        history.connection.execute("ATTACH ? AS other", (str(file),))
        try:
            yield
        finally:
            history.connection.execute("DETACH other")


def _up_to_date(other: Path, copy: Path) -> Path:
    """The file itself, or a copy that is: what `ATTACH` reads is never migrated in place."""
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as source:
        schema.check(source, str(other))
        if schema.version(source) == schema.VERSION:
            return other
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target:
            source.backup(target)
            schema.migrate(target, str(other))
    return copy


def _conflicts(connection: sqlite3.Connection) -> Iterator[str]:
    for (run_id,) in connection.execute(f"{_SAME} WHERE {_DIFFERENT} ORDER BY run_id"):
        yield f"{run_id}: the other history has a run of that name with other contents"
    notes = """SELECT run_id, metric, ours.note, theirs.note FROM other.accepted AS theirs JOIN main.accepted AS ours
        USING (series, metric, run_id) WHERE ours.note <> theirs.note ORDER BY run_id"""
    for run_id, metric, ours, theirs in connection.execute(notes):
        yield f"{run_id}: its change of {metric} was accepted with the note {ours!r} here, {theirs!r} there"
