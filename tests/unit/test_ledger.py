"""The ledger in simulated time: who gets which rows when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.batching import Policy
from harness.core import Limits, Status, Traffic
from harness.ledger import Ledger
from harness.testing import FakeClock, simulate


def open_loop(due: list[int], samples: list[int] | None = None, limits: Limits | None = None) -> Traffic:
    rows = len(due)
    return Traffic(
        query=np.arange(rows, dtype=np.int64),
        sample=np.array(samples if samples is not None else range(rows), np.int32),
        due_ns=np.array(due, np.int64),
        limits=limits or Limits(0, rows),
    )


def closed_loop(queries: int, size: int, limits: Limits) -> Traffic:
    query = np.repeat(np.arange(queries, dtype=np.int64), size)
    return Traffic(query, np.arange(queries * size, dtype=np.int32), None, limits)


def batches(columns) -> list[list[int]]:
    """Rows of each batch, in batch order."""
    return [np.flatnonzero(columns.batch == each).tolist() for each in range(int(columns.batch.max()) + 1)]


def test_take_never_shows_a_row_before_it_is_due() -> None:
    """A waiting worker is woken exactly when the next row falls due."""
    columns = simulate(open_loop([0, 100, 250]), Policy("fifo", 4), lambda _: 10)
    assert columns.taken_ns.tolist() == [0, 100, 250]
    assert columns.done_ns.tolist() == [10, 110, 260]


def test_latency_counts_from_the_due_time() -> None:
    """Waiting behind another query is charged to the one that waits."""
    columns = simulate(open_loop([0, 10, 20]), Policy("fifo", 1), lambda _: 100)
    assert columns.latency_ns.tolist() == [100, 190, 280]


def test_fifo_batches_what_is_due_up_to_the_limit() -> None:
    """While a batch is served, rows gather; the next batch takes the oldest of them, no more than the limit."""
    columns = simulate(open_loop([0, 1, 2, 3, 4, 500]), Policy("fifo", 3), lambda _: 100)
    assert batches(columns) == [[0], [1, 2, 3], [4], [5]]


def test_batch_wait_holds_the_oldest_row_for_company() -> None:
    """A row waits until the batch is full or its time is up, whichever comes first."""
    columns = simulate(open_loop([0, 30, 40, 200]), Policy("fifo", 2, wait_ns=50), lambda _: 5)
    assert batches(columns) == [[0, 1], [2], [3]]
    assert columns.taken_ns.tolist() == [30, 30, 90, 250]


def test_sorted_lets_the_oldest_row_decide_who_joins_it() -> None:
    """The oldest waiting row is always served next, with the rows closest to it in length."""
    lengths = np.array([50, 300, 60, 310, 55, 290])
    columns = simulate(open_loop([0, 1, 2, 3, 4, 5]), Policy("sorted", 3), lambda _: 100, lengths=lengths)
    assert batches(columns) == [[0], [1, 3, 5], [2, 4]]


def test_sorted_serves_rows_that_are_due_together_longest_first() -> None:
    """Offline: neighbours in length share a batch and the run ends on the short ones."""
    traffic = Traffic(np.zeros(6, np.int64), np.arange(6, dtype=np.int32), np.zeros(6, np.int64), Limits(0, 1))
    columns = simulate(traffic, Policy("sorted", 2), lambda _: 10, lengths=np.array([5, 60, 7, 50, 40, 9]))
    assert batches(columns) == [[1, 3], [4, 5], [0, 2]]


def test_single_stream_issues_when_the_previous_query_is_complete() -> None:
    """Closed loop: due times are completion times, and the latency is the service time."""
    columns = simulate(closed_loop(4, 1, Limits(0, 4)), Policy("sorted", 8), lambda _: 70)
    assert columns.due_ns.tolist() == [0, 70, 140, 210]
    assert columns.latency_ns.tolist() == [70] * 4


def test_multi_stream_query_is_complete_with_its_last_sample() -> None:
    """The rows of a query are due together; the next query waits for all of them, whatever the batch limit."""
    columns = simulate(closed_loop(2, 4, Limits(0, 2)), Policy("fifo", 3), lambda rows: 10 * len(rows))
    assert columns.due_ns.tolist() == [0] * 4 + [40] * 4
    assert columns.done_ns.tolist() == [30, 30, 30, 40, 70, 70, 70, 80]


def test_closed_loop_ends_when_both_minima_are_met() -> None:
    """LoadGen's natural end: the last query is the first one issued at or after the minimum duration, if enough were issued."""
    columns = simulate(closed_loop(100, 1, Limits(min_duration_ns=250, min_queries=2)), Policy("fifo", 1), lambda _: 100)
    assert columns.due_ns.tolist() == [0, 100, 200, 300]
    columns = simulate(closed_loop(100, 1, Limits(min_duration_ns=50, min_queries=7)), Policy("fifo", 1), lambda _: 100)
    assert len(columns.query) == 7


@pytest.mark.parametrize("limits", [Limits(0, 100, max_queries=3), Limits(10_000, 100, max_duration_ns=150)])
def test_closed_loop_ends_at_a_maximum(limits: Limits) -> None:
    """A maximum ends the run though the minima are not met."""
    assert len(simulate(closed_loop(100, 1, limits), Policy("fifo", 1), lambda _: 100).query) == 3


def test_feed_continues_an_exhausted_ledger() -> None:
    """When all rows have been handed out the feed is asked, with the columns so far, until it has nothing more."""
    traffic = open_loop([0, 1])
    seen: list[int] = []

    def feed(columns) -> Traffic | None:
        seen.append(len(columns.query))
        return Traffic(np.array([2, 3]), np.array([0, 0], np.int32), np.array([500, 600]), traffic.limits) if len(seen) == 1 else None

    columns = simulate(traffic, Policy("fifo", 1), lambda _: 10, feed=feed)
    assert seen == [2, 4]
    assert columns.due_ns.tolist() == [0, 1, 500, 600]
    assert (columns.status == Status.DONE).all()


def test_rows_not_yet_asked_are_no_rows_of_the_run() -> None:
    """A stopped schedule ends at the last row that was due; what was due and not served stays visible."""
    ledger = Ledger(open_loop([0, 10, 20, 5000]), Policy("fifo", 1), FakeClock())
    ledger.join()
    rows = ledger.take()
    assert rows is not None
    ledger.complete(rows)
    second = ledger.take()
    assert second is not None
    ledger.stop()
    assert ledger.take() is None
    columns = ledger.columns(100)
    assert [Status(s).name for s in columns.status] == ["DONE", "LOST", "PENDING"]
    assert columns.latency_ns.tolist() == [0, 90, 80]


def test_rejected_rows_are_errors_and_charged_to_the_end() -> None:
    """An error can never look like a fast answer."""
    ledger = Ledger(open_loop([0, 0, 0]), Policy("fifo", 2), FakeClock())
    ledger.join()
    rows = ledger.take()
    assert rows is not None
    ledger.complete(rows)
    ledger.reject(rows)
    columns = ledger.columns(1000)
    assert columns.status.tolist() == [Status.ERROR, Status.ERROR, Status.PENDING]
    assert columns.latency_ns.tolist() == [1000, 1000, 1000]


@given(
    gaps=st.lists(st.integers(0, 300), min_size=1, max_size=60),
    lengths=st.lists(st.integers(1, 384), min_size=60, max_size=60),
    limit=st.integers(1, 9),
    kind=st.sampled_from(["sorted", "fifo", "fixed"]),
    wait=st.integers(0, 200),
    workers=st.integers(1, 3),
)
def test_every_row_is_served_once_and_never_early(
    gaps: list[int], lengths: list[int], limit: int, kind: str, wait: int, workers: int
) -> None:
    """Whatever the policy: each row is done exactly once, no batch is over the limit, nothing is taken before it is due, and the first
    row of a batch is the oldest that was waiting."""
    due = np.cumsum(gaps).tolist()
    policy = Policy(kind, limit, wait)  # type: ignore[arg-type]
    columns = simulate(open_loop(due), policy, lambda rows: 40 + 13 * len(rows), workers=workers, lengths=np.array(lengths))
    assert len(columns.query) == len(due)
    assert (columns.status == Status.DONE).all()
    assert (columns.taken_ns >= columns.due_ns).all()
    for rows in batches(columns):
        assert 0 < len(rows) <= limit
        taken = columns.taken_ns[rows[0]]
        older = np.flatnonzero((columns.due_ns < columns.due_ns[min(rows)]) & (columns.taken_ns > taken))
        assert not len(older)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 400), service=st.integers(1, 2000))
def test_fifo_with_one_worker_is_lindleys_recursion(seed: int, rows: int, service: int) -> None:
    """Waiting times of the ledger equal W(i+1) = max(0, W(i) + S - A(i)) to the nanosecond (Lindley 1952)."""
    gaps = np.random.default_rng(seed).integers(0, 2000, rows)
    due = np.cumsum(gaps)
    columns = simulate(open_loop(due.tolist()), Policy("fifo", 1), lambda _: service)
    wait, expected = 0, []
    for i in range(rows):
        wait = max(0, wait + service - int(gaps[i])) if i else 0
        expected.append(wait)
    assert (columns.taken_ns - columns.due_ns).tolist() == expected


def test_handed_out_rows_are_found_in_any_serving_order() -> None:
    """Longest first hands out rows from all over the table; none of them lies behind what `handed_out` says."""
    traffic = Traffic(np.zeros(6, np.int64), np.arange(6, dtype=np.int32), np.zeros(6, np.int64), Limits(0, 1))
    ledger = Ledger(traffic, Policy("sorted", 2), FakeClock(), lengths=np.array([5, 6, 7, 8, 9, 10]))
    ledger.join()
    rows = ledger.take()
    assert rows is not None
    assert sorted(np.arange(6)[rows].tolist()) == [4, 5]
    assert ledger.handed_out() == 6
