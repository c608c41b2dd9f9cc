"""Findings held against a baseline: what each may be, and by how much it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness import units
from harness.history.series_key import differences
from harness.qualifying.baseline import AGAINST, Baseline, Figure, judged
from harness.qualifying.check import Finding, Outcome, Qualification
from harness.qualifying.spread import FEWEST, Limit

WIDE = 0.10
"""A tolerance above this lets a machine pass that is a tenth slower, which is worth saying."""

_MORE = "learn more measurements: `assay qualify --learn FILE`"


def judge(findings: Sequence[Finding], known: Baseline | None, level: str) -> list[Finding]:
    """`findings` with those that are held against the baseline judged, and one for each figure of the baseline's level that is missing."""
    if known is None:
        return list(findings)
    made = [_judged(finding, known.figure(finding.name)) if judged(finding) else finding for finding in findings]
    names = {finding.name for finding in findings}
    return made + [_missing(figure) for figure in known.figures if level in figure.levels and figure.name not in names]


def subject_findings(known: Baseline, found: Qualification) -> Iterator[Finding]:
    """One for the model, the data and the hardware each: other figures say nothing about a machine that ran something else."""
    for code, part, cure in (
        ("MODEL_WRONG", "model", "fetch the model again (`assay prepare`), or learn a baseline with this one"),
        ("DATA_WRONG", "data", "give the data that the baseline was learned with (--data), or learn one with these"),
    ):
        before, after = known.subject.get(part) or {}, found.subject.get(part) or {}
        yield _same(code, f"baseline_{part}", list(differences(before, after, f"{part}.")), cure)
    changed = list(differences(known.hardware, found.machine.get("hardware") or {}))
    yield _same("HARDWARE_OTHER", "baseline_hardware", changed, "mend the machine, or learn a baseline for machines of this kind")


def comparable(findings: Sequence[Finding]) -> bool:
    """Whether model, data and hardware are those of the baseline."""
    return not any(finding.outcome == "FAIL" and finding.name.startswith("baseline_") for finding in findings)


def not_compared(findings: Sequence[Finding]) -> list[Finding]:
    """Skipped where they would be held against a baseline of something else."""
    text = "not compared: the baseline is of another model, other data or other hardware"
    return [replace(each, outcome="SKIP", text=f"{each.text}; {text}") if judged(each) and _open(each) else each for each in findings]


def wide(known: Baseline) -> list[str]:
    """Warnings about figures whose spread hides a tenth."""
    found = [(figure, _tolerance(figure.limit)) for figure in known.figures if figure.limit is not None and figure.required]
    return [
        f"{figure.name}: tolerance {units.share(tolerance / abs(figure.limit.median))} from {figure.limit.n} measurements: {_MORE}"
        for figure, tolerance in found
        if figure.limit is not None and figure.limit.median and tolerance > WIDE * abs(figure.limit.median)
    ]


def _same(code: str, name: str, changed: list[str], cure: str) -> Finding:
    part = name.removeprefix("baseline_")
    if not changed:
        return Finding(code, name, "PASS", f"the {part} is that of the baseline")
    return Finding(code, name, "FAIL", f"not the {part} of the baseline: {'; '.join(changed)}", next_step=cure)


def _open(finding: Finding) -> bool:
    return finding.outcome in ("PASS", "WARN")


def _judged(finding: Finding, figure: Figure | None) -> Finding:
    """A finding that its check failed or skipped stays what it is."""
    if not _open(finding):
        return finding
    if figure is None:
        return replace(finding, outcome="SKIP", text=f"{finding.text}; the baseline does not have it", next_step=_MORE)
    if figure.unit != finding.unit:
        text = f"{finding.text}; the baseline has it in {figure.unit or 'no unit'}"
        return replace(finding, outcome="SKIP", text=text, next_step="learn the baseline anew with this version of Assay")
    if figure.limit is None:
        text = f"{finding.text}; the baseline has fewer than {FEWEST} measurements of it, too few for a spread"
        return replace(finding, outcome="SKIP", text=text, next_step=_MORE)
    return _held(finding, figure.limit)


def _held(finding: Finding, limit: Limit) -> Finding:
    """PASS or FAIL by the limit; a share of what is expected is the margin."""
    measured, tolerance = finding.measured or 0.0, _tolerance(limit)
    inside = [measured - limit.low] if limit.low is not None else []
    inside += [limit.high - measured] if limit.high is not None else []
    outcome: Outcome = finding.outcome if min(inside) >= 0 else "FAIL"
    return replace(
        finding,
        outcome=outcome,
        text=finding.text if min(inside) >= 0 else f"{finding.text}; {_off(measured, limit, tolerance)}",
        expected=limit.median,
        tolerance=tolerance,
        margin=min(inside) / (abs(limit.median) or 1.0),
        details={
            **finding.details,
            AGAINST: "baseline",
            "limit": {"low": limit.low, "high": limit.high, "n": limit.n, "worst": limit.worst},
        },
    )


def _off(measured: float, limit: Limit, tolerance: float) -> str:
    """How far from the accepted measurements, and how far it might be."""
    side = "below" if measured < limit.median else "above"
    accepted = f"the median of {limit.n} accepted measurements"
    if limit.median == 0:
        return f"{units.number(abs(measured))} {side} {accepted}, {units.number(tolerance)} is allowed"
    off = abs(measured - limit.median) / abs(limit.median)
    return f"{units.share(off)} {side} {accepted}, {units.share(tolerance / abs(limit.median))} is allowed"


def _tolerance(limit: Limit) -> float:
    """How far a figure may be off to its bad side, the nearer of two."""
    sides = [limit.median - limit.low] if limit.low is not None else []
    sides += [limit.high - limit.median] if limit.high is not None else []
    return min(sides)


def _missing(figure: Figure) -> Finding:
    text = "the baseline has it, and it was not measured here"
    step = "see which check was skipped or failed, and why"
    return Finding("NOT_MEASURED", figure.name, "SKIP", text, unit=figure.unit, required=figure.required, next_step=step)
