"""What the harness itself costs on this machine: the real ledger and worker loop around a backend that does nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from harness.batching import Policy
from harness.clock import MonotonicClock
from harness.core import Batch, Limits, Model, Traffic
from harness.ledger import Ledger
from harness.worker import Report, serve_null

QUERIES = 50_000

SHARE = 0.5
"""Server rates are asked for up to this share of the ceiling; above it the harness's own cost is part of the answer (peers.md 3.8)."""


class _Nothing:
    needs_inputs = False
    answers = False

    def load(self, model: Model | None) -> None: ...

    def predict(self, _batch: Batch | None) -> dict[str, np.ndarray]:
        return {}

    def close(self) -> None: ...

    def describe(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Cost of one query served alone, ns, and the rate that is: queries/s."""

    query_ns: float

    @property
    def queries_per_second(self) -> float:
        return 1e9 / self.query_ns


def measure_ceiling() -> Ceiling:
    """Serve QUERIES single-stream queries with nothing behind them; best of three, for what disturbs only ever adds. About 0.1 s."""
    return Ceiling(min(_once() for _ in range(3)))


def _once() -> float:
    traffic = Traffic(np.arange(QUERIES, dtype=np.int64), np.zeros(QUERIES, np.int32), None, Limits(0, QUERIES))
    ledger = Ledger(traffic, Policy("fifo", 1), MonotonicClock())
    start = time.monotonic_ns()
    serve_null(ledger, _Nothing(), Report(0))
    return (time.monotonic_ns() - start) / QUERIES
