"""The ledger for several workers: threads behind a lock, processes behind a file lock and a mapped file.

Both only add who may touch the table when; what is handed out is decided by `Ledger`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.batching import Policy
from harness.clock import Clock
from harness.core import IntArray, Limits, Traffic
from harness.errors import MissingError, RunError
from harness.ledger import IDLE_NS, Feed, Ledger, Rows
from harness.table import ROW_BYTES, Table


class _SeveralWorkers(Ledger):
    """What threads and processes have in common: rows are handed out under a lock, and say who took them."""

    def _locked(self) -> AbstractContextManager[object]:
        raise NotImplementedError

    def _ended(self) -> bool:
        return self.stopped

    def take(self, worker: int = 0) -> Rows | None:
        while not self._ended():
            with self._locked():
                rows = self.step(self._now() - self.start)
                if not isinstance(rows, int):
                    if rows is not None and worker:
                        self.table.worker[rows] = worker
                    return rows
            self.clock.wait_until(rows + self.start, self._spin)
        return None


class LockedLedger(_SeveralWorkers):
    """One table for several threads of this process."""

    def __init__(
        self,
        traffic: Traffic,
        policy: Policy,
        clock: Clock,
        *,
        workers: int,
        lengths: IntArray | None = None,
        max_length: int = 0,
        feed: Feed | None = None,
    ) -> None:
        super().__init__(traffic, policy, clock, lengths=lengths, max_length=max_length, workers=workers, feed=feed)
        self._lock = threading.Lock()
        self._gate = threading.Barrier(workers, action=super().join)
        self._spin = False  # a spinning thread would hold the interpreter that the others need

    def _locked(self) -> threading.Lock:
        return self._lock

    def join(self) -> None:
        # A broken gate is a stopped run: take() then hands out nothing.
        with contextlib.suppress(threading.BrokenBarrierError):
            self._gate.wait()

    def stop(self) -> None:
        super().stop()
        self._gate.abort()

    def complete(self, rows: Rows, outputs: object = None) -> None:
        with self._lock:
            super().complete(rows, outputs)

    def reject(self, rows: Rows) -> None:
        with self._lock:
            super().reject(rows)


# What the processes share besides the columns: int64 words at the start of the mapped file.
_HEAD, _ROWS, _FINAL, _STOPPED, _BATCHES, _OPEN, _QUERY_END, _LAST_ISSUE, _START, _JOINED, _SEGMENT = range(11)
_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Seat:
    """What a process needs to take part: picklable. `spin`: workers have cores of their own, so that waiting may burn them;
    `max_length`: longest input of the task."""

    file: Path
    capacity: int
    workers: int
    closed: bool
    policy: Policy
    limits: Limits
    spin: bool = True
    max_length: int = 0


class SharedLedger(_SeveralWorkers):
    """One table for several processes.

    The lock is a POSIX record lock: the kernel gives it back when its holder is killed, so a dead worker never blocks the others. The
    process that made the ledger feeds it (`refill`); the others wait for rows until it says that there are no more.
    """

    def __init__(self, seat: Seat, clock: Clock, lengths: IntArray | None) -> None:
        self._seat = seat
        self._handle = seat.file.open("r+b")
        self._words = np.memmap(seat.file, np.int64, "r+", shape=(_HEADER_BYTES // 8,))
        self._word = self._words.data
        self.limits = seat.limits
        self._parent = os.getppid()
        table = Table.mapped(seat.file, seat.capacity, int(self._words[_ROWS]), _HEADER_BYTES)
        self._use_lengths(seat.policy, lengths, seat.max_length, seat.workers)
        self._setup(table, seat.closed, seat.policy, clock, None)
        self.final = False
        self._spin = seat.spin

    @classmethod
    def create(
        cls,
        traffic: Traffic,
        policy: Policy,
        clock: Clock,
        *,
        workers: int,
        capacity: int,
        lengths: IntArray | None = None,
        max_length: int = 0,
        feed: Feed | None = None,
        spin: bool = True,
    ) -> SharedLedger:
        """A mapped table with room for `capacity` rows, holding those of `traffic`. Raises MissingError if there is no room for it."""
        capacity = max(capacity, len(traffic.sample))
        file = _backing_file(_HEADER_BYTES + (capacity + 1) * ROW_BYTES, len(traffic.sample) * ROW_BYTES)
        seat = Seat(file, capacity, workers, traffic.due_ns is None, policy, traffic.limits, spin, max_length)
        ledger = cls(seat, clock, lengths)
        ledger.feed = feed
        ledger.append(traffic)
        ledger.final = feed is None
        ledger._store()
        return ledger

    @property
    def seat(self) -> Seat:
        return self._seat

    @contextlib.contextmanager
    def _locked(self, wait: bool = True) -> Iterator[None]:
        """`wait` False: raises BlockingIOError if another holds the lock. A worker stopped by a debugger may hold it for ever."""
        fcntl.lockf(self._handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        try:
            self._load()
            yield
            self._store()
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN)

    def _load(self) -> None:
        word = self._word
        self.head, rows, final = word[_HEAD], word[_ROWS], word[_FINAL]
        self.batches, self.open_rows, self.query_end, self.last_issue = word[_BATCHES : _LAST_ISSUE + 1].tolist()
        self.final, self.segment = bool(final), word[_SEGMENT]
        if rows < self.rows:
            self._shorten(rows)
        elif rows > self.rows:
            self.table.rows = rows
            self._bind()

    def _store(self) -> None:
        word = self._word
        word[_HEAD], word[_ROWS], word[_FINAL], word[_SEGMENT] = self.head, self.rows, int(self.final), self.segment
        word[_BATCHES], word[_OPEN], word[_QUERY_END], word[_LAST_ISSUE] = self.batches, self.open_rows, self.query_end, self.last_issue

    def join(self) -> None:
        with self._locked():
            self._word[_JOINED] += 1
            if self._word[_JOINED] == self._seat.workers:
                self._word[_START] = self._now()
        while not self._word[_START] and not self._ended():
            time.sleep(IDLE_NS / 1e9)
        self.start = self._word[_START]

    def complete(self, rows: Rows, outputs: object = None) -> None:
        if self.closed:
            with self._locked():
                super().complete(rows, outputs)
        else:  # nobody else touches these rows, and no count depends on them
            super().complete(rows, outputs)

    def _exhausted(self, now: int) -> Rows | int | None:
        return None if self.final else now + IDLE_NS

    def _ended(self) -> bool:
        """Stopped, or left alone: the process that made the ledger has died."""
        return bool(self._word[_STOPPED]) or os.getppid() != self._parent

    # ------------------------------------------------------------------------------------------------- the process that made the ledger

    def started(self) -> bool:
        """All workers have joined. Sets `start`."""
        self.start = self._word[_START]
        return self.start > 0

    def refill(self, ahead: int) -> None:
        """Keep at least `ahead` rows in stock while the run needs more. Call it often, from the process that made the ledger only."""
        if self.final or self.feed is None or not self.started():
            return
        with contextlib.suppress(BlockingIOError), self._locked(wait=False):
            if self.final or self.rows - self.head >= (ahead if self.closed else 1):
                return
            more = None if self.closed and self._may_end() else self.feed(self.columns(self._now() - self.start))
            if more is None:
                self.final = True
                return
            try:
                self.append(more)
            except ValueError as error:
                raise RunError(f"the run outgrew its ledger: {error}", "set a shorter --duration or fewer --workers") from error

    def stop(self) -> None:
        self._word[_STOPPED] = 1

    def sync(self) -> None:
        """See what the workers have done."""
        self.started()
        with contextlib.suppress(BlockingIOError), self._locked(wait=False):
            pass

    def close(self) -> None:
        """Leave the table; what was read from it stays valid."""
        self._handle.close()

    def remove(self) -> None:
        """Leave the table and take its file away; mappings stay until their processes end."""
        self.close()
        self.unlink()

    def unlink(self) -> None:
        self._seat.file.unlink(missing_ok=True)


def _backing_file(size: int, needed: int) -> Path:
    """A sparse file of `size` bytes where `needed` bytes are free: in shared memory if there is room, else on disk."""
    places = [place for place in (Path("/dev/shm"), Path(tempfile.gettempdir())) if os.access(place, os.W_OK)]
    for place in places:
        status = os.statvfs(place)
        if status.f_bavail * status.f_frsize > 2 * needed + (64 << 20):
            handle, name = tempfile.mkstemp(prefix="assay-ledger-", dir=place)
            os.ftruncate(handle, size)
            os.close(handle)
            return Path(name)
    raise MissingError(
        f"no room for a shared ledger of {needed:,} bytes in {' or '.join(map(str, places)) or 'any temporary folder'}",
        "free some space, set TMPDIR to a folder that has it, or use --workers 1",
    )
