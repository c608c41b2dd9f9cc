"""Folders that are made once, whole or not at all: a lock, a temporary folder, a manifest written last, one rename."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import MissingError

MANIFEST = "manifest.json"
"""Sizes and sha256 of the other files of a folder. Written last, so its presence means complete."""

LOCK_WAIT_S = 1800.0
"""A slow line needs some minutes for 90 MB; whoever waits longer waits for a process that hangs."""

_DISK_ERRORS = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "disk quota used up",
    errno.ENOENT: "the folder cannot be made",
    errno.ENOTDIR: "a file is in the way",
    errno.EISDIR: "a folder is in the way",
    errno.EACCES: "not allowed to write",
    errno.EPERM: "not allowed to write",
    errno.EROFS: "read-only",
    errno.EEXIST: "a file is in the way",
}


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of the file at `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def intact(folder: Path) -> dict[str, str] | None:
    """sha256 of each file by name if the folder is complete and every file is what its manifest says, else None."""
    try:
        files: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        if not files or any((folder / name).stat().st_size != entry["bytes"] for name, entry in files.items()):
            return None
        found = {name: sha256_of(folder / name) for name in files}
        return found if all(entry["sha256"] == found[name] for name, entry in files.items()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # whatever a damaged manifest may hold
        return None


def made_once(folder: Path, make: Callable[[Path], None]) -> dict[str, str]:
    """Have `make` fill `folder` unless it is there and intact; the sha256 of its files by name.

    `make` is given an empty folder beside it; whatever stops it (an error, Ctrl-C, SIGKILL) leaves no trace under the final name.
    Two processes at once: the second waits and finds the work done. Raises MissingError where the disk does not allow it.
    """
    found = intact(folder)
    if found is not None:
        return found
    with _disk_errors(folder), _lock(folder):
        found = intact(folder)
        return found if found is not None else _make(folder, make)


def _make(folder: Path, make: Callable[[Path], None]) -> dict[str, str]:
    prefix = f".{folder.name}.partial-"
    for leftover in folder.parent.glob(f"{glob.escape(prefix)}*"):  # of a killed process: the lock is ours, so nobody uses them
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        partial = Path(temporary) / "new"
        partial.mkdir()
        make(partial)
        found = _write_manifest(partial)
        if folder.exists():
            os.replace(folder, Path(temporary) / "damaged")  # noqa: PTH105 - one word for both renames
        os.replace(partial, folder)  # noqa: PTH105
    return found


def _write_manifest(folder: Path) -> dict[str, str]:
    (folder / MANIFEST).unlink(missing_ok=True)  # never through a link that `make` left
    files = sorted(path for path in folder.iterdir() if path.is_file())
    entries = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files}
    (folder / MANIFEST).write_text(json.dumps({"schema": 1, "files": entries}, indent=1) + "\n", encoding="utf-8")
    return {name: str(entry["sha256"]) for name, entry in entries.items()}


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    import filelock

    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f".{folder.name}.lock"
    try:
        with filelock.FileLock(path, timeout=LOCK_WAIT_S):
            yield
    except filelock.Timeout as error:
        raise MissingError(
            f"{folder}: another process has been making it for {LOCK_WAIT_S / 60:.0f} minutes",
            f"If none is running, delete {path} and try again.",
        ) from error


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = disk_problem(error)
        if problem is None:
            raise
        cure = f"Make {folder.parent} writable with 200 MB free, or set ASSAY_CACHE to a folder that is."
        raise MissingError(f"{error.filename or folder}: {problem}", cure) from error


def disk_problem(error: BaseException) -> str | None:
    """What the disk refused, in words, if that is what `error` says."""
    return _DISK_ERRORS.get(error.errno or 0) if isinstance(error, OSError) else None
