"""Records of a comparison and of several runs, made without measuring: for golden reports, pages and their tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from harness.comparing import stored
from harness.comparing.results import Candidate, Comparison, Figure, Visit, figures_of
from harness.comparing.session import Compared
from harness.core import Accuracy, Paired
from harness.intervals import Interval
from harness.reporting.groups import Entry
from tests import example_runs

POLICY = {"kind": "sorted", "max_batch": 32, "wait_ns": 0, "max_tokens": 0, "pad_to": 8}
SETTINGS = {"scenario": "offline", "task": "squad", "backend": "", "rules": "quick", "max_batch": 32, "workers": 1, "out": "results"}
PAIRED = Paired(2, 1, 3, 1.0, -0.3, (-0.9, 0.2), 5, "passed, within noise")
MET = Accuracy(
    "f1",
    77.0,
    77.3,
    76.527,
    True,
    "accuracy pass",
    240,
    {"f1": 77.0},
    (73.5, 80.2),
    share_target=76.527,
    reference_source="shipped",
    paired=PAIRED,
)
MISSED = replace(
    MET, value=70.0, passed=False, interval=(66.1, 73.9), paired=replace(PAIRED, gap=-7.3, gap_interval=(-9.0, -5.1), word="missed")
)

CONDITIONS: dict[str, Any] = {
    "hostname": "bench-1",
    "cpu": {"model": "AMD EPYC", "usable_cores": 2},
    "libraries": {"torch": "2.13.0", "onnxruntime": "1.31.1"},
    "gpus": [],
    "git": {"commit": "48e38a763aaaaaaaaaaa", "dirty": False},
}


def candidate(name: str, accuracy: Accuracy | None = MET, problem: str = "", **changes: Any) -> Candidate:
    runtime, _, precision = name.partition(":")
    backend = {"runtime": runtime, "version": "1.0", "precision": precision, "device": "cpu", "threads": 2}
    given = {"padding_share": 0.05, "conditions": {"python": "3.11.7", "libraries": CONDITIONS["libraries"]}, **changes}
    return Candidate(
        name=name, settings={**SETTINGS, "backend": name}, backend=backend, policy=POLICY, accuracy=accuracy, problem=problem, **given
    )


def comparison(
    rates: dict[str, float], figures: tuple[Figure, ...] = figures_of(closed_loop=False, paced=False), **changed: Candidate
) -> Comparison:
    """Candidates by name (`:` as `_` in `changed`) with rates that wobble a little, six blocks; the first is the reference."""
    visits = []
    for block in range(6):
        order = [*range(len(rates)), *reversed(range(len(rates)))]
        for place in order:
            rate = list(rates.values())[place] * (1 + 0.004 * ((block * (place + 2)) % 3 - 1))
            latency = np.linspace(1e9 / rate, 1e11 / rate, 100).astype(np.int64)
            visits.append(Visit(block, place, 100 / rate, 100, 5000, latency))
    candidates = tuple(changed.get(name.replace(":", "_"), candidate(name)) for name in rates)
    return Comparison(candidates, 0, figures, tuple(visits), floor=0.012)


def record(found: Comparison, warnings: tuple[str, ...] = (), title: str = "offline · squad · sample set") -> dict[str, Any]:
    """As comparison.json holds it."""
    return stored.record(Compared(found, list(warnings)), datetime(2026, 8, 21, 10, 11, 12, tzinfo=UTC), CONDITIONS, title)


COMPARISON = record(
    comparison(
        {"pytorch:fp32": 10.0, "pytorch:amp": 19.3, "onnxruntime:int8": 31.0},
        onnxruntime_int8=candidate("onnxruntime:int8", MISSED),
    ),
    ("the machine was busy",),
)


def entries() -> list[Entry]:
    """Three runs of one machine, of which one misses its accuracy, and the first again on another."""
    fast = example_runs.changed(
        example_runs.VALID,
        run_id="20260821T101212Z-server-squad-pytorch-amp-5b1e02",
        config={"backend": "pytorch:amp"},
        backend={"precision": "amp"},
        verdict={"metric": {"name": "completed_samples_per_second", "value": 118.4, "unit": "samples/s", "better": "higher"}},
    )
    elsewhere = example_runs.changed(
        example_runs.VALID,
        run_id="20260822T101112Z-server-squad-pytorch-fp32-77aa01",
        conditions={"cpu": {"model": "Intel Xeon", "usable_cores": 8}, "libraries": {"torch": "2.12.0", "numpy": "2.4.6"}},
    )
    missed = example_runs.changed(
        example_runs.ACCURACY_MISSED,
        config={"backend": "onnxruntime:int8", "rules": "quick"},
        conditions={"data": example_runs.VALID.conditions["data"]},
    )
    runs = [example_runs.VALID, fast, missed, elsewhere]
    labels = ["pytorch:fp32", "pytorch:amp", "onnxruntime:int8", "pytorch:fp32 elsewhere"]
    interval = Interval(59.0, 63.5, "± 3.7% within the run (95 %, batch means)")
    return [
        Entry(label, f"results/{run.run_id}", run, interval if place == 0 else None)
        for place, (label, run) in enumerate(zip(labels, runs, strict=True))
    ]
