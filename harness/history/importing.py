"""Older result folders into a history. A run that is there already is passed over, so the same folders may be given again and again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import store
from harness.errors import AssayError, MissingError
from harness.history.commit import Commit
from harness.history.database import History
from harness.history.recording import utc

LACKING = (AttributeError, LookupError, TypeError, ValueError)
"""What is met in the record of an Assay that stored less, or other, inside the parts of run.json. Of a single run, never a reason to
stop."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Folders of runs that were `new`, that were `known`, and those that could not be read, each with the reason."""

    new: Sequence[Path]
    known: Sequence[Path]
    failed: Sequence[tuple[Path, str]]


def import_folders(history: History, given: Sequence[Path], branch: str = "", machine: str = "", commit: Commit | None = None) -> Imported:
    """Record every run in and below these folders. One that is damaged is listed, and keeps no other from being recorded. `commit`: what is
    checked out; runs that began after it was made are of it, older ones of the commit they name themselves. Raises MissingError for a
    folder that is not there or holds no run, before anything is recorded, and for the history's file."""
    found = find(given)
    new: list[Path] = []
    known: list[Path] = []
    failed: list[tuple[Path, str]] = []
    for folder in found:
        try:
            run = store.read_run(folder)
            columns = store.read_columns(folder)
            began = utc(run.started_utc)
        except AssayError as error:
            failed.append((folder, str(error)))
            continue
        was_there = history.knows(run.run_id)
        try:
            history.record(run, columns, folder=folder, machine=machine, **_origin(began, branch, commit))
        except LACKING as error:
            failed.append((folder, f"its run.json lacks what a history keeps ({type(error).__name__}: {error})"))
            continue
        (known if was_there else new).append(folder)
    return Imported(new, known, failed)


def _origin(began: str, branch: str, commit: Commit | None) -> dict[str, Any]:
    """What `History.record` is told of where a run is from: what is checked out, if the run `began` after it was made."""
    if commit is None or began < utc(commit.committed_utc):
        return {"branch": branch}
    return {"commit": commit.sha, "committed_utc": commit.committed_utc, "branch": branch or commit.branch, "dirty": commit.dirty}


def find(given: Iterable[Path]) -> list[Path]:
    """Folders in and below these that hold a run.json, each once, in the order of their names. Raises MissingError."""
    runs: dict[Path, Path] = {}
    for folder in given:
        found = [folder] if (folder / store.RUN_FILE).is_file() else sorted(file.parent for file in folder.rglob(store.RUN_FILE))
        if not found:
            raise MissingError(f"--import: {folder} holds no finished run", "name the folder of a run, or one that such folders lie in")
        for each in found:
            runs.setdefault(each.resolve(), each)
    return list(runs.values())
