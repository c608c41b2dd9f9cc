"""The official LoadGen asks and judges, our workers answer: `--engine mlcommons`."""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.batching import Policy
from harness.core import BackendOptions, Output, Samples, Settings, Status
from harness.crew import ProcessCrew, ThreadCrew
from harness.disagreement import disagreements
from harness.errors import RunError, UsageError
from harness.loadgen import SCENARIOS, from_names, played
from harness.measure import Watch
from harness.mlperf_accuracy import read
from harness.official import VOID, Official, measure_official, still_playing
from harness.plugins import load
from harness.progress import Silent
from harness.responses import Keep
from harness.worker import WorkerSpec

pytestmark = [
    pytest.mark.official,
    pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed"),
]

TOTAL = 60
OUTPUTS = (Output("start", per_token=True), Output("logits", width=2))

BACKEND = '''"""Answers sample i with i at each token and (i, -i), until it misbehaves from the sample FAULT on."""
import time
import numpy as np
REQUIRES = ()
PRECISIONS = ("good", "raise", "nan", "slow", "hang", "crawl")
FAULT = 40
class Backend:
    needs_inputs = True
    answers = True
    def __init__(self, kind): self.kind = kind
    def load(self, model): pass
    def predict(self, batch):
        logits = np.stack([batch.samples, -batch.samples], axis=1).astype(np.float32)
        start = np.repeat(logits[:, :1], batch.input_ids.shape[1], axis=1)
        time.sleep({"slow": 0.02, "crawl": 0.3}.get(self.kind, 0.0002))
        if batch.samples.max() >= FAULT:
            if self.kind == "raise": raise RuntimeError("out of order")
            if self.kind == "nan": logits[:] = np.nan
            if self.kind == "hang": time.sleep(3600)
        return {"start": start, "logits": logits}
    def close(self): pass
    def describe(self): return {"runtime": "test"}
def create(options): return Backend(options.precision)
'''

SHORT: dict[str, dict[str, Any]] = {
    "SingleStream": {"min_query_count": 70, "min_duration_ms": 50, "single_stream_expected_latency_ns": 2e5},
    "MultiStream": {"min_query_count": 20, "min_duration_ms": 50, "multi_stream_expected_latency_ns": 4e5},
    "Server": {"min_query_count": 500, "min_duration_ms": 100, "server_target_qps": 1500.0, "server_target_latency_ns": 200_000_000},
    "Offline": {"min_query_count": 900, "min_duration_ms": 0, "offline_expected_qps": 1.0},
}
SEEDS = {"qsl_rng_seed": 3, "sample_index_rng_seed": 5, "schedule_rng_seed": 7}


def samples() -> Samples:
    lengths = 3 + np.arange(TOTAL) % 11
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Samples(np.ones(offsets[-1], np.int32), np.zeros(offsets[-1], np.int8), offsets, 0, 16)


class Bench:
    """Crews over the test's backend, closed in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "engine.py"
        self.file.write_text(BACKEND)
        self.crews: list[ThreadCrew | ProcessCrew] = []
        self.runs = 0

    def spec(self, kind: str, policy: Policy, worker: int = 0) -> WorkerSpec:
        name = "null" if kind == "null" else str(self.file)
        options = BackendOptions("" if kind == "null" else kind, "cpu", 1, worker)
        return WorkerSpec(worker, name, options, None, samples(), OUTPUTS, policy)

    def play(
        self, scenario: str, kind: str = "good", *, workers: int = 1, policy: Policy | None = None, loaded: int = TOTAL,
        watch: dict[str, Any] | None = None, **changed: Any,
    ) -> tuple[Official, Settings]:  # fmt: skip
        policy = policy or Policy("fifo", 4)
        crew = ThreadCrew([self.spec(kind, policy, i) for i in range(workers)])
        self.crews.append(crew)
        crew.call("load")
        requested = from_names({"scenario": scenario} | SHORT[scenario] | SEEDS | changed)
        accuracy = requested.mode == "AccuracyOnly"
        settings = played(requested, TOTAL, loaded, "accuracy" if accuracy else "performance")
        self.runs += 1
        official = measure_official(
            crew,
            requested,
            load("scenarios", SCENARIOS[scenario]).create().traffic(settings, TOTAL),
            policy,
            Watch("run", Silent(), 0.0, **({"hang_timeout_s": 60.0} | (watch or {}))),
            Keep(0, every=accuracy),
            total=TOTAL,
            loaded=loaded,
            folder=self.folder / f"run{self.runs}",
            lengths=samples().lengths,
            outputs=() if kind == "null" else OUTPUTS,
        )
        return official, settings


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for crew in bench.crews:
        crew.close()


def differences(official: Official, settings: Settings, scenario: str) -> list[str]:
    judge = load("scenarios", SCENARIOS[scenario]).create()
    return disagreements(official.measured.columns, settings, judge, official.detail(), official.traffic)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", ["fifo", "sorted"])
@pytest.mark.parametrize("scenario", list(SHORT))
def test_a_sound_run(bench: Bench, scenario: str, kind: Any, workers: int) -> None:
    """Every sample that LoadGen asks is answered, without a reason against the run, and both say the same of it."""
    official, settings = bench.play(scenario, workers=workers, policy=Policy(kind, 4))
    assert official.measured.reasons == []
    assert (official.measured.columns.status == Status.DONE).all()
    assert not official.void
    assert differences(official, settings, scenario) == []
