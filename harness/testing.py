"""A clock you can hold and a backend that only claims to take time: whole runs in simulated time.

Part of the product: `run` uses it to find the Server rate, and you can use it to try a policy or a schedule in milliseconds. What runs is
the real ledger with the real policies; only time is pretended.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from harness.batching import Policy
from harness.core import Columns, IntArray, Limits, Traffic
from harness.errors import UsageError
from harness.ledger import Feed, Ledger

ServiceTime: TypeAlias = Callable[[IntArray], int]
"""Nanoseconds that a batch of these samples takes."""


class FakeClock:
    """A clock that stands still until it is told to move. Waiting jumps."""

    def __init__(self, start: int = 0) -> None:
        self.time = start

    def now(self) -> int:
        return self.time

    def wait_until(self, instant: int, spin: bool) -> None:
        del spin
        self.time = max(self.time, instant)

    def advance(self, ns: int) -> None:
        self.time += ns


def simulate(
    traffic: Traffic,
    policy: Policy,
    service_ns: ServiceTime,
    *,
    workers: int = 1,
    lengths: IntArray | None = None,
    max_length: int = 0,
    feed: Feed | None = None,
) -> Columns:
    """Play a whole run in simulated time and return its ledger.

    `service_ns` is asked once a batch; `lengths` (real tokens of each sample) lets `sorted` sort and a limit of tokens hold; `max_length`
    is the longest input of the task (0: the longest of `lengths`). Raises UsageError for a closed loop with several workers: who is idle
    then depends on answers that lie in the simulation's future.
    """
    clock = FakeClock()
    ledger = Ledger(traffic, policy, clock, lengths=lengths, max_length=max_length, workers=workers, feed=feed)
    ledger.join()
    if workers == 1:
        _one_worker(ledger, clock, service_ns)
    elif ledger.closed:
        raise UsageError("a closed loop is simulated with one worker", "simulate with workers=1")
    else:
        _many_workers(ledger, clock, service_ns, workers)
    return ledger.columns(max(clock.time, int(ledger.table.done[: ledger.rows].max(initial=0))))


def _one_worker(ledger: Ledger, clock: FakeClock, service_ns: ServiceTime) -> None:
    take, complete = ledger.take, ledger.complete
    while (rows := take()) is not None:
        clock.time += service_ns(ledger.table.sample[rows])
        complete(rows)


def _many_workers(ledger: Ledger, clock: FakeClock, service_ns: ServiceTime, workers: int) -> None:
    """The worker that is free first takes next. A batch is stamped at once with the time at which it will be done: in an open loop nothing
    that is handed out depends on it."""
    free = [(0, worker) for worker in range(workers)]
    while free:
        clock.time, worker = heapq.heappop(free)
        rows = ledger.step(clock.time)
        if rows is None:
            continue
        if isinstance(rows, int):
            heapq.heappush(free, (rows, worker))
            continue
        ledger.table.worker[rows] = worker
        clock.time += service_ns(ledger.table.sample[rows])
        ledger.complete(rows)
        heapq.heappush(free, (clock.time, worker))


def poisson_traffic(rate: float, queries: int, seed: int, samples: int = 1) -> Traffic:
    """Open-loop traffic for experiments: `queries` single-sample queries, exponential gaps at `rate` per second, samples in turn.

    Not LoadGen's sequence; `scenarios/server.py` has that.
    """
    gaps = np.random.default_rng(seed).exponential(1e9 / rate, queries)
    due = np.cumsum(gaps).astype(np.int64)
    return Traffic(
        query=np.arange(queries, dtype=np.int64),
        sample=(np.arange(queries) % samples).astype(np.int32),
        due_ns=due - due[0],
        limits=Limits(0, queries),
    )
