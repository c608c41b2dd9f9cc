"""A qualification as a certificate: the verdict, every check with what it was held against, what was skipped and why, and on what. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness import units
from harness.document import Cell, Column, Document, Drawing, Folded, Table, Tone
from harness.qualifying.check import Finding, Outcome, Qualification, Verdict, from_json

_TONE: dict[Outcome, Tone] = {"FAIL": "bad", "SKIP": "doubtful", "WARN": "doubtful", "PASS": "good"}
_WORST: list[Outcome] = list(_TONE)
_VERDICT: dict[Verdict, Tone] = {"ACCEPTED": "good", "REJECTED": "bad", "NOT QUALIFIED": "doubtful"}

NO_BASELINE = "no baseline: speed was measured and held against nothing; only faults that need no comparison can be found (--baseline FILE)"
NO_CLOCKS = "Nothing was changed on the machine: no clocks, no power limits."


def document(record: Mapping[str, Any]) -> Document:
    """Of a stored qualification.json. Raises ValueError for what is none."""
    found = from_json(record)
    return Document(
        kind="qualification",
        title=f"Qualification, level {found.level}",
        word=found.verdict,
        tone=_VERDICT[found.verdict],
        headline=_tally(found),
        note=f"{units.seconds(round(found.seconds))} of checks, {found.started_utc}",
        marks=list(_marks(found)),
        machine=str(found.machine.get("described") or ""),
        sentences=[_sentence(each) for each in found.of("FAIL", "SKIP", "WARN") if each.required or each.outcome != "SKIP"],
        warnings=[*([] if found.baseline else [NO_BASELINE]), *found.warnings],
        parts=[*_tables(found), *_margins(found)],
        folded=[Folded(each.name, each.details) for each in found.findings if each.details]
        + [Folded("machine", found.machine), Folded("settings", found.settings)],
        footer=f"{NO_CLOCKS} SHA-256 of the content of qualification.json: {record.get('sha256') or 'none'}",
        record=record,
    )


def _tally(found: Qualification) -> str:
    required = [each.outcome for each in found.findings if each.required]
    counted = [f"{required.count(outcome)} {word}" for outcome, word in _WORDS.items() if required.count(outcome)]
    return f"{units.plural(len(required), 'required check')}: {', '.join(counted) or 'nothing measured'}"


_WORDS: dict[Outcome, str] = {"FAIL": "failed", "SKIP": "skipped", "WARN": "with a warning", "PASS": "passed"}


def _marks(found: Qualification) -> Iterator[str]:
    if not found.complete:
        yield "INCOMPLETE"
    if not found.baseline:
        yield "NO BASELINE"
    if found.resumed:
        yield f"interrupted {units.plural(len(found.resumed), 'time')}"


def _sentence(finding: Finding) -> str:
    step = f"; next: {finding.next_step}" if finding.next_step else ""
    return f"{finding.outcome} {finding.code} ({finding.name}): {finding.text}{step}"


# ------------------------------------------------------------------------------------------------------------------------- tables


def _tables(found: Qualification) -> Iterator[Table]:
    ordered = sorted(found.findings, key=lambda each: _WORST.index(each.outcome))
    tested = [each for each in ordered if each.outcome != "SKIP"]
    skipped = sorted((each for each in ordered if each.outcome == "SKIP"), key=lambda each: not each.required)
    caption = "margin: how far inside the tolerance, as a share of what is expected (absolute where that is 0); negative is beyond it"
    if required := [each for each in tested if each.required]:
        yield Table("tested", "What was tested", _COLUMNS, [_row(each) for each in required], caption, records=[*map(_record, required)])
    if skipped:
        columns = [Column(name) for name in ("check", "why")]
        yield Table("skipped", "What was skipped, and why", columns, [_skipped(each) for each in skipped], records=[*map(_record, skipped)])
    if others := [each for each in tested if not each.required]:
        title = "Also looked at, rejecting nothing"
        yield Table("others", title, _COLUMNS, [_row(each) for each in others], detail=True, records=[*map(_record, others)])
    if tested:
        columns = [Column(name) for name in ("check", "found")]
        yield Table("found", "What was found, in words", columns, [_words(each) for each in tested], detail=True)
    yield _about(found)
    if found.resumed:
        yield _gaps(found)


_COLUMNS = [Column(name) for name in ("check", "verdict", "measured", "expected", "margin")]


def _gaps(found: Qualification) -> Table:
    columns = [Column("from, UTC"), Column("to, UTC"), Column("gap", "s")]
    rows = [[Cell(gap["from_utc"]), Cell(gap["to_utc"]), Cell(units.seconds(gap["seconds"]), gap["seconds"])] for gap in found.resumed]
    return Table("gaps", "When it stood still", columns, rows)


def _row(each: Finding) -> list[Cell]:
    sign = "± " if each.better == "equal" else {"higher": "− ", "lower": "+ "}.get(each.better or "", "")
    tolerance = "" if each.tolerance is None else f"{sign}{_quantity(each.tolerance, each.unit)}"
    return [
        Cell(each.name, each.name),
        Cell(each.outcome, each.outcome, each.code if each.outcome != "PASS" else "", _TONE[each.outcome]),
        _amount(each.measured, each.unit, f"n = {units.count(each.n)}" if each.n > 1 else ""),
        _amount(each.expected, each.unit, tolerance),
        Cell("") if each.margin is None else Cell(_margin(each), each.margin, tone="bad" if each.margin < 0 else "plain"),
    ]


def _words(each: Finding) -> list[Cell]:
    return [Cell(each.name, each.name), Cell(each.text, each.text, _next(each) if each.outcome != "PASS" else "")]


def _next(each: Finding) -> str:
    return f"next: {each.next_step}" if each.next_step else ""


def _amount(value: float | None, unit: str, note: str = "") -> Cell:
    return Cell("") if value is None else Cell(_quantity(value, unit), value, note)


def _quantity(value: float, unit: str) -> str:
    if unit == "1":
        return units.share(value)
    if unit.startswith("bytes"):
        return f"{units.size(value)}{unit.removeprefix('bytes')}"
    return f"{units.scaled(value)} {unit}" if unit.endswith("/s") else units.quantity(value, unit)


def _margin(each: Finding) -> str:
    """A share of what is expected; absolute where that is 0."""
    return f"{each.margin or 0.0:+.1%}" if each.expected or each.unit == "1" else f"{each.margin or 0.0:+.3g}"


def _record(each: Finding) -> dict[str, float | int | str | bool | None]:
    names = (
        "name",
        "outcome",
        "code",
        "measured",
        "unit",
        "n",
        "expected",
        "tolerance",
        "margin",
        "better",
        "required",
        "text",
        "next_step",
    )
    return {name: getattr(each, name) for name in names}


def _skipped(each: Finding) -> list[Cell]:
    required = f"{'required' if each.required else 'not required'} · {each.code}"
    return [Cell(each.name, each.name, required, "doubtful" if each.required else "plain"), Cell(each.text, each.text, _next(each))]


def _about(found: Qualification) -> Table:
    """The machine, what ran on it, versions, dates."""
    rows = [(name, str(value)) for name, value in _facts(found) if value]
    return Table(
        "about", "Machine and subject", [Column("what"), Column("value")], [[Cell(name), Cell(value, value)] for name, value in rows]
    )


def _facts(found: Qualification) -> Iterator[tuple[str, Any]]:
    lasting, subject = found.machine.get("lasting") or {}, found.subject
    yield "machine", found.machine.get("described")
    yield "kind of machine (fingerprint)", found.machine.get("fingerprint")
    yield from ((f"serial: {name}", text) for name, text in sorted(found.serials.items()))
    yield "backend", subject.get("backend")
    yield "settings", ", ".join(f"{name} {value}" for name, value in (subject.get("settings") or {}).items())
    yield "task", subject.get("task")
    for part in ("model", "data"):
        about = subject.get(part) or {}
        yield part, about.get("name")
        yield f"{part} SHA-256", about.get("sha256")
    yield "baseline", _baseline(found.baseline)
    yield "baseline SHA-256", found.baseline.get("sha256")
    yield "begun, UTC", found.started_utc
    yield "checks took", units.seconds(round(found.seconds))
    yield "operating system", f"{lasting.get('os') or ''} {lasting.get('kernel') or ''}".strip()
    drivers = {str(gpu.get("driver_version")) for gpu in lasting.get("gpus") or ()}
    yield "GPU driver", ", ".join(sorted(drivers))
    yield "versions", ", ".join(f"{name} {version}" for name, version in sorted((lasting.get("libraries") or {}).items()))
    yield "state of Assay", _commit(found.machine.get("git"))


def _baseline(about: Mapping[str, Any]) -> str:
    if not about:
        return "none"
    signed = f", signed ({about['signed']})" if about.get("signed") else ", not signed"
    return f"{about['file']}, learned from {units.plural(about['measurements'], 'measurement')}{signed}"


def _commit(git: Mapping[str, Any] | None) -> str:
    return f"{str(git['commit'])[:12]}{' with changes' if git.get('dirty') else ''}" if git else ""


# ------------------------------------------------------------------------------------------------------------------------ drawing


def _margins(found: Qualification) -> Iterator[Drawing]:
    """Each figure as a share of what is expected, with the limit it must not cross."""
    shown = [each for each in found.findings if each.expected and each.measured is not None and each.tolerance is not None and each.better]
    if not shown:
        return
    names = [each.name for each in shown]
    measured = [100 * (each.measured or 0.0) / (each.expected or 1.0) for each in shown]
    limits = [100 * (1 + _side(each) * (each.tolerance or 0.0) / abs(each.expected or 1.0)) for each in shown]
    traces = [
        {"type": "scatter", "mode": "markers", "name": "measured", "x": measured, "y": names, "marker": {"size": 11}},
        {"type": "scatter", "mode": "markers", "name": "limit", "x": limits, "y": names, "marker": {"symbol": "line-ns-open", "size": 18}},
    ]
    layout = {
        "xaxis": {"title": {"text": "% of what is expected"}},
        "yaxis": {"autorange": "reversed", "automargin": True},
        "height": 140 + 34 * len(shown),
    }
    caption = "a point on the far side of its limit, seen from 100 %, failed"
    yield Drawing("margins", "Figures against what is expected", caption, traces, layout)


def _side(each: Finding) -> int:
    return 1 if each.better == "lower" else -1
