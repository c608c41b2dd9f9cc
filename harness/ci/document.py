"""A check as a report: the verdict, a row for each check, the intervals against their gates, and what speaks against believing it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import units
from harness.ci import wording
from harness.ci.result import Check, Checked, Finding, from_json, to_json
from harness.document import Cell, Column, Document, Drawing, Table, Tone

_TONE: dict[Finding, Tone] = {
    "regression": "bad",
    "error": "bad",
    "undecided": "doubtful",
    "skipped": "doubtful",
    "improvement": "good",
    "unchanged": "good",
}
_WORST = list(_TONE)


def document(found: Checked | Mapping[str, Any]) -> Document:
    """Of a check, or of its record in check.json: worst first; what needs no attention stands in the table alone. Raises ValueError for a
    record that is none."""
    checked = found if isinstance(found, Checked) else from_json(found)
    ordered = sorted(checked.checks, key=lambda check: _WORST.index(check.verdict))
    return Document(
        kind="check",
        title=f"{checked.base} → {checked.head}",
        word=wording.word(checked),
        tone=_tone(checked),
        headline=wording.tally(checked),
        note=f"in {units.seconds(checked.seconds)}",
        machine=checked.machine,
        sentences=[_sentence(check) for check in ordered if check.verdict != "unchanged"],
        warnings=list(checked.warnings),
        parts=[*([_table(ordered)] if ordered else []), *_intervals(ordered)],
        footer=_footer(checked),
        record=to_json(checked),
    )


def _tone(checked: Checked) -> Tone:
    if checked.exit_code != 0:
        return "bad"
    return "doubtful" if checked.of("undecided") else "good"


def _sentence(check: Check) -> str:
    cure = f"; cure: {check.cure}" if check.cure else ""
    return f"{wording.WORDS[check.verdict]} {check.name}: {wording.one_line(check.text)}{cure}"


def _footer(checked: Checked) -> str:
    floors = [f"{name} {units.share(value)}" for name, value in sorted(checked.floor.items())]
    known = f"noise floor of this machine: {', '.join(floors)}" if floors else "noise floor of this machine: not measured (assay ci noise)"
    return f"started {checked.started_utc}; {known}"


# -------------------------------------------------------------------------------------------------------------------------- parts


_COLUMNS = ("check", "verdict", "figure", "base", "head", "change", "gate", "measured")


def _table(checks: list[Check]) -> Table:
    columns = [Column(name, "1" if name in ("change", "gate") else "") for name in _COLUMNS]
    caption = (
        "base, head: medians over blocks; change: time of head against time of base within blocks, 95 % intervals; of accuracy the points "
        "that head has more, 99 % intervals over examples"
    )
    return Table("checks", "Checks", columns, [_row(check) for check in checks], caption)


def _row(check: Check) -> list[Cell]:
    return [
        Cell(check.name, check.name, " ".join(filter(None, [check.backend, check.scenario, check.task]))),
        Cell(wording.WORDS[check.verdict], check.verdict, tone=_TONE[check.verdict]),
        Cell(check.kind, check.kind),
        Cell(wording.value(check.base_value, check), check.base_value),
        Cell(wording.value(check.head_value, check), check.head_value),
        Cell(wording.change(check), check.change, wording.interval(check)),
        Cell("paired test") if check.kind == "accuracy" else Cell(units.share(check.gate), check.gate),
        Cell(wording.measured(check), check.blocks),
    ]


def _intervals(checks: list[Check]) -> list[Drawing]:
    """The change of each speed with its interval, and the gate it must stay below."""
    shown = [check for check in checks if check.low is not None and check.kind != "accuracy"]
    if not shown:
        return []
    names = [f"{check.name} {check.kind}" for check in shown]
    traces = [_errors(names, shown), _gates(names, shown)]
    layout = {
        "xaxis": {"title": {"text": "change in %, positive is worse"}, "zeroline": True},
        "yaxis": {"autorange": "reversed", "automargin": True},
        "height": 120 + 36 * len(shown),
    }
    caption = "a bar that begins to the right of its gate is a regression; one that lies left of it is not"
    return [Drawing("changes", "Changes and their 95 % intervals", caption, traces, layout)]


def _errors(names: list[str], checks: list[Check]) -> dict[str, Any]:
    middle = [100 * (check.change or 0.0) for check in checks]
    over = [100 * (check.high or 0.0) - at for check, at in zip(checks, middle, strict=True)]
    under = [at - 100 * (check.low or 0.0) for check, at in zip(checks, middle, strict=True)]
    bars = {"type": "data", "symmetric": False, "array": over, "arrayminus": under}
    return {"type": "scatter", "mode": "markers", "name": "change", "x": middle, "y": names, "error_x": bars}


def _gates(names: list[str], checks: list[Check]) -> dict[str, Any]:
    marker = {"symbol": "line-ns-open", "size": 18}
    return {"type": "scatter", "mode": "markers", "name": "gate", "x": [100 * check.gate for check in checks], "y": names, "marker": marker}
