"""Backends without a model that load only under some conditions: what a search for instances must live with.

Given as `--backend tests/faulty/crowded.py:VARIANT`. A call takes 2 ms.

alone   only worker 0 loads, as if the memory were used up
none    no worker loads
killed  every worker but the first kills its process while it is timed
gpu     says that it runs on a GPU
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import MissingError

PRECISIONS: tuple[str, ...] = ("alone", "none", "killed", "gpu")

CALL_S = 0.002


def create(options: BackendOptions) -> Backend:
    return Crowded(options)


class Crowded:
    needs_inputs = False
    answers = False

    def __init__(self, options: BackendOptions) -> None:
        self.variant, self.worker = options.precision, options.worker
        self.calls = 0

    def load(self, model: Model | None) -> None:
        if self.variant == "none" or (self.variant == "alone" and self.worker > 0):
            raise MissingError(f"no memory left for worker {self.worker}", "use fewer workers")

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        self.calls += 1
        if self.variant == "killed" and self.worker > 0 and self.calls > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(CALL_S)
        return {}

    def close(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"runtime": "crowded", "precision": self.variant, "device": "cuda:0" if self.variant == "gpu" else "cpu"}
