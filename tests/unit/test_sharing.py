"""The ledger shared by threads and by processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from harness.batching import Policy
from harness.clock import MonotonicClock
from harness.core import Limits, Status, Traffic
from harness.sharing import LockedLedger, Seat, SharedLedger


def offline(rows: int) -> Traffic:
    return Traffic(np.zeros(rows, np.int64), np.arange(rows, dtype=np.int32), np.zeros(rows, np.int64), Limits(0, 1))


def closed(queries: int, size: int) -> Traffic:
    return Traffic(np.repeat(np.arange(queries, dtype=np.int64), size), np.zeros(queries * size, np.int32), None, Limits(0, queries))


def serve(ledger, worker: int) -> None:
    ledger.join()
    while (rows := ledger.take(worker)) is not None:
        ledger.complete(rows)


def serve_seat(seat: Seat, worker: int, die_after: int | None = None) -> None:
    """A worker process; `die_after` batches it is killed while it holds rows."""
    ledger = SharedLedger(seat, MonotonicClock(), None)
    ledger.join()
    taken = 0
    while (rows := ledger.take(worker)) is not None:
        taken += 1
        if taken == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        ledger.complete(rows)


@pytest.mark.parametrize("traffic", [offline(20_000), closed(500, 8)], ids=["offline", "closed loop"])
def test_threads_serve_every_row_once(traffic: Traffic) -> None:
    """Four threads share a table: every row is done, each by the worker that took it, and batches are numbered without a gap."""
    ledger = LockedLedger(traffic, Policy("fifo", 3), MonotonicClock(), workers=4)
    threads = [threading.Thread(target=serve, args=(ledger, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    columns = ledger.columns(1 << 60)
    assert (columns.status == Status.DONE).all()
    assert sorted(np.unique(columns.batch)) == list(range(int(columns.batch.max()) + 1))


def run_processes(traffic: Traffic, workers: int, die_after: dict[int, int]) -> SharedLedger:
    ledger = SharedLedger.create(traffic, Policy("fifo", 2), MonotonicClock(), workers=workers, capacity=len(traffic.sample) + 1000)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=serve_seat, args=(ledger.seat, i, die_after.get(i))) for i in range(workers)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 60
    while any(process.is_alive() for process in processes):
        if any(process.exitcode for process in processes):
            ledger.stop()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ledger.sync()
    ledger.remove()
    return ledger


def test_processes_serve_every_row_once() -> None:
    """Two processes over one mapped file: nothing is served twice or left out, and the table's file is gone afterwards."""
    ledger = run_processes(offline(3001), 2, {})
    columns = ledger.columns(1 << 60)
    assert (columns.status == Status.DONE).all()
    assert sorted(np.unique(columns.batch)) == list(range(1501))
    assert not ledger.seat.file.exists()


def test_a_killed_process_leaves_its_rows_lost_and_blocks_nobody() -> None:
    """SIGKILL in mid-run: the rows it held are lost, the kernel frees its lock, the others end at once."""
    columns = run_processes(offline(200_000), 2, {1: 5}).columns(1 << 60)
    lost = columns.status == Status.LOST
    assert np.count_nonzero(lost) == 2
    assert (columns.worker[lost] == 1).all()


def test_a_shared_table_is_refilled_by_its_maker() -> None:
    """The workers of a closed loop never run dry while the maker refills, and end when it has nothing more."""
    chunks = iter([closed(40, 1), closed(40, 1), None])
    ledger = SharedLedger.create(
        closed(10, 1), Policy("fifo", 1), MonotonicClock(), workers=1, capacity=1000, feed=lambda _columns: next(chunks, None)
    )
    ledger.limits = Limits(0, 10**9)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve_seat, args=(Seat(ledger.seat.file, 1000, 1, True, Policy("fifo", 1), ledger.limits), 0))
    process.start()
    deadline = time.monotonic() + 60
    while process.is_alive():
        ledger.refill(5)
        assert time.monotonic() < deadline
        time.sleep(0.002)
    ledger.sync()
    ledger.remove()
    assert (ledger.columns(1 << 60).status == Status.DONE).all()
    assert ledger.rows == 90


def drain(*ledgers: SharedLedger) -> list[int]:
    """Rows as the ledgers hand them out in turn, until none has any."""
    rows: list[int] = []
    waiting = list(ledgers)
    while waiting:
        for ledger in list(waiting):
            with ledger._locked():
                found = ledger.step(1 << 40)
            if found is None or isinstance(found, int):
                waiting.remove(ledger)
            else:
                rows += np.arange(ledger.rows)[found].tolist()
    return rows


def test_processes_agree_on_the_serving_order_of_appended_rows() -> None:
    """A process that looks at appended rows after another has taken some serves the rest: each row once, longest first."""
    lengths = np.array([5, 90, 17, 40, 66, 3, 81, 29, 54, 12])
    policy, clock = Policy("sorted", 3), MonotonicClock()
    more = [offline(10), offline(10)]
    maker = SharedLedger.create(
        offline(10), policy, clock, workers=1, capacity=100, lengths=lengths, feed=lambda _: more.pop() if more else None
    )
    early, late = (SharedLedger(maker.seat, clock, lengths) for _ in range(2))
    early.join()
    assert sorted(drain(early, late)) == list(range(10))
    for begin in (10, 20):
        maker.refill(0)
        with early._locked():
            first = np.arange(early.rows)[early.step(1 << 40)].tolist()
        assert first == [begin + 1, begin + 6, begin + 4]
        assert sorted(first + drain(late, early)) == list(range(begin, begin + 10))
    for ledger in (early, late):
        ledger.close()
    maker.remove()


def test_processes_agree_on_the_serving_order_within_a_query() -> None:
    """Multi-stream with a batch limit below the query's size: a refill in mid-query does not change the query's order."""
    lengths = np.array([5, 90, 17, 40])
    policy, clock = Policy("sorted", 1), MonotonicClock()

    def two_queries(first: int) -> Traffic:
        query = np.repeat(np.arange(first, first + 2, dtype=np.int64), 4)
        return Traffic(query, np.tile(np.arange(4, dtype=np.int32), 2), None, Limits(0, 100))

    maker = SharedLedger.create(two_queries(0), policy, clock, workers=1, capacity=100, lengths=lengths, feed=lambda _: two_queries(2))
    worker = SharedLedger(maker.seat, clock, lengths)
    worker.join()
    with worker._locked():
        rows = [int(np.arange(worker.rows)[worker.step(1)][0]) for _ in range(2)]
    maker.refill(10)
    with worker._locked():
        rows += [int(np.arange(worker.rows)[worker.step(1)][0]) for _ in range(2)]
    assert worker.rows == 16
    assert rows == [1, 3, 2, 0]
    worker.close()
    maker.remove()
