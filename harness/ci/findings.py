"""The checks that a measured entry comes to, with their sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness import plugins, units
from harness.ci import answers, wording
from harness.ci.answers import Answers
from harness.ci.decision import Decision
from harness.ci.entries import Entry
from harness.ci.result import Check, Finding, Kind
from harness.comparing.results import Candidate, Comparison, figures_of
from harness.config import FIELDS
from harness.errors import AssayError, ExitCode

BASE, HEAD = 0, 1
"""Places of the two in a comparison."""

_DEFAULT_PARTS = ("backend", "scenario", "task")
_APART = ("out", "progress", "name", "accuracy", "offline")
"""Settings that do not say what is measured."""


@dataclass(frozen=True, slots=True)
class Found:
    """A check and what it makes the program end with."""

    check: Check
    code: ExitCode


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check is of. `unit`: of the values it compares."""

    entry: Entry
    kind: Kind
    gate: float
    unit: str = ""

    def check(self, verdict: Finding, text: str, cure: str = "") -> Check:
        """Without figures."""
        return self.with_figures(verdict, text, cure, (None, None, None), (None, None), (0, 0), None)

    def with_figures(
        self,
        verdict: Finding,
        text: str,
        cure: str,
        change: tuple[float | None, float | None, float | None],
        values: tuple[float | None, float | None],
        blocks_rounds: tuple[int, int],
        confirmed: bool | None,
    ) -> Check:
        """`change`: with its interval; `values`: of base and head."""
        entry = self.entry
        backend, scenario, task = (entry.setting(field) for field in _DEFAULT_PARTS)
        figures = (*change, self.gate, self.unit, *values, *blocks_rounds, confirmed)
        return Check(entry.name, backend, scenario, task, series(entry), self.kind, verdict, *figures, text, cure)


def series(entry: Entry) -> str:
    """Scenario, task, backend, and every setting that was given besides: "offline · sst2 · mine.py · max_batch 8"."""
    first = [entry.setting(field) for field in ("scenario", "task", "backend")]
    others = [f"{field} {entry.settings[field]}" for field in FIELDS if field in entry.settings and field not in (*_DEFAULT_PARTS, *_APART)]
    return " · ".join([*first, *others])


def slowdowns(found: Comparison) -> list[float]:
    """ln(time of head / time of base) of each block, by the deciding figure."""
    figure = found.figures[0]
    sign = 1.0 if figure.better == "lower" else -1.0
    pairs = zip(found.values(HEAD, figure), found.values(BASE, figure), strict=True)
    return [sign * float(np.log(head / base)) for head, base in pairs]


def kind_of(scenario: str) -> Literal["throughput", "latency"]:
    """Of the figure that decides there, so that a check has one name whether it was measured or not. A scenario that cannot be loaded is
    an error of its own, later."""
    try:
        plugin = plugins.load("scenarios", scenario).create()
    except AssayError:
        return "throughput"
    return "throughput" if figures_of(closed_loop=plugin.closed_loop, paced=plugin.paced)[0].share is None else "latency"


def of_speed(subject: Subject, decision: Decision, rounds: Sequence[Comparison]) -> Found:
    """The check of the deciding figure, from the comparisons of all rounds."""
    figure, ratio = rounds[0].figures[0], decision.slowdown
    base, head = (float(np.median([value for each in rounds for value in each.values(side, figure)])) for side in (BASE, HEAD))
    text, cure = _speed_words(subject, decision)
    change = (ratio.value - 1, ratio.low - 1, ratio.high - 1)
    check = subject.with_figures(decision.verdict, text, cure, change, (base, head), (ratio.blocks, decision.rounds), decision.confirmed)
    return Found(check, ExitCode.REGRESSION if decision.verdict == "regression" else ExitCode.OK)


def _speed_words(subject: Subject, decision: Decision) -> tuple[str, str]:
    ratio, gate = decision.slowdown, f"{subject.gate:.1%}"
    size = f"{abs(ratio.value - 1):.1%} {'more' if ratio.value > 1 else 'less'} time than base"
    interval = f"[{wording.signed(100 * (ratio.low - 1), 1)}%, {wording.signed(100 * (ratio.high - 1), 1)}%]"
    how = f"{units.plural(ratio.blocks, 'block')} in {units.plural(decision.rounds, 'round')} of fresh processes"
    facts = f"head takes {size}, 95 % interval {interval}, {how}"
    if decision.verdict == "regression":
        return f"{facts}: all of it beyond the gate of {gate}, and found again", "look at what changed between base and head"
    if decision.verdict == "improvement":
        return facts, ""
    if decision.verdict == "unchanged":
        return f"{facts}: within the gate of {gate}", ""
    doubt = "seen in one round and not in another" if decision.confirmed is False else f"the gate of {gate} lies inside the interval"
    return f"{facts}: {doubt}", "measure longer (--blocks 12), or where it is quieter"


def of_answers(subject: Subject, base: Candidate, head: Candidate) -> Found | None:
    """The check of accuracy; None where neither side was scored."""
    if base.accuracy is None and head.accuracy is None:
        return None
    if base.accuracy is None or head.accuracy is None:
        side = "base" if base.accuracy is None else "head"
        return Found(subject.check("skipped", f"{side} has no accuracy to compare"), ExitCode.OK)
    judged = answers.judge(Answers(base.accuracy, base.outcomes), Answers(head.accuracy, head.outcomes))
    values = (base.accuracy.value, head.accuracy.value)
    text = f"{head.accuracy.metric} {values[0]:.2f} → {values[1]:.2f}: {judged.text}"
    low, high = (None if end is None else end / 100 for end in (judged.low, judged.high))
    named = Subject(subject.entry, "accuracy", 0.0, head.accuracy.metric)
    verdict, cure, code = judged.verdict, "", ExitCode.OK
    if verdict == "regression":
        cure, code = "look at what changed between base and head", ExitCode.REGRESSION
    elif head.accuracy.passed is False:
        verdict, code = "error", ExitCode.ACCURACY
        text += f"; both are below the target of {head.accuracy.target:.2f}: no speed of theirs is a result"
        cure = "mend the accuracy first, or give the entry a lower accuracy_target"
    return Found(named.with_figures(verdict, text, cure, (judged.lost / 100, low, high), values, (0, 1), None), code)


def of_interrupted(subject: Subject) -> Found:
    return Found(subject.check("skipped", "interrupted before it was decided"), ExitCode.INTERRUPTED)


def of_error(subject: Subject, side: str, error: AssayError) -> Found:
    """What could not be measured: of base it is skipped (there is nothing to hold head against), of head it is an error."""
    if side == "base":
        cure = "a new entry is compared from the next push on; otherwise mend base"
        return Found(subject.check("skipped", f"base could not be measured: {_bare(error)}", cure), ExitCode.OK)
    return Found(subject.check("error", str(error), error.cure), ExitCode(error.exit_code))


def _bare(error: AssayError) -> str:
    return str(error).removeprefix("base: ")
