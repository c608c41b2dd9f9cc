"""One query at a time, several samples each: how long does a query take until its last answer?

LoadGen's MultiStream: a query is 8 consecutive samples of the loaded set; judged by the 99th percentile of query latency.
"""

from __future__ import annotations

from harness import closed_loop
from harness.core import Columns, Scenario, Settings, Traffic, Verdict

REQUIRES: tuple[str, ...] = ()


class MultiStream:
    name = "multi-stream"
    closed_loop = True
    needs_rate = False
    paced = False
    percentile = 0.99
    quick_queries = 16

    def traffic(self, settings: Settings, sample_count: int) -> Traffic:
        """Raises UsageError for settings that have no traffic."""
        return closed_loop.traffic(settings, sample_count, settings.samples_per_query)

    def wants_more(self, columns: Columns, settings: Settings) -> int:
        return closed_loop.wants_more(columns, settings, settings.samples_per_query)

    def judge(self, columns: Columns, settings: Settings) -> Verdict:
        """Raises RunError if nothing was asked."""
        return closed_loop.judge(columns, settings)


def create() -> Scenario:
    return MultiStream()
