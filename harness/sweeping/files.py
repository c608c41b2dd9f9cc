"""The folder of a sweep: sweep.json, points.csv and the reports; how one is written and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import csv_text, plugins
from harness.errors import DataError, MissingError
from harness.plain_runs import marks
from harness.store import RunFolder, as_json
from harness.sweeping import tables
from harness.sweeping.document import document
from harness.sweeping.results import SCHEMA, line_record, point_record
from harness.sweeping.session import Swept

FILE = "sweep.json"
REPORTS = ("markdown", "html")

_KEYS = ("run_id", "started_utc", "swept", "lines", "points", "conditions", "warnings", "marks", "order", "seconds", "complete")


def record(swept: Swept, asked: Mapping[str, Any], repeat: int, run_id: str, started: datetime) -> dict[str, Any]:
    """Everything that is kept of a sweep, as sweep.json has it. `asked`: each setting that was swept and its values."""
    by_line = [[point for point in swept.points if point.line == number] for number in range(len(swept.lines))]
    return {
        "schema": SCHEMA,
        "kind": "sweep",
        "run_id": run_id,
        "started_utc": started.isoformat(timespec="seconds"),
        "swept": dict(asked),
        "repeat": repeat,
        "order": _order(repeat),
        "lines": [line_record(line, points) for line, points in zip(swept.lines, by_line, strict=True)],
        "points": [point_record(point, swept.lines[point.line]) for point in swept.points],
        "conditions": dict(swept.conditions),
        "marks": _marks(swept),
        "warnings": swept.warnings,
        "telemetry": dict(swept.telemetry),
        "seconds": swept.seconds,
        "complete": swept.complete,
    }


def _order(repeat: int) -> str:
    if repeat == 1:
        return "one pass over all points: a machine that slowed down meanwhile would not show"
    backwards = "the second pass in reverse order of the first, so that a steady drift slows all points alike"
    return f"{repeat} passes, {backwards}" if repeat == 2 else f"{repeat} passes, every second one in reverse order"


def _marks(swept: Swept) -> list[str]:
    """Why these figures compare with nothing else, as on the card of a run."""
    return [*marks(swept.lines[0].settings), *(["interrupted"] if not swept.complete else [])]


def save(folder: RunFolder, made: Mapping[str, Any]) -> None:
    """The reports, points.csv and, last, sweep.json: a folder without it is a sweep that did not finish. Raises NotStored."""
    shown = document(made)
    folder.write_text("points.csv", csv_text.table(tables.figures(made)))
    for each in (plugins.load("reports", name) for name in REPORTS):
        folder.write_text(f"report.{each.EXTENSION}", each.render_document(shown))
    folder.write_text(FILE, as_json(made))


def read(folder: Path) -> dict[str, Any]:
    """The record stored in a folder, or in a sweep.json given itself. Raises MissingError if it did not finish, DataError if damaged."""
    file = folder if folder.suffix == ".json" else folder / FILE
    if not file.exists():
        raise MissingError(f"{folder}: no {FILE}", "name the folder of a finished sweep")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}", "run the sweep again, or name another folder") from error
    if not isinstance(stored, dict) or stored.get("kind") != "sweep" or any(key not in stored for key in _KEYS):
        raise DataError(f"{file} is not a sweep", "name the folder of a sweep")
    if stored.get("schema") != SCHEMA:
        raise DataError(f"{file} has schema {stored.get('schema')}, this Assay reads {SCHEMA}", "use the version of Assay that wrote it")
    return stored
