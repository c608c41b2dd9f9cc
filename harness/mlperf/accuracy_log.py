"""Which answers of a performance phase LoadGen writes to its accuracy log. Pure.

Every generated sample of a test draws one value from an engine whose seed is always 5489, in order of sequence ids and through all
phases; each phase adds one offset drawn with `accuracy_log_rng_seed`, modulo 1, and logs what falls at or below the probability.
Source: LoadGen 6.0.17 loadgen.cc and issue_query_controller.cc; specification, section 3.6.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.core import AccuracyLog
from harness.loadgen import Effective
from harness.rng import CHUNK, Engine

_VALUE_SEED = 5489


def expected(effective: Effective) -> int:
    """Samples that LoadGen expects of a performance phase; a sampling target is divided by it."""
    planned = math.trunc(effective.target_qps * effective.min_duration_ms / 1000)
    if effective.scenario == "Offline":
        return max(planned, effective.min_sample_count)
    samples = effective.samples_per_query
    return max(planned * samples, effective.min_query_count * samples)


def probability(log: AccuracyLog, expected: int) -> float:
    """With which an answer is logged: K / `expected` for a target of K, so that the number logged varies around K."""
    return log.target / expected if log.target and expected else log.probability


def selected(log: AccuracyLog, expected: int, rows: int, first: int = 0) -> NDArray[np.bool_]:
    """Samples of a performance phase that are logged, by sequence id: (rows,).

    `expected` is that of the function above, `first` the number of samples that the same StartTest generated in the phases before.
    """
    return Selection(log, expected, first).upto(rows)


class Selection:
    """The same for a phase that grows: what was drawn stays drawn. Nothing is drawn where nothing is asked to be logged (LoadGen would
    log a sample whose value is exactly 0 then, which has a chance of 2^-53)."""

    def __init__(self, log: AccuracyLog, expected: int, first: int = 0) -> None:
        self._probability = probability(log, expected)
        self._offset = float(Engine(log.seed).canonical(1)[0])
        self._engine: Engine | None = None
        self._first = first
        self._known = np.zeros(0, np.bool_)

    def upto(self, rows: int) -> NDArray[np.bool_]:
        """The first `rows` samples of the phase: (rows,)."""
        if self._probability <= 0:
            return np.zeros(rows, np.bool_)
        pieces = [self._known]
        for start in range(len(self._known), rows, CHUNK):
            pieces.append(self._draw(min(CHUNK, rows - start)))
        self._known = np.concatenate(pieces)
        return self._known[:rows].copy()

    def _draw(self, count: int) -> NDArray[np.bool_]:
        values = self._values().canonical(count) + self._offset
        np.subtract(values, 1.0, out=values, where=~(values < 1.0))
        return np.asarray(values <= self._probability)

    def _values(self) -> Engine:
        """The engine of the values, behind those of the phases before."""
        if self._engine is None:
            self._engine = Engine(_VALUE_SEED)
            for start in range(0, self._first, CHUNK):
                self._engine.canonical(min(CHUNK, self._first - start))
        return self._engine
