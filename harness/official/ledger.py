"""The ledger of `--engine mlcommons`: its rows are filled by the official LoadGen's issue callback, not from a schedule.

Workers take and complete as always. What they complete goes on to LoadGen at once, so that both stamp the same answer. The rows that our
own traffic would have held are laid out beforehand, so that serving order and kept answers are those of a native run; they become due when
LoadGen issues them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.batching import Policy
from harness.clock import Clock
from harness.core import Columns, Int64, IntArray, Traffic
from harness.ledger import Ledger, Rows
from harness.table import Table

Data: TypeAlias = Callable[[int], bytes]
"""The bytes to log for the answer at a place of the batch; never raises."""

Answered: TypeAlias = Callable[[list[int], Data | None], None]
"""LoadGen is told that the samples with these response ids are complete. Bytes are asked for only where they are logged; None: empty."""

Recipe: TypeAlias = Callable[[Any, int, int], bytes]
"""Bytes for the accuracy log from a batch's outputs, a place in it, and the sample there."""

Queries: TypeAlias = Literal["single", "scheduled", "block"]
"""What one issue callback holds: one query of one sample (SingleStream), queries of one sample each that have due times (Server), or
one query of several samples (MultiStream, Offline)."""

NEVER = 2**62
"""Due time of a row that LoadGen has not issued."""

ROOM = 65_536
"""Rows laid out at a time where LoadGen issues more than were planned."""


class OfficialLedger(Ledger):
    """One table for the threads of this process and for LoadGen's.

    answered   tells LoadGen
    recipe     makes the bytes of its accuracy log; None: they are empty
    workers    threads that will join
    """

    def __init__(
        self,
        traffic: Traffic,
        policy: Policy,
        clock: Clock,
        queries: Queries,
        *,
        answered: Answered,
        recipe: Recipe | None = None,
        workers: int = 1,
        lengths: IntArray | None = None,
        max_length: int = 0,
    ) -> None:
        self.limits = traffic.limits
        self.issued = 0  # rows that LoadGen has asked
        self.untold = 0  # samples LoadGen was told are complete though nobody had answered them: the run was stopped
        self.troubles: list[str] = []
        self.plan = [traffic]
        self._queries = queries
        self._tell = answered
        self._recipe = recipe
        self._missing = workers
        self._ids = np.zeros(len(traffic.sample), np.uint64)  # 0: not issued, or LoadGen has been told
        self._asked_queries = 0
        self._shift: int | None = None  # what the plan's due times lack; None: not known for this loaded set
        self._condition = threading.Condition()
        self._use_lengths(policy, lengths, max_length, workers)
        self._setup(_laid_out(traffic), False, policy, clock, None)
        self.final = False
        self._max_async = 0  # LoadGen sees to it

    def _bind(self) -> None:
        """As for a native run: a window of waiting rows for single samples, a serving order for the rows of a large query."""
        table, block = self.table, self._queries == "block"
        self.rows = table.rows
        self._due, self._taken, self._done, self._batch = table.views()
        self._single = self._limit == 1
        self._order = self._work = None
        self.step = self._step_window if self._queries == "scheduled" and self.lengths is not None else self._step_in_order
        if block and self.lengths is not None and (table.query_size() > self._limit or self._widths is not None):
            self._fix_order(self.lengths)

    # ------------------------------------------------------------------------------------------------------------- the worker's side

    def join(self) -> None:
        with self._condition:
            self._missing -= 1
            self._condition.notify_all()

    def take(self, worker: int = 0) -> Rows | None:
        """Rows that LoadGen has issued, at most `max_batch`; waits for them; None when the run is over."""
        with self._condition:
            while not (self.stopped or self.final):
                now = self._now() - self.start
                rows = self.step(now)
                if rows is not None and not isinstance(rows, int):
                    if worker:
                        self.table.worker[rows] = worker
                    if self.head < self.issued:  # perhaps a batch for another one
                        self._condition.notify()
                    return rows
                self._condition.wait(None if rows is None or rows >= NEVER else (rows - now) / 1e9)
        return None

    def complete(self, rows: Rows, outputs: object = None) -> None:
        """Stamp the rows as answered, now, and tell LoadGen, which stamps them when it is told."""
        with self._condition:
            super().complete(rows)
            ids, samples = self._claim(rows), self.table.sample[rows]
        if ids:  # none: the run was stopped, and LoadGen needs them no more
            self._tell(ids, self._data(outputs, samples) if outputs is not None and self._recipe is not None else None)

    def reject(self, rows: Rows) -> None:
        with self._condition:
            super().reject(rows)

    def _exhausted(self, now: int) -> Rows | int | None:  # noqa: ARG002
        return NEVER

    def _claim(self, rows: Rows) -> list[int]:
        """Response ids of these rows that LoadGen has not been told of; whoever gets them tells it. Inside the lock."""
        ids = self._ids[rows].copy()
        self._ids[rows] = 0
        found: list[int] = ids[ids != 0].tolist()
        return found

    def _data(self, outputs: object, samples: IntArray) -> Data:
        """Bytes by place, made when LoadGen asks for them. An exception in its callback would end the process."""
        recipe = self._recipe
        assert recipe is not None

        def data(place: int) -> bytes:
            try:
                return recipe(outputs, place, int(samples[place]))
            except Exception as error:
                self._note(f"no bytes for the accuracy log: {type(error).__name__}: {error}")
                return b""

        return data

    # ---------------------------------------------------------------------------------------------------------------- LoadGen's side

    def wait_for_workers(self) -> bool:
        """Return when all workers are here; False: the run was stopped before."""
        with self._condition:
            self._condition.wait_for(lambda: self._missing <= 0 or self.stopped)
            return not self.stopped

    def load(self) -> None:
        """A loaded set begins: LoadGen's schedule starts afresh."""
        self._shift = None

    def issue(self, ids: Sequence[int], samples: Sequence[int]) -> None:
        """LoadGen's callback: these samples are asked now. Never raises, for LoadGen would end the process."""
        now = self._now()
        try:
            with self._condition:
                if not self.stopped:
                    self._add(now, ids, samples)
                    return
                self.untold += len(ids)
            self._tell(list(ids), None)
        except Exception as error:
            self._give_up(f"the issue callback failed: {type(error).__name__}: {error}", ids)

    def _add(self, now: int, ids: Sequence[int], samples: Sequence[int]) -> None:
        first, tail = self.issued, self.issued + len(ids)
        if not first:
            self.start = now
        if tail > self.rows:
            self._lay_out_more(tail)
        table, fresh = self.table, slice(first, tail)
        table.sample[fresh] = samples
        self._number(fresh)
        table.due[fresh] = self._due_times(fresh, now - self.start)
        self._ids[fresh] = ids  # last: had anything above failed, these rows would not be LoadGen's
        self.issued = tail
        self._condition.notify(-(-len(ids) // self._limit))

    def _number(self, fresh: slice) -> None:
        """Query numbers as they really are. Where they are not the plan's, its serving order is not to be trusted."""
        query = self.table.query
        if self._queries != "block":
            query[fresh] = np.arange(fresh.start, fresh.stop)
            return
        number = self._asked_queries
        self._asked_queries += 1
        ends_elsewhere = fresh.stop < self.rows and query[fresh.stop] == number
        if ends_elsewhere or (query[fresh] != number).any():
            self._order = None
        query[fresh] = number

    def _due_times(self, fresh: slice, now: int) -> Int64 | int:
        """Server: LoadGen's ideal times, counted from the first query of the loaded set, as ours are planned; else the callback's.

        Never after now: the first callback comes some microseconds after LoadGen's start, by which all planned times would be late.
        """
        if self._queries != "scheduled":
            return now
        planned = self._planned_due(fresh)
        if planned is None:
            return now
        if self._shift is None:
            self._shift = now - int(planned[0])
        return np.minimum(planned + self._shift, now)

    def _planned_due(self, rows: slice) -> Int64 | None:
        """Due times by plan, None beyond its end."""
        before = 0
        for part in self.plan:
            if rows.start >= before and rows.stop <= before + len(part.sample):
                return None if part.due_ns is None else part.due_ns[rows.start - before : rows.stop - before]
            before += len(part.sample)
        return None

    def _lay_out_more(self, needed: int) -> None:
        """The plan goes on where it can; where it cannot, rows are empty until LoadGen fills them."""
        self.segment = self.rows
        while self.rows < needed:
            last = self.plan[-1]
            if last.more is not None:
                self.plan.append(last.more(max(ROOM, needed - self.rows)))
                more = _unissued(self.plan[-1])
            else:
                count = max(ROOM, needed - self.rows)
                numbers = np.arange(self.rows, self.rows + count)
                more = Traffic(numbers, np.zeros(count, np.int32), np.full(count, NEVER), self.limits)
            self.table.append(more)
            self.rows = self.table.rows
        self._bind()
        ids = np.zeros(self.table.capacity, np.uint64)
        ids[: self.issued] = self._ids[: self.issued]
        self._ids = ids

    def finish(self) -> None:
        """StartTest is over: there is nothing more to take."""
        with self._condition:
            self.final = True
            self._condition.notify_all()

    def _give_up(self, trouble: str, ids: Sequence[int]) -> None:
        self._note(trouble)
        try:
            self.stop()
            self.untold += len(ids)
            self._tell(list(ids), None)
        except Exception as error:  # LoadGen now waits for ever for these; whoever waits for it gives up
            self._note(f"the official LoadGen could not be told: {type(error).__name__}: {error}")

    def _note(self, trouble: str) -> None:
        if len(self.troubles) < 10:
            self.troubles.append(trouble)

    # ---------------------------------------------------------------------------------------------------------------- the other side

    def stop(self) -> None:
        """End the run. LoadGen cannot be told to: it is told that everything it has asked is complete, and at once of all it asks from now
        on, so that its list comes to an end; `untold` counts them. Rows that nobody answers stay unanswered here."""
        with self._condition:
            if self.stopped:
                return
            self.stopped = True
            ids = self._claim(slice(0, self.issued))
            self.untold += len(ids)
            self._condition.notify_all()
        if ids:
            self._tell(ids, None)

    def handed_out(self) -> int:
        return self.issued

    def columns(self, end_ns: int) -> Columns:
        """The rows that LoadGen asked before the run was stopped."""
        return self.table.columns(self.issued, end_ns)

    def planned(self) -> Traffic:
        """What our own traffic holds, as far as it was laid out."""
        first, *others = self.plan
        if not others:
            return first
        due = None if first.due_ns is None else np.concatenate([part.due_ns for part in self.plan if part.due_ns is not None])
        query, sample = (np.concatenate([getattr(part, name) for part in self.plan]) for name in ("query", "sample"))
        return Traffic(query, sample, due, first.limits, others[-1].more, first.parts)


def _unissued(traffic: Traffic) -> Traffic:
    """The rows of `traffic`, none of them due yet; copies, for LoadGen's own samples will be written over them."""
    never: NDArray[np.int64] = np.full(len(traffic.sample), NEVER)
    return Traffic(traffic.query.copy(), traffic.sample.copy(), never, traffic.limits)


def _laid_out(traffic: Traffic) -> Table:
    return Table.adopt(_unissued(traffic))
