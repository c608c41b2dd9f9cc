"""Results as they lie on disk, of any kind: which file says what a folder is, and what is read from it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import card, intervals, store
from harness.core import Run
from harness.document import Document
from harness.errors import DataError, MissingError
from harness.reporting.groups import Entry

DOCUMENTS = {
    "comparison.json": "harness.comparing.document",
    "sweep.json": "harness.sweeping.document",
    "check.json": "harness.ci.document",
    "qualification.json": "harness.qualifying.document",
    "fleet.json": "harness.qualifying.fleet_document",
}
"""Files that say what a folder holds, besides run.json, and the module whose `document(record)` makes the report of one."""

FILES = (store.RUN_FILE, *DOCUMENTS)
SCHEMAS = {"comparison.json": (1, 2), "sweep.json": (1,), "check.json": (1,), "qualification.json": (1,), "fleet.json": (1,)}
"""Versions of each that its document reads."""

_CURE = "name the folder of a run, comparison or sweep, or a folder of such folders"


def results(paths: Iterable[Path]) -> list[Path]:
    """The file of every result that is named: by itself, by its folder, or by a folder of such folders; each once. Raises MissingError
    with the name of a folder that holds none."""
    found = [file for path in paths for file in _named(path.expanduser())]
    return list({file.resolve(): file for file in found}.values())


def latest(out: Path) -> Path:
    """The file of the newest result below `out`: folders begin with the time they were made. Raises MissingError where there is none."""
    found = sorted((file for name in FILES for file in out.glob(f"*/{name}")), key=lambda file: file.parent.name)
    if not found:
        raise MissingError(f"{out} holds no finished run", "name the folder of a run, or make one with `assay run`")
    return found[-1]


def _named(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix != ".json":
            raise DataError(f"{path} is no stored result", _CURE)
        return [path]
    if (file := _inside(path)) is not None:
        return [file]
    if not path.exists():
        raise MissingError(f"{path} is not there", _CURE)
    below = [file for folder in sorted(path.iterdir()) if folder.is_dir() and (file := _inside(folder)) is not None]
    if not below:
        raise MissingError(f"{path}: no {', '.join(FILES)} in it or one folder below, so nothing finished there", _CURE)
    return below


def _inside(folder: Path) -> Path | None:
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def is_run(file: Path) -> bool:
    """Whether it is a run: what else it may be is known by its name."""
    return file.name not in DOCUMENTS


def read(file: Path) -> Run | Document:
    """The run, or the document made of anything else. Raises DataError for what is damaged or of another version."""
    return _run(file) if is_run(file) else document(file)


def _run(file: Path) -> Run:
    """A run whose record has all that a report shows. Raises DataError with the name of what it lacks."""
    run = store.read_run(file)
    try:
        card.make(run)
    except KeyError as error:
        cure = "it is of another version of Assay, or was edited: run it again"
        raise DataError(f"{file} lacks {error.args[0]}, which a report shows", cure) from error
    return run


def document(file: Path) -> Document:
    """Of anything that is no run. Raises DataError."""
    record = _record(file)
    try:
        made: Document = importlib.import_module(DOCUMENTS[file.name]).document(record)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration) as error:
        raise DataError(f"{file} does not have what a {file.stem} has: {type(error).__name__} {error}", "make it again") from error
    return made


def _record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}", "make it again, or name another folder") from error
    if not isinstance(record, dict) or "schema" not in record:
        raise DataError(f"{file} is no {file.stem}", _CURE)
    if record["schema"] not in SCHEMAS[file.name]:
        known = " and ".join(map(str, SCHEMAS[file.name]))
        raise DataError(f"{file} has schema {record['schema']}, this Assay reads {known}", "use the version of Assay that wrote it")
    return record


def entries(runs: Sequence[tuple[Path, Run]]) -> list[Entry]:
    """Runs with their intervals, each under a name of its own: the backend where that is enough."""
    labels = _labels([run for _, run in runs])
    return [
        Entry(label, str(file.parent), run, intervals.headline(run, store.read_columns(file)))
        for label, (file, run) in zip(labels, runs, strict=True)
    ]


def _labels(runs: Sequence[Run]) -> list[str]:
    """Name or backend; where two are alike, with the tail of the run's id."""
    names = [str(run.config.get("name") or run.config.get("backend") or run.run_id) for run in runs]
    return [f"{name} #{run.run_id.rpartition('-')[2]}" if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)]
