"""What a qualification has done so far, on disk after every check, so that one that was interrupted or killed goes on where it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import DataError, MissingError
from harness.qualifying import sealing
from harness.qualifying.check import Qualification, from_json, to_json
from harness.store import as_json, write_atomically

FILE = "qualification.json"
PARTIAL = "partial.json"
SNAPSHOTS = "soak.json"
"""What a soak keeps."""


def keep(folder: Path, found: Qualification) -> None:
    """The findings as they are, not yet judged. Raises MissingError."""
    _write(folder / PARTIAL, as_json(sealing.sealed(json.loads(as_json(to_json(found))))))


def finish(folder: Path, found: Qualification) -> str:
    """qualification.json; what was kept to go on from goes where nothing is left to do. Gives the sha256. Raises MissingError."""
    record = sealing.sealed(json.loads(as_json(to_json(found))))
    _write(folder / FILE, as_json(record))
    if found.complete:
        (folder / PARTIAL).unlink(missing_ok=True)
    return str(record["sha256"])


def resumable(folder: Path) -> Qualification:
    """What was kept in the folder. Raises MissingError where there is nothing to go on from, DataError for a damaged file."""
    file = folder / PARTIAL
    if not file.is_file():
        done = (folder / FILE).is_file()
        why = "is finished" if done else f"holds no {PARTIAL}"
        raise MissingError(f"--resume: {folder} {why}", "name the folder of a qualification that was interrupted")
    return read(file)[0]


def read(file: Path) -> tuple[Qualification, str]:
    """A stored qualification and its sha256. Raises DataError for one that is damaged or changed, MissingError where there is none."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        found = from_json(record)
    except OSError as error:
        raise MissingError(f"{file} cannot be read: {error.strerror}", "name the folder of a qualification") from error
    except (ValueError, AttributeError) as error:
        raise DataError(f"{file} is no qualification: {error}", "qualify again, or name another folder") from error
    if not sealing.intact(record):
        raise DataError(f"{file} was changed since it was written: its sha256 is not that of its content", "qualify again")
    return found, str(record["sha256"])


def last_sign(folder: Path) -> datetime:
    """When it was last heard of, UTC."""
    files = [file for name in (PARTIAL, SNAPSHOTS) if (file := folder / name).is_file()]
    return datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)


def _write(file: Path, text: str) -> None:
    try:
        write_atomically(file, text.encode())
    except OSError as error:
        raise MissingError(f"{file} cannot be written: {error.strerror}", "free disk space, or give another folder with --out") from error
