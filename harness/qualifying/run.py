"""A qualification from beginning to end: each check in turn, whatever becomes of it, then all held against the baseline.

What is done is on disk after every check. Nothing here, and nothing it calls, changes clocks, power limits or any other setting of the
machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import bench as benches
from harness.config import RunConfig
from harness.errors import AssayError, DataError
from harness.progress import Progress, Silent
from harness.qualifying import judging, machine, mishaps, state, thermometer
from harness.qualifying.baseline import Baseline
from harness.qualifying.check import Check, Context, Finding, Qualification
from harness.qualifying.stop import HOT, LATE, Reason, Stopped, watched
from harness.telemetry.stream import Stream, beside


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. `known_file`, `signed`: where the baseline is from and who signed it; `settings`: how to do it again, as
    stored; `time_limit_s`: for all checks together; `before`: what was done before an interruption."""

    level: str
    checks: Sequence[Check]
    config: RunConfig
    folder: Path
    known: Baseline | None = None
    known_file: str = ""
    signed: str = ""
    max_celsius: float | None = None
    time_limit_s: float | None = None
    soak_s: float = 900.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: Qualification | None = None


def run(plan: Plan, progress: Progress | None = None) -> Qualification:
    """Do it. Raises MissingError where its state cannot be written, or a temperature is limited that cannot be read."""
    progress = progress or Silent()
    interval_s = plan.config.telemetry
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(beside(os.getpid(), interval_s)) if interval_s > 0 else None
        look = stack.enter_context(thermometer.below(plan.max_celsius)) if plan.max_celsius is not None else thermometer.never
        conductor = _Conductor(plan, progress, stream, look)
        stack.callback(conductor.close)
        return conductor.conduct()


class _Conductor:
    """One qualification while it goes on."""

    def __init__(self, plan: Plan, progress: Progress, stream: Stream | None, look: Callable[[], Reason | None]) -> None:
        self._plan, self._progress, self._stream, self._look = plan, progress, stream, look
        self._start, self._keep = time.monotonic(), dict[str, Any]()
        self._found = _resumed(plan) if plan.before else _begun(plan)
        self._stopped: Reason | None = None

    def conduct(self) -> Qualification:
        self._prepare()
        self._begin()
        self._save()
        try:
            for check in self._plan.checks:
                if check.name not in self._found.done and self._stopped is None:
                    self._one(check)
        except KeyboardInterrupt:
            self._stopped = ("INTERRUPTED", "interrupted by Ctrl-C")
            self._save()  # the time of the check that was going on counts, too
        serials = machine.serials(self._stream.rows() if self._stream else None)
        return self._judged(replace(self._found, serials={**self._found.serials, **serials}, complete=self._stopped is None))

    def close(self) -> None:
        for each in self._keep.values():
            if hasattr(each, "close"):
                with contextlib.suppress(Exception):  # the verdict is there, and what is closed is ended with the process
                    each.close()

    # -------------------------------------------------------------------------------------------------------------- parts of it

    def _prepare(self) -> None:
        """Model and data, and what they are. What cannot be had is a finding: checks that need it say so once more."""
        try:
            self._keep["bench"] = bench = benches.prepare(self._plan.config, Silent())
            self._found = replace(self._found, subject=machine.subject(bench))
        except AssayError as error:
            damaged = isinstance(error, DataError)
            code = "MODEL_WRONG" if damaged else "SUBJECT_MISSING"
            self._add([Finding(code, "subject", "FAIL" if damaged else "SKIP", str(error), next_step=error.cure)])

    def _begin(self) -> None:
        for check in self._plan.checks:
            if check.begin is not None and check.name not in self._found.done:
                check.begin(self._context(_limit_s(check)))

    def _one(self, check: Check) -> None:
        limit_s = _limit_s(check)
        self._keep["findings"] = self._found.findings  # for those that look back on others
        context = self._context(limit_s)
        self._progress.phase(check.title)
        start = time.monotonic()
        try:
            with watched(limit_s, self._reason):
                given = check.run(context)
            findings = [given] if isinstance(given, Finding) else list(given)
        except Stopped as stopped:
            findings = [mishaps.stopped(check, stopped)]
            if stopped.code in (HOT, LATE):
                self._stopped = (stopped.code, str(stopped))
        except AssayError as error:
            findings = [mishaps.refused(check, error)]
        except Exception as error:
            findings = [mishaps.broken(check, error)]
        self._add(mishaps.timed(findings or [mishaps.silent(check)], time.monotonic() - start))
        if self._stopped is None or self._stopped[0] == HOT:
            self._found = replace(self._found, done=(*self._found.done, check.name))
        self._save()

    def _context(self, limit_s: float) -> Context:
        plan = self._plan
        return Context(
            level=plan.level,
            config=plan.config,
            folder=plan.folder,
            progress=self._progress,
            deadline=time.monotonic() + limit_s,
            baseline=plan.known,
            stream=self._stream,
            device=plan.config.device,
            max_celsius=plan.max_celsius,
            soak_s=plan.soak_s,
            keep=self._keep,
        )

    def _reason(self) -> Reason | None:
        """To end everything: the time that is up, the temperature that is too high."""
        limit_s = self._plan.time_limit_s
        if limit_s is not None and time.monotonic() - self._start > limit_s:
            return LATE, f"the time limit of {limit_s:g} s is up"
        return self._look()

    def _add(self, findings: Sequence[Finding]) -> None:
        """In place of those that the same names have from before an interruption."""
        names = {finding.name for finding in findings}
        kept = [finding for finding in self._found.findings if finding.name not in names]
        self._found = replace(self._found, findings=(*kept, *findings))

    def _save(self) -> None:
        before = self._plan.before.seconds if self._plan.before else 0.0
        self._found = replace(self._found, seconds=before + time.monotonic() - self._start)
        state.keep(self._plan.folder, replace(self._found, complete=False))

    def _judged(self, found: Qualification) -> Qualification:
        """Against the baseline, and with a line for each check that was not reached."""
        missed = [mishaps.unreached(check, self._stopped) for check in self._plan.checks if check.name not in found.done and self._stopped]
        names = {finding.name for finding in found.findings}
        found = replace(found, findings=(*found.findings, *(each for each in missed if each.name not in names)))
        known = self._plan.known
        if known is None:
            return found
        about = list(judging.subject_findings(known, found))
        findings = list(found.findings)
        findings = judging.judge(findings, known, found.level) if judging.comparable(about) else judging.not_compared(findings)
        return replace(found, findings=(*about, *findings), warnings=(*found.warnings, *judging.wide(known)))


# -------------------------------------------------------------------------------------------------------------- begun and gone on


def _limit_s(check: Check) -> float:
    return check.limit_s if check.limit_s is not None else 5 * check.seconds + 60


def _begun(plan: Plan) -> Qualification:
    known = plan.known
    held = {"file": plan.known_file, "sha256": known.sha256, "measurements": len(known.accepted), "signed": plan.signed} if known else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Qualification(plan.level, (), machine.facts(), baseline=held, settings=plan.settings, started_utc=now, complete=False)


def _resumed(plan: Plan) -> Qualification:
    """What was done before, and the gap since."""
    if plan.before is None:
        raise ValueError("nothing to go on from")
    last, now = state.last_sign(plan.folder), datetime.now(UTC)
    gap = {
        "from_utc": last.isoformat(timespec="seconds"),
        "to_utc": now.isoformat(timespec="seconds"),
        "seconds": (now - last).total_seconds(),
    }
    unfinished = {check.name for check in plan.checks} - set(plan.before.done)
    kept = tuple(finding for finding in plan.before.findings if finding.name not in unfinished)
    return replace(plan.before, findings=kept, resumed=(*plan.before.resumed, gap))
