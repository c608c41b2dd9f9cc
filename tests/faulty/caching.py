"""A classifier that sleeps instead of computing, and may keep its answers: what the caching test must and must not catch.

Given as `--backend tests/faulty/caching.py:VARIANT`. A computed row costs $ASSAY_ROW_MS milliseconds (default 4).
Answers depend on the tokens alone, not on padding.

    sound       computes every row
    cache       computes an input that it has not seen before, remembers the others
    coalesce    computes equal rows of a batch once, remembers nothing
    forgetful   sound, but from $ASSAY_FAULT_AFTER calls (default 40) on it gives the answer to another question
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model

REQUIRES: tuple[str, ...] = ()
PRECISIONS: tuple[str, ...] = ("sound", "cache", "coalesce", "forgetful")


def create(options: BackendOptions) -> Backend:
    return Sleeping(options)


class Sleeping:
    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.variant = options.precision or PRECISIONS[0]
        self.first = int(os.environ.get("ASSAY_FAULT_AFTER", "40"))
        self.row_s = float(os.environ.get("ASSAY_ROW_MS", "4")) / 1000
        self.kept: set[bytes] = set()
        self.calls = 0

    def load(self, model: Model | None) -> None:
        assert model is not None

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        assert batch is not None
        self.calls += 1
        inputs = [row[:length].tobytes() for row, length in zip(batch.input_ids, batch.lengths.tolist(), strict=True)]
        time.sleep(self.row_s * self._computed(inputs))
        late = self.variant == "forgetful" and self.calls > self.first
        return {"logits": np.array([_logits(each + b"?" * late) for each in inputs], np.float32)}

    def _computed(self, inputs: list[bytes]) -> int:
        """Rows that cost time."""
        if self.variant == "coalesce":
            return len(set(inputs))
        if self.variant != "cache":
            return len(inputs)
        new = set(inputs) - self.kept
        self.kept |= new
        return len(new)

    def close(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"runtime": "sleep", "precision": self.variant, "device": "cpu"}


def _logits(tokens: bytes) -> tuple[float, float]:
    """Two numbers in [0, 1] that depend on every token."""
    number = zlib.crc32(tokens)
    return (number & 0xFFFF) / 65_535, (number >> 16) / 65_535
