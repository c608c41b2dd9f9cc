"""One run into the tables: what it shares with others, itself, and its record."""

from __future__ import annotations

import json
import sqlite3
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import store
from harness.core import Run
from harness.errors import UsageError
from harness.history import series_key
from harness.history.run_figures import why_not


def utc(text: str) -> str:
    """A time in ISO 8601 as UTC to the second, so that texts sort as times do. Raises UsageError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text} is no time", "write it as 2026-08-21T10:11:12+00:00") from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds")


def add_shared(connection: sqlite3.Connection, run: Run, key: str, made_of: dict[str, Any]) -> str:
    """What a run shares with others: its series and its conditions; the hash of those."""
    connection.execute("INSERT OR IGNORE INTO series VALUES (?, ?, ?)", (key, series_key.subject(made_of), json.dumps(made_of)))
    kept = series_key.lasting(run.conditions)
    name = series_key.digest(kept)[:16]
    connection.execute("INSERT OR IGNORE INTO conditions VALUES (?, ?)", (name, json.dumps(kept)))
    return name


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run is of and from: commit, its time ("" for unknown), branch, with changes or not (None: as the run says), folder."""

    sha: str
    at: str
    branch: str
    dirty: bool | None
    folder: Path | None


def add_run(connection: sqlite3.Connection, run: Run, key: str, conditions: str, origin: Origin) -> int:
    """The run and its record; the number it has here."""
    started, text = utc(run.started_utc), store.to_json(_without_curves(run))
    said = bool((run.conditions.get("git") or {}).get("dirty")) and origin.sha == commit_of(run)
    dirty = said if origin.dirty is None else origin.dirty
    place = str(origin.folder.resolve()) if origin.folder else ""
    values = (
        run.run_id,
        key,
        started,
        origin.at or started,
        origin.sha,
        origin.branch,
        dirty,
        run.exit_code,
        why_not(run),
        conditions,
        place,
    )
    columns = (
        "run_id, series, started_utc, ordered_utc, commit_sha, branch, dirty, exit_code, why, conditions, folder, digest, recorded_utc"
    )
    marks = ", ".join("?" * 13)
    number = connection.execute(f"INSERT INTO runs ({columns}) VALUES ({marks})", (*values, series_key.digest(text), now())).lastrowid
    connection.execute("INSERT INTO records VALUES (?, ?)", (number, zlib.compress(text.encode(), 9)))
    return int(number or 0)


def _without_curves(run: Run) -> Run:
    """Telemetry second by second stays in the run's folder; what it comes to is kept."""
    return replace(run, telemetry={name: value for name, value in run.telemetry.items() if name not in ("columns", "at_s")})


def commit_of(run: Run) -> str:
    return str((run.conditions.get("git") or {}).get("commit") or "")


def commit_time(connection: sqlite3.Connection, sha: str) -> str:
    found = connection.execute("SELECT committed_utc FROM commits WHERE sha = ?", (sha,)).fetchone()
    return str(found[0]) if found else ""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
