"""When a point is given up: its queue has grown so long that its verdict is certain and its latency is only the length of the visit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.bench import Bench
from harness.ceiling import SHARE, measure_ceiling
from harness.core import SECOND_NS, Reason, Settings

FACTOR = 4
"""A queue this many times as long as the longest that could still meet the bound is hopeless."""

EXPECTED = ("backlog", "unanswered")
"""Reasons that a rate above what the system can serve gives: figures of the point, not failures of the backend."""

CEILING_FROM = 20_000.0
"""Rates below this, a second, are far from what the harness itself can ask."""


def limited(settings: Settings, bench: Bench) -> Settings:
    """The settings, with the most unanswered queries at which the schedule is cut short (LoadGen's `max_async`).

    Of the queries in flight only those that came within the last `bound` seconds, about rate x bound, can still meet it; one more than
    (1 - p) of all planned queries over it, and the percentile is missed. Four times the sum of both, and of a full call for each worker,
    leaves room for a burst, so that a rate near the knee is measured to its end.
    """
    rate, bound_s = settings.target_qps, settings.latency_bound_ns / SECOND_NS
    planned = max(settings.min_queries, rate * settings.min_duration_ns / SECOND_NS)
    workers = bench.config.workers if isinstance(bench.config.workers, int) else 1
    allowed = round(1 - settings.percentile, 9) * planned
    most = math.ceil(FACTOR * (rate * bound_s + allowed + bench.policy.max_batch * workers))
    return replace(settings, max_async=min(most, settings.max_async) if settings.max_async else most)


def problem(reasons: Sequence[Reason]) -> str:
    """Why a visit is no measurement; empty where it is one."""
    return next((reason.text for reason in reasons if reason.code not in EXPECTED), "")


def askable(bench: Bench, rate: float) -> float:
    """A rate that the harness can ask for with certainty; said where that is less than `rate`."""
    if rate < CEILING_FROM:
        return rate
    ceiling = SHARE * measure_ceiling().queries_per_second
    if rate > ceiling:
        bench.warnings.append(f"the backend is faster than the harness can ask: rates are shares of {SHARE:.0%} of what the harness can")
    return min(rate, ceiling)
