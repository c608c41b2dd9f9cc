"""The tables of a history and the steps that bring an older file up to date.

The version stands in the file itself (`PRAGMA user_version`): 0 is an empty file, and step n leads from version n to n + 1. A step that
was ever released is never edited; what changes the tables is a new one at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from harness.errors import DataError

STEPS: Sequence[Sequence[str]] = (
    (
        # What stays the same from run to run on a machine (versions, instruction sets): many runs, one row. `json` is text.
        "CREATE TABLE conditions (hash TEXT PRIMARY KEY, json TEXT NOT NULL)",
        # `key` is a hash of `parts`, JSON; `subject` says what people would call the same benchmark.
        "CREATE TABLE series (key TEXT PRIMARY KEY, subject TEXT NOT NULL, parts TEXT NOT NULL)",
        "CREATE TABLE commits (sha TEXT PRIMARY KEY, committed_utc TEXT NOT NULL)",
        # `ordered_utc`: of the commit where it is known, else of the run. `why`: what keeps it from being a point, '' for one that counts.
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            series TEXT NOT NULL REFERENCES series (key),
            started_utc TEXT NOT NULL,
            ordered_utc TEXT NOT NULL,
            commit_sha TEXT NOT NULL,
            branch TEXT NOT NULL,
            dirty INTEGER NOT NULL,
            exit_code INTEGER NOT NULL,
            why TEXT NOT NULL,
            conditions TEXT NOT NULL REFERENCES conditions (hash),
            folder TEXT NOT NULL,
            digest TEXT NOT NULL,
            recorded_utc TEXT NOT NULL)""",
        "CREATE INDEX runs_in_order ON runs (series, ordered_utc, started_utc, run_id)",
        "CREATE INDEX points_in_order ON runs (series, ordered_utc, started_utc, run_id) WHERE why = ''",
        "CREATE INDEX runs_of_commit ON runs (commit_sha, series, started_utc)",
        # run.json, zlib. A table of its own, so that lists of runs never read it.
        "CREATE TABLE records (run INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE, json BLOB NOT NULL)",
        # `headline` is 1 for the figure that the scenario is judged by. `n`, `low`, `high`: null where they are not known.
        """CREATE TABLE metrics (
            run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            value REAL NOT NULL,
            unit TEXT NOT NULL,
            better TEXT NOT NULL,
            headline INTEGER NOT NULL,
            n INTEGER,
            low REAL,
            high REAL,
            PRIMARY KEY (run, name)) WITHOUT ROWID""",
        """CREATE TABLE accepted (
            series TEXT NOT NULL REFERENCES series (key),
            metric TEXT NOT NULL,
            run_id TEXT NOT NULL,
            commit_sha TEXT NOT NULL,
            note TEXT NOT NULL,
            accepted_utc TEXT NOT NULL,
            PRIMARY KEY (series, metric, run_id)) WITHOUT ROWID""",
        # Kept up to date by triggers: counting a million rows anew takes a second.
        "CREATE TABLE sizes (series TEXT PRIMARY KEY REFERENCES series (key), runs INTEGER NOT NULL, points INTEGER NOT NULL)",
        "CREATE TRIGGER series_is_new AFTER INSERT ON series BEGIN INSERT INTO sizes VALUES (new.key, 0, 0); END",
        """CREATE TRIGGER run_comes AFTER INSERT ON runs BEGIN
            UPDATE sizes SET runs = runs + 1, points = points + (new.why = '') WHERE series = new.series; END""",
        """CREATE TRIGGER run_goes AFTER DELETE ON runs BEGIN
            UPDATE sizes SET runs = runs - 1, points = points - (old.why = '') WHERE series = old.series; END""",
    ),
)

VERSION = len(STEPS)


def version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def migrate(connection: sqlite3.Connection, name: str, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring the file to the newest version, all steps or none. `name` is said in errors. Raises DataError for a file of a newer Assay, or
    one that is no history; sqlite3.Error as it comes."""
    check(connection, name, len(steps))
    if version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version(connection), len(steps)):  # asked again: another process may have been faster
            for statement in steps[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, name: str, newest: int = VERSION) -> None:
    """Raises DataError for a database that is not ours, or of a version that this Assay does not know."""
    connection.execute("BEGIN")  # both questions of one state: another process may be making the tables
    found, foreign = version(connection), connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    connection.execute("COMMIT")
    if found > newest:
        raise DataError(
            f"{name} has version {found} of the history, this Assay reads up to {newest}",
            "use the version of Assay that wrote it, or newer",
        )
    if found == 0 and foreign:
        raise DataError(f"{name} is a database, but no history of Assay", "give another file with --db")
