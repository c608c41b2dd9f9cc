"""All samples at once: how many answers a second?

LoadGen's Offline: one query with enough samples for 1.1 times the minimum duration at the expected rate; judged by samples per second.
Where the expected rate was too low, the loaded set is asked on until the minimum duration is reached.
"""

from __future__ import annotations

import numpy as np

from harness import validity
from harness.arrivals import MAX_ROWS
from harness.closed_loop import period_ns
from harness.core import SECOND_NS, Columns, Limits, Metric, Part, Scenario, Settings, Traffic, Verdict
from harness.errors import UsageError
from harness.sample_order import LoadedSet, OfflineOrder, loadable_sets, offline_samples

REQUIRES: tuple[str, ...] = ()


class Offline:
    name = "offline"
    closed_loop = False
    needs_rate = True
    paced = False
    percentile = 0.99
    quick_queries = 64

    def traffic(self, settings: Settings, sample_count: int) -> Traffic:
        """One query; in accuracy mode one for each loaded set. Raises UsageError for settings that have no traffic."""
        sets = loadable_sets(settings, sample_count)
        limits = Limits(settings.min_duration_ns, 1, settings.max_duration_ns, settings.max_queries)
        if settings.mode == "accuracy":
            return _accuracy_traffic(settings, sets, limits)
        rows = offline_samples(settings, sets[0])
        if rows > MAX_ROWS:
            raise UsageError(f"{rows:,} samples are more than {MAX_ROWS:,} rows", cure="Lower --target-qps, --duration or --min-queries.")
        order = OfflineOrder(settings, sets[0])
        parts = (_part(settings, sets[0], rows),)

        def next_rows(count: int) -> Traffic:
            more = None if settings.issue == "unique" else next_rows
            return Traffic(np.zeros(count, np.int64), order.take(count), np.zeros(count, np.int64), limits, more, parts)

        return next_rows(rows)

    def wants_more(self, columns: Columns, settings: Settings) -> int:
        """Rows for the rest of the minimum duration at the rate so far, with 10 % to spare."""
        reached_ns = int(columns.done_ns.max(initial=0)) if columns.served.all() else columns.end_ns  # what is on its way ends later
        left_ns = settings.min_duration_ns - reached_ns
        if left_ns <= 0 or settings.mode == "accuracy" or settings.issue == "unique":
            return 0
        answered = int(np.count_nonzero(columns.served)) or len(columns.query)
        return max(1, -(-11 * left_ns * answered // (10 * max(1, columns.end_ns))))

    def judge(self, columns: Columns, settings: Settings) -> Verdict:
        """Answered samples over the latest latency; minimum duration (latest latency) and samples. Raises RunError if nothing was asked."""
        rows = validity.asked(columns)
        longest_ns = int(rows.latency_ns.max())
        answered = int(np.count_nonzero(rows.served))
        rate = answered / (longest_ns / SECOND_NS) if longest_ns > 0 else 0.0
        reasons = (
            *validity.min_duration(longest_ns, settings, "the run took"),
            *validity.min_queries(answered, _least_samples(settings), longest_ns, settings, "sample"),
        )
        metric = Metric("samples_per_second", rate, "samples/s", "higher")
        return Verdict(metric, reasons, None, {"samples_per_second": rate})


def create() -> Scenario:
    return Offline()


def _least_samples(settings: Settings) -> int:
    """With unique issue the set is what there is, however many were wanted."""
    return 1 if settings.issue == "unique" or settings.mode == "accuracy" else settings.min_queries


def _accuracy_traffic(settings: Settings, sets: list[LoadedSet], limits: Limits) -> Traffic:
    sizes = [loaded.distinct for loaded in sets]
    samples = np.concatenate([OfflineOrder(settings, loaded).take(size) for loaded, size in zip(sets, sizes, strict=True)])
    parts = tuple(_part(settings, loaded, size) for loaded, size in zip(sets, sizes, strict=True))
    return Traffic(np.repeat(np.arange(len(sets)), sizes), samples, np.zeros(len(samples), np.int64), limits, parts=parts)


def _part(settings: Settings, loaded: LoadedSet, samples: int) -> Part:
    return Part(loaded.indices, 1, samples, period_ns(settings))
