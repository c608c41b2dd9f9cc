"""The ledger: one row per sample that was asked for, filled by whoever does the asking and the answering.

Work is pulled. A worker calls `take` and gets rows that are due; `complete` stamps them. `take` never shows a row before it is due, so
to the system under test it is a load generator that is exactly on time. Latency is `done - due`: waiting is always charged.

`Ledger` serves one worker and takes no lock. `harness.sharing` has the same table for several threads and for several processes.

Its loop is the harness's whole cost, so it is written for speed: single elements go through memoryviews (a third of the cost of a numpy
scalar), rows that lie side by side travel as slices, and the clock is read twice a batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from harness.batching import WINDOW, Policy, choose_similar, fair_share, fitting, longest_first, padded_lengths
from harness.clock import Clock
from harness.core import Columns, Int64, IntArray, Status, Traffic
from harness.table import Table

Rows: TypeAlias = slice | Int64
"""Rows of one batch: a slice where they lie side by side, else their (ascending or served-order) indices."""

Feed: TypeAlias = Callable[[Columns], Traffic | None]
"""Asked when every row has been handed out: further rows, or None when the run needs no more. `Columns.end_ns` is now."""

IDLE_NS = 100_000
"""How soon to look again when what a worker waits for has no known time: another worker's answer, or further rows."""


class Ledger:
    """The table, and the rule by which rows are handed out, for one worker in the process of its clock.

    lengths     real tokens of each sample, needed by `sorted` and by a limit of tokens; None: rows are handed out in order
    max_length  longest input of the task; 0: the longest of `lengths`
    workers     how many share the work
    feed        gives further rows; None: what is in the table is all
    """

    def __init__(
        self,
        traffic: Traffic,
        policy: Policy,
        clock: Clock,
        *,
        lengths: IntArray | None = None,
        max_length: int = 0,
        workers: int = 1,
        feed: Feed | None = None,
    ) -> None:
        self.limits = traffic.limits
        self._use_lengths(policy, lengths, max_length, workers)
        self._setup(Table.adopt(traffic), traffic.due_ns is None, policy, clock, feed)

    def _use_lengths(self, policy: Policy, lengths: IntArray | None, max_length: int, workers: int) -> None:
        """What the rule knows of lengths: real ones to sort by, padded ones where they decide how many rows a call has."""
        sized = lengths is not None and bool(lengths.any())  # samples of a backend that looks at nothing have no tokens
        self.lengths = lengths if policy.kind == "sorted" else None
        self._max_tokens = policy.max_tokens if sized else 0
        self._sharers = workers if sized and policy.kind == "sorted" else 1
        self._widths: Int64 | None = None
        self._window = WINDOW * policy.max_batch
        if lengths is not None and (self._max_tokens or self._sharers > 1):
            self._widths = padded_lengths(lengths, policy, max_length)
            self._window = WINDOW * policy.most_rows(int(self._widths.mean()))

    def _setup(self, table: Table, closed: bool, policy: Policy, clock: Clock, feed: Feed | None) -> None:
        self.table = table
        self.closed = closed
        self.policy = policy
        self.clock = clock
        self.feed = feed
        self.stopped = False
        self.final = feed is None
        self.start = 0
        self.head = 0  # rows before it have been handed out (with `sorted` in Server: all but for holes)
        self.batches = 0
        self.open_rows = 0  # closed loop: rows of the current query not yet complete
        self.segment = 0  # open loop: where the rows appended last begin; all before them had been handed out then
        self.query_end = 0  # closed loop: where the current query's rows end
        self.last_issue = 0
        self._limit = policy.max_batch
        self._wait = policy.wait_ns
        self._max_async = self.limits.max_async
        self._checked = 0  # max_async: rows before it were due without too many unanswered
        self._answered = 0  # max_async: rows before it were all answered by then
        self._now = clock.now
        self._spin = True
        self._bind()

    def _bind(self) -> None:
        """(Re)bind the views of the columns and the rule; called when the table has grown."""
        table = self.table
        self.rows = table.rows
        self._due, self._taken, self._done, self._batch = table.views()
        self._order: Int64 | None = None
        self._work: Int64 | None = None
        self._single = self._limit == 1
        if self.closed:
            self._size = table.query_size()
            self._single = self._single or self._size == 1
            limits = self.limits  # while fewer queries are issued, no rule of `_may_end` can hold
            self._no_end_before = 0 if limits.max_duration_ns else min(limits.min_queries, limits.max_queries or limits.min_queries)
            sort = self._size > 1 and (self._size > self._limit or self._widths is not None)
            self.step = self._step_closed if self._size > 1 else self._step_single
        else:
            sort = table.all_due_at_once()
            window = self.lengths is not None and not sort
            self.step = self._step_window if window else self._step_in_order
        if self.lengths is not None and sort:
            self._fix_order(self.lengths)

    def _fix_order(self, lengths: IntArray) -> None:
        """All rows of a query are due at once: the serving order, and where several share it, the padded tokens before each place."""
        self._order = self._sorted_order(lengths)
        if self._sharers > 1 and self._widths is not None:
            self._work = np.cumsum(self._widths[self.table.sample[self._order]])

    def _sorted_order(self, lengths: IntArray) -> Int64:
        """Serving order where all rows of a query are due at once; places before the current query or segment are never read again.

        It must not depend on how much of a query or segment has been handed out: processes look at appended rows at different times.
        """
        begin = self.head - self.head % self._size if self.closed else self.segment
        fresh = slice(begin, self.rows)
        order = longest_first(self.table.query[fresh], lengths[self.table.sample[fresh]]) + begin
        return np.concatenate([np.zeros(begin, np.int64), order]) if begin else order

    # ------------------------------------------------------------------------------------------------------------- the worker's side

    def join(self) -> None:
        """Wait until all workers are here; the run starts when the last one is."""
        self.start = self._now()

    def take(self, worker: int = 0) -> Rows | None:  # noqa: ARG002 - there is only one here
        """Rows that are due, at most `max_batch` and `max_tokens`; waits for them; None when the run is over."""
        while not self.stopped:
            rows = self.step(self._now() - self.start)
            if not isinstance(rows, int):
                return rows
            self.clock.wait_until(rows + self.start, self._spin)
        return None

    def complete(self, rows: Rows, outputs: object = None) -> None:  # noqa: ARG002 - for an engine that logs answers itself
        """Stamp the rows as answered, now."""
        now = self._now() - self.start
        if self._single and isinstance(rows, slice):
            self._done[rows.start] = now
            self.open_rows -= 1
            return
        self.table.done[rows] = now
        self.open_rows -= rows.stop - rows.start if isinstance(rows, slice) else len(rows)

    def reject(self, rows: Rows) -> None:
        """Mark completed rows as errors: what came back was an exception, or no answer."""
        self.table.status[rows] = Status.ERROR

    # --------------------------------------------------------------------------------------------------------- who gets what, and when

    def _step_in_order(self, now: int) -> Rows | int | None:
        """Rows in table order (or serving order where all are due at once): what is due, up to the limit; or when to ask again."""
        if self._max_async:
            self._cut_overflow(now)
        head, limit = self.head, self._limit
        if head >= self.rows:
            return self._exhausted(now)
        due = self._due
        if due[head] > now:
            return due[head]
        tail = head + 1
        if limit > 1:
            end = min(head + limit, self.rows)
            if due[end - 1] > now:
                end = bisect_right(due, now, head, end)
            tail = end if self._widths is None else self._fits(head, end, self.rows)
            if self._wait and tail == end and (later := self._better_later(slice(head, tail), end, now)):
                return later
        self.head = tail
        return self._hand_out(head, tail, now)

    def _step_window(self, now: int) -> Rows | int | None:
        """Server with `sorted`: the oldest waiting row, and those of the waiting rows that are closest to it in length."""
        if self._max_async:
            self._cut_overflow(now)
        head = self._skip_taken()
        if head >= self.rows:
            return self._exhausted(now)
        if self._due[head] > now:
            return self._due[head]
        end = bisect_right(self._due, now, head, min(self.rows, head + self._window))
        waiting = np.flatnonzero(self.table.taken[head:end] < 0) + head
        chosen = self._nearest(waiting)
        if chosen is waiting:  # all of them
            if self._wait and (later := self._better_later(waiting, end, now)):
                return later
            if len(waiting) == end - head:
                self.head = end
                return self._hand_out(head, end, now)
        self._mark(chosen, now)
        return chosen

    def _nearest(self, waiting: Int64) -> Int64:
        """The oldest of the waiting rows and those closest to it in length, as many as one call may have; `waiting` itself if it may
        have all."""
        assert self.lengths is not None
        sample = self.table.sample[waiting]
        widths = self._widths[sample] if self._widths is not None and self._max_tokens else None
        if len(waiting) <= self._limit and (widths is None or len(waiting) * int(widths.max()) <= self._max_tokens or len(waiting) == 1):
            return waiting
        near = choose_similar(self.lengths[sample], self._limit)
        if widths is not None:
            near = near[: fitting(widths[near], self._max_tokens)]
        return waiting[near]

    def _fits(self, head: int, tail: int, end: int) -> int:
        """Where a call ends that begins at `head` and may go up to `tail`, by its tokens and by what is left of the work up to `end`."""
        assert self._widths is not None
        order = self._order
        widths = self._widths[self.table.sample[head:tail] if order is None else self.table.sample[order[head:tail]]]
        count = fitting(widths, self._max_tokens) if self._max_tokens else len(widths)
        if self._work is not None and order is not None:
            width = int(widths[0])
            remaining = int(self._work[end - 1]) - int(self._work[head]) + width
            count = min(count, fair_share(remaining, width, self._sharers, self.policy))
        return head + count

    def _step_single(self, now: int) -> Rows | int | None:
        """Closed loop with one sample a query: `_step_closed` in one piece, for this is the loop that costs most per query."""
        head = self.head
        if self.open_rows:
            return now + IDLE_NS
        if head >= self._no_end_before and self._may_end():
            return None
        if head >= self.rows:
            return self._exhausted(now)
        self._due[head] = self._taken[head] = self.last_issue = now
        self._batch[head] = head
        self.open_rows = 1
        self.head = self.query_end = tail = head + 1
        return slice(head, tail)

    def _step_closed(self, now: int) -> Rows | int | None:
        """Closed loop: the rest of the current query; when all of it is complete, the next query, which is due now."""
        head = self.head
        if head >= self.query_end:
            if self.open_rows:
                return now + IDLE_NS
            if head and self._may_end():
                return None
            if head >= self.rows:
                return self._exhausted(now)
            self._issue(head, now)
        tail = head + self._limit
        if tail > self.query_end:
            tail = self.query_end
        if self._widths is not None:
            tail = self._fits(head, tail, self.query_end)
        self.head = tail
        return self._hand_out(head, tail, now)

    def _issue(self, head: int, now: int) -> None:
        """The next query of a closed loop is asked: its rows are due now."""
        self.query_end = head + self._size
        self.open_rows = self._size
        self.last_issue = now
        self.table.due[head : self.query_end] = now

    def _may_end(self) -> bool:
        """LoadGen's natural end: minimum queries issued, and the last of them not before the minimum duration; or a maximum reached."""
        issued, limits = self.head // self._size, self.limits
        natural = issued >= limits.min_queries and self.last_issue >= limits.min_duration_ns
        return natural or 0 < limits.max_queries <= issued or 0 < limits.max_duration_ns < self.last_issue

    def _better_later(self, waiting: Rows, end: int, now: int) -> int:
        """With `--batch-wait`: when to look again, 0 if the call is full or the oldest row has waited long enough. `end`: the first row
        not due."""
        sample = self.table.sample[waiting]
        width = int(self._widths[sample].max()) if self._widths is not None else 0
        if len(sample) >= (self.policy.most_rows(width) if self._max_tokens else self._limit):
            return 0
        ready = self._due[self.head] + self._wait
        full = end if self._max_tokens else self.head + self._limit - 1  # by tokens any row may be one too many
        if full < self.rows:
            ready = min(ready, self._due[full])
        return ready if ready > now else 0

    def _cut_overflow(self, now: int) -> None:
        """LoadGen's server_max_async_queries: the query at whose issue more than that many are unanswered, itself among them, is the
        last one."""
        first, tail = self._checked, bisect_right(self._due, now, self._checked, self.rows)
        if tail == first:
            return
        due, done = self.table.due[first:tail], self.table.done
        while self._answered < first and 0 <= done[self._answered] <= due[0]:
            self._answered += 1
        answered = done[self._answered : tail]
        answered = np.sort(answered[answered >= 0])
        outstanding = np.arange(first + 1, tail + 1) - self._answered - np.searchsorted(answered, due, side="right")
        over = np.flatnonzero(outstanding > self._max_async)
        self._checked = tail
        if len(over):
            self.final = True
            self._shorten(first + int(over[0]) + 1)

    def _shorten(self, rows: int) -> None:
        """Rows from there on are no longer asked. A schedule is served on as it was begun, even if all that is left was due at once."""
        self.table.rows = self.rows = rows
        if self._order is not None:  # all due at once: cut before anything was handed out
            self._bind()

    def _skip_taken(self) -> int:
        head, rows, taken = self.head, self.rows, self._taken
        while head < rows and taken[head] >= 0:
            head += 1
        self.head = head
        return head

    def _hand_out(self, head: int, tail: int, now: int) -> Rows:
        """Rows [head, tail) of the serving order are taken now, as one batch."""
        if self._order is not None:
            rows = self._order[head:tail]
            self._mark(rows, now)
            return rows
        if tail - head == 1:
            self._taken[head] = now
            self._batch[head] = self.batches
            self.batches += 1
            return slice(head, tail)
        self._mark(slice(head, tail), now)
        return slice(head, tail)

    def _mark(self, rows: Rows, now: int) -> None:
        self.table.taken[rows] = now
        self.table.batch[rows] = self.batches
        self.batches += 1

    def _exhausted(self, now: int) -> Rows | int | None:
        """Every row has been handed out: ask for more, or end."""
        if self.final or self.feed is None:
            return None
        more = self.feed(self.columns(now))
        if more is None:
            self.final = True
            return None
        self.append(more)
        return now  # look again at a fresh clock: in a closed loop the time this took is nobody's latency

    # ---------------------------------------------------------------------------------------------------------------- the other side

    def append(self, more: Traffic) -> None:
        """Further rows of the same sequence; in an open loop only when all before them have been handed out."""
        self.segment = self.rows
        self.table.append(more)
        self._bind()

    def stop(self) -> None:
        """End the run: `take` hands out nothing more. Safe from any thread."""
        self.stopped = True

    def handed_out(self) -> int:
        """Rows before which all that were handed out lie."""
        if self.closed:
            return self.query_end
        return self.rows if self._order is not None else self.head

    def sync(self) -> None:
        """See what other processes have done; in one process there is nothing to do."""

    def columns(self, end_ns: int) -> Columns:
        """The rows that were asked by `end_ns`, with the state each has reached by now. Rows of a closed loop that were never issued
        and rows of a schedule that were not yet due are no rows of the run."""
        table = self.table
        asked = self.query_end if self.closed else bisect_right(self._due, end_ns, 0, self.rows)
        if not self.closed:
            asked = max(asked, self.head)
        return table.columns(asked, end_ns)
