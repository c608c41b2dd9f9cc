"""Traffic and verdict of the closed-loop scenarios: a query is due when the previous one is complete, so only the order of samples is
planned. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness import early_stopping, stats, validity
from harness.core import SECOND_NS, Columns, Int32, Int64, Limits, Metric, Part, Settings, Traffic, Verdict
from harness.errors import UsageError
from harness.sample_order import LoadedSet, QueryOrder, finite_queries, loadable_sets, padded_queries

CHUNK_QUERIES = 1 << 16
"""Most queries handed to the ledger at a time: the sequence goes on as long as the run does."""

_LEAST_QUERIES = 1024


def traffic(settings: Settings, sample_count: int, block: int | None = None) -> Traffic:
    """Queries in LoadGen's order; the first rows are as many as LoadGen makes, within 1,024 to 65,536 queries.

    `block`: samples of a MultiStream query, None for one sample a query. In accuracy mode all sets, one after another. Raises UsageError.
    """
    sets = loadable_sets(settings, sample_count, block)
    limits = Limits(settings.min_duration_ns, _min_queries(settings), settings.max_duration_ns, settings.max_queries)
    parts = tuple(_part(settings, loaded, block) for loaded in sets)
    if settings.mode == "accuracy":  # ends with its samples: LoadGen looks at no limit then
        limits = Limits(0, sum(part.queries for part in parts))
    if finite_queries(settings, sets[0], block) is not None:
        return _whole(settings, sets, block, limits, parts)
    stream = _Stream(QueryOrder(settings, sets[0], block), block or 1, limits)
    return replace(stream.next(min(max(parts[0].queries, _LEAST_QUERIES), CHUNK_QUERIES)), parts=parts)


def _part(settings: Settings, loaded: LoadedSet, block: int | None) -> Part:
    queries = generated_queries(settings, loaded, block)
    return Part(loaded.indices, queries, block or 1, queries * period_ns(settings))


def generated_queries(settings: Settings, loaded: LoadedSet, block: int | None = None) -> int:
    """How many queries LoadGen makes beforehand: twice the duration at the expected latency, and at least `min_queries`."""
    finite = finite_queries(settings, loaded, block)
    least, step = padded_queries(settings, loaded)
    if finite is not None:
        return finite
    covering = 0
    if settings.min_duration_ns:
        covering = -(-2 * settings.min_duration_ns // period_ns(settings)) + 1
    return least + -(-max(0, covering - least) // step) * step


def period_ns(settings: Settings) -> int:
    """Time between scheduled queries: the expected latency. Raises UsageError if it is less than a nanosecond."""
    period = int((1.0 / settings.target_qps) * 1e9)
    if period < 1:
        raise UsageError(f"--target-qps {settings.target_qps:g}: an expected latency of less than 1 ns", cure="Lower --target-qps.")
    return period


def wants_more(columns: Columns, settings: Settings, block: int | None = None) -> int:
    """A chunk of further rows while the natural end of the run (all of `_min_queries`, and the last query not before the minimum
    duration) is not reached."""
    if settings.mode == "accuracy" or settings.issue == "unique":
        return 0
    queries = len(columns.query) // (block or 1)
    last_ns = int(columns.due_ns[-1]) if queries else 0
    if 0 < settings.max_queries <= queries or 0 < settings.max_duration_ns < last_ns:
        return 0
    if queries >= _min_queries(settings) and last_ns >= settings.min_duration_ns:
        return 0
    return CHUNK_QUERIES * (block or 1)


def _min_queries(settings: Settings) -> int:
    """Where early stopping is required the run goes on until its floor is reached."""
    floor = early_stopping.required(1, settings.percentile) if settings.require_early_stopping else 0
    return max(settings.min_queries, floor)


def judge(columns: Columns, settings: Settings) -> Verdict:
    """Target percentile of query latency, minimum duration (issue of the last query), minimum queries, early stopping.

    The headline is the plain percentile, or early stopping's estimate where the rules require it, as MLPerf reports it. Raises RunError
    if nothing was asked.
    """
    rows = validity.asked(columns)
    latency = np.sort(validity.query_latency_ns(rows))
    stopping = early_stopping.judge_stream(latency, settings.percentile)
    value = int(latency[stats.percentile_rank(len(latency), settings.percentile)])
    if settings.require_early_stopping and stopping.estimate_ns is not None:
        value = stopping.estimate_ns
    last_ns = int(rows.due_ns[-1])
    reasons = (
        *validity.min_duration(last_ns, settings, "the last query was asked at"),
        *validity.min_queries(len(latency), settings.min_queries, last_ns + int(latency.max()), settings),
        *validity.early_stopping(stopping, settings, f"set --min-queries to at least {stopping.needed}"),
    )
    metric = Metric(f"p{100 * settings.percentile:g}_latency", float(value), "ns", "lower")
    return Verdict(metric, reasons, stopping, _rates(len(latency), last_ns, stats.mean_ns(latency)))


def _rates(queries: int, last_ns: int, mean_latency_ns: int) -> dict[str, float]:
    """LoadGen's queries per second with and without what lies between queries; none where there is no time to divide by."""
    found = {}
    if last_ns > 0:
        found["qps_with_overhead"] = (queries - 1) / (last_ns / SECOND_NS)
    if mean_latency_ns > 0:
        found["qps_without_overhead"] = 1 / (mean_latency_ns / SECOND_NS)
    return found


class _Stream:
    """An endless order as a sequence of `Traffic`s."""

    def __init__(self, order: QueryOrder, width: int, limits: Limits) -> None:
        self._order = order
        self._width = width
        self._limits = limits
        self._issued = 0

    def next(self, queries: int) -> Traffic:
        first, self._issued = self._issued, self._issued + queries
        numbers = _numbers(first, queries, self._width)
        return Traffic(numbers, self._order.take(queries), None, self._limits, self._more)

    def _more(self, rows: int) -> Traffic:
        return self.next(max(1, -(-rows // self._width)))


def _whole(settings: Settings, sets: list[LoadedSet], block: int | None, limits: Limits, parts: tuple[Part, ...]) -> Traffic:
    """An order that ends: every query of every set."""
    asked: list[Int32] = []
    for loaded in sets:
        order = QueryOrder(settings, loaded, block)
        asked.append(order.take(order.length or 0))
    samples = np.concatenate(asked)
    width = block or 1
    return Traffic(_numbers(0, len(samples) // width, width), samples, None, limits, parts=parts)


def _numbers(first: int, queries: int, width: int) -> Int64:
    """Query numbers of rows, `width` rows to a query: (queries * width,)."""
    numbers = np.arange(first, first + queries, dtype=np.int64)
    return np.repeat(numbers, width) if width > 1 else numbers
