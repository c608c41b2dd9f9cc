"""What LoadGen makes of a performance phase: everything that its summary and its detail log print. Pure.

Rules and texts are those of LoadGen 6.0.17 (results.cc; specification, sections 6 and 7). Times are in ns, rates per second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import early_stopping, validity
from harness.core import SECOND_NS, Columns, Int64
from harness.errors import DataError
from harness.loadgen import Effective
from harness.phases import Phase
from harness.stats import PERCENTILES, mean_ns, percentile, percentile_rank

SHARES = tuple(PERCENTILES.values())
"""The percentiles that LoadGen prints, in its order."""

_INFERRED = 0.99  # SingleStream also estimates what MultiStream would report

SLOWER = "Reduce target QPS to improve latency."
SHORT = "The test exited early, before enough queries were issued."
SEE_DETAIL = "See the detailed log for why this may have occurred."

_STREAM = "Decrease the expected latency so the loadgen pre-generates more queries."
LONGER = {
    "SingleStream": _STREAM,
    "MultiStream": _STREAM,
    "Server": "Increase the target QPS so the loadgen pre-generates more queries.",
    "Offline": "Increase expected QPS so the loadgen pre-generates a larger (coalesced) query.",
}

RATES = {
    "SingleStream": ("result_qps_with_loadgen_overhead", "result_qps_without_loadgen_overhead"),
    "MultiStream": (),
    "Server": ("result_scheduled_samples_per_sec", "result_completed_samples_per_sec"),
    "Offline": ("result_samples_per_second",),
}
"""Keys of the rates that the detail log gives for a scenario, in its order."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of samples or of queries, in ns. `percentiles`: those of SHARES. `mean` is rounded down."""

    minimum: int
    maximum: int
    mean: int
    percentiles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stopping:
    """Early stopping: whether it is met, what LoadGen says of it (lines; empty for Offline), and the estimates it stores (0: none):
    `single_ns` is the metric of SingleStream, `multi_ns` that of MultiStream."""

    met: bool
    text: str = ""
    single_ns: int = 0
    multi_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Outcome of a performance phase.

    tail_ns       the target percentile: of samples, for MultiStream of queries; None where a log does not tell it
    queries       issued
    over_latency  Server: answers later than the target latency; else None
    samples       latencies of samples
    per_query     latencies of queries; MultiStream only
    rates         by RATES; nan and inf where C divides by zero
    """

    scenario: str
    constraint_met: bool
    duration_met: bool
    queries_met: bool
    stopping: Stopping
    tail_ns: int | None
    queries: int
    over_latency: int | None
    samples: Latencies
    per_query: Latencies | None
    rates: Mapping[str, float]

    @property
    def valid(self) -> bool:
        return self.constraint_met and self.duration_met and self.queries_met and self.stopping.met


def result(effective: Effective, phase: Phase) -> Result:
    """Judges a performance phase. Raises RunError if nothing was asked.

    Rows that were not served are charged until the end of the run; that they make a run invalid is decided elsewhere (LoadGen would wait
    for them for ever).
    """
    rows = validity.asked(phase.columns)
    latency, per_query = rows.latency_ns, validity.query_latency_ns(rows)
    samples, queries = np.sort(latency), np.sort(per_query)
    judged = queries if effective.scenario == "MultiStream" else samples
    tail = int(judged[percentile_rank(len(judged), effective.target_latency_percentile)])
    server = effective.scenario == "Server"
    over = int(np.count_nonzero(samples > effective.target_latency_ns)) if server else None
    return Result(
        scenario=effective.scenario,
        constraint_met=not server or tail <= effective.target_latency_ns,
        duration_met=_reached_ns(effective.scenario, rows) / SECOND_NS >= effective.min_duration_ms / 1000.0,
        queries_met=len(queries) >= effective.min_query_count and len(samples) >= effective.min_sample_count,
        stopping=_stopping(effective, judged, over or 0),
        tail_ns=tail,
        queries=len(queries),
        over_latency=over,
        samples=_latencies(samples),
        per_query=_latencies(queries) if effective.scenario == "MultiStream" else None,
        rates=_rates(effective.scenario, rows, samples),
    )


def _reached_ns(scenario: str, rows: Columns) -> int:
    """What is held against the minimum duration: the longest latency of Offline's one query, else when the last query was due."""
    return int(rows.latency_ns.max()) if scenario == "Offline" else int(rows.due_ns[-1])


def _latencies(ordered: Int64) -> Latencies:
    found = tuple(int(ordered[percentile_rank(len(ordered), share)]) for share in SHARES)
    return Latencies(int(ordered[0]), int(ordered[-1]), mean_ns(ordered), found)


def _rates(scenario: str, rows: Columns, samples: Int64) -> dict[str, float]:
    count, last_due = len(samples), int(rows.due_ns[-1])
    match scenario:
        case "SingleStream":
            values = [divided(count - 1, last_due / SECOND_NS), divided(1, mean_ns(samples) / SECOND_NS)]
        case "Server":
            last_done = last_due + int(rows.latency_ns[-1])
            values = [divided(count - 1, last_due / SECOND_NS), divided(count - 1, last_done / SECOND_NS)]
        case "Offline":
            values = [divided(count, int(samples[-1]) / SECOND_NS)]
        case _:
            values = []
    return dict(zip(RATES[scenario], values, strict=True))


def divided(number: float, by: float) -> float:
    """Division as C does it: by zero gives inf or nan."""
    if by:
        return number / by
    return math.copysign(math.inf, number) if number else math.nan


# --------------------------------------------------------------------------------------------------------------------- early stopping


def _stopping(effective: Effective, ordered: Int64, over: int) -> Stopping:
    share = effective.target_latency_percentile
    match effective.scenario:
        case "Offline":
            return Stopping(True)
        case "Server":
            return _of_bound(len(ordered), over, share)
        case scenario:
            return _of_stream(scenario, ordered, share)


def _of_bound(queries: int, over: int, share: float) -> Stopping:
    needed = early_stopping.required(over, share)
    if queries >= needed:
        return Stopping(True, " * Run successful.")
    lines = (
        " * Run unsuccessful.",
        f" * Processed {queries} queries.",
        f" * Would need to run at least {needed - queries} more queries,",
        " with the run being successful if every additional",
        " query were under latency.",
    )
    return Stopping(False, "\n".join(lines))


def _of_stream(scenario: str, ordered: Int64, share: float) -> Stopping:
    queries, needed = len(ordered), early_stopping.required(1, share)
    bound = early_stopping.estimate(ordered, share)
    if bound is None:
        lines = [f" * Only processed {queries} queries.", f" * Need to process at least {needed} queries for early stopping."]
        return Stopping(False, "\n".join(lines))
    lines = [
        f" * Processed at least {needed} queries ({queries}).",
        f" * Would discard {early_stopping.discards(queries, share) - 1} highest latency queries.",
        f" * Early stopping {100 * share:.1f}th percentile estimate: {bound}",
    ]
    if scenario == "MultiStream":
        return Stopping(True, "\n".join(lines), multi_ns=bound)
    inferred = early_stopping.estimate(ordered, _INFERRED)
    return Stopping(True, "\n".join([*lines, *_inferred_lines(inferred)]), bound, inferred or 0)


def _inferred_lines(estimate: int | None) -> list[str]:
    if estimate is not None:
        return [f" * Early stopping {100 * _INFERRED:.1f}th percentile estimate: {estimate}"]
    return [
        f" * Not enough queries processed for {100 * _INFERRED:.1f}th percentile",
        " early stopping estimate (would need to process at",
        f" least {early_stopping.required(1, _INFERRED)} total queries).",
    ]


# --------------------------------------------------------------------------------------------------------------------- from a log


def from_detail(values: Mapping[str, Any], judged_ns: Int64 | None = None) -> Result:
    """The result that a detail log tells; `values`: the first value of each key (`mlperf_reader.first`).

    `judged_ns`: latencies of the samples (MultiStream: of the queries) in any order, for a target percentile that is none of SHARES: the
    log does not tell it. Rates have six significant digits, but for the one that follows from the mean. Raises DataError for a log
    without a result.
    """
    try:
        return _from_detail(values, judged_ns)
    except KeyError as missing:
        raise DataError(
            f"the detail log holds no {missing.args[0]}", "give the log of a performance run of LoadGen that ended by itself"
        ) from None


def _from_detail(values: Mapping[str, Any], judged_ns: Int64 | None) -> Result:
    scenario = values["effective_scenario"]
    samples = _read_latencies(values, "latency_ns", "latency_ns")
    per_query = _read_latencies(values, "query_latency_ns", "per_query_latency_ns") if scenario == "MultiStream" else None
    share = values["effective_target_latency_percentile"]
    told = dict(zip(SHARES, (per_query or samples).percentiles, strict=True)).get(share)
    rates = {key: float(values[key]) for key in RATES[scenario]}
    if scenario == "SingleStream":
        rates["result_qps_without_loadgen_overhead"] = divided(1, samples.mean / SECOND_NS)
    return Result(
        scenario=scenario,
        constraint_met=values["result_perf_constraints_met"] if scenario == "Server" else True,
        duration_met=values["result_min_duration_met"],
        queries_met=values["result_min_queries_met"],
        stopping=Stopping(
            values["early_stopping_met"],
            values["early_stopping_result"].replace("  ", "\n "),  # every further line begins with a space
            values.get("early_stopping_latency_ss", 0),
            values.get("early_stopping_latency_ms", 0),
        ),
        tail_ns=percentile(judged_ns, share) if told is None and judged_ns is not None else told,
        queries=values["result_query_count"],
        over_latency=values["result_overlatency_query_count"] if scenario == "Server" else None,
        samples=samples,
        per_query=per_query,
        rates=rates,
    )


def _read_latencies(values: Mapping[str, Any], whole: str, part: str) -> Latencies:
    least, most, mean = (values[f"result_{name}_{whole}"] for name in ("min", "max", "mean"))
    return Latencies(least, most, mean, tuple(values[f"result_{100 * share:.2f}_percentile_{part}"] for share in SHARES))
