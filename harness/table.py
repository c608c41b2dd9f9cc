"""The ledger's columns in memory: plain arrays for one process, a mapped file for several. 43 bytes a row."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Columns, Int32, Int64, Status, Traffic

COLUMNS: dict[str, type[np.integer[Any]]] = {
    "query": np.int64,
    "due": np.int64,
    "taken": np.int64,
    "done": np.int64,
    "sample": np.int32,
    "batch": np.int32,
    "worker": np.int16,
    "status": np.int8,
}
"""Widest first, so that every column of a mapped file is aligned. -1 in a time column: not yet."""

ROW_BYTES = sum(np.dtype(kind).itemsize for kind in COLUMNS.values())


@dataclass(slots=True)
class Table:
    """Columns with room for `len(query)` rows, of which the first `rows` are filled. A table over a mapped file cannot grow."""

    query: Int64
    due: Int64
    taken: Int64
    done: Int64
    sample: Int32
    batch: Int32
    worker: NDArray[np.int16]
    status: NDArray[np.int8]
    rows: int
    growable: bool = True

    @classmethod
    def adopt(cls, traffic: Traffic) -> Table:
        """A table around the arrays of `traffic`, not copied."""
        rows = len(traffic.sample)
        times = [np.full(rows, -1, np.int64) for _ in range(2 if traffic.due_ns is not None else 3)]
        return cls(
            query=traffic.query,
            due=times[2] if traffic.due_ns is None else traffic.due_ns,
            taken=times[0],
            done=times[1],
            sample=traffic.sample,
            batch=np.zeros(rows, np.int32),
            worker=np.zeros(rows, np.int16),
            status=np.zeros(rows, np.int8),
            rows=rows,
        )

    @classmethod
    def mapped(cls, file: Path, capacity: int, rows: int, offset: int) -> Table:
        """Columns in a file shared by processes, from byte `offset` on. Pages never touched cost neither memory nor disk."""
        with file.open("r+b") as handle:
            memory = mmap.mmap(handle.fileno(), 0)
        arrays: dict[str, Any] = {}
        for name, kind in COLUMNS.items():
            arrays[name] = np.frombuffer(memory, kind, capacity, offset)
            offset += arrays[name].nbytes
        return cls(**arrays, rows=rows, growable=False)

    @property
    def capacity(self) -> int:
        return len(self.query)

    def views(self) -> tuple[memoryview, memoryview, memoryview, memoryview]:
        """due, taken, done, batch as memoryviews, for single elements."""
        return self.due.data, self.taken.data, self.done.data, self.batch.data

    def query_size(self) -> int:
        """Rows of the first query; in a closed loop all queries are of one size."""
        return int(np.searchsorted(self.query[: self.rows], self.query[0], side="right")) if self.rows else 1

    def all_due_at_once(self) -> bool:
        """Offline: nothing is worth waiting for, so the serving order can be fixed beforehand."""
        return self.rows > 0 and self.due[0] == self.due[self.rows - 1]

    def append(self, more: Traffic) -> None:
        """Fill further rows. Raises ValueError if a mapped table has no room."""
        rows = self.rows + len(more.sample)
        if rows > self.capacity:
            self._grow(max(rows, self.capacity * 3 // 2))
        fresh = slice(self.rows, rows)
        self.query[fresh] = more.query
        self.sample[fresh] = more.sample
        self.due[fresh] = -1 if more.due_ns is None else more.due_ns
        self.taken[fresh] = -1
        self.done[fresh] = -1
        self.rows = rows

    def _grow(self, capacity: int) -> None:
        if not self.growable:
            raise ValueError(f"the shared ledger has room for {self.capacity:,} rows")
        for name, kind in COLUMNS.items():
            grown = np.zeros(capacity, kind)
            grown[: self.rows] = getattr(self, name)[: self.rows]
            setattr(self, name, grown)

    def columns(self, asked: int, end_ns: int) -> Columns:
        """Views of the first `asked` rows; `status` is a copy with what the time columns say filled in."""
        part = slice(0, asked)
        status = self.status[part].copy()
        unmarked = status == Status.PENDING
        status[unmarked & (self.taken[part] >= 0)] = Status.LOST
        status[unmarked & (self.done[part] >= 0)] = Status.DONE
        return Columns(
            query=self.query[part],
            sample=self.sample[part],
            due_ns=self.due[part],
            taken_ns=self.taken[part],
            done_ns=self.done[part],
            batch=self.batch[part],
            worker=self.worker[part],
            status=status,
            end_ns=end_ns,
        )
