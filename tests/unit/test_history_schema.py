"""Versions of a history's file: brought up to date from any older one, refused where they are newer, and never changed by half."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.history import schema
from harness.history.database import History


def opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None)


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


@pytest.mark.parametrize("older", range(schema.VERSION + 1))
def test_every_older_version_becomes_the_newest(tmp_path: Path, older: int) -> None:
    """A file of any version ends with the tables of a new one."""
    new = opened(tmp_path / "new.db")
    schema.migrate(new, "new.db")
    old = opened(tmp_path / "old.db")
    schema.migrate(old, "old.db", schema.STEPS[:older])
    assert schema.version(old) == older
    schema.migrate(old, "old.db")
    assert schema.version(old) == schema.VERSION
    assert tables(old) == tables(new)
    old.close()
    new.close()


def test_a_further_step_keeps_what_is_there(tmp_path: Path) -> None:
    """A later version's step runs once, on a file of this version with rows in it."""
    file = opened(tmp_path / "h.db")
    schema.migrate(file, "h.db")
    file.execute("INSERT INTO series VALUES ('k', 'subject', '{}')")
    steps = (*schema.STEPS, ("ALTER TABLE series ADD COLUMN owner TEXT NOT NULL DEFAULT 'nobody'",))
    for _ in range(2):
        schema.migrate(file, "h.db", steps)
    assert file.execute("SELECT key, owner FROM series").fetchall() == [("k", "nobody")]
    assert schema.version(file) == schema.VERSION + 1
    file.close()


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Tables and version are as they were before a migration that breaks off."""
    file = opened(tmp_path / "h.db")
    schema.migrate(file, "h.db")
    before = tables(file)
    steps = (*schema.STEPS, ("CREATE TABLE further (x)", "SELECT no_such_column FROM runs"))
    with pytest.raises(sqlite3.OperationalError, match="no_such_column"):
        schema.migrate(file, "h.db", steps)
    assert tables(file) == before
    assert schema.version(file) == schema.VERSION
    file.close()


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A file of a later Assay is not touched, and the error says both versions."""
    path = tmp_path / "h.db"
    History(path).close()
    file = opened(path)
    file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(DataError, match=f"version 99 of the history, this Assay reads up to {schema.VERSION}"):
        History(path)
    file = opened(path)
    assert schema.version(file) == 99
    file.close()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A SQLite file that is no history gets no tables of ours."""
    path = tmp_path / "other.db"
    file = opened(path)
    file.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(DataError, match="no history of Assay"):
        History(path)
    assert set(tables(file)) == {"songs"}
    file.close()
