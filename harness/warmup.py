"""What is run before the clock: every shape the run will meet, at the run's own concurrency, so that nothing is measured cold."""

from __future__ import annotations

import numpy as np

from harness.batching import Policy, padded_lengths
from harness.core import Int64, Samples, Scenario, Settings


def largest_batch(scenario: Scenario, settings: Settings, policy: Policy, sample_count: int) -> int:
    """Most rows that one call of this run can get: in a closed loop never more than one query is waiting."""
    if not scenario.closed_loop:
        return policy.max_batch
    query = scenario.traffic(settings, sample_count).query
    return min(policy.max_batch, int(np.count_nonzero(query == query[0])))


def warm_up_batches(samples: Samples, policy: Policy, largest: int) -> list[Int64]:
    """Sample indices of the batches to run: one sample of each padded length, longest first (so that buffers grow once), then full
    batches of the longest, the median and the shortest samples."""
    by_length = np.argsort(-samples.lengths, kind="stable").astype(np.int64)
    padded = padded_lengths(samples.lengths, policy, samples.max_length)
    _, first = np.unique(-padded[by_length], return_index=True)
    batches = [by_length[[place]] for place in first]
    if largest > 1:
        middle = len(by_length) // 2
        batches += [np.resize(part, largest) for part in (by_length[:largest], by_length[middle : middle + largest], by_length[-largest:])]
    return batches
