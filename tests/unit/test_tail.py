"""How evenly several workers end when they share a query: Offline's tail, in simulated time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.batching import SMALLEST_SHARE, Policy, padded_lengths
from harness.core import Columns, IntArray, Status
from harness.ledger import Ledger
from harness.testing import FakeClock, simulate
from tests.ledgers import closed_loop, offline, play

MOST = 384


def by_tokens(lengths: IntArray, policy: Policy, base: int = 0) -> Callable[[IntArray], int]:
    """A call takes `base` + 1,000 ns for each of its tokens, padding included."""
    widths = padded_lengths(lengths, policy, MOST)
    return lambda rows: base + 1000 * len(rows) * int(widths[rows].max())


def busy_ns(columns: Columns) -> int:
    """Time in calls, over all workers."""
    _, first = np.unique(columns.batch, return_index=True)
    return int((columns.done_ns - columns.taken_ns)[first].sum())


def in_full_calls(lengths: IntArray, policy: Policy, workers: int) -> Columns:
    """The same run where nobody thinks of the end: the ledger of one worker, played by several."""
    service = by_tokens(lengths, policy)
    ledger, clock = Ledger(offline(len(lengths)), policy, FakeClock(), lengths=lengths, max_length=MOST), FakeClock()
    free = [0] * workers
    while isinstance(rows := ledger.step(0), np.ndarray):
        worker = free.index(min(free))
        ledger.table.taken[rows], free[worker] = free[worker], free[worker] + service(ledger.table.sample[rows])
        ledger.table.done[rows] = free[worker]
    clock.time = max(free)
    return ledger.columns(clock.time)


@given(
    lengths=st.lists(st.integers(1, MOST), min_size=1, max_size=300).map(np.array),
    workers=st.integers(2, 8),
    most=st.sampled_from([1, 8, 32]),
    tokens=st.sampled_from([0, 512, 1024, 4096]),
)
def test_the_last_worker_ends_within_a_small_call_of_an_even_division(lengths: np.ndarray, workers: int, most: int, tokens: int) -> None:
    """Makespan <= time in calls / workers + the longest of the smallest calls (an eighth of a full one, or one row): the bound that
    `fair_share` states, for calls whose time follows their tokens."""
    policy = Policy("sorted", most, max_tokens=tokens)
    columns = simulate(offline(len(lengths)), policy, by_tokens(lengths, policy), workers=workers, lengths=lengths, max_length=MOST)
    assert (columns.status == Status.DONE).all()
    widths = np.unique(padded_lengths(lengths, policy, MOST))
    smallest = max(1000 * int(width) * max(policy.most_rows(int(width)) // SMALLEST_SHARE, 1) for width in widths)
    assert columns.done_ns.max() <= busy_ns(columns) / workers + smallest * (1 - 1 / workers)


@pytest.mark.parametrize(("workers", "before", "after"), [(2, 1.009, 0.996), (4, 1.090, 0.997), (8, 1.744, 0.966)])
def test_a_short_run_ends_sooner_than_in_full_calls(workers: int, before: float, after: float) -> None:
    """300 samples with the spread of SQuAD in calls of 32: full calls take `before` times an even division of themselves, shared ones no
    more than `after` times the same (less than once, for small calls have less padding)."""
    lengths = np.clip(np.random.default_rng(1).lognormal(5.1, 0.4, 300), 40, MOST).astype(np.int64)
    policy = Policy("sorted", 32)
    even = busy_ns(simulate(offline(300), policy, by_tokens(lengths, policy), lengths=lengths, max_length=MOST)) / workers
    shared = simulate(offline(300), policy, by_tokens(lengths, policy), workers=workers, lengths=lengths, max_length=MOST)
    assert in_full_calls(lengths, policy, workers).done_ns.max() / even > before
    assert shared.done_ns.max() / even < after


def test_sharing_the_end_costs_few_calls() -> None:
    """10,000 rows in calls of 32 on 4 workers: at most three further calls for each worker."""
    lengths = np.random.default_rng(2).integers(20, MOST, 10_000)
    policy = Policy("sorted", 32)
    alone, shared = (
        simulate(offline(10_000), policy, by_tokens(lengths, policy), workers=workers, lengths=lengths, max_length=MOST)
        for workers in (1, 4)
    )
    assert alone.batch.max() + 1 == 313
    assert shared.batch.max() + 1 <= 313 + 3 * 4


def test_one_worker_has_full_calls_to_the_end() -> None:
    """There is nobody to share with."""
    columns = simulate(offline(70), Policy("sorted", 32), lambda _: 10, lengths=np.full(70, 50), max_length=MOST)
    assert np.bincount(columns.batch).tolist() == [32, 32, 6]


@pytest.mark.parametrize("kind", ["fifo", "fixed"])
def test_arrival_order_is_not_shared_out(kind: str) -> None:
    """Only `sorted` thinks of the end: `fifo` and `fixed` keep full calls, as the MLPerf reference does."""
    policy = Policy(kind, 32)  # type: ignore[arg-type]
    columns = simulate(offline(70), policy, lambda _: 10, workers=2, lengths=np.full(70, 50), max_length=MOST)
    assert np.bincount(columns.batch).tolist() == [32, 32, 6]


def test_workers_share_a_multi_stream_query() -> None:
    """8 rows of one length and two workers: 4 each, so that the query is answered in half the time."""
    lengths = np.full(16, 100)
    columns, calls = play("threads", closed_loop(2, 8), Policy("sorted", 32), lambda rows: 10 * len(rows), lengths, workers=2)
    assert [len(call) for call in calls] == [4, 4, 4, 4]
    assert (columns.worker[:4] != columns.worker[4:8]).all()
    assert (columns.done_ns[:8] == columns.due_ns[0] + 40).all()
