"""What a sweep measured: visits, points, lines of points that differ by their rate alone, and the record made of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from harness.core import Accuracy, Int64, Metric, Reason
from harness.stats import PERCENTILES, percentile, percentile_floor, percentile_interval
from harness.sweeping import capacity
from harness.sweeping.capacity import Capacity, Level

SCHEMA = 1
"""Version of sweep.json. 1: first."""

SHOWN = ("p50", "p90", "p99")
"""Percentiles of a point."""

MEANS = ("achieved_qps", "samples_per_second", "padding_share", "busy_share", "in_flight", "rate_times_latency", "harness_share")
"""Figures of a visit of which a point has the mean."""

Word = Literal["met", "mixed", "missed", "overloaded", "VALID", "INVALID", "failed", "not measured"]
"""met: the bound, in all visits; mixed: over all, though not in each; missed; overloaded: given up, for its queue grew without end.
Without a bound: VALID or INVALID by the scenario's rules."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One stretch at one point.

    turn        0: the first pass over all points
    at_s        when it began, from the start of the sweep
    latency_ns  of each query, (queries,)
    blocks      (stretches, 2): queries, and those over the bound; empty without a bound
    figures     rates, padding, share of time that workers were busy, mean in flight, by name; None where there is none
    planned     queries that were to be asked; `given_up`: fewer were, for they came faster than they were answered
    """

    turn: int
    at_s: float
    seconds: float
    latency_ns: Int64
    blocks: Int64
    metric: Metric
    figures: Mapping[str, float | None]
    planned: int
    given_up: bool = False
    reasons: tuple[Reason, ...] = ()


@dataclass(slots=True)
class Point:
    """One combination of settings, its rate among them where it has one. `values`: what was swept, by setting; `problem`: why it has no
    figures, or no right to them."""

    line: int
    values: Mapping[str, Any]
    rate: float | None = None
    visits: list[Visit] = field(default_factory=list)
    problem: str = ""


@dataclass(slots=True)
class Line:
    """Points that share everything but the rate.

    offline   samples a second with everything asked at once, None where it was not measured
    bound_ns  latency bound of a paced scenario, 0 where there is none; `percentile`: what is held against it, as a share
    accuracy  None where it was not checked; `backend`: what it says it is
    """

    values: Mapping[str, Any]
    settings: Mapping[str, Any]
    bound_ns: int = 0
    percentile: float = 0.99
    offline: float | None = None
    accuracy: Accuracy | None = None
    backend: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def allowed(self) -> float:
        """Share of queries that must stay below, over the bound: 0.01 for p99, without the rounding of 1 - 0.99."""
        return round(1 - self.percentile, 9)

    @property
    def struck(self) -> bool:
        """Its answers are not good enough: no figure of it is a result."""
        return self.accuracy is not None and self.accuracy.passed is False


def over(point: Point) -> tuple[int, int]:
    """Queries over the bound and all queries, of all visits."""
    sums = [visit.blocks.sum(axis=0) for visit in point.visits]
    return int(sum(each[1] for each in sums)), int(sum(each[0] for each in sums))


def word(point: Point, line: Line) -> Word:
    if point.problem:
        return "failed"
    if not point.visits:
        return "not measured"
    valid = not any(visit.reasons for visit in point.visits)
    if not line.bound_ns or point.rate is None:
        return "VALID" if valid else "INVALID"
    if any(visit.given_up for visit in point.visits):
        return "overloaded"
    beyond, queries = over(point)
    if beyond / queries >= line.allowed:
        return "missed"
    return "met" if valid else "mixed"


def latencies(point: Point) -> dict[str, dict[str, Any]]:
    """Percentiles of all queries of all visits (not means of percentiles), with 95 % intervals by order statistics, which take queries to
    be independent; an end that the number of queries does not give is None, as is `certain` False below LoadGen's floor."""
    if not point.visits:
        return {}
    pooled = np.sort(np.concatenate([visit.latency_ns for visit in point.visits]))
    found = {}
    for name in SHOWN:
        share = PERCENTILES[name]
        low, high = percentile_interval(pooled, share)
        certain = len(pooled) >= percentile_floor(share)
        found[name] = {"ns": percentile(pooled, share), "low_ns": low, "high_ns": high, "certain": certain}
    return found


def knee(points: Sequence[Point], line: Line) -> Capacity | None:
    """The highest rate of a line that meets its bound; None where there is no bound, or nothing was measured."""
    levels = [Level(rate, np.concatenate([visit.blocks for visit in point.visits])) for rate, point in _paced(points, line)]
    return capacity.estimate(levels, line.allowed) if levels else None


def doubled(points: Sequence[Point], line: Line) -> capacity.Doubling | None:
    """Where p99 is twice that of the lowest rate."""
    paced = _paced(points, line)
    tails = [float(latencies(point)["p99"]["ns"]) for _, point in paced]
    return capacity.doubling([rate for rate, _ in paced], tails, [len(point.visits) for _, point in paced])


def _paced(points: Sequence[Point], line: Line) -> list[tuple[float, Point]]:
    """Measured points with a rate, by rate."""
    if not line.bound_ns:
        return []
    return sorted(
        ((point.rate, point) for point in points if point.rate is not None and point.visits and not point.problem), key=lambda pair: pair[0]
    )


# ------------------------------------------------------------------------------------------------------------------------ the record


def line_record(line: Line, points: Sequence[Point]) -> dict[str, Any]:
    """A line as sweep.json has it."""
    found, twice = knee(points, line), doubled(points, line)
    return {
        "values": dict(line.values),
        "settings": dict(line.settings),
        "latency_bound": {"percentile": line.percentile, "ns": line.bound_ns} if line.bound_ns else None,
        "offline_samples_per_second": line.offline,
        "capacity": asdict(found) if found else None,
        "doubling": asdict(twice) if twice else None,
        "accuracy": asdict(line.accuracy) if line.accuracy else None,
        "struck": line.struck,
        "backend": dict(line.backend),
        "problem": line.problem,
    }


def point_record(point: Point, line: Line) -> dict[str, Any]:
    """A point as sweep.json has it: figures over its visits, and each visit."""
    beyond, queries = over(point) if line.bound_ns else (None, sum(len(visit.latency_ns) for visit in point.visits))
    return {
        "line": point.line,
        "values": dict(point.values),
        "asked_qps": point.rate,
        "word": word(point, line),
        "struck": line.struck,
        "problem": point.problem,
        "queries": queries,
        "over_bound": beyond,
        "over_share": beyond / queries if beyond is not None and queries else None,
        "latency": latencies(point),
        "metric": _metric(point),
        **{name: _mean([visit.figures.get(name) for visit in point.visits]) for name in MEANS},
        "visits": [_visit_record(visit) for visit in point.visits],
    }


def _metric(point: Point) -> dict[str, Any] | None:
    """The headline of the scenario: mean over visits, the lowest and the highest of them."""
    if not point.visits:
        return None
    values = [visit.metric.value for visit in point.visits]
    return asdict(point.visits[0].metric) | {"value": sum(values) / len(values), "low": min(values), "high": max(values)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _visit_record(visit: Visit) -> dict[str, Any]:
    ordered = np.sort(visit.latency_ns)
    return {
        "turn": visit.turn,
        "at_s": visit.at_s,
        "seconds": visit.seconds,
        "queries": len(ordered),
        "planned_queries": visit.planned,
        "given_up": visit.given_up,
        "latency_ns": {name: percentile(ordered, PERCENTILES[name]) for name in SHOWN} if len(ordered) else {},
        "blocks": visit.blocks.tolist(),
        "metric": asdict(visit.metric),
        "figures": dict(visit.figures),
        "reasons": [asdict(reason) for reason in visit.reasons],
    }
