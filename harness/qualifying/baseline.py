"""What accepted machines measured, and how far another may differ. Pure: records in, records out; `baseline_file` reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from harness.errors import UsageError
from harness.history.series_key import differences
from harness.qualifying.check import Better, Finding, Qualification
from harness.qualifying.spread import FEWEST, Limit, Sample, limits, standard_error

SCHEMA = 1
"""Version of a stored baseline. 1: first."""

AGAINST = "against"
"""Key of a finding's details: "baseline" where the frame judged it."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One figure of one accepted measurement. `error`: standard error of `value` by its `n` repeats, 0 where they are not known."""

    value: float
    unit: str
    better: Better
    required: bool
    n: int
    error: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted measurement. `sha256` is that of its qualification.json: it is learned once."""

    sha256: str
    started_utc: str
    level: str
    hostname: str
    serials: Mapping[str, str]
    figures: Mapping[str, Learned]


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is held against. `limit` is None where fewer than three measurements have it."""

    name: str
    unit: str
    better: Better
    required: bool
    levels: tuple[str, ...]
    limit: Limit | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """`subject` and `hardware`: what every measurement was of (backend, task, hashes of model and data; the machine's fingerprint)."""

    subject: Mapping[str, Any]
    hardware: Mapping[str, Any]
    accepted: tuple[Accepted, ...]
    figures: tuple[Figure, ...] = ()
    sha256: str = field(default="", compare=False)

    def figure(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)


# ---------------------------------------------------------------------------------------------------------------------- learning


def learn(known: Baseline | None, found: Qualification, sha256: str) -> Baseline:
    """`known` with one more measurement; a new baseline where it is None. Raises UsageError for a measurement that cannot be an example of
    a good machine, was learned before, or is of something else."""
    _refuse(found)
    if known is None:
        known = Baseline(found.subject, found.machine.get("hardware") or {}, ())
    if any(each.sha256 == sha256 for each in known.accepted):
        raise UsageError(f"--learn: the qualification of {found.started_utc} was learned before", "learn each measurement once")
    if different := [*differs(known, found)]:
        raise UsageError(f"--learn: this is no further example: {'; '.join(different)}", "learn it into a baseline of its own")
    accepted = (*known.accepted, _accepted(found, sha256))
    return Baseline(known.subject, known.hardware, accepted, _figures(accepted))


def refuse_other(known: Baseline, asked: Mapping[str, Any], flag: str) -> None:
    """Raises UsageError where something else is to run than the baseline is of: no verdict would come of it. What was asked for is typed;
    the hashes of model and data are a matter of the verdict."""
    of = {name: known.subject.get(name) for name in asked}
    if different := [*differences(of, asked)]:
        raise UsageError(
            f"{flag}: the baseline is of something else: {'; '.join(different)}", "give the same flags, or learn another baseline"
        )


def differs(known: Baseline, found: Qualification) -> Sequence[str]:
    """What of subject and hardware is not that of the baseline, a line each."""
    return [*differences(known.subject, found.subject), *differences(known.hardware, found.machine.get("hardware") or {}, "hardware.")]


def _refuse(found: Qualification) -> None:
    failed = [finding.name for finding in found.findings if finding.required and finding.outcome in ("FAIL", "SKIP")]
    if not found.complete or failed:
        why = f"{', '.join(failed)} did not pass" if failed else "it did not finish"
        raise UsageError(f"--learn: this measurement is no example of a good machine: {why}", "mend that, and measure again")
    if not _learned(found):
        raise UsageError("--learn: nothing was measured that could be learned", "choose a level that measures")


def _accepted(found: Qualification, sha256: str) -> Accepted:
    host = str(found.machine.get("hostname") or "")
    return Accepted(sha256, found.started_utc, found.level, host, found.serials, _learned(found))


def _learned(found: Qualification) -> dict[str, Learned]:
    return {each.name: _one(each, each.better) for each in found.findings if each.measured is not None and each.better and judged(each)}


def judged(finding: Finding) -> bool:
    """Whether it is held against a baseline: its check has not judged it itself."""
    open_ones = finding.expected is None or finding.details.get(AGAINST) == "baseline"
    return finding.measured is not None and finding.better is not None and open_ones


def _one(finding: Finding, better: Better) -> Learned:
    values = [float(value) for value in finding.details.get("values", ()) if value is not None]
    return Learned(float(finding.measured or 0.0), finding.unit, better, finding.required, finding.n, standard_error(values))


def _figures(accepted: Sequence[Accepted]) -> tuple[Figure, ...]:
    names = list(dict.fromkeys(name for each in accepted for name in each.figures))
    held = {name: [each.figures[name] for each in accepted if name in each.figures] for name in names}
    samples = {name: [Sample(each.value, each.error) for each in found] for name, found in held.items()}
    bounds = limits(samples, {name: found[-1].better for name, found in held.items()})
    made = []
    for name, found in held.items():
        levels = tuple(sorted({each.level for each in accepted if name in each.figures}))
        last = found[-1]
        made.append(Figure(name, last.unit, last.better, last.required, levels, bounds.get(name)))
    return tuple(made)


# ----------------------------------------------------------------------------------------------------------------------- records


def to_json(known: Baseline) -> dict[str, Any]:
    """As it is stored, without its hash."""
    parts = asdict(known)
    del parts["sha256"]
    return {"schema": SCHEMA, "kind": "qualification baseline", "fewest": FEWEST, **parts}


def from_json(record: Mapping[str, Any]) -> Baseline:
    """What `to_json` stored. Raises ValueError for anything else."""
    if record.get("schema") != SCHEMA or record.get("kind") != "qualification baseline":
        raise ValueError(f"schema {record.get('schema')}, kind {record.get('kind')}: no baseline of schema {SCHEMA}")
    try:
        parts = {each.name: record[each.name] for each in fields(Baseline) if each.name in record}
        accepted = tuple(_stored_accepted(each) for each in parts["accepted"])
        figures = tuple(_stored_figure(each) for each in parts["figures"])
        return Baseline(**{**parts, "accepted": accepted, "figures": figures})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no baseline: {error}") from error


def _stored_accepted(record: Mapping[str, Any]) -> Accepted:
    return Accepted(**{**record, "figures": {name: Learned(**each) for name, each in record["figures"].items()}})


def _stored_figure(record: Mapping[str, Any]) -> Figure:
    limit = None if record["limit"] is None else Limit(**record["limit"])
    return Figure(**{**record, "levels": tuple(record["levels"]), "limit": limit})
