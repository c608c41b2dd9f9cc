"""The task of a backend that looks at nothing: as many samples as SQuAD v1.1 dev has, all of them empty. Needs no model and no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.core import MS_NS, Answer, Int64, Output, Samples

SAMPLES = 10_833
"""Features of SQuAD v1.1 dev at length 384 and stride 128, the set that MLPerf's BERT benchmark loads."""


class BlankTask:
    """A `Task` with nothing in it."""

    head: Literal["question-answering", "sequence-classification"] = "question-answering"
    metric = "none"
    outputs: Sequence[Output] = ()
    fingerprint = ""
    data_name = "no data"
    comparable = False
    latency_bound_ns = 130 * MS_NS

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = Samples(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(SAMPLES + 1, np.int64), 0, 0)

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        raise NotImplementedError("a backend without answers is never scored")

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        raise NotImplementedError("a backend without answers is never scored")

    def correct(self, answers: Mapping[int, Answer]) -> NDArray[np.bool_]:
        raise NotImplementedError("a backend without answers is never scored")

    def decide(self, sample: int, answer: Answer) -> Any:
        raise NotImplementedError("a backend without answers is never compared")

    def subset(self, count: int, seed: int) -> Int64:
        raise NotImplementedError("a backend without answers has no accuracy pass")
