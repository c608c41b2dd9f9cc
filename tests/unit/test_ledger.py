"""The ledger in simulated time: who gets which rows when."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.batching import Policy
from harness.clock import MonotonicClock
from harness.core import Columns, Limits, Status, Traffic
from harness.ending import messages
from harness.generated import from_file
from harness.ledger import Ledger
from harness.sharing import LockedLedger, SharedLedger
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


# ------------------------------------------------------------------------------------------------------------ too many unanswered queries

MAXASYNC = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "logs" / "sv_invalid_maxasync"


def last_of(columns: Columns, most: int) -> int | None:
    """Section 4 of LoadGen's rules, written out: the first query at whose issue more than `most` are unanswered, itself among them."""
    for row, due in enumerate(columns.due_ns.tolist()):
        answered = sum(0 <= done <= due for done in columns.done_ns[: row + 1].tolist())
        if row + 1 - answered > most:
            return row
    return None


def with_max_async(due: list[int], most: int) -> Traffic:
    return open_loop(due, limits=Limits(10**9, 10**6, max_async=most))


@pytest.mark.skipif(not MAXASYNC.is_dir(), reason="no golden logs: set ASSAY_GOLDEN")
def test_max_async_ends_the_run_where_the_official_loadgen_did() -> None:
    """500 queries/s served one by one in 20 ms, at most 20 unanswered: 23 queries are issued, and the sentence in the log is the same."""
    (phase,) = from_file(MAXASYNC / "config.json").phases
    assert phase.due_ns is not None
    limits = Limits(10**9, 100, max_async=20)
    columns = simulate(Traffic(phase.query, phase.sample, phase.due_ns, limits), Policy("fifo", 1), lambda _: 20_000_000)
    (said,) = messages(columns, limits, paced=True, at_once=False, finite=False)
    official = (MAXASYNC / "mlperf_log_detail.txt").read_text()
    assert re.findall(r'"key": "error_runtime", "value": "([^"]*)"', official) == [said.text]
    assert len(columns.query) == int(re.findall(r'"result_query_count", "value": (\d+)', official)[0]) == 23
    assert (columns.status == Status.DONE).all()
    assert json.loads((MAXASYNC / "config.json").read_text())["settings"]["server_max_async_queries"] == 20


@given(
    gaps=st.lists(st.integers(0, 120), min_size=1, max_size=80),
    lengths=st.lists(st.integers(1, 384), min_size=80, max_size=80),
    limit=st.integers(1, 6),
    kind=st.sampled_from(["sorted", "fifo"]),
    wait=st.sampled_from([0, 0, 60]),
    workers=st.integers(1, 3),
    most=st.integers(1, 12),
)
def test_max_async_cuts_the_schedule_at_the_first_query_that_is_one_too_many(
    gaps: list[int], lengths: list[int], limit: int, kind: str, wait: int, workers: int, most: int
) -> None:
    """The run is that without the limit up to that query and not a row longer, every row of it is served once, and the log says so; where
    there is no such query nothing changes."""
    due = np.cumsum(gaps).tolist()
    policy = Policy(kind, limit, wait)  # type: ignore[arg-type]

    def service(samples: np.ndarray) -> int:
        return 40 + 13 * len(samples)

    free = simulate(open_loop(due), policy, service, workers=workers, lengths=np.array(lengths))
    traffic = with_max_async(due, most)
    cut = simulate(traffic, policy, service, workers=workers, lengths=np.array(lengths))
    last = last_of(free, most)
    said = messages(cut, traffic.limits, paced=True, at_once=False, finite=False)
    assert (cut.status == Status.DONE).all()
    assert sum(map(len, batches(cut))) == len(cut.query)
    if last is None:
        assert cut.done_ns.tolist() == free.done_ns.tolist()
        assert said == ()
        return
    assert len(cut.query) == last + 1
    assert last_of(cut, most) == last
    before = free.taken_ns[: last + 1] < due[last]
    assert cut.taken_ns[before].tolist() == free.taken_ns[: last + 1][before].tolist()
    assert said[0].text.startswith(f"IssueQueryThread 0 Ending early: Too many outstanding queries. issued {last + 1} outstanding ")


@given(gaps=st.lists(st.integers(0, 50), min_size=1, max_size=60), limit=st.integers(1, 6), workers=st.integers(1, 3))
def test_max_async_of_more_than_is_ever_unanswered_changes_nothing(gaps: list[int], limit: int, workers: int) -> None:
    """As many as there are queries is as good as no limit (0)."""
    due = np.cumsum(gaps).tolist()
    none, all_of_them = (
        simulate(with_max_async(due, most), Policy("fifo", limit), lambda rows: 90 + 7 * len(rows), workers=workers)
        for most in (0, len(due))
    )
    assert none.done_ns.tolist() == all_of_them.done_ns.tolist()
    assert none.batch.tolist() == all_of_them.batch.tolist()
    assert len(none.query) == len(due)


def test_a_cut_to_queries_that_are_all_due_at_once_serves_each_once() -> None:
    """What is left of the schedule looks like Offline's; it is served on in the order in which it was begun."""
    traffic, lengths = with_max_async([0, 0, 0, 0, 900], 2), np.array([5, 60, 50, 40, 9])
    columns = simulate(traffic, Policy("sorted", 1), lambda _: 10, lengths=lengths)
    assert columns.taken_ns.tolist() == [0, 10, 20]
    assert columns.batch.tolist() == [0, 1, 2]
    clock = FakeClock()
    maker = SharedLedger.create(traffic, Policy("sorted", 1), clock, workers=2, capacity=9, lengths=lengths)
    with contextlib.closing(SharedLedger(maker.seat, clock, lengths)) as early, contextlib.closing(maker):
        drive([early, maker], clock, lambda _: 10)
        columns = maker.columns(clock.time)
        maker.unlink()
    assert columns.taken_ns.tolist() == [0, 0, 10]
    assert sorted(columns.batch.tolist()) == [0, 1, 2]


def test_a_cut_before_anything_was_handed_out_leaves_the_first_rows() -> None:
    """All queries due at once: those up to the cut are served, and none behind it."""
    lengths = np.array([5, 60, 50, 400, 500])
    columns = simulate(with_max_async([0] * 5, 2), Policy("sorted", 2), lambda _: 10, lengths=lengths)
    assert batches(columns) == [[0, 1], [2]]
    assert (columns.status == Status.DONE).all()


def test_a_run_that_was_cut_is_not_fed() -> None:
    """Early stopping may want more queries; a run that ended for too many unanswered ones gets none."""
    traffic = with_max_async([0, 1, 2, 3, 4], 2)
    columns = simulate(traffic, Policy("fifo", 1), lambda _: 100, feed=lambda _: pytest.fail("the run was fed"))
    assert len(columns.query) == 3


def test_rejected_answers_are_answers_to_max_async() -> None:
    """A backend that raises at once leaves nothing unanswered."""
    ledger = Ledger(with_max_async(list(range(0, 100, 10)), 1), Policy("fifo", 1), FakeClock())
    ledger.join()
    while (rows := ledger.take()) is not None:
        ledger.complete(rows)
        ledger.reject(rows)
    assert ledger.columns(10**9).status.tolist() == [Status.ERROR] * 10


def drive(ledgers: list[Ledger], clock: FakeClock, service: Callable[[int], int]) -> None:
    """Workers over one table in simulated time, each by its own ledger object: the one that is free first takes next."""
    free = [(clock.time, worker) for worker in range(len(ledgers))]
    while free:
        clock.time, worker = heapq.heappop(free)
        ledger = ledgers[worker]
        with ledger._locked():  # type: ignore[attr-defined]
            rows = ledger.step(clock.time)
        if rows is None:
            continue
        if not isinstance(rows, int):
            clock.time += service(len(np.arange(ledger.rows)[rows]))
            ledger.complete(rows)
            rows = clock.time
        heapq.heappush(free, (rows, worker))


@given(
    gaps=st.lists(st.integers(0, 120), min_size=1, max_size=60),
    limit=st.integers(1, 4),
    kind=st.sampled_from(["sorted", "fifo"]),
    workers=st.integers(1, 3),
    most=st.integers(1, 9),
)
def test_threads_and_processes_are_cut_at_the_same_query(gaps: list[int], limit: int, kind: str, workers: int, most: int) -> None:
    """The ledger of threads ends where the oracle does; so does that of processes, each of which has its own memory of the table."""
    due = np.cumsum(gaps).tolist()
    policy, lengths = Policy(kind, limit), np.arange(60) * 7 % 41 + 1  # type: ignore[arg-type]
    free = simulate(open_loop(due), policy, lambda rows: 50 + 11 * len(rows), workers=workers, lengths=lengths)
    last = last_of(free, most)
    clock = FakeClock()
    locked = LockedLedger(with_max_async(due, most), policy, clock, workers=workers, lengths=lengths)
    drive([locked] * workers, clock, lambda rows: 50 + 11 * rows)
    clock = FakeClock()
    maker = SharedLedger.create(with_max_async(due, most), policy, clock, workers=workers, capacity=60, lengths=lengths)
    seats: list[Ledger] = [SharedLedger(maker.seat, clock, lengths) for _ in range(workers)]
    drive(seats, clock, lambda rows: 50 + 11 * rows)
    maker.sync()
    for seat in seats:
        seat.close()  # type: ignore[attr-defined]
    maker.remove()
    for ledger in (locked, maker):
        columns = ledger.columns(clock.time + 10**6)
        assert len(columns.query) == (len(due) if last is None else last + 1)
        assert (columns.status == Status.DONE).all()
        assert sum(map(len, batches(columns))) == len(columns.query)


def test_a_shared_run_that_was_cut_is_not_refilled() -> None:
    """The process that feeds the table learns of the end when it looks: no further row is appended."""
    clock = FakeClock(1)
    traffic = with_max_async([0, 1, 2, 3, 4], 2)
    maker = SharedLedger.create(
        traffic, Policy("fifo", 1), clock, workers=1, capacity=100, feed=lambda _: open_loop([1000, 2000], limits=traffic.limits)
    )
    with contextlib.closing(SharedLedger(maker.seat, clock, None)) as worker, contextlib.closing(maker):
        worker.join()
        for now in (10, 20, 30):
            with worker._locked():
                assert isinstance(worker.step(now), slice)
        maker.refill(10)
        maker.unlink()
        with worker._locked():
            assert worker.step(40) is None
        assert maker.rows == worker.rows == 3


def test_max_async_on_a_real_clock_is_true_to_the_stamps() -> None:
    """Two threads that need 4 ms a query at 4,000 queries/s: the run ends at the query that its own stamps say is one too many."""
    due = np.arange(0, 400 * 250_000, 250_000)
    ledger = LockedLedger(with_max_async(due.tolist(), 10), Policy("fifo", 1), MonotonicClock(), workers=2)

    def serve() -> None:
        ledger.join()
        while (rows := ledger.take()) is not None:
            time.sleep(0.004)
            ledger.complete(rows)

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    columns = ledger.columns(10**12)
    assert last_of(columns, 10) == len(columns.query) - 1
    assert 11 <= len(columns.query) < 400
    assert (columns.status == Status.DONE).all()


# ------------------------------------------------------------------------------------------------------------------------------ coalescing


def by_loadgen(due: list[int], service: Callable[[int], int], coalesce: bool) -> list[tuple[int, list[int]]]:
    """Section 5 of LoadGen's rules with a callback that blocks until it has answered: when each call is made, and with which queries."""
    calls, now, row = [], 0, 0
    while row < len(due):
        now = max(now, due[row])
        rows = [row]
        if coalesce:
            rows += [later for later in range(row + 1, len(due)) if due[later] <= now]
        calls.append((now, rows))
        now += service(len(rows))
        row = rows[-1] + 1
    return calls


@given(gaps=st.lists(st.integers(0, 300), min_size=1, max_size=80), base=st.integers(1, 400), each=st.integers(0, 60))
def test_a_worker_takes_what_loadgens_coalescing_would_hand_it(gaps: list[int], base: int, each: int) -> None:
    """`server_coalesce_queries` with a callback that blocks and our `fifo` with a large batch: the same queries in the same calls at the
    same times, so `coalesce` needs no code here; with a batch of one it is LoadGen without coalescing."""
    due = np.cumsum(gaps).tolist()

    def service(rows: int) -> int:
        return base + each * rows

    for limit, coalesce in ((10**6, True), (1, False)):
        columns = simulate(open_loop(due), Policy("fifo", limit), lambda samples: service(len(samples)))
        ours = [(int(columns.taken_ns[rows[0]]), rows) for rows in batches(columns)]
        assert ours == by_loadgen(due, service, coalesce)
