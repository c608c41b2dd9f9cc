"""One query at a time, one sample each: how long does an answer take?

LoadGen's SingleStream: the next query is asked when the previous one is answered; judged by the 90th percentile latency.
"""

from __future__ import annotations

import math
from dataclasses import replace

from harness import closed_loop
from harness.core import Columns, Scenario, Settings, Traffic, Verdict
from harness.sample_order import performance_count

REQUIRES: tuple[str, ...] = ()


class SingleStream:
    name = "single-stream"
    closed_loop = True
    needs_rate = False
    paced = False
    percentile = 0.9
    quick_queries = 64

    def traffic(self, settings: Settings, sample_count: int) -> Traffic:
        """Raises UsageError for settings that have no traffic."""
        library = settings.library_sample_count or performance_count(settings, sample_count)
        return closed_loop.traffic(effective_settings(settings, library), sample_count)

    def wants_more(self, columns: Columns, settings: Settings) -> int:
        return closed_loop.wants_more(columns, effective_settings(settings, _library_count(settings)))

    def judge(self, columns: Columns, settings: Settings) -> Verdict:
        """Raises RunError if nothing was asked."""
        return closed_loop.judge(columns, effective_settings(settings, _library_count(settings)))


def create() -> Scenario:
    return SingleStream()


def _library_count(settings: Settings) -> int:
    return settings.library_sample_count or settings.performance_sample_count


def effective_settings(settings: Settings, loaded: int) -> Settings:
    """With concatenated permutations LoadGen raises the minimum number of queries to a multiple of what the sample library says it can
    load, always by at least one query (test_settings_internal.cc). `loaded` 0: not known, nothing is changed."""
    if not settings.concatenate_permutation or not loaded:
        return settings
    duration_ms = settings.min_duration_ns / 1e6
    queries = max(settings.min_queries, math.trunc(2.0 * (duration_ms / 1000.0) * settings.target_qps))
    return replace(settings, min_queries=queries + loaded - queries % loaded)
