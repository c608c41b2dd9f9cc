"""Answers of a run: checked all, kept where they are needed.

Every answer is checked, for a broken one must count as an error. Kept are the first answer to each sample (the score of the run comes
from them) and a seeded, thinning selection of the others (they must agree with an accuracy pass): row i beyond the first KEEP_ALL is kept
with probability KEEP_ALL / i, so memory grows with the logarithm of the run's length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import AccuracyLog, Answer, Batch, Int64, IntArray, Output
from harness.mlperf.accuracy_log import selected

KEEP_ALL = 1024


@dataclass(frozen=True, slots=True)
class Keep:
    """Which answers a run keeps; picklable.

    seed      chooses among those beyond the first to each sample
    every     all of them: an accuracy run, whose log holds every answer
    log       those that LoadGen's accuracy log would hold, too; `expected` and `first` as in `accuracy_log.selected`
    """

    seed: int
    every: bool = False
    log: AccuracyLog | None = None
    expected: int = 1
    first: int = 0

    def logged(self, rows: int) -> NDArray[np.bool_]:
        """Rows whose answers go to the accuracy log: (rows,)."""
        if self.every:
            return np.ones(rows, np.bool_)
        if self.log is None:
            return np.zeros(rows, np.bool_)
        return selected(self.log, self.expected, rows, self.first)


def wanted_rows(samples: IntArray, sample_count: int, keep: Keep) -> NDArray[np.bool_]:
    """Which rows' answers to keep. `samples`: (rows,) sample of each row. Same arguments, same selection, in every process."""
    rows = len(samples)
    if keep.every:
        return np.ones(rows, np.bool_)
    first = np.full(sample_count, -1, np.int64)
    first[samples[::-1]] = np.arange(rows - 1, -1, -1)
    chance = KEEP_ALL / np.maximum(np.arange(rows), 1)
    wanted = np.random.default_rng(keep.seed).random(rows) < chance
    wanted[first[first >= 0]] = True
    return np.asarray(wanted | keep.logged(rows))


def fault(outputs: Mapping[str, NDArray[Any]], expected: Sequence[Output], batch: Batch) -> str | None:
    """What is wrong with the outputs of a batch, in words; None if nothing is."""
    rows, width = batch.input_ids.shape
    for output in expected:
        array = outputs.get(output.name)
        if array is None:
            return f"no output named {output.name!r}; got {', '.join(sorted(outputs)) or 'nothing'}"
        shape = (rows, width if output.per_token else output.width)
        if getattr(array, "shape", None) != shape:
            return f"{output.name} has shape {getattr(array, 'shape', type(array).__name__)}, expected {shape}"
        if not np.isfinite(array).all():
            bad = "NaN" if np.isnan(array).any() else "Inf"
            return f"{output.name} holds {bad}"
    return None


class Responses:
    """Answers that one worker keeps. `per_token`: names of outputs to be cut to each sample's real length."""

    def __init__(self, expected: Sequence[Output], sample_count: int, keep: Keep) -> None:
        self._expected = expected
        self._sample_count = sample_count
        self._keep = keep
        self._wanted: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._kept: dict[int, Answer] = {}

    def keep(self, rows: Int64, batch: Batch, outputs: Mapping[str, NDArray[Any]], all_samples: IntArray) -> str | None:
        """Keep what is wanted of a batch; returns what is wrong with it instead if it is no answer. `all_samples`: the sample column."""
        wrong = fault(outputs, self._expected, batch)
        if wrong is not None:
            return wrong
        if int(rows.max()) >= len(self._wanted):
            self._wanted = wanted_rows(all_samples, self._sample_count, self._keep)
        for place in np.flatnonzero(self._wanted[rows]).tolist():
            self._kept[int(rows[place])] = self._cut(outputs, place, int(batch.lengths[place]))
        return None

    def _cut(self, outputs: Mapping[str, NDArray[Any]], place: int, length: int) -> Answer:
        return {
            output.name: np.array(outputs[output.name][place, : length if output.per_token else None], np.float32)
            for output in self._expected
        }

    def by_row(self) -> dict[int, Answer]:
        """The kept answers, by row of the ledger."""
        return self._kept
