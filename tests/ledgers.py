"""Every kind of ledger, played by hand in simulated time: what several test files need."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from harness.batching import Policy
from harness.core import Columns, Int64, IntArray, Limits, Traffic
from harness.ledger import Ledger
from harness.sharing import LockedLedger, SharedLedger
from harness.testing import FakeClock


def open_loop(due: Sequence[int]) -> Traffic:
    """One sample a query, each another one."""
    rows = len(due)
    return Traffic(np.arange(rows), np.arange(rows, dtype=np.int32), np.array(due, np.int64), Limits(0, rows))


def offline(rows: int) -> Traffic:
    """One query of all samples."""
    return Traffic(np.zeros(rows, np.int64), np.arange(rows, dtype=np.int32), np.zeros(rows, np.int64), Limits(0, 1))


def closed_loop(queries: int, size: int) -> Traffic:
    return Traffic(np.repeat(np.arange(queries), size), np.arange(queries * size, dtype=np.int32), None, Limits(0, queries))


@contextlib.contextmanager
def played_by(
    kind: str, traffic: Traffic, policy: Policy, lengths: IntArray, max_length: int, workers: int
) -> Iterator[tuple[list[Ledger], FakeClock]]:
    """A ledger of this kind as each worker sees it: one object for threads, one each for processes."""
    clock = FakeClock()
    if kind == "single":
        yield [Ledger(traffic, policy, clock, lengths=lengths, max_length=max_length, workers=workers)] * workers, clock
    elif kind == "threads":
        yield [LockedLedger(traffic, policy, clock, lengths=lengths, max_length=max_length, workers=workers)] * workers, clock
    else:
        rows = len(traffic.sample)
        maker = SharedLedger.create(traffic, policy, clock, lengths=lengths, max_length=max_length, workers=workers, capacity=rows)
        seats: list[Ledger] = [SharedLedger(maker.seat, clock, lengths) for _ in range(workers)]
        try:
            yield seats, clock
        finally:
            for seat in seats:
                seat.close()  # type: ignore[attr-defined]
            maker.remove()


def play(
    kind: str,
    traffic: Traffic,
    policy: Policy,
    service_ns: Callable[[IntArray], int],
    lengths: IntArray,
    *,
    max_length: int = 0,
    workers: int = 1,
) -> tuple[Columns, list[list[int]]]:
    """Serve `traffic` by hand, the worker that is free first takes next; its columns and the rows of each call, as handed out."""
    calls: list[list[int]] = []
    with played_by(kind, traffic, policy, lengths, max_length, workers) as (ledgers, clock):
        events: list[tuple[int, int, int, Int64 | None]] = [(0, 1, worker, None) for worker in range(workers)]
        while events:
            clock.time, _, worker, finished = heapq.heappop(events)
            ledger = ledgers[worker]
            if finished is not None:
                ledger.complete(finished)
            with getattr(ledger, "_locked", contextlib.nullcontext)():
                rows = ledger.step(clock.time)
            if isinstance(rows, int):
                heapq.heappush(events, (max(rows, clock.time + 1), 1, worker, None))
            elif rows is not None:
                taken = np.arange(ledger.rows)[rows]
                ledger.table.worker[rows] = worker
                calls.append(taken.tolist())
                heapq.heappush(events, (clock.time + service_ns(ledger.table.sample[rows]), 0, worker, taken))
        ledgers[0].sync()
        columns = ledgers[0].columns(clock.time)
    return columns, calls
