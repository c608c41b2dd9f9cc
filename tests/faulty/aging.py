"""PyTorch in FP32 on a machine that wears out: faults that no error tells of, each begun at will.

Given as `--backend tests/faulty/aging.py`; $ASSAY_FAULT names the fault, so that a baseline of the healthy machine has the same backend:

(empty)  none
slow     each call takes $ASSAY_FAULT_SLOWER (default 0.10) longer; of worker $ASSAY_FAULT_WORKER alone where that is given
altered  one row in $ASSAY_FAULT_EVERY (default 10,000) has the last bit of its first value flipped
bit      after $ASSAY_FAULT_AFTER calls (default 40, `load`'s own not counted) one bit of one weight is flipped, for good
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backends.pytorch import PyTorch
from harness.core import Backend, BackendOptions, Batch, Model

REQUIRES: tuple[str, ...] = ("torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32",)


def create(options: BackendOptions) -> Backend:
    return Aging(options)


class Aging(PyTorch):
    """FP32 PyTorch with the fault that the environment names."""

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(replace(options, precision="fp32"))
        self.fault = os.environ.get("ASSAY_FAULT", "")
        self.every = int(os.environ.get("ASSAY_FAULT_EVERY", "10000"))
        self.after = int(os.environ.get("ASSAY_FAULT_AFTER", "40"))
        self.slower = float(os.environ.get("ASSAY_FAULT_SLOWER", "0.10"))
        if os.environ.get("ASSAY_FAULT_WORKER", str(options.worker)) != str(options.worker):
            self.fault = ""
        self.rows = self.calls = 0

    def load(self, model: Model | None) -> None:
        super().load(model)
        self.rows = self.calls = 0

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        assert batch is not None
        start = time.perf_counter()
        outputs = dict(super().predict(batch))
        self.calls += 1
        if self.fault == "slow":
            time.sleep(self.slower * (time.perf_counter() - start))
        if self.fault == "bit" and self.calls == self.after:
            flip_bit(self.model)
        if self.fault == "altered":
            first = self.rows // self.every * self.every + self.every - 1 - self.rows
            if first < len(batch.samples):
                outputs = {name: _altered(values, first) for name, values in outputs.items()}
        self.rows += len(batch.samples)
        return outputs


def flip_bit(model: torch.nn.Module) -> None:
    """The lowest bit of one weight of the embedding of positions: as quiet as a fault can be."""
    weight = next(parameter for name, parameter in model.named_parameters() if "position_embeddings" in name)
    with torch.no_grad():
        weight.view(torch.int32)[0, 0] ^= 1


def _altered(values: NDArray[Any], row: int) -> NDArray[Any]:
    changed = np.array(values, np.float32)
    changed.view(np.int32)[row].flat[0] ^= 1
    return changed
