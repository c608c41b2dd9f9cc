"""Findings about checks that came to no finding of their own: what was recorded always reaches the verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import AssayError, DataError, MissingError, first_line
from harness.qualifying.check import Check, Finding, Outcome
from harness.qualifying.stop import HOT, LATE, Reason, Stopped


def refused(check: Check, error: AssayError) -> Finding:
    """What this machine lacks is skipped; anything else failed."""
    outcome: Outcome = "SKIP" if isinstance(error, MissingError) and not isinstance(error, DataError) else "FAIL"
    return _about(check, "CHECK_ERROR", outcome, str(error), error.cure)


def broken(check: Check, error: Exception) -> Finding:
    text = f"the check broke off: {type(error).__name__}: {first_line(error)}"
    return _about(check, "CHECK_ERROR", "FAIL", text, "run it alone to see more; if it stays, report it")


def stopped(check: Check, stopped: Stopped) -> Finding:
    return _about(check, stopped.code, "SKIP" if stopped.code == LATE else "FAIL", str(stopped), _CURES.get(stopped.code, ""))


def unreached(check: Check, reason: Reason | None) -> Finding:
    code, text = reason or ("INTERRUPTED", "not reached")
    return _about(check, code, "SKIP", f"not finished: {text}", "go on with `assay qualify --resume FOLDER`")


def silent(check: Check) -> Finding:
    return _about(check, "CHECK_ERROR", "SKIP", "the check found nothing to say", "report it")


def _about(check: Check, code: str, outcome: Outcome, text: str, step: str) -> Finding:
    return Finding(code, check.name, outcome, text, required=check.required, next_step=step)


_CURES = {
    "CHECK_TIMEOUT": "see what hangs: a driver, a disk, or other work on this machine",
    HOT: "see to the cooling, then qualify again",
    LATE: "go on with `assay qualify --resume FOLDER`",
}


def timed(findings: Sequence[Finding], seconds: float) -> list[Finding]:
    """The time of a check is divided among its findings that do not say."""
    unsaid = sum(not finding.seconds for finding in findings)
    return [finding if finding.seconds else replace(finding, seconds=seconds / unsaid) for finding in findings]
