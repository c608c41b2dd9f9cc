"""The 95 % interval of a run's headline, from its own ledger: order statistics of a latency, batch means of a rate. Pure.

Neither says how the next run may differ: that is what `compare` and `noise` measure.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness import steady, units
from harness.core import Columns, Run
from harness.stats import percentile_interval
from harness.validity import query_latency_ns


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends in the unit of the headline; None where there are too few queries for that end. `words`: as it is shown."""

    low: float | None
    high: float | None
    words: str


def headline(run: Run, columns: Columns | None) -> Interval | None:
    """None where the run has no headline, no ledger, or too little of either."""
    metric = run.verdict.get("metric")
    if columns is None or not metric or metric.get("value") is None or not columns.served.any():
        return None
    return _latency(run, columns) if metric["unit"] == "ns" else _rate(float(metric["value"]), columns, steady.read(run.steady))


def _latency(run: Run, columns: Columns) -> Interval:
    ordered = query_latency_ns(columns)
    ordered.sort()
    low, high = percentile_interval(ordered, float((run.early_stopping or {}).get("percentile") or 0.9))
    ends = [units.time_ns(end) if end is not None else "?" for end in (low, high)]
    return Interval(low, high, f"95 % interval {ends[0]} to {ends[1]}")


def _rate(value: float, columns: Columns, found: steady.Steady | None) -> Interval | None:
    spread = steady.rate_spread(columns, found)
    if spread is None:
        return None
    return Interval(value * (1 - spread), value * (1 + spread), f"± {spread:.1%} within the run (95 %, batch means)")
