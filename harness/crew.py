"""All workers of a run: threads of this process, or processes of their own. A command goes to every worker; the crew waits for all.

A worker that dies (killed, crashed in native code) yields `Died` in place of its result; the crew never waits for the dead.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol

from harness.batching import Policy
from harness.clock import MonotonicClock
from harness.core import Traffic
from harness.errors import AssayError, BackendError
from harness.ledger import Feed, Ledger
from harness.responses import Keep
from harness.sharing import LockedLedger, Seat, SharedLedger
from harness.worker import Report, Worker, WorkerSpec

CLOSE_S = 5.0
"""How long workers may take to close their backends; those that still run after it are killed, or left to end with the process."""


@dataclass(frozen=True, slots=True)
class Died:
    """In place of a result: what became of the worker."""

    worker: int
    how: str


@dataclass(frozen=True, slots=True)
class Hung:
    """In place of a result: the crew was told to stop waiting for it."""

    worker: int


class Crew(Protocol):
    """Workers that do as one. Results are in worker order."""

    size: int

    def call(self, method: str, *args: Any, tick: Callable[[], bool] | None = None) -> list[Any]:
        """Call a method of every `Worker` with the same arguments. Raises the first AssayError that one of them raised."""
        ...

    def ledger(self, traffic: Traffic, policy: Policy, feed: Feed | None, capacity: int) -> Ledger:
        """A ledger that these workers can share. `capacity`: rows it may grow to."""
        ...

    def serve(self, ledger: Ledger, keep: Keep, tick: Callable[[], bool]) -> list[Report | Died | Hung]: ...

    def close(self) -> None: ...


# --------------------------------------------------------------------------------------------------------------------- threads

THREAD_TICK_S = 0.5
"""Each tick takes the interpreter from the worker for some 50 µs, so they are rare."""


class _Hand(threading.Thread):
    """A thread that runs what it is given. A daemon: one that hangs in native code does not keep the process alive."""

    def __init__(self, worker: Worker, done: threading.Semaphore) -> None:
        super().__init__(name=f"worker-{worker.spec.worker}", daemon=True)
        self.worker = worker
        self.orders: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self.result: Any = None
        self.busy = False
        self.hung = False
        self._done = done

    def order(self, method: str, args: tuple[Any, ...]) -> None:
        self.busy = True
        self.orders.put((method, args))

    def run(self) -> None:
        while (order := self.orders.get()) is not None:
            method, args = order
            try:
                self.result = getattr(self.worker, method)(*args)
            except Exception as error:
                self.result = error
            self.busy = False
            self._done.release()


class ThreadCrew:
    """Workers as threads of this process, each with its own instance of the backend."""

    def __init__(self, specs: Sequence[WorkerSpec]) -> None:
        self.size = len(specs)
        self._lengths, self._max_length = specs[0].samples.lengths, specs[0].samples.max_length
        self._done = threading.Semaphore(0)
        self._hands = [_Hand(Worker(spec), self._done) for spec in specs]
        for hand in self._hands:
            hand.start()

    def call(self, method: str, *args: Any, tick: Callable[[], bool] | None = None) -> list[Any]:
        return _raise_first(self._collect(method, args, tick))

    def _collect(self, method: str, args: tuple[Any, ...], tick: Callable[[], bool] | None) -> list[Any]:
        for hand in self._hands:
            hand.order(method, args)
        waiting = self.size
        while waiting:
            if self._done.acquire(timeout=THREAD_TICK_S):
                waiting -= 1
            elif tick is not None and not tick():
                break
        return [Hung(hand.worker.spec.worker) if hand.busy else hand.result for hand in self._hands]

    def ledger(self, traffic: Traffic, policy: Policy, feed: Feed | None, capacity: int) -> Ledger:
        del capacity  # plain memory grows
        clock = MonotonicClock()
        if self.size == 1:
            return Ledger(traffic, policy, clock, lengths=self._lengths, max_length=self._max_length, feed=feed)
        return LockedLedger(traffic, policy, clock, workers=self.size, lengths=self._lengths, max_length=self._max_length, feed=feed)

    def serve(self, ledger: Ledger, keep: Keep, tick: Callable[[], bool]) -> list[Report | Died | Hung]:
        return _as_reports(self._collect("serve", (ledger, keep), tick))

    def close(self) -> None:
        for hand in self._hands:
            hand.hung = hand.busy
            if not hand.hung:
                hand.order("close", ())
            hand.orders.put(None)
        for hand in self._hands:
            if not hand.hung:
                hand.join(timeout=CLOSE_S)


# ------------------------------------------------------------------------------------------------------------------- processes

PROCESS_TICK_S = 0.05
"""How often the parent looks after its workers: refills the ledger, notices the dead."""

REFILL_AHEAD = 65_536
"""Rows of a closed loop kept in stock: more than workers can serve between two ticks."""


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that begins inside is born with SIGINT blocked, until it can ignore it: Ctrl-C while it imports would end it with a
    traceback. What arrives here meanwhile is handled at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _process_main(spec: WorkerSpec, pipe: connection.Connection) -> None:
    """A worker process: obey orders from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if spec.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec.cores)
    worker = Worker(spec)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while (order := pipe.recv()) is not None:
            method, args = order
            try:
                result = _serve_seat(worker, *args) if method == "serve" else getattr(worker, method)(*args)
            except Exception as error:
                result = error if isinstance(error, AssayError) else BackendError(f"{type(error).__name__}: {error}")
            pipe.send(result)


def _serve_seat(worker: Worker, seat: Seat, keep: Keep) -> Report:
    with contextlib.closing(SharedLedger(seat, MonotonicClock(), worker.spec.samples.lengths)) as ledger:
        return worker.serve(ledger, keep)


class ProcessCrew:
    """Workers as processes, each with its own interpreter, model and cores."""

    def __init__(self, specs: Sequence[WorkerSpec]) -> None:
        self.size = len(specs)
        self._lengths, self._max_length = specs[0].samples.lengths, specs[0].samples.max_length
        self._pinned = all(spec.cores is not None for spec in specs)
        context = multiprocessing.get_context("spawn")
        self._pipes: list[connection.Connection] = []
        self._processes = []
        for spec in specs:
            ours, theirs = context.Pipe()
            process = context.Process(target=_process_main, args=(spec, theirs), name=f"assay-worker-{spec.worker}", daemon=True)
            with _interrupts_held():
                process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def call(self, method: str, *args: Any, tick: Callable[[], bool] | None = None) -> list[Any]:
        return _raise_first(self._collect(method, args, tick))

    def _collect(self, method: str, args: tuple[Any, ...], tick: Callable[[], bool] | None) -> list[Any]:
        results: dict[int, Any] = {}
        for index, pipe in enumerate(self._pipes):
            try:
                pipe.send((method, args))
            except OSError:
                results[index] = self._died(index)
        while len(results) < self.size:
            waiting = {self._pipes[i]: i for i in range(self.size) if i not in results}
            for ready in connection.wait(list(waiting), PROCESS_TICK_S):
                index = waiting[ready]  # type: ignore[index]
                try:
                    results[index] = self._pipes[index].recv()
                except (EOFError, OSError):
                    results[index] = self._died(index)
            if tick is not None and not tick():
                break
        return [results.get(i, Hung(i)) for i in range(self.size)]

    def _died(self, index: int) -> Died:
        process = self._processes[index]
        process.join(timeout=5)
        code = process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with exit code {code}"
        return Died(index, how)

    def ledger(self, traffic: Traffic, policy: Policy, feed: Feed | None, capacity: int) -> SharedLedger:
        return SharedLedger.create(
            traffic,
            policy,
            MonotonicClock(),
            workers=self.size,
            capacity=capacity,
            lengths=self._lengths,
            max_length=self._max_length,
            feed=feed,
            spin=self._pinned,
        )

    def serve(self, ledger: Ledger, keep: Keep, tick: Callable[[], bool]) -> list[Report | Died | Hung]:
        assert isinstance(ledger, SharedLedger)

        def look_after() -> bool:
            ledger.refill(REFILL_AHEAD)
            if ledger.started():
                ledger.unlink()  # everybody has it open: whatever happens to us now, no file is left behind
            if any(process.exitcode is not None for process in self._processes):
                ledger.stop()  # the run is INVALID already, and those who wait for the dead one at the start would wait for ever
            return tick()

        try:
            reports = _as_reports(self._collect("serve", (ledger.seat, keep), look_after))
            ledger.sync()
            return reports
        finally:
            ledger.remove()

    def close(self) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(("close", ()))
                pipe.send(None)
        deadline = time.monotonic() + CLOSE_S
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            process.join(timeout=max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            pipe.close()


# ---------------------------------------------------------------------------------------------------------------------- both


def _raise_first(results: list[Any]) -> list[Any]:
    """The results, if all workers gave one."""
    for result in results:
        if isinstance(result, Exception):
            raise result
        if isinstance(result, Died):
            raise BackendError(
                f"worker {result.worker} was {result.how} before the run", "see its output above; a kill by SIGKILL is often memory"
            )
        if isinstance(result, Hung):
            raise BackendError(f"worker {result.worker} did not answer in time", "raise --hang-timeout, or look at what it waits for")
    return results


def _as_reports(results: list[Any]) -> list[Report | Died | Hung]:
    """A worker whose loop itself raised has died, as far as the run is concerned."""
    return [Died(i, f"stopped by {type(r).__name__}: {r}") if isinstance(r, Exception) else r for i, r in enumerate(results)]


def patience(seconds: float) -> Callable[[], bool]:
    """A tick that stops waiting after `seconds`."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() < deadline


def form(specs: Sequence[WorkerSpec], processes: bool) -> Crew:
    """A crew for these workers."""
    return ProcessCrew(specs) if processes else ThreadCrew(specs)
