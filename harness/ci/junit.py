"""JUnit XML, as Jenkins, GitLab, GitHub's reporters and others read it: suites of cases that passed, failed, broke or were skipped. Pure.

There is no standard; what all of them read is the XSD of Jenkins' xUnit plugin (junit-10): `testsuites`, `testsuite`, `properties`,
`testcase` with at most one of `failure`, `error` and `skipped`, and `system-out`. The same input gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree as ET

Outcome = Literal["passed", "failure", "error", "skipped"]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (section 2.2 of the recommendation)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One check. `classname`: parts with dots between them, outermost first, by which readers group; `message` is one line, `text` all
    of it (for one that passed: what was found); `seconds` is None where it is not known."""

    classname: str
    name: str
    outcome: Outcome = "passed"
    message: str = ""
    text: str = ""
    kind: str = ""
    seconds: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases that were found together. `started_utc`: ISO 8601."""

    name: str
    cases: Sequence[Case]
    started_utc: str = ""
    hostname: str = ""
    seconds: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def render(suites: Sequence[Suite]) -> str:
    """The file, ending in a newline."""
    root = ET.Element("testsuites", {"name": "assay", **_counts([case for suite in suites for case in suite.cases])})
    for suite in suites:
        root.append(_suite(suite))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def part(text: str) -> str:
    """`text` as one part of a classname: dots and slashes would begin another."""
    return re.sub(r"[./\\\s]+", "_", text).strip("_") or "none"


def safe(text: str) -> str:
    """`text` with what XML cannot hold written as `\\x1b`."""
    return _FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _suite(suite: Suite) -> ET.Element:
    about = {"name": suite.name, **_counts(suite.cases), "time": _seconds(suite.seconds)}
    about |= {"timestamp": suite.started_utc[:19], "hostname": suite.hostname}
    made = ET.Element("testsuite", _attributes(about))
    _properties(made, suite.properties)
    for case in suite.cases:
        made.append(_case(case))
    return made


def _case(case: Case) -> ET.Element:
    made = ET.Element("testcase", _attributes({"classname": case.classname, "name": case.name, "time": _seconds(case.seconds)}))
    _properties(made, case.properties)
    if case.outcome == "passed":
        if case.text:
            ET.SubElement(made, "system-out").text = safe(case.text)
        return made
    about = {"message": case.message, "type": "" if case.outcome == "skipped" else case.kind or case.outcome}
    ET.SubElement(made, case.outcome, _attributes(about)).text = safe(case.text or case.message)
    return made


def _properties(parent: ET.Element, properties: Mapping[str, str]) -> None:
    if properties:
        listed = ET.SubElement(parent, "properties")
        for name, value in properties.items():
            ET.SubElement(listed, "property", {"name": safe(name), "value": safe(value)})


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
    }


def _attributes(values: Mapping[str, str]) -> dict[str, str]:
    """Those that say something; names are always there."""
    return {name: safe(value) for name, value in values.items() if value or name in ("name", "classname")}


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
