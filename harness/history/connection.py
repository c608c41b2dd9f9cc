"""Opening the file of a history, and what can go wrong with it, in words.

Write-ahead logging with `synchronous = FULL`: readers never wait for writers, and a row that `record` returned from is on the disk, whether
the process is killed or the power fails. It needs shared memory between the processes, so no network file system.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from harness.errors import AssayError, DataError, MissingError
from harness.history import schema

FILE = "assay-history.db"
VARIABLE = "ASSAY_HISTORY"
BUSY_S = 60.0
"""How long a writer waits for its turn. A write takes milliseconds: 50 writers wait for seconds, and a minute means a hung process."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "lustre", "beegfs", "fuse.sshfs", "fuse.s3fs"}
_MOUNTS = Path("/proc/self/mounts")


def find_file(given: Path | None) -> Path:
    """The file that `--db` names, else `$ASSAY_HISTORY`, else assay-history.db in the working directory."""
    return given or Path(os.environ.get(VARIABLE) or FILE)


def connect(file: Path, make: bool, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """Open it, bring it up to date and switch on what keeps it safe. `make`: it may be new. Raises MissingError where there is none, or
    where it cannot be written, and DataError for what is no history."""
    if not make and not file.exists():
        raise MissingError(f"{file}: there is no history", "record a run first: `assay history --import FOLDER`, or name a file with --db")
    if kind := network_file_system(file):
        raise MissingError(
            f"{file} lies on a network file system ({kind}), where several writers could damage it", "keep it on a local disk"
        )
    with told(file):
        if not make and read_only(file):
            return _connect_read_only(file)
        connection = sqlite3.connect(file, timeout=busy_s, isolation_level=None)
        try:
            schema.check(connection, str(file))
            _switch_on(connection, file, busy_s)
            schema.migrate(connection, str(file))
        except BaseException:
            connection.close()
            raise
        return connection


def _switch_on(connection: sqlite3.Connection, file: Path, busy_s: float) -> None:
    """Raises MissingError where there can be no write-ahead log. Changing to it ignores the busy timeout, so it is tried again."""
    end = time.monotonic() + busy_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise MissingError(f"{file}: no write-ahead log is possible here (journal mode {mode})", "keep it on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _connect_read_only(file: Path) -> sqlite3.Connection:
    """Of a place where nothing can be written; what is there does not change. A file that was not closed properly has more in its log."""
    connection = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro&immutable=1", uri=True, isolation_level=None)
    schema.check(connection, str(file))
    if (found := schema.version(connection)) < schema.VERSION:
        connection.close()
        raise MissingError(
            f"{file} has version {found} of the history and cannot be brought up to date here", "copy it to where it can be written"
        )
    return connection


def read_only(file: Path) -> bool:
    """True where neither the file nor its folder can be written."""
    return not os.access(file, os.W_OK) or not os.access(file.resolve().parent, os.W_OK)


def network_file_system(file: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of network file system the file lies on, "" for none, or where that cannot be read."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    place = file.resolve()
    kinds = {fields[1].replace("\\040", " "): fields[2] for fields in lines if len(fields) > 2}
    nearest = next((str(folder) for folder in (place, *place.parents) if str(folder) in kinds), "")
    kind = kinds.get(nearest, "")
    return kind if kind in _NETWORK else ""


@contextlib.contextmanager
def told(file: Path) -> Iterator[None]:
    """What SQLite raises, in words. Raises MissingError and DataError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(file, str(error)) from error


def _in_words(file: Path, message: str) -> AssayError:
    if "locked" in message:
        return MissingError(f"{file} is being written by another process for more than {BUSY_S:.0f} s", "end that process, then try again")
    if "not a database" in message or "malformed" in message:
        return DataError(f"{file} is no intact history: {message}", "give another file with --db, or a copy from before")
    if "full" in message:
        return MissingError(f"{file} cannot be written: {message}", "free disk space, or give another file with --db")
    return MissingError(f"{file} cannot be opened or written: {message}", "give a file in a folder that can be written with --db")
