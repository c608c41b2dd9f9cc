"""Which JUnit cases a stored qualification is: one for each finding. Pure.

A required check that was skipped is an error: what could not be found out is not passed. One that is not required stays skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.ci import wording
from harness.ci.junit import Case, Outcome, Suite, part

_OUTCOME: dict[str, Outcome] = {"PASS": "passed", "WARN": "passed", "FAIL": "failure", "SKIP": "skipped"}
_FIGURES = ("measured", "unit", "n", "expected", "tolerance", "margin")


def of_record(record: Mapping[str, Any]) -> Suite:
    """A suite. Raises KeyError for what is no qualification."""
    properties = {"verdict": record["verdict"], "level": record["level"], "sha256": str(record.get("sha256") or "")}
    properties |= {"baseline": str(record["baseline"].get("sha256") or "none")}
    host = str(record["machine"].get("hostname") or "")
    return Suite(f"assay qualify {record['level']}", [*_cases(record)], record["started_utc"], host, record["seconds"], properties)


def _cases(record: Mapping[str, Any]) -> Iterator[Case]:
    classname = f"assay.qualify.{part(record['level'])}"
    for finding in record["findings"]:
        yield _case(finding, classname)
    if record["verdict"] == "NOT QUALIFIED":  # where nothing was required and nothing found, no case would say so
        yield Case(classname, "verdict", "error", "NOT QUALIFIED", "a required check was skipped, or nothing was measured", "NOT QUALIFIED")


def _case(finding: Mapping[str, Any], classname: str) -> Case:
    outcome = "error" if finding["outcome"] == "SKIP" and finding["required"] else _OUTCOME[finding["outcome"]]
    if finding["outcome"] == "FAIL" and not finding["required"]:
        outcome = "skipped"  # it is said, and rejects nothing
    step = f"\nnext: {finding['next_step']}" if finding["next_step"] and finding["outcome"] != "PASS" else ""
    said = f"{finding['outcome']} {finding['code']}: {finding['text']}"
    known = {name: finding[name] for name in _FIGURES} if finding["measured"] is not None else {}
    facts = {name: f"{value:.9g}" if isinstance(value, float) else str(value) for name, value in known.items() if value not in (None, "")}
    return Case(
        classname,
        finding["name"],
        outcome,
        "" if outcome == "passed" else wording.one_line(said),
        said + step,
        "" if outcome == "passed" else finding["code"],
        finding["seconds"],
        facts,
    )
