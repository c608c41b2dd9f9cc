"""Stored runs against each other or against their history: weaker evidence than base and head measured in turn, and said to be.

The machine of one day is not that of another (26 % between hosted runners, peers.md 3.4), so only runs of one series are compared, and
what they differ by is held against what runs of that series differ by when nothing changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness import compare, store
from harness.ci import changes, machine
from harness.ci.checking import exit_code
from harness.ci.decision import FLOORS, LEAST_GATE
from harness.ci.entries import Entry
from harness.ci.findings import Found, Subject, series
from harness.ci.places import Place
from harness.ci.result import Checked, Finding
from harness.core import Run
from harness.errors import ExitCode, MissingError, UsageError
from harness.history import series_key
from harness.history.connection import find_file
from harness.history.database import History
from harness.history.spread import spread

FEWEST = 6
"""Runs of the present level that the history must hold: their deviation has 5 degrees of freedom, its t quantile is 2.6."""

LAST = 200
"""Points that the present level is looked for in."""

_WEAKER = "stored runs are weaker evidence than base and head measured in turn (`--base REF`)"


def check(base: Place, head: Place, db: Path | None, gate: float | None) -> Checked:
    """A stored run against another, or against the history. Raises UsageError for runs of different series or a history as head."""
    started, began = datetime.now(UTC), time.monotonic()
    if head.stored is None:
        raise UsageError("--head history: the history can only be the base", "name a stored run as --head")
    run = store.read_run(head.stored)
    earlier, shown = _earlier(base, run, db)
    found = _held(run, earlier, gate, against_one=base.stored is not None)
    return Checked(
        checks=(found.check,),
        base=shown,
        head=head.shown,
        machine=machine.described(),
        started_utc=started.isoformat(timespec="seconds"),
        floor={},
        exit_code=int(exit_code([found])),
        warnings=(_WEAKER,),
        seconds=time.monotonic() - began,
    )


def _earlier(base: Place, run: Run, db: Path | None) -> tuple[list[float], str]:
    """Values that `run` is held against, the last being the base itself where it is one run; and what they are called."""
    parts = series_key.parts(run)
    level = _level(find_file(db), series_key.key(parts), run.run_id)
    if base.stored is None:
        return level, f"the last {len(level)} runs of the history"
    other = store.read_run(base.stored)
    if lines := list(series_key.differences(series_key.parts(other), parts)):
        raise UsageError(
            f"{other.run_id} and {run.run_id} are of different series: {'; '.join(lines)}", "compare what differs in nothing else"
        )
    value = _value(other)
    if value is None:
        raise UsageError(f"{other.run_id} has no result to compare with", "name a run that is valid")
    return [*level, value], base.shown


def _level(file: Path, key: str, but: str) -> list[float]:
    """The points since the newest change of the series of run `but`, without it; none where there is no history. Raises MissingError and
    DataError for one that cannot be read."""
    if not file.exists():
        return []
    with History(file, make=False) as history:
        recorded = next(history.asked("SELECT series FROM runs WHERE run_id = ?", (but,)), None)  # its key may hold a machine's name
        points = [point for point in history.points(recorded[0] if recorded else key, last=LAST) if point.row.run_id != but]
    values = [point.value for point in points]
    try:
        found = changes.of_points(points)
    except MissingError:  # without Otava the newest points are the present level
        return values[-2 * FEWEST :]
    return values[found[-1].index :] if found else values


def _held(run: Run, earlier: Sequence[float], gate: float | None, *, against_one: bool) -> Found:
    """The one check of a stored run."""
    settings = {name: str(run.config.get(name, "")) for name in ("backend", "scenario", "task")}
    entry = Entry(str(run.config.get("name") or run.run_id), settings, gate, "")
    metric = run.verdict.get("metric") or {}
    value, level = _value(run), list(earlier[:-1] if against_one else earlier)
    noise = spread(level) or 0.0
    limit = gate or max(LEAST_GATE, FLOORS * noise)
    latency = metric.get("better") == "lower"
    subject = Subject(entry, "latency" if latency else "throughput", limit, str(metric.get("unit", "")))
    if value is None:
        return Found(subject.check("error", f"{run.run_id} is no result: {_reason(run)}"), ExitCode(run.exit_code))
    if len(level) < FEWEST:
        text = f"the history holds {len(level)} runs of this series at its present level, {FEWEST} are needed to know its noise"
        return Found(subject.check("skipped", text, "record more with `assay ci record`, or measure both: `--base REF`"), ExitCode.OK)
    low, middle, high = slowdown(level, value, earlier[-1] if against_one else None, latency=latency)
    verdict = _verdict(low, high, limit)
    base = earlier[-1] if against_one else math.exp(math.fsum(map(math.log, level)) / len(level))
    text = f"head takes {middle:+.1%} time, 95 % interval [{low:+.1%}, {high:+.1%}] by the spread of {len(level)} runs of {series(entry)}"
    figures = subject.with_figures(verdict, text, _cure(verdict), (middle, low, high), (base, value), (0, 0), None)
    return Found(figures, ExitCode.REGRESSION if verdict == "regression" else ExitCode.OK)


def slowdown(level: Sequence[float], head: float, base: float | None, *, latency: bool) -> tuple[float, float, float]:
    """Low end, middle and high end of the time of `head` over that of `base` (None: of the level), less 1.

    A prediction interval of 95 %: one further run of a normal with unknown deviation lies within t_{n-1} s sqrt(1 + 1/n) of the mean of
    n; of another single run within t_{n-1} s sqrt(2).
    """
    logs = [math.log(value) for value in level]
    mean, count = math.fsum(logs) / len(logs), len(logs)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in logs) / (count - 1))
    centre, factor = (mean, 1 + 1 / count) if base is None else (math.log(base), 2.0)
    half = compare.student_quantile(0.975, count - 1) * deviation * math.sqrt(factor)
    middle = (math.log(head) - centre) * (1.0 if latency else -1.0)
    return math.expm1(middle - half), math.expm1(middle), math.expm1(middle + half)


def _verdict(low: float, high: float, gate: float) -> Finding:
    if low > gate:
        return "regression"
    if high > gate:
        return "undecided"
    return "improvement" if high < -compare.EQUIVALENT else "unchanged"


def _cure(verdict: Finding) -> str:
    return "measure base and head in turn to be sure: `assay ci check --base REF`" if verdict in ("regression", "undecided") else ""


def _value(run: Run) -> float | None:
    """The headline figure of a run that is a result; None for one that is not."""
    value = (run.verdict.get("metric") or {}).get("value")
    return float(value) if run.exit_code == ExitCode.OK and value else None


def _reason(run: Run) -> str:
    reasons = [str(each.get("text")) for each in run.verdict.get("reasons") or ()]
    return reasons[0] if reasons else f"it ended with exit code {run.exit_code}"
