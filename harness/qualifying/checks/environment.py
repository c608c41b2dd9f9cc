"""What the doctor says of this machine, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.doctoring.examination import examine
from harness.doctoring.lines import Level, Line
from harness.qualifying.check import Check, Context, Finding, Outcome

OUTCOMES: dict[Level, Outcome] = {Level.OK: "PASS", Level.WARN: "WARN", Level.FAIL: "FAIL"}


def run(context: Context) -> list[Finding]:
    """A finding for each line but those of speed, which other checks measure anew."""
    return list(findings(examine(context.folder, speed=False)))


def findings(lines: list[Line]) -> Iterator[Finding]:
    """Only what fails is required: a warning of the doctor is advice."""
    for line in lines:
        name = "environment_" + re.sub(r"\W+", "_", line.name.lower()).strip("_")
        outcome = OUTCOMES[line.level]
        yield Finding("ENVIRONMENT", name, outcome, f"{line.name}: {line.text}", required=outcome == "FAIL", next_step=line.cure)


ENVIRONMENT = Check(
    code="ENVIRONMENT",
    name="environment",
    title="environment, as `assay doctor` sees it",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=6,
    run=run,
)
