"""A soak: load for at least a quarter of an hour."""

from __future__ import annotations

from harness.qualifying import soak, soak_findings
from harness.qualifying.check import Check, Context, Finding

SECONDS = 900.0


def _run(context: Context) -> list[Finding]:
    with soak.load(context) as turn:
        return soak_findings.findings(soak.soak(context, turn))


SOAK = Check("SOAK", "soak", "soak under load", True, ("long",), SECONDS, _run)
