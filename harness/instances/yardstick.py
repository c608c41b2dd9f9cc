"""What a loaded crew gives in a scenario, measured in about half a second: the turn of a candidate in the search for instances.

offline         samples a second of sorted batches, all workers at once
server          the highest rate that meets the bound, by simulated time, with service times measured on all workers at once
closed loops    queries a second at the latency that is judged: the percentile of one query after another
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import probe
from harness.batching import Policy, padded_lengths
from harness.core import Int64, IntArray, Samples, Scenario, Settings
from harness.crew import Crew, patience
from harness.errors import BackendError
from harness.measure import Watch, measure
from harness.progress import Silent
from harness.responses import Keep
from harness.stats import percentile
from harness.tournament_words import Unit
from harness.validity import query_latency_ns

TURN_S = 0.5
"""Aim for one turn of the first candidate."""

LONG_TURN_S, MOST_TURN_S = 1.5, 3.0
"""Batches are made smaller where a turn of full ones would take longer than the first; a turn ends with the call during which the second is
reached (a candidate that is far slower than the first, or a machine that others use)."""

FEWEST_QUERIES, MOST_QUERIES, MOST_PERCENTILE = 10, 5000, 0.9
"""Queries of a turn in a closed loop, and the percentile that so few of them can carry: p90 of ten is the slowest."""

SERVER_TURN_S, PAUSE_S, SIMULATED = 2.0, 0.005, 20_000
"""Most time for the batches of a turn in server, the rest before each single sample, and the most queries of a simulated run."""

QUANTILES = (0.5, 0.9, 0.1)
"""Lengths, as quantiles of the data, of the batches that are timed."""

SEED = 20_241_122
"""Of simulated noise and of the answers kept. Any constant would do."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run asks of its workers. `hang_s`: how long a call may take before it counts as hanging."""

    scenario: Scenario
    settings: Settings
    samples: Samples
    policy: Policy
    hang_s: float = 60.0

    @property
    def query_samples(self) -> int:
        """Samples of a query, where one is open at a time (closed loops)."""
        query = self.scenario.traffic(self.settings, len(self.samples)).query
        return int(np.count_nonzero(query == query[0]))

    @property
    def most_workers(self) -> int | None:
        """Workers that can be busy at once; None: all. In a closed loop one query is open at a time."""
        return self.query_samples if self.scenario.closed_loop else None

    @property
    def percentile(self) -> float:
        """Of the latency in closed loops: the judged one, but none that rests on the last few queries of a short turn."""
        return min(self.settings.percentile, MOST_PERCENTILE)

    @property
    def unit(self) -> Unit:
        return "ns" if self.scenario.closed_loop else "queries/s" if self.scenario.paced else "samples/s"

    @property
    def measure(self) -> str:
        """What is measured, in words."""
        if self.scenario.closed_loop:
            return f"p{100 * self.percentile:g} latency"
        return "rate within the latency bound" if self.scenario.paced else "throughput"


@dataclass(frozen=True, slots=True)
class Turn:
    """The same work for every candidate. `batches`: sample indices of calls, of each shape one at least; `repeats`: how often a lone
    worker does them all in a turn; `queries` of a turn in a closed loop."""

    batches: tuple[IntArray, ...]
    repeats: int = 1
    queries: int = 0


def plan_turn(work: Work, crew: Crew) -> Turn:
    """The work of a turn, sized on a crew that is loaded and has not run anything yet."""
    largest = min(work.policy.max_batch, work.query_samples) if work.scenario.closed_loop else work.policy.max_batch
    _seconds(work, crew, [_neighbours(work, 0.5, 1), _neighbours(work, 0.5, largest)])  # cold
    if work.scenario.closed_loop:
        batches = tuple(_neighbours(work, quantile, largest) for quantile in QUANTILES)
        query_s = _seconds(work, crew, batches) / len(batches)
        return Turn(batches, queries=int(min(max(TURN_S / max(query_s, 1e-9), FEWEST_QUERIES), MOST_QUERIES)))
    if work.scenario.paced:
        return Turn(tuple(_server_batches(work)))
    alone_s = _seconds(work, crew, [_neighbours(work, 0.5, 1)] * 3) / 3
    rows = max(1, min(largest, int(LONG_TURN_S / (len(QUANTILES) * max(alone_s, 1e-9)))))
    batches = tuple(_neighbours(work, quantile, rows) for quantile in QUANTILES)
    return Turn(batches, repeats=max(1, round(TURN_S / max(_seconds(work, crew, batches), 1e-4))))


def rate(work: Work, crew: Crew, turn: Turn) -> float:
    """One turn: more is better, 0 where no rate meets the bound. Raises what the workers raise."""
    if work.scenario.closed_loop:
        return _closed_loop_rate(work, crew, turn)
    if work.scenario.paced:
        return _server_rate(work, crew, turn)
    batches = turn.batches * max(1, turn.repeats // crew.size)
    done = np.cumsum([len(batch) for batch in batches])
    return float(sum(done[len(times) - 1] * 1e9 / max(sum(times), 1) for times in _times(work, crew, batches, MOST_TURN_S)))


def _closed_loop_rate(work: Work, crew: Crew, turn: Turn) -> float:
    """By the run's own ledger, which may share a query among workers."""
    brief = replace(
        work.settings, min_duration_ns=0, max_duration_ns=round(MOST_TURN_S * 1e9), min_queries=turn.queries, max_queries=turn.queries
    )
    watch = Watch(phase="workers", progress=Silent(), planned_s=0.0, hang_timeout_s=work.hang_s)
    traffic = work.scenario.traffic(brief, len(work.samples))
    served = measure(crew, None, brief, traffic, work.policy, watch, Keep(SEED))
    if served.interrupted:
        raise KeyboardInterrupt
    if served.reasons:
        raise BackendError(served.reasons[0].text, served.reasons[0].cure)
    return 1e9 / max(percentile(np.sort(query_latency_ns(served.columns)), work.percentile), 1)


def _server_rate(work: Work, crew: Crew, turn: Turn) -> float:
    times = _times(work, crew, turn.batches, SERVER_TURN_S, PAUSE_S)
    count = min(map(len, times))
    rows = np.array([len(batch) for batch in turn.batches[:count]])
    widths = np.array([_width(work, batch) for batch in turn.batches[:count]])
    model = probe.fit(rows, widths, np.array([each[:count] for each in times], np.float64))
    found = probe.highest_rate(work.scenario, work.settings, model, work.samples, work.policy, crew.size, SEED, SIMULATED)
    return found or 0.0


def _times(work: Work, crew: Crew, batches: Sequence[IntArray], budget_s: float = math.inf, pause_s: float = 0.0) -> list[list[int]]:
    """ns of each call, by worker; all workers do the same at the same time."""
    found: list[list[int]] = crew.call("time_batches", batches, budget_s, pause_s, tick=patience(len(batches) * work.hang_s))
    return found


def _seconds(work: Work, crew: Crew, batches: Sequence[IntArray]) -> float:
    """Of the slowest worker."""
    return max(sum(times) for times in _times(work, crew, batches)) / 1e9


def _server_batches(work: Work) -> list[Int64]:
    """Cheapest first, since time may run out: single samples, then small, middling and full batches of three lengths."""
    sizes = sorted({1, max(1, work.policy.max_batch // 8), max(1, work.policy.max_batch // 2), work.policy.max_batch})
    singles = [_neighbours(work, quantile, 1) for quantile in np.linspace(0.05, 0.95, 7)]
    return singles + [_neighbours(work, quantile, size) for size in sizes for quantile in sorted(QUANTILES)]


def _neighbours(work: Work, quantile: float, rows: int) -> Int64:
    """Samples of similar length around a quantile of the lengths: (rows,), fewer where the token budget holds no more."""
    by_length = np.argsort(work.samples.lengths, kind="stable").astype(np.int64)
    end = max(min(rows, len(by_length)), round(quantile * len(by_length)))
    rows = min(rows, work.policy.most_rows(_width(work, by_length[end - 1 : end])))
    return np.resize(by_length[max(0, end - rows) : end], rows)


def _width(work: Work, batch: IntArray) -> int:
    return int(padded_lengths(work.samples.lengths[batch].max(keepdims=True), work.policy, work.samples.max_length)[0])
