"""Runs and histories for tests of what is kept over time. Figures are invented."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.core import Run
from harness.history.database import History
from tests.example_runs import VALID

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sha(number: int) -> str:
    return f"{number:07x}" + "c0ffee" * 5 + "123"


def at(day: float) -> str:
    return (BEGAN + timedelta(days=day)).isoformat(timespec="seconds")


def run(number: int, rate: float = 100.0, day: float | None = None, **changes: Any) -> Run:
    """Run `number`, a day after the one before, of a commit of its own, with `rate` samples/s as its headline."""
    conditions = dict(VALID.conditions) | {"git": {"commit": sha(number), "dirty": False}} | changes.pop("conditions", {})
    verdict = dict(VALID.verdict) | {"metric": dict(VALID.verdict["metric"]) | {"value": rate}}
    made = replace(
        VALID,
        run_id=f"r{number:04d}",
        started_utc=at(number if day is None else day),
        verdict=verdict,
        conditions=conditions,
        throughput=dict(VALID.throughput) | {"samples_per_second": rate},
    )
    return replace(made, **changes)


def record(history: History, rates: Iterable[float], **changes: Any) -> str:
    """A run for each rate; the key of their series."""
    keys = {history.record(run(number, rate, **changes)) for number, rate in enumerate(rates)}
    (key,) = keys
    return key
