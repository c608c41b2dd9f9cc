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
    """Sample indices of the batches to run: one sample of each padded length, longest first (so that buffers grow once), then a full
    batch of each: first the longest, then by how many samples have that length, so that what is met most is warm if time runs out."""
    padded = padded_lengths(samples.lengths, policy, samples.max_length)
    widths, first, counts = np.unique(padded, return_index=True, return_counts=True)
    batches = [np.array([place]) for place in first[::-1]]
    longest = np.arange(len(widths)) == len(widths) - 1
    for bucket in np.lexsort((-counts, ~longest)):
        rows = min(largest, policy.most_rows(int(widths[bucket])))
        if rows > 1:
            batches.append(np.resize(np.flatnonzero(padded == widths[bucket]), rows))
    return batches
