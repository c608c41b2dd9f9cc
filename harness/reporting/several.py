"""Several stored results as one document, also from different machines: grouped by what can be compared, ratios only where they mean
something, and what is no result struck out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness import card, run_facts, units
from harness.document import Cell, Column, Document, Drawing, Table, Tone
from harness.reporting import differences
from harness.reporting.groups import Entry, Group, best, groups, machine, reference
from harness.traces import BLUE, GREY

_TONES: dict[str, Tone] = {card.VALID: "good", card.INCOMPLETE: "doubtful"}
_COLUMNS = ("run", "verdict", "headline", "ratio", "accuracy", "commit", "machine")

APART = "ratios are between separate runs, no word is given: `assay compare` measures candidates in turn, with intervals"


def document(entries: Sequence[Entry], others: Sequence[Document] = (), *, across_machines: bool = False) -> Document:
    """`entries`: runs; `others`: whatever else was named, one line each."""
    found = groups(entries, across_machines=across_machines)
    counting = sum(card.make(entry.run).counts for entry in entries)
    words = [units.plural(len(entries), "run")] * bool(entries) + [units.plural(len(others), "other result")] * bool(others)
    return Document(
        kind="runs",
        title=f"{' and '.join(words)}",
        word="RUNS" if entries else "RESULTS",
        tone="plain",
        headline=_headline(found) if entries else f"{len(others)} results",
        note=f"{counting} of {units.plural(len(entries), 'run')} count" if entries else "",
        marks=(card.UNVERIFIED,),
        sentences=_sentences(found, across_machines=across_machines),
        parts=[*_parts(found), *([_others(others)] if others else [])],
        record={
            "schema": 1,
            "runs": [run_facts.of(entry.run) | {"folder": entry.where} for entry in entries],
            "others": [{"kind": each.kind, "title": each.title, "word": each.word, "headline": each.headline} for each in others],
        },
    )


def _headline(found: Sequence[Group]) -> str:
    first = best(found[0]) if len(found) == 1 else None
    if first is None:
        return _how_many(found)
    metric = first.run.verdict["metric"]
    return f"{first.label}: {units.quantity(metric['value'], metric['unit'])}"


def _how_many(found: Sequence[Group]) -> str:
    several = sum(len(group.entries) > 1 for group in found)
    if several:
        return f"{units.plural(several, 'group')} of runs that can be compared"
    return "no two of these runs can be compared" if len(found) > 1 else "1 run"


def _sentences(found: Sequence[Group], *, across_machines: bool) -> list[str]:
    return [*_refused(found), *_across(found, across_machines=across_machines), *_apart(found), *_struck(found)]


def _refused(found: Sequence[Group]) -> Iterator[str]:
    """Design rule 8: comparing across a difference is refused unless asked for."""
    for asked in dict.fromkeys(group.asked for group in found):
        places = [group.machine for group in found if group.asked == asked]
        if len(places) > 1:
            yield (
                f"{asked} was run on {len(places)} machines ({'; '.join(places)}): comparing across a difference is refused unless asked "
                "for; --across-machines shows them side by side"
            )


def _across(found: Sequence[Group], *, across_machines: bool) -> Iterator[str]:
    for group in found:
        places = {machine(entry.run) for entry in group.entries}
        if across_machines and len(places) > 1:
            yield f"{group.asked}: {len(places)} machines side by side; a ratio between them compares the machines as well"


def _apart(found: Sequence[Group]) -> Iterator[str]:
    if any(_ratio(group, entry) is not None for group in found for entry in group.entries):
        yield APART


def _struck(found: Sequence[Group]) -> Iterator[str]:
    for entry in (entry for group in found for entry in group.entries):
        made = card.make(entry.run)
        if not made.counts:
            why = f": {card.one_line(made.reasons[0].text)}" if made.reasons else ""
            yield f"{entry.label} is no result ({made.word}{why})"


# ------------------------------------------------------------------------------------------------------------------------- tables


def _parts(found: Sequence[Group]) -> list[Table | Drawing]:
    parts: list[Table | Drawing] = []
    for number, group in enumerate(found):
        which = f", group {number + 1}" if len(found) > 1 else ""
        labels = [entry.label for entry in group.entries]
        tables = (
            _runs(group, number),
            _drawing(group, number, f"Headlines{which}"),
            differences.table(f"settings-{number + 1}", "Settings that differ", labels, [_settings(entry) for entry in group.entries]),
            differences.table(
                f"conditions-{number + 1}", "Conditions that differ", labels, [entry.run.conditions for entry in group.entries]
            ),
        )
        parts += [each for each in tables if each is not None]
    return parts


def _settings(entry: Entry) -> dict[str, Any]:
    """With the model that was used, also where the setting left it to the task."""
    return {**entry.run.config, "model": (entry.run.model or {}).get("name")}


def _runs(group: Group, number: int) -> Table:
    first, several = best(group), not group.machine
    shown = _COLUMNS if several else _COLUMNS[:-1]
    rows = [_row(group, entry, is_best=entry is first)[: len(shown)] for entry in group.entries]
    records = [{"folder": entry.where, **run_facts.of(entry.run), **_ends(entry)} for entry in group.entries]
    places = list(dict.fromkeys(machine(entry.run) for entry in group.entries))
    where = f"On {places[0]}." if len(places) == 1 else f"On {len(places)} machines."
    base = reference(group)
    to = f" Ratios are to {base.label}." if base is not None and len(group.entries) > 1 else ""
    return Table(f"runs-{number + 1}", group.asked, [*map(Column, shown)], rows, f"{where}{to}", records=records)


def _row(group: Group, entry: Entry, *, is_best: bool) -> list[Cell]:
    run, made = entry.run, card.make(entry.run)
    git = run.conditions.get("git") or {}
    return [
        Cell(entry.label, entry.where, "best" if is_best else "", "good" if is_best else "plain"),
        Cell(made.word, made.word, tone=_TONES.get(made.word, "bad")),
        _number(entry, made),
        _ratio_cell(group, entry),
        _accuracy(run.accuracy),
        Cell(card.commit(git) if git.get("commit") else "-", git.get("commit")),
        Cell(machine(run), machine(run)),
    ]


def _number(entry: Entry, made: card.Card) -> Cell:
    metric = entry.run.verdict.get("metric")
    if made.headline is None or not metric:
        return Cell("nothing measured")
    words = f"{made.headline.name}{', ' + entry.interval.words if entry.interval else ''}"
    return Cell(made.headline.text, metric["value"], words, struck=not made.counts)


def _ends(entry: Entry) -> dict[str, float | None]:
    found = entry.interval
    return {"headline 95 % low": found.low if found else None, "headline 95 % high": found.high if found else None}


def _ratio(group: Group, entry: Entry) -> float | None:
    """To the reference of the group; None for itself, for what does not count, and for headlines of different kinds."""
    base = reference(group)
    if base is None or entry is base or not card.make(entry.run).counts:
        return None
    one, other = entry.run.verdict.get("metric") or {}, base.run.verdict.get("metric") or {}
    alike = (one.get("name"), one.get("unit")) == (other.get("name"), other.get("unit"))
    return float(one["value"]) / float(other["value"]) if alike and one.get("value") and other.get("value") else None


def _ratio_cell(group: Group, entry: Entry) -> Cell:
    found = _ratio(group, entry)
    if found is not None:
        return Cell(f"{found:.2f}x", found)
    return Cell("reference") if entry is reference(group) and len(group.entries) > 1 else Cell("-")


def _accuracy(accuracy: object) -> Cell:
    if not isinstance(accuracy, dict):
        return Cell("not checked")
    text = f"{accuracy['metric']} {units.score(accuracy['value'])}"
    if accuracy.get("passed") is None:
        return Cell(text, accuracy["value"])
    note = f"{'reaches' if accuracy['passed'] else 'below'} the target {units.score(accuracy['target'])}"
    return Cell(text, accuracy["value"], note, "plain" if accuracy["passed"] else "bad", struck=not accuracy["passed"])


def _others(documents: Sequence[Document]) -> Table:
    columns = [Column("what"), Column("of"), Column("verdict"), Column("headline"), Column("machine")]
    rows = [
        [Cell(each.kind), Cell(each.title), Cell(each.word, tone=each.tone), Cell(each.headline, note=each.note), Cell(each.machine)]
        for each in documents
    ]
    return Table("others", "Other results", columns, rows, "Each has a report of its own: name it alone.")


# ------------------------------------------------------------------------------------------------------------------------ drawing


def _drawing(group: Group, number: int, title: str) -> Drawing | None:
    """Headlines with their intervals below each other; hollow where there is no result. None for fewer than two of one kind."""
    shown = [entry for entry in group.entries if (entry.run.verdict.get("metric") or {}).get("value")]
    kinds = {entry.run.verdict["metric"]["unit"] for entry in shown}
    if len(shown) < 2 or len(kinds) > 1:
        return None
    unit, scale = kinds.pop(), 1.0
    if unit == "ns":
        unit, scale = "ms", 1e-6
    layout = {
        "xaxis": {"title": unit, "rangemode": "tozero"},
        "yaxis": {"type": "category", "autorange": "reversed"},
        "height": 120 + 44 * len(shown),
        "showlegend": False,
    }
    caption = f"{group.asked}. Bars are 95 % intervals within each run. Hollow: no result."
    return Drawing(f"headlines-{number + 1}", title, caption, [_trace(shown, scale)], layout)


def _trace(shown: Sequence[Entry], scale: float) -> dict[str, object]:
    values = [float(entry.run.verdict["metric"]["value"]) * scale for entry in shown]
    ends = [(entry.interval.low, entry.interval.high) if entry.interval else (None, None) for entry in shown]
    counts = [card.make(entry.run).counts for entry in shown]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "headline",
        "x": values,
        "y": [entry.label for entry in shown],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high * scale - value if high is not None else 0.0 for value, (_, high) in zip(values, ends, strict=True)],
            "arrayminus": [value - low * scale if low is not None else 0.0 for value, (low, _) in zip(values, ends, strict=True)],
            "color": GREY,
        },
        "marker": {"color": BLUE, "size": 10, "symbol": ["circle" if each else "circle-open" for each in counts]},
    }
