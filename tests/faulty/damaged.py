"""PyTorch with one fault at will, for end-to-end tests: what a broken runtime does to a run.

Given as `--backend tests/faulty/damaged.py:VARIANT`. The fault begins after $ASSAY_FAULT_AFTER calls (default 40) of one instance, so
that warm-up passes; `slow-start` is at fault while loading.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.pytorch import PyTorch
from harness.core import Backend, BackendOptions, Batch, Model

REQUIRES: tuple[str, ...] = ("torch", "transformers")
PRECISIONS: tuple[str, ...] = (
    "swap-labels",
    "shift-spans",
    "raise",
    "raise-once",
    "nan",
    "inf",
    "shape",
    "short",
    "sigkill",
    "hang",
    "slow-start",
)

SHARE = 0.2
SHIFT = 7  # tokens
SLOW_START_S = 5.0

Outputs = dict[str, NDArray[Any]]


def create(options: BackendOptions) -> Backend:
    return Damaged(options)


class Damaged(PyTorch):
    """FP32 PyTorch whose answers pass through the fault named by the precision."""

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(replace(options, precision="fp32"))
        self.fault = options.precision or PRECISIONS[0]
        self.first = int(os.environ.get("ASSAY_FAULT_AFTER", "40"))
        self.calls = 0

    def load(self, model: Model | None) -> None:
        if self.fault == "slow-start":
            time.sleep(SLOW_START_S)
        self.calls = -self.first - 1_000  # load makes a trial call
        super().load(model)
        self.calls = 0

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        assert batch is not None
        self.calls += 1
        late = self.calls - self.first  # 1 on the first call that may go wrong
        if late > 0:
            _before(self.fault, late)
        outputs = dict(super().predict(batch))
        return _AFTER[self.fault](outputs, batch) if late > 0 and self.fault in _AFTER else outputs

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"fault": self.fault, "fault_after": self.first}


def _before(fault: str, late: int) -> None:
    if fault == "raise" or (fault == "raise-once" and late == 1):
        raise RuntimeError("a fault on purpose")
    if fault == "sigkill" and late == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    while fault == "hang" and late >= 5:
        time.sleep(3600)


def _chosen(batch: Batch) -> NDArray[np.bool_]:
    """About `SHARE` of the samples, always the same ones (Knuth's multiplicative hash)."""
    return np.asarray((np.asarray(batch.samples, np.int64) * 2_654_435_761 % 2**32) < SHARE * 2**32)


def _swap_labels(outputs: Outputs, batch: Batch) -> Outputs:
    rows = _chosen(batch)
    return {name: np.where(rows[:, None], values[:, ::-1], values) for name, values in outputs.items()}


def _shift_spans(outputs: Outputs, batch: Batch) -> Outputs:
    rows = _chosen(batch)
    return {name: np.where(rows[:, None], np.roll(values, SHIFT, axis=1), values) for name, values in outputs.items()}


def _with_value(value: float) -> Callable[[Outputs, Batch], Outputs]:
    def spoil(outputs: Outputs, batch: Batch) -> Outputs:
        for values in outputs.values():
            values[0, 0] = value
        return outputs

    return spoil


_AFTER: dict[str, Callable[[Outputs, Batch], Outputs]] = {
    "swap-labels": _swap_labels,
    "shift-spans": _shift_spans,
    "nan": _with_value(np.nan),
    "inf": _with_value(np.inf),
    "shape": lambda outputs, batch: {name: np.concatenate([values, values[:, :1]], axis=1) for name, values in outputs.items()},
    "short": lambda outputs, batch: {name: values[:-1] for name, values in outputs.items()},
}
