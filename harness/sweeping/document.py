"""A sweep as a document, from the record in sweep.json: the same content for every format. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import card, units
from harness.document import Document, Folded, Tone
from harness.sweeping import drawings, tables, words


def document(record: Mapping[str, Any]) -> Document:
    """What the record says: the capacity or the best point, every point, and how it was made."""
    word, tone = _word(record)
    headline, note = words.headline(record)
    lines = tables.lines(record)
    return Document(
        kind="sweep",
        title=_title(record),
        word=word,
        tone=tone,
        headline=headline,
        note=note,
        marks=tuple(record["marks"]),
        machine=card.machine(record["conditions"]),
        sentences=words.sentences(record),
        warnings=tuple(record["warnings"]),
        parts=[*([lines] if lines else []), tables.points(record), *drawings.of(record), tables.figures(record), tables.visits(record)],
        folded=_folded(record),
        footer=f"sweep {record['run_id']} started {record['started_utc']}",
        record=record,
    )


def _title(record: Mapping[str, Any]) -> str:
    settings = record["lines"][0]["settings"]
    swept = " x ".join(f"{len(values)} {name}" for name, values in record["swept"].items() if name != "target_qps")
    backend = "" if "backend" in record["swept"] else settings["backend"]
    points = units.plural(len(record["points"]), "point")
    return " · ".join(part for part in (settings["scenario"], settings["task"], backend, swept, points) if part)


def _word(record: Mapping[str, Any]) -> tuple[str, Tone]:
    if not record["complete"]:
        return "INCOMPLETE", "doubtful"
    if words.best_line(record) is None and words.best_point(record) is None:
        return "NO RESULT", "bad"
    if not all(words.counts(line) for line in record["lines"]) or any(point["word"] == "failed" for point in record["points"]):
        return "SWEPT, NOT ALL COUNT", "doubtful"
    return "SWEPT", "good"


def _folded(record: Mapping[str, Any]) -> list[Folded]:
    alike = {key: value for key, value in record["lines"][0]["settings"].items() if key not in record["swept"] and value is not None}
    backends = {words.label(record, number): line["backend"] for number, line in enumerate(record["lines"])}
    return [Folded("Settings of all", alike), Folded("Backends", backends), Folded("Conditions", record["conditions"])]
