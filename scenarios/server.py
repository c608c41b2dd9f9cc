"""Queries arrive at random at a given rate: how many a second can be answered within the latency bound?

LoadGen's Server: Poisson arrivals, one sample each; judged by completed samples per second, valid while the 99th percentile latency
stays within the bound. The whole schedule is known before the clock starts; early stopping may ask for more of it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from harness import early_stopping, replay, stats, units, validity
from harness.arrivals import Arrivals
from harness.core import SECOND_NS, Columns, EarlyStopping, Int32, Int64, Limits, Metric, Part, Reason, Scenario, Settings, Traffic, Verdict
from harness.sample_order import LoadedSet, QueryOrder, finite_queries, loadable_sets, padded_queries
from harness.validity import number_down

REQUIRES: tuple[str, ...] = ()

_PATIENCE = 4
"""Early stopping may make a run this many times as long as it was planned, or as its floor demands."""


class Server:
    name = "server"
    closed_loop = False
    needs_rate = True
    paced = True
    percentile = 0.99
    quick_queries = 64

    def traffic(self, settings: Settings, sample_count: int) -> Traffic:
        """The schedule up to the first query that meets both minima; cut where a maximum is set. Raises UsageError."""
        sets = loadable_sets(settings, sample_count)
        limits = Limits(settings.min_duration_ns, settings.min_queries, settings.max_duration_ns, settings.max_queries, settings.max_async)
        if settings.mode == "accuracy":
            return _accuracy_traffic(settings, sets)
        schedule = _Schedule(settings, sets[0], limits)
        return schedule.first(settings)

    def wants_more(self, columns: Columns, settings: Settings) -> int:
        """Queries until early stopping is met if no further one is over the bound, where that is required and still within reach.

        Rows on their way count as within the bound unless they have waited longer already.
        """
        if not settings.require_early_stopping or settings.mode == "accuracy" or settings.issue == "unique":
            return 0
        ran = len(columns.query)
        over = _over(columns, settings)
        needed = early_stopping.required(over, settings.percentile)
        if _hopeless(over, ran, settings.percentile) or needed > _most(settings):
            return 0
        return max(0, needed - ran)

    def judge(self, columns: Columns, settings: Settings) -> Verdict:
        """Raises RunError if nothing was asked."""
        rows = validity.asked(columns)
        stopping = early_stopping.judge_bound(_over(rows, settings), len(rows.query), settings.percentile)
        rates = _rates(rows, settings)
        metric = Metric("completed_samples_per_second", rates["completed_samples_per_second"], "samples/s", "higher")
        return Verdict(metric, tuple(_reasons(rows, settings, stopping)), stopping, rates)


def create() -> Scenario:
    return Server()


# --------------------------------------------------------------------------------------------------------------------- the schedule


class _Schedule:
    """One sequence of samples and arrival times, handed out in pieces."""

    def __init__(self, settings: Settings, loaded: LoadedSet, limits: Limits) -> None:
        self._order = QueryOrder(settings, loaded)
        self._arrivals = Arrivals(settings.seeds.schedule, settings.target_qps)
        self._step = padded_queries(settings, loaded)
        self._loaded = loaded
        self._limits = limits
        self._issued = 0

    def first(self, settings: Settings) -> Traffic:
        length = self._order.length
        due = self._arrivals.until(settings.min_duration_ns, *self._step) if length is None else self._arrivals.take(length)
        part = Part(self._loaded.indices, len(due), 1, self._arrivals.following_ns)
        return replace(self._at(due), parts=(part,))

    def _at(self, due: Int64) -> Traffic:
        first, limits = self._issued, self._limits
        if limits.max_queries:
            due = due[: limits.max_queries - first]
        if limits.max_duration_ns:  # LoadGen ends after the first query that is issued later than that
            due = due[: int(np.searchsorted(due, limits.max_duration_ns, side="right")) + 1]
        self._issued += len(due)
        more = self._more if self._order.length is None else None
        return Traffic(np.arange(first, self._issued, dtype=np.int64), self._order.take(len(due)), due, limits, more)

    def _more(self, rows: int) -> Traffic:
        return self._at(self._arrivals.take(rows))


def _accuracy_traffic(settings: Settings, sets: list[LoadedSet]) -> Traffic:
    """Every sample of every set, at the same rate. LoadGen starts the schedule afresh for each set; here a set follows the one before."""
    samples: list[Int32] = []
    due: list[Int64] = []
    parts: list[Part] = []
    start_ns = 0
    for loaded in sets:
        queries = finite_queries(settings, loaded) or 0
        arrivals = Arrivals(settings.seeds.schedule, settings.target_qps)
        samples.append(QueryOrder(settings, loaded).take(queries))
        due.append(arrivals.take(queries) + start_ns)
        parts.append(Part(loaded.indices, queries, 1, arrivals.following_ns))
        start_ns += arrivals.following_ns
    rows = sum(map(len, due))
    return Traffic(np.arange(rows, dtype=np.int64), np.concatenate(samples), np.concatenate(due), Limits(0, rows), parts=tuple(parts))


# ---------------------------------------------------------------------------------------------------------------------- the verdict


def _over(columns: Columns, settings: Settings) -> int:
    """Queries over the bound so far; without a bound there are none."""
    if not settings.latency_bound_ns:
        return 0
    return int(np.count_nonzero(columns.latency_ns > settings.latency_bound_ns))


def _most(settings: Settings) -> float:
    """Most queries early stopping may make of a run: a multiple of what was planned or of its floor, within the maxima."""
    expected = settings.min_duration_ns / SECOND_NS * settings.target_qps
    most = _PATIENCE * float(max(settings.min_queries, math.ceil(expected), early_stopping.required(0, settings.percentile)))
    if settings.max_queries:
        most = min(most, settings.max_queries)
    if settings.max_duration_ns:
        most = min(most, settings.max_duration_ns / SECOND_NS * settings.target_qps)
    return most


def _hopeless(over: int, ran: int, percentile: float) -> bool:
    """More queries are over the bound than the percentile allows, by more than three standard deviations of chance."""
    allowed = ran * (1 - percentile)
    return over > allowed + 3 * math.sqrt(allowed * percentile)


def _rates(rows: Columns, settings: Settings) -> dict[str, float]:
    """LoadGen divides n - 1 by the completion of the last scheduled query, and by its scheduled time. A query that was not answered is
    not counted, and is charged until the end."""
    answered = int(np.count_nonzero(rows.served))
    last_done_ns = int(rows.due_ns[-1]) + int(rows.latency_ns[-1])
    found = {"completed_samples_per_second": max(0, answered - 1) / (last_done_ns / SECOND_NS) if last_done_ns > 0 else 0.0}
    if rows.due_ns[-1] > 0:
        found["scheduled_samples_per_second"] = (len(rows.query) - 1) / (int(rows.due_ns[-1]) / SECOND_NS)
    found["target_samples_per_second"] = settings.target_qps
    return found


def _reasons(rows: Columns, settings: Settings, stopping: EarlyStopping) -> list[Reason]:
    ran, last_ns = len(rows.query), int(rows.due_ns[-1])
    return [
        *_latency_reason(rows, settings),
        *validity.min_duration(last_ns, settings, "the last query was due at"),
        *validity.min_queries(ran, settings.min_queries, last_ns, settings),
        *validity.early_stopping(stopping, settings, _early_stopping_cure(rows, settings, stopping)),
    ]


def _latency_reason(rows: Columns, settings: Settings) -> list[Reason]:
    tail_ns = stats.percentile(rows.latency_ns, settings.percentile)
    bound_ns = settings.latency_bound_ns
    if not bound_ns or tail_ns <= bound_ns:
        return []
    name = f"p{100 * settings.percentile:g}"
    rate = units.rate(settings.target_qps, "queries/s")
    text = f"{name} {units.time_ns(tail_ns)} over the {units.time_ns(bound_ns)} bound at {rate}"
    return [Reason("latency_bound", text, _slower(rows, settings, settings.percentile))]


def _early_stopping_cure(rows: Columns, settings: Settings, stopping: EarlyStopping) -> str:
    """A longer run where that can do: as it grows, so does the number of queries over the bound, and with it what is needed.
    One query over the bound is allowed for chance."""
    share = _over(rows, settings) / stopping.queries
    queries = stopping.needed
    while queries <= 10 * stopping.needed:
        if early_stopping.is_enough(math.ceil(share * queries) + 1, queries, settings.percentile):
            return f"set --duration to at least {validity.duration_for(queries, stopping.queries, int(rows.due_ns[-1]))}"
        queries += math.ceil(0.1 * queries)
    return _slower(rows, settings, (1 + settings.percentile) / 2)  # half as many over the bound leave room for chance


def _slower(rows: Columns, settings: Settings, percentile: float) -> str:
    """A rate to try: the same arrivals, stretched until they meet the bound with the service times that were measured, less a tenth for
    other arrivals than these."""
    if not rows.served.any():
        return "see the errors: no query was answered"
    share = replay.share_of_rate(rows, settings.latency_bound_ns, percentile)
    if share is None:
        name = f"p{100 * percentile:g}"
        return f"no rate will do: {name} is over the bound even for lone queries; use a faster backend or set --latency-bound higher"
    rate = share * settings.target_qps
    return f"the last rate that would have met it is about {number_down(rate)}; set --target-qps to {number_down(0.9 * rate)}"
