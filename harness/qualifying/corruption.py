"""Silent corruption: a machine that computes something else than before and does not say so.

A crew answers known inputs (`known_answers`) for as long as wanted, and what it holds of the weights is hashed in between. Used by the
checks of answers and by the soak: it is load and examination in one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

from harness import bench as benches
from harness import conditions
from harness.bench import Bench
from harness.crew import Crew, patience
from harness.errors import BackendError, MissingError
from harness.instances.auto import form_crew
from harness.progress import Silent
from harness.qualifying import known_answers
from harness.qualifying.check import Context
from harness.qualifying.known_answers import First, Inputs, Mismatch, Repeated
from harness.session import LOAD_PATIENCE

SLICE_S = 5.0
"""Weights are hashed this often: so well is it known when one changed."""

TOLERANCES = {"float32": 1e-4, "tfloat32": 1e-2, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 5e-2}
"""Of a backend that says it is not deterministic, as a share of the largest answer: some ten rounding steps of the type it multiplies
in."""
WIDEST = 5e-2
"""For a type that is not listed."""

RULE_OF_THREE = 3.0
"""None in n: fewer than 3 in n, with 95 % confidence (Hanley and Lippman-Hand, JAMA 249, 1983)."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Tensors that a worker held otherwise at `to_utc` than at `from_utc`."""

    worker: int
    tensors: tuple[str, ...]
    from_utc: str
    to_utc: str


@dataclass(slots=True)
class Tally:
    """All that was asked so far."""

    calls: int = 0
    answers: int = 0
    wrong: int = 0
    seconds: float = 0.0
    hashed: int = 0
    full_rows: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best: dict[int, float] = field(default_factory=dict)
    stretches: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, found: Sequence[Repeated], seconds: float) -> None:
        """A slice of all workers. `rates`: rows a second in the full batches, a value for each cycle of each worker; `best`: the highest of
        each worker; `stretches`: of each slice the median rate of every worker."""
        self.seconds += seconds
        for each in found:
            self.calls, self.answers, self.wrong = self.calls + each.calls, self.answers + each.answers, self.wrong + each.wrong
            room = max(0, known_answers.MOST_TOLD - len(self.mismatches))
            self.mismatches += each.mismatches[:room]
            rates = [each.full_rows / spent for spent in each.full_s if spent > 0]
            self.rates += rates
            self.best[each.worker] = max([self.best.get(each.worker, 0.0), *rates])
        medians = [median(each.full_rows / spent for spent in each.full_s if spent > 0) for each in found if any(each.full_s)]
        if len(medians) == len(found) and min(medians) > 0:
            self.stretches.append(tuple(medians))


class Examination:
    """A loaded crew with its first answers."""

    def __init__(self, crew: Crew, bench: Bench, described: Mapping[str, Any], loaded_s: float) -> None:
        self._crew, self._bench, self.described, self.loaded_s = crew, bench, described, loaded_s
        self.tolerance = tolerance_of(described)
        self.tally = Tally()
        self.inputs: Inputs = known_answers.inputs(bench.task.samples, bench.policy)
        self.first: list[First] = self._call(known_answers.first, self.inputs)
        self.refused = _refused(self.first, self.inputs)
        exact = self.tolerance == 0  # the answers of a backend that is not deterministic have no digest to be known again by
        self.digests = tuple(known_answers.digest(each) for each in self.first) if exact else ()
        self._weights: list[Mapping[str, str] | None] = self._call(known_answers.weights)
        self._hashed_at = _now()

    @property
    def hashes_weights(self) -> bool:
        return all(each is not None for each in self._weights)

    @property
    def alike(self) -> bool:
        """Whether all workers have equally many cores."""
        return len({len(each.cores) for each in self.first}) == 1

    @property
    def places(self) -> list[str]:
        """Each worker and what it computes on, in words."""
        return [known_answers.place(worker, each.cores, each.device) for worker, each in enumerate(self.first)]

    @property
    def agree(self) -> bool | None:
        """Whether workers with equally many cores gave equal first answers; None where there is one worker, or they are unequal."""
        if len(self.first) < 2 or not self.alike:
            return None
        return all(known_answers.same(each, self.first[0]) for each in self.first[1:])

    def repeat(self, seconds: float) -> Tally:
        """Ask known inputs for about so long; everything so far. Raises BackendError where a worker fails or dies."""
        start = time.monotonic()
        found = self._call(known_answers.repeat, self.inputs, self.first, seconds, self.tolerance, wait_s=seconds)
        self.tally.add(found, time.monotonic() - start)
        self._hold_weights(found)
        return self.tally

    def _hold_weights(self, found: Sequence[Repeated]) -> None:
        now = _now()
        for worker, each in enumerate(found):
            before = self._weights[worker]
            if before is None or each.weights is None:
                continue
            self.tally.hashed += 1
            names = tuple(sorted(name for name in before.keys() | each.weights.keys() if before.get(name) != each.weights.get(name)))
            if names:
                self.tally.changed.append(Changed(each.worker, names, self._hashed_at, now))
                self._weights[worker] = each.weights
        self._hashed_at = now

    def _call(self, work: Any, *args: Any, wait_s: float = 0.0) -> list[Any]:
        return self._crew.call("perform", work, *args, tick=patience(wait_s + 2 * self._bench.config.hang_timeout))

    def close(self) -> None:
        self._crew.close()


@contextmanager
def opened(context: Context) -> Iterator[Examination]:
    """Workers as a run has them, loaded, with their first answers. Raises MissingError for a backend that is no model, and what loading
    raises."""
    kept = context.keep.get("bench") or benches.prepare(context.config, Silent())
    bench: Bench = replace(kept, timings={}, warnings=[], progress=context.progress)
    if bench.model is None:
        raise MissingError(f"{context.backend} is no model: it has no answers", "give a backend with a model (--backend)")
    patience_s = LOAD_PATIENCE * bench.config.hang_timeout
    benches.make_ready(bench, context.backend)
    crew = form_crew(bench, conditions.collect(), patience_s)
    try:
        start = time.monotonic()
        described = crew.call("load", tick=patience(patience_s))[0]
        yield Examination(crew, bench, described, time.monotonic() - start)
    finally:
        crew.close()


def tolerance_of(described: Mapping[str, Any]) -> float:
    """0, bit for bit, unless the backend says that it is not deterministic (`deterministic`: false in `describe`)."""
    if described.get("deterministic", True):
        return 0.0
    return TOLERANCES.get(str(described.get("matmul_dtype")), WIDEST)


def _refused(first: Sequence[First], asked: Inputs) -> dict[int, str]:
    """Batches that some worker does not answer. Raises BackendError where those are all, or the large ones."""
    refused = {number: reason for each in first for number, reason in each.refused.items()}
    if large := [reason for number, reason in refused.items() if number < len(asked.full)]:
        raise BackendError(f"known inputs are not answered: {large[0]}", "run it alone with `assay run` to see more")
    return refused


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
