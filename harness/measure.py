"""One ledger, served by a crew, under watch: progress, the end of the run, and everything that can go wrong on the way."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

import numpy as np

from harness.batching import WINDOW, Policy
from harness.core import SECOND_NS, Answer, Columns, Reason, Scenario, Settings, Status, Traffic
from harness.crew import Crew, Died, Hung
from harness.ledger import Ledger
from harness.progress import Progress, Snapshot
from harness.responses import Keep
from harness.stats import percentile
from harness.worker import Report

ERROR_GRACE_S = 2.0
"""A run with an error is INVALID whatever follows; it goes on this long, to show whether the error is a rule or an exception."""

RECENT = 10_000
"""Rows that the running percentile looks at."""

SHARED_ROWS = 1 << 26
"""Room of a ledger shared by processes. Sparse: rows never used cost nothing."""


@dataclass(slots=True)
class Measured:
    """A served ledger. `answers`: kept answers by row; `reasons`: why the run is INVALID whatever the scenario says; `begun_ns`: Unix
    time of its start; `start_ns`: the same on the monotonic clock."""

    columns: Columns
    answers: dict[int, Answer] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0
    begun_ns: int = 0
    start_ns: int = 0


@dataclass(slots=True)
class Interrupts:
    """Ctrl-C: the first is noted, the second falls through."""

    seen: bool = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def noted_interrupts() -> Iterator[Interrupts]:
    """Inside, one Ctrl-C or SIGTERM (time limits, service managers) is noted instead of ending the process."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the watcher is told. `percentile` 0: no latency to show (Offline, accuracy pass). `rows`: where the run ends with its rows, how
    many there are; the time left then follows from the rate."""

    phase: str
    progress: Progress
    planned_s: float
    hang_timeout_s: float
    stop_on_error: bool = True
    percentile: float = 0.0
    bound_ns: int = 0
    give_up_ns: int = 0
    rows: int = 0


def measure(
    crew: Crew, scenario: Scenario | None, settings: Settings, traffic: Traffic, policy: Policy, watch: Watch, keep: Keep
) -> Measured:
    """Have `crew` serve `traffic`. `scenario` None: no more than what is in `traffic`. Never raises for what workers do: it tells."""

    def feed(columns: Columns) -> Traffic | None:
        wanted = scenario.wants_more(columns, settings) if scenario is not None else 0
        return traffic.more(wanted) if wanted and traffic.more is not None else None

    ledger = crew.ledger(traffic, policy, feed, SHARED_ROWS)
    with noted_interrupts() as interrupts:
        watcher = Watcher(ledger, watch, interrupts)
        started = time.monotonic_ns()
        results = crew.serve(ledger, keep, watcher.tick)
        ended = time.monotonic_ns()
    return conclude(ledger, results, watcher, started, ended)


def conclude(ledger: Ledger, results: Sequence[Report | Died | Hung], watcher: Watcher, started: int, ended: int) -> Measured:
    """A served ledger and all that speaks against it. `started`, `ended`: monotonic ns around the serving."""
    start = ledger.start or started
    columns = ledger.columns(ended - start)
    begun_ns = time.time_ns() - (time.monotonic_ns() - start)
    interrupted = watcher.interrupts.seen
    measured = Measured(columns, interrupted=interrupted, seconds=(ended - started) / 1e9, begun_ns=begun_ns, start_ns=start)
    for result in results:
        if isinstance(result, Report):
            measured.answers |= result.answers
    measured.reasons = watcher.reasons + _reasons(columns, results)
    if interrupted:
        measured.reasons.insert(0, Reason("interrupted", "interrupted by Ctrl-C; what was measured until then is kept", "run it again"))
    return measured


class Watcher:
    """Looks at the ledger now and then, draws progress, and ends a run that cannot become valid any more."""

    def __init__(self, ledger: Ledger, watch: Watch, interrupts: Interrupts) -> None:
        self.ledger = ledger
        self.watch = watch
        self.interrupts = interrupts
        self.reasons: list[Reason] = []
        self._done = 0
        self._moved = time.monotonic()
        self._first_error: float | None = None
        self._next_look = 0.0

    def tick(self) -> bool:
        """False: give up waiting."""
        now = time.monotonic()
        if self.interrupts.seen:
            self.ledger.stop()
        if now < self._next_look or not self.ledger.start:
            return True
        self._next_look = now + 0.4
        return self._look(now)

    def _look(self, now: float) -> bool:
        ledger = self.ledger
        ledger.sync()
        asked = self._asked()
        done = int(np.count_nonzero(ledger.table.done[:asked] >= 0))
        outstanding = int(np.count_nonzero(ledger.table.taken[:asked] >= 0)) - done
        if done != self._done or (not outstanding and self._waits_for_traffic()):
            self._done, self._moved = done, now
        elapsed_ns = ledger.clock.now() - ledger.start
        self._draw(asked, done, elapsed_ns)
        self._stop_if_failing(now, asked)
        self._stop_if_hopeless(elapsed_ns)
        return self._still_moving(now)

    def _waits_for_traffic(self) -> bool:
        """The next row is not due yet: nobody has anything to do."""
        ledger = self.ledger
        return not ledger.closed and ledger.head < ledger.rows and ledger.table.due[ledger.head] > ledger.clock.now() - ledger.start

    def _asked(self) -> int:
        """Rows to look at: with `sorted` in Server some behind the first one not handed out may have been."""
        ledger = self.ledger
        return min(ledger.rows, ledger.handed_out() + (0 if ledger.closed else WINDOW * ledger.policy.max_batch))

    def _draw(self, asked: int, done: int, elapsed_ns: int) -> None:
        watch, elapsed_s = self.watch, elapsed_ns / 1e9
        by_rows = elapsed_s * watch.rows / done if watch.rows and done else None
        watch.progress.update(
            Snapshot(
                phase=watch.phase,
                elapsed_s=elapsed_s,
                planned_s=by_rows if watch.rows else watch.planned_s,
                samples_done=done,
                rate=done / max(elapsed_s, 1e-9),
                running_percentile_name=f"p{watch.percentile * 100:g}",
                running_percentile_ns=self._running_percentile(asked),
                bound_ns=watch.bound_ns,
            )
        )

    def _running_percentile(self, asked: int) -> int | None:
        if not self.watch.percentile:
            return None
        recent = slice(max(0, asked - RECENT), asked)
        done = self.ledger.table.done[recent]
        latency = (done - self.ledger.table.due[recent])[done >= 0]
        return percentile(np.sort(latency), self.watch.percentile) if len(latency) else None

    def _stop_if_failing(self, now: float, asked: int) -> None:
        if not self.watch.stop_on_error or (self._first_error is not None and now - self._first_error < ERROR_GRACE_S):
            return
        if self._first_error is not None:
            self.ledger.stop()
        elif (self.ledger.table.status[:asked] == Status.ERROR).any():
            self._first_error = now

    def _stop_if_hopeless(self, elapsed_ns: int) -> None:
        limit = self.watch.give_up_ns
        if limit and elapsed_ns > limit and not self.ledger.stopped:
            self.ledger.stop()
            self.reasons.append(
                Reason(
                    "backlog",
                    f"given up after {elapsed_ns / 1e9:.0f} s with queries unanswered",
                    "the system cannot serve this much in time: lower --target-qps or --min-queries, or raise --max-duration",
                )
            )

    def _still_moving(self, now: float) -> bool:
        if now - self._moved < self.watch.hang_timeout_s:
            return True
        self.ledger.stop()
        self.reasons.append(
            Reason(
                "hung",
                f"no answer for {now - self._moved:.0f} s; the run was given up",
                f"look at what the backend waits for, or raise --hang-timeout above {self.watch.hang_timeout_s:.0f} s",
            )
        )
        return False


def _reasons(columns: Columns, results: Sequence[Report | Died | Hung]) -> list[Reason]:
    """What the rows and the workers say against the run."""
    reasons = [
        Reason(
            "worker_died",
            f"worker {result.worker} was {result.how} during the run",
            "look at memory and the system log; a worker killed by SIGKILL was often out of memory",
        )
        for result in results
        if isinstance(result, Died)
    ]
    errors = int(np.count_nonzero(columns.status == Status.ERROR))
    if errors:
        messages = [message for result in results if isinstance(result, Report) for message in result.messages]
        first = f"; first: {messages[0]}" if messages else ""
        reasons.append(Reason("errors", f"{errors:,} of {len(columns.status):,} samples failed{first}", "repair the backend"))
    unanswered = int(np.count_nonzero((columns.status == Status.LOST) | (columns.status == Status.PENDING)))
    if unanswered:
        seconds = columns.end_ns / SECOND_NS
        served = int(np.count_nonzero(columns.served))
        reasons.append(
            Reason(
                "unanswered",
                f"{unanswered:,} of {len(columns.status):,} samples were asked and never answered",
                f"it answered {served / max(seconds, 1e-9):.3g} samples/s: ask for less, or find what stopped the workers",
            )
        )
    return reasons
