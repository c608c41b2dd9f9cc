"""A task that breaks every rule of the contract: what tests/contract/test_tasks.py must catch.

It asks the built-in sentences of sst2, and is wrong in each thing that one check of the suite looks at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import glue
from harness.classification import ClassificationTask
from harness.core import Answer, Int64, TaskOptions
from tasks import sst2

HEAD = "question-answering"  # and its outputs are those of a classifier
BUILT_IN = sst2.BUILT_IN
KIND = sst2.KIND
DATASET = replace(sst2.DATASET, title="Wrong dev", rows=871)


def create(options: TaskOptions) -> WrongTask:
    made = glue.create(KIND, DATASET, BUILT_IN, replace(options, labels=()))  # the model's label names are passed over
    samples = replace(
        made.samples,
        input_ids=np.where(made.samples.input_ids == 2, 5, made.samples.input_ids).astype(np.int64),  # no [CLS], and another type
    )
    return WrongTask(
        KIND,
        made.dataset,
        (0, 1),
        samples,
        fingerprint="0" * 64,
        data_name="SST-2 dev",
        comparable=True,
        latency_bound_ns=0,
        cache_note="",
    )


class WrongTask(ClassificationTask):
    """Looks like a task."""

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """50, whatever the answers are; it looks at none of them."""
        return {"accuracy": 50.0, "examples": float(len(answers) + 1)}

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """In the order of the answers, not of the examples."""
        return np.array([100.0 * (number % 2) for number in answers])

    def correct(self, answers: Mapping[int, Answer]) -> NDArray[np.bool_]:
        """One too many."""
        return np.ones(len(answers) + 1, np.bool_)

    def decide(self, sample: int, answer: Answer) -> Any:
        """Never the same twice."""
        return time.perf_counter_ns()

    def subset(self, count: int, seed: int) -> Int64:
        """Forgets its seed."""
        return np.random.default_rng().permutation(len(self.samples))[:count]
