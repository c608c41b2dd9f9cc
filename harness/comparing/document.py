"""A comparison as a document, from the record in comparison.json: the same content for every format. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import card, units
from harness.comparing import drawings, sentences, tables
from harness.comparing.sentences import Record
from harness.document import Document, Drawing, Folded, Table, Tone


def document(record: Mapping[str, Any]) -> Document:
    """What the record says: the winner, every candidate by every figure, ratios, accuracy against speed, blocks, how it was made."""
    word, tone = _word(record)
    headline, note = _headline(record)
    return Document(
        kind="comparison",
        title=_title(record),
        word=word,
        tone=tone,
        headline=headline,
        note=note,
        marks=tuple(record.get("marks", ())),
        machine=card.machine(record["conditions"]),
        sentences=sentences.told(record),
        warnings=tuple(record["warnings"]),
        parts=_parts(record),
        folded=_folded(record),
        footer=f"comparison {record.get('run_id', '')} started {record['started_utc']}".replace("  ", " "),
        record=record,
    )


def _title(record: Record) -> str:
    settings = record["candidates"][0]["settings"]
    played = [str(settings[key]) for key in ("scenario", "task") if settings.get(key)]
    return str(record.get("title") or " · ".join([*played, units.plural(len(record["candidates"]), "candidate")]))


def _word(record: Record) -> tuple[str, Tone]:
    if not record["complete"]:
        return "INTERRUPTED", "doubtful"
    if record["winner"] is None:
        return "NO RESULT", "bad"
    return ("UNDECIDED", "doubtful") if record["indistinguishable"] else ("DECIDED", "good")


def _headline(record: Record) -> tuple[str, str]:
    """The winner by what decides, and how sure that is."""
    first = next((each for each in record["candidates"] if each["name"] == record["winner"]), None)
    if first is None or not record["complete"]:
        return "nothing is recommended", ""
    figure = record["figures"][0]
    name, result = tables.headed(figure["name"]), first["results"][figure["name"]]
    told = f"{first['name']}: {tables.value(result, figure)} {name}".strip() if figure["share"] is None else _latency(first, result, figure)
    if result["ratio"] is None:
        return told, f"it is the reference; {units.plural(record['blocks'], 'block')}"
    found = result["ratio"]
    return told, (
        f"{found['value']:.2f}x {record['reference']}, 95 % interval {found['low']:.2f} to {found['high']:.2f}, "
        f"{result['word']}; {units.plural(record['blocks'], 'block')}"
    )


def _latency(first: Record, result: Record, figure: Record) -> str:
    return f"{first['name']}: {figure['name']} {tables.value(result, figure)}"


def _parts(record: Record) -> list[Table | Drawing]:
    """In the order they are read: who is how fast, how good the answers are, then what is behind it."""
    first, *others = [tables.matrix(record), *drawings.of(record)]
    more = (tables.accuracy(record), tables.systems(record), tables.versions(record))
    return [first, *others, *(table for table in more if table is not None)]


def _folded(record: Record) -> list[Folded]:
    candidates = record["candidates"]
    own = tables.differing([each["settings"] for each in candidates])
    alike = {key: value for key, value in candidates[0]["settings"].items() if key not in (*own, "backend", "name") and value is not None}
    return [
        Folded("Settings of all", alike),
        Folded("Backends", {each["name"]: each["backend"] for each in candidates}),
        Folded("Conditions", record["conditions"]),
    ]
