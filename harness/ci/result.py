"""What `ci check` found: a `Check` for each figure of each entry that was measured at base and at head, and all of them together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

SCHEMA = 1
"""Version of a stored check. 1: first."""

Kind = Literal["throughput", "latency", "accuracy"]
Finding = Literal["regression", "improvement", "unchanged", "undecided", "skipped", "error"]
"""unchanged: shown to lie inside the gate (accuracy: no difference that chance would not make); undecided: not shown, and not shown to
lie beyond it; skipped: not measured, for a reason that is nobody's fault; error: should have been measured and could not be."""


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of one entry, base against head.

    name       of the entry in the project's file of checks
    series     what is measured, in words that stay the same from push to push
    change     how much more time head takes than base, as a share: 0.08 is 8 % more latency, or 8 % more time a sample; below 0 it is
               faster. Accuracy: points of the metric that were lost, as a share of 100. None where nothing was measured
    low, high  interval of 95 % of the change; of 99 % for accuracy
    gate       share that `low` must exceed for a regression
    unit       of `base_value` and `head_value`: samples/s, ns, or the metric's name
    blocks     paired blocks behind it, over all rounds
    rounds     measurements in fresh processes
    confirmed  a regression was found again in fresh processes; None where there was nothing to confirm
    text       one sentence with the facts; `cure`: what to do about it, or empty
    """

    name: str
    backend: str
    scenario: str
    task: str
    series: str
    kind: Kind
    verdict: Finding
    change: float | None
    low: float | None
    high: float | None
    gate: float
    unit: str
    base_value: float | None
    head_value: float | None
    blocks: int
    rounds: int
    confirmed: bool | None
    text: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole check.

    base, head  what was compared, as a person would say it: "main (3f2a1c0)"
    machine     where, in one line
    floor       the machine's noise floor as a share by scenario; those that are known
    exit_code   0 nothing became worse, 7 something did, 9 nothing was measured, 4 something could not be measured, 130 interrupted
    seconds     the check took
    """

    checks: tuple[Check, ...]
    base: str
    head: str
    machine: str
    started_utc: str
    floor: Mapping[str, float]
    exit_code: int
    warnings: tuple[str, ...]
    seconds: float

    def of(self, verdict: Finding) -> tuple[Check, ...]:
        """The checks that ended so."""
        return tuple(check for check in self.checks if check.verdict == verdict)


def to_json(checked: Checked) -> dict[str, Any]:
    """As it is stored."""
    return {"schema": SCHEMA, "kind": "check", **asdict(checked)}


def from_json(record: Mapping[str, Any]) -> Checked:
    """What `to_json` stored. Raises ValueError for another schema, or a field that is missing or unknown."""
    if record.get("schema") != SCHEMA or record.get("kind") != "check":
        raise ValueError(f"schema {record.get('schema')}, kind {record.get('kind')}: not a check of schema {SCHEMA}")
    try:
        parts = {each.name: record[each.name] for each in fields(Checked)}
        checks = tuple(Check(**check) for check in parts["checks"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a check: {error}") from error
    return Checked(**{**parts, "checks": checks, "warnings": tuple(parts["warnings"])})
