"""Single figures of runs and checks, each with a name that stays the same from push to push: what trackers of numbers take. Pure.

Only a number that is a result is a figure: runs that are not VALID have none, nor has a check without values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harness import card, steady
from harness.ci.result import Check, Checked
from harness.core import Columns, Run
from harness.early_stopping import required
from harness.errors import MissingError, UsageError
from harness.stats import percentile_interval
from harness.validity import query_latency_ns

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

Kind = Literal["latency", "throughput", "accuracy"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure. `subject`: what it is of (scenario, task, backend, model), `figure`: which of its figures; `low` and `high`: its interval
    of 95 % (99 % for the accuracy of a check), None where it is not known; `extra`: lines that qualify it."""

    subject: str
    figure: str
    kind: Kind
    value: float
    unit: str
    better: Literal["higher", "lower"]
    low: float | None = None
    high: float | None = None
    extra: tuple[str, ...] = ()


def of_runs(runs: Sequence[Run], columns: Sequence[Columns | None]) -> list[Measure]:
    """Every figure of every VALID run. Raises MissingError where no run is VALID, UsageError where two runs measure the same."""
    counting = [(run, ledger) for run, ledger in zip(runs, columns, strict=True) if card.make(run).counts]
    if not counting:
        said = ", ".join(f"{run.run_id}: {card.make(run).word}" for run in runs)
        raise MissingError(f"no run has a result to export ({said})", "export runs that are VALID")
    found = [measure for run, ledger in counting for measure in _of_run(run, ledger)]
    return _distinct(found)


def of_checked(checked: Checked) -> list[Measure]:
    """The head's figure of every check that measured one. Raises MissingError where none did."""
    found = [measure for check in checked.checks for measure in _of_check(check, checked)]
    if not found:
        raise MissingError("the check has no figure to export", "see its errors: nothing was measured")
    return _distinct(found)


def _distinct(measures: list[Measure]) -> list[Measure]:
    names = [(each.subject, each.figure) for each in measures]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"{' '.join(doubled)} is there twice: a tracker takes one figure by each name", "name one run, or give each a --name"
        )
    return measures


# --------------------------------------------------------------------------------------------------------------------------- runs


def _of_run(run: Run, columns: Columns | None) -> Iterator[Measure]:
    settings = run.config
    parts = [settings.get("scenario"), settings.get("task"), settings.get("backend"), (run.model or {}).get("name"), settings.get("name")]
    subject, extra = " ".join(str(each) for each in parts if each), _about(run)
    yield from _speed(run, columns, subject, extra)
    if run.config.get("scenario") != "offline":  # all samples of a single query: its percentiles say how many were asked
        yield from _latencies(run, columns, subject, extra)
    if run.accuracy is not None:
        low, high = run.accuracy.get("interval") or (None, None)
        yield Measure(subject, run.accuracy["metric"], "accuracy", run.accuracy["value"], "points", "higher", low, high, extra)


def _speed(run: Run, columns: Columns | None, subject: str, extra: tuple[str, ...]) -> Iterator[Measure]:
    rate = run.throughput.get("samples_per_second")
    if not rate:
        return
    spread = None  # in server the rate is that of the arrivals
    if columns is not None and run.config.get("scenario") != "server":
        spread = steady.rate_spread(columns, steady.read(run.steady))
    low, high = (rate * (1 - spread), rate * (1 + spread)) if spread is not None else (None, None)
    yield Measure(subject, "throughput", "throughput", rate, "samples/s", "higher", low, high, extra)


def _latencies(run: Run, columns: Columns | None, subject: str, extra: tuple[str, ...]) -> Iterator[Measure]:
    ordered = None
    if columns is not None and columns.served.all():
        ordered = query_latency_ns(columns)
        ordered.sort()
    for name, share in PERCENTILES.items():
        value = run.latency_ns.get(name)
        if value is not None and card.sample_size(run) >= required(1, share):
            low, high = percentile_interval(ordered, share) if ordered is not None else (None, None)
            yield Measure(subject, f"{name} latency", "latency", value, "ns", "lower", low, high, extra)


def _about(run: Run) -> tuple[str, ...]:
    made = card.make(run)
    commit = (run.conditions.get("git") or {}).get("commit")
    lines = [made.machine, f"commit {commit}" if commit else "", *made.marks, f"run {run.run_id}"]
    return tuple(line for line in lines if line)


# ------------------------------------------------------------------------------------------------------------------------- checks


def _of_check(check: Check, checked: Checked) -> Iterator[Measure]:
    """The interval is that of the change, carried over to the head's value: base as it was measured."""
    if check.head_value is None:
        return
    higher = check.kind != "latency"
    low, high = _ends(check, higher=higher)
    about = (check.text, f"base {checked.base}, head {checked.head}", checked.machine)
    unit = "points" if check.kind == "accuracy" else check.unit
    figure = check.unit if check.kind == "accuracy" else check.kind
    better: Literal["higher", "lower"] = "higher" if higher else "lower"
    yield Measure(check.name, figure, check.kind, check.head_value, unit, better, low, high, tuple(filter(None, about)))


def _ends(check: Check, *, higher: bool) -> tuple[float | None, float | None]:
    if check.change is None or check.low is None or check.high is None or check.head_value is None:
        return None, None
    if check.kind == "accuracy":
        return tuple(sorted(check.head_value - 100 * (end - check.change) for end in (check.low, check.high)))  # type: ignore[return-value]
    sign = -1 if higher else 1
    ends = [check.head_value * math.exp(sign * (math.log1p(end) - math.log1p(check.change))) for end in (check.low, check.high)]
    return min(ends), max(ends)
