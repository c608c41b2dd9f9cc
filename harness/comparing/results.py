"""What a comparison found: every stretch that was measured, the figures of each block, and the ratios to the reference. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from harness import compare
from harness.compare import Outcome, Ratio
from harness.core import Accuracy, Int64
from harness.paired import Outcomes
from harness.stats import percentile, percentile_floor

SCHEMA = 2
"""Version of comparison.json. 1: first, with the latency of every query. 2: percentiles of each visit, the rest in visits.parquet;
figures of each block; place, model, conditions and workers of each candidate."""

SEED = 20_241_205
"""Of the bootstrap. Any constant: the same blocks give the same interval."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity that candidates are compared by. `share`: the percentile of query latency it is; None: samples a second."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    share: float | None = None


THROUGHPUT = Figure("samples_per_second", "samples/s", "higher")
LATENCIES = (Figure("p50", "ns", "lower", 0.50), Figure("p90", "ns", "lower", 0.90), Figure("p99", "ns", "lower", 0.99))


def figures_of(*, closed_loop: bool, paced: bool) -> tuple[Figure, ...]:
    """What is compared, by scenario, the first being what decides: throughput where all is asked at once, the tail where queries come at a
    rate of their own, p90 (LoadGen's percentile) where each waits for the one before."""
    p50, p90, p99 = LATENCIES
    if paced:
        return (p99, p50, THROUGHPUT)
    return (p90, p50, p99, THROUGHPUT) if closed_loop else (THROUGHPUT, p50, p99)


@dataclass(frozen=True, slots=True)
class Visit:
    """One stretch of one candidate in one block. `latency_ns`: of each query, (queries,), of each sample where all is asked at once;
    `tokens`: real ones."""

    block: int
    candidate: int
    seconds: float
    samples: int
    tokens: int
    latency_ns: Int64


@dataclass(frozen=True, slots=True)
class Candidate:
    """One system that took part. `backend`: what it says it is; `problem`: why it has no figures, or no right to them.

    settings    every resolved one, as JSON values
    policy      how it made batches
    accuracy    None where it was not checked
    outcomes    of each example that was scored; not stored
    model       name, sha256, parameters, bytes; None where there is none
    conditions  Python, libraries, commit and environment variables it ran with
    workers     how many, their threads and mode, and what a search for them found
    place       interpreter and project, where they were given
    """

    name: str
    settings: Mapping[str, Any]
    backend: Mapping[str, Any]
    policy: Mapping[str, Any]
    accuracy: Accuracy | None = None
    padding_share: float | None = None
    problem: str = ""
    outcomes: Outcomes | None = None
    model: Mapping[str, Any] | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    workers: Mapping[str, Any] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether its speed is a result: it ended, and its answers are good enough."""
        return not self.problem and (self.accuracy is None or self.accuracy.passed is not False)


@dataclass(frozen=True, slots=True)
class Cell:
    """One candidate by one figure. `median` over blocks; `ratio` to the reference, None for the reference itself; `certain` is False for a
    percentile of too few queries a block."""

    median: float
    ratio: Ratio | None
    word: Outcome | None
    certain: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything of one comparison. `floor`: what this machine makes of a comparison of a system with itself (0: not known);
    `interrupted`: what there is of it, from which nobody is recommended; `alternated`: why whole processes alternated, empty where all
    candidates were loaded at once."""

    candidates: tuple[Candidate, ...]
    reference: int
    figures: tuple[Figure, ...]
    visits: tuple[Visit, ...]
    floor: float = 0.0
    interrupted: bool = False
    alternated: str = ""

    @property
    def blocks(self) -> int:
        """Complete ones: every candidate that has no problem was visited twice in each."""
        going = [number for number, each in enumerate(self.candidates) if not each.problem]
        return min((len(self._visits(number)) // 2 for number in going), default=0)

    def _visits(self, candidate: int) -> list[Visit]:
        return [visit for visit in self.visits if visit.candidate == candidate]

    def values(self, candidate: int, figure: Figure) -> list[float]:
        """The figure in each complete block, from both visits together."""
        visits = self._visits(candidate)[: 2 * self.blocks]
        return [_value(figure, visits[block : block + 2]) for block in range(0, len(visits), 2)]

    def cell(self, candidate: int, figure: Figure) -> Cell | None:
        """None where the candidate or the reference dropped out. One whose answers were refused afterwards has its figures, and does not
        count."""
        if self.blocks < 2 or min(len(self._visits(candidate)), len(self._visits(self.reference))) < 2 * self.blocks:
            return None
        mine, visits = self.values(candidate, figure), self._visits(candidate)
        queries = min(len(first.latency_ns) + len(second.latency_ns) for first, second in list(pairwise(visits))[::2])
        certain = figure.share is None or queries >= percentile_floor(figure.share)
        if candidate == self.reference:
            return Cell(float(np.median(mine)), None, None, certain)
        found = compare.ratio(mine, self.values(self.reference, figure), SEED)
        return Cell(float(np.median(mine)), found, compare.judge(found, better=figure.better, floor=self.floor), certain)

    def ratios(self) -> list[Ratio]:
        """Of the deciding figure, of every candidate that has one."""
        cells = [self.cell(number, self.figures[0]) for number in range(len(self.candidates))]
        return [cell.ratio for cell in cells if cell is not None and cell.ratio is not None]

    def best(self) -> tuple[int, tuple[int, ...]] | None:
        """The candidate that is best by the deciding figure among those whose result counts, and those that cannot be told from it."""
        figure = self.figures[0]
        counting = [number for number, each in enumerate(self.candidates) if each.counts]
        if not counting or self.blocks < 2 or self.interrupted:
            return None
        sign = 1 if figure.better == "higher" else -1
        means = {number: sign * float(np.log(self.values(number, figure)).mean()) for number in counting}
        first = max(means, key=lambda number: means[number])
        alike = tuple(number for number in counting if number != first and self._alike(first, number))
        return first, alike

    def _alike(self, first: int, other: int) -> bool:
        figure = self.figures[0]
        found = compare.ratio(self.values(first, figure), self.values(other, figure), SEED)
        return compare.judge(found, better=figure.better, floor=self.floor) != "faster"

    def total_seconds(self) -> float:
        return sum(visit.seconds for visit in self.visits)


def _value(figure: Figure, visits: Sequence[Visit]) -> float:
    if figure.share is None:
        return sum(visit.samples for visit in visits) / sum(visit.seconds for visit in visits)
    return float(percentile(np.concatenate([visit.latency_ns for visit in visits]), figure.share))
