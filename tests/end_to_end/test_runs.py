"""Whole runs: the null backend in every scenario, the embedded model on the built-in sets, and backends that are broken on purpose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import references, session
from harness.bench import prepare
from harness.config import load
from harness.core import Run
from harness.errors import BackendError, ExitCode
from harness.progress import Silent

ROOT = Path(__file__).resolve().parents[2]
DAMAGED = str(ROOT / "tests" / "faulty" / "damaged.py")


def measure(out: Path, **settings: Any) -> Run:
    """A run in this process, read back from its folder."""
    finished = session.run(load({"out": str(out), "progress": "none", **settings}, origin=str))
    stored = json.loads((finished.folder / "run.json").read_text())
    assert stored["exit_code"] == finished.run.exit_code
    return finished.run


def codes(run: Run) -> list[str]:
    return [reason["code"] for reason in run.verdict["reasons"]]


def command(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as a user runs it, from a bare checkout."""
    return subprocess.run(
        [sys.executable, "run_bench.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("scenario", ["server", "offline", "single-stream", "multi-stream"])
@pytest.mark.parametrize("workers", [{}, {"workers": 2, "worker_mode": "thread"}, {"workers": 2, "worker_mode": "process"}])
def test_null_runs_are_valid_in_every_scenario(tmp_path: Path, scenario: str, workers: dict[str, Any]) -> None:
    """With one worker, two threads or two processes: VALID, every query answered, the ledger stored row by row."""
    rates = {"server": 500, "offline": 1000}
    rate = {"target_qps": rates[scenario]} if scenario in rates else {}
    run = measure(tmp_path, backend="null:200us", scenario=scenario, duration=0.6, latency_bound=1000, **rate, **workers)
    assert run.verdict["valid"], run.verdict["reasons"]
    assert run.exit_code == 0
    assert run.counts["errors"] == run.counts["lost"] == 0
    assert run.accuracy is None
    table = pq.read_table(next(tmp_path.glob("*/queries.parquet")))
    assert table.num_rows == run.counts["samples"]
    assert set(table["status"].to_pylist()) == {2}
    assert min(table["due_ns"].to_pylist()) >= 0


def test_a_rate_over_capacity_is_invalid_and_says_what_to_ask(tmp_path: Path) -> None:
    """1 ms a call served one by one at 2,000 queries/s: INVALID, exit code 5, and the cure is a rate below 1,000."""
    run = measure(tmp_path, backend="null:1ms", scenario="server", target_qps=2000, duration=1, max_batch=1, latency_bound=20)
    assert run.exit_code == ExitCode.INVALID
    (reason,) = run.verdict["reasons"]
    assert reason["code"] == "latency_bound"
    assert "--target-qps" in reason["cure"]


def test_the_probe_finds_a_rate_for_a_known_service_time(tmp_path: Path) -> None:
    """2 ms a call, batch 1, bound 20 ms: an M/D/1 queue meets p99 with a tenth to spare up to about 0.74 of 500 queries/s; the
    run asks for 80 % of that."""
    run = measure(tmp_path, backend="null:2ms", scenario="server", duration=1.5, max_batch=1, latency_bound=20)
    assert run.verdict["valid"], run.verdict["reasons"]
    assert 200 < run.traffic["requested_qps"] < 400


@pytest.mark.model
@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_sst2_offline_is_scored_from_its_own_answers(tmp_path: Path, default_model: Path, precision: str) -> None:
    """Every sample was issued, so the score is that of the timed run; it reaches 99 % of FP32 and the run is VALID."""
    run = measure(tmp_path, task="sst2", backend=f"pytorch:{precision}", duration=2, min_queries=252)
    assert run.verdict["valid"], run.verdict["reasons"]
    assert run.exit_code == 0
    assert run.accuracy is not None
    assert run.accuracy["source"] == "timed run"
    assert run.accuracy["passed"] is True
    assert run.throughput["padding_share"] is not None
    assert run.throughput["padding_share"] < 0.3
    assert (next(tmp_path.glob("*/report.md"))).read_text().startswith("#")


@pytest.mark.model
def test_squad_single_stream_is_scored_by_a_pass_that_agrees(tmp_path: Path, default_model: Path) -> None:
    """Not every sample was issued: the same backend answers the (limited) set, and the timed answers agree with it."""
    run = measure(tmp_path, scenario="single-stream", duration=1, accuracy_samples=40)
    assert run.verdict["valid"], run.verdict["reasons"]
    assert run.accuracy is not None
    assert run.accuracy["source"] == "accuracy pass"
    assert run.accuracy["limited"] is True
    assert run.accuracy["agreement"]["different"] == 0


@pytest.mark.model
@pytest.mark.parametrize(
    ("fault", "task", "options"),
    [("swap-labels", "sst2", {"min_queries": 252}), ("shift-spans", "squad", {"accuracy_samples": 60})],
)
def test_wrong_answers_are_refused(
    tmp_path: Path, default_model: Path, monkeypatch: pytest.MonkeyPatch, fault: str, task: str, options: dict[str, int]
) -> None:
    """A fast backend that answers a fifth of the questions wrongly ends with exit code 6, and its number is not called valid."""
    monkeypatch.setenv("ASSAY_FAULT_AFTER", "0")
    run = measure(tmp_path, task=task, backend=f"{DAMAGED}:{fault}", duration=1, **options)
    assert run.exit_code == ExitCode.ACCURACY
    assert run.verdict["valid"] is False
    assert run.accuracy is not None
    assert run.accuracy["passed"] is False
    assert "accuracy" in codes(run)


@pytest.mark.model
@pytest.mark.parametrize("fault", ["raise", "raise-once", "nan", "inf", "shape", "short"])
def test_broken_answers_make_the_run_invalid(tmp_path: Path, default_model: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Exceptions, NaN, Inf, a wrong shape and too few rows are counted as errors, quoted, and never scored."""
    monkeypatch.setenv("ASSAY_FAULT_AFTER", "30")
    run = measure(tmp_path, task="sst2", backend=f"{DAMAGED}:{fault}", scenario="single-stream", duration=3, warmup=0.2)
    assert run.exit_code == ExitCode.INVALID
    assert run.counts["errors"] >= 1
    assert codes(run)[0] == "errors"
    assert run.accuracy is None


@pytest.mark.model
def test_a_backend_that_fails_in_warm_up_has_failed(tmp_path: Path, default_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was measured, exit code 4, and run.json says what happened."""
    monkeypatch.setenv("ASSAY_FAULT_AFTER", "0")
    run = measure(tmp_path, task="sst2", backend=f"{DAMAGED}:raise", duration=1)
    assert run.exit_code == ExitCode.FAILED
    assert "a fault on purpose" in run.verdict["reasons"][0]["text"]
    assert run.counts["queries"] == 0


@pytest.mark.model
def test_a_killed_worker_ends_the_run_within_seconds(tmp_path: Path, default_model: Path) -> None:
    """SIGKILL in mid-run of a two-process run planned for 10 minutes: it ends at once, INVALID, and run.json names worker and signal."""
    done = command(
        *("--task", "sst2", "--backend", f"{DAMAGED}:sigkill", "--scenario", "single-stream", "--duration", "600"),
        *("--workers", "2", "--out", str(tmp_path), "--warmup", "0.2"),
        ASSAY_FAULT_AFTER="30",
    )
    assert done.returncode == ExitCode.INVALID, done.stderr
    stored = json.loads(next(tmp_path.glob("*/run.json")).read_text())
    assert "killed by SIGKILL" in stored["verdict"]["reasons"][0]["text"]
    assert stored["counts"]["lost"] >= 1


@pytest.mark.model
def test_a_hanging_backend_ends_the_run(tmp_path: Path, default_model: Path) -> None:
    """A call that never returns ends the run after --hang-timeout, and the process ends too."""
    done = command(
        *("--task", "sst2", "--backend", f"{DAMAGED}:hang", "--scenario", "single-stream", "--duration", "600"),
        *("--hang-timeout", "4", "--out", str(tmp_path), "--warmup", "0.2"),  # loading has ten times as long
        ASSAY_FAULT_AFTER="30",
    )
    assert done.returncode == ExitCode.INVALID, done.stderr
    stored = json.loads(next(tmp_path.glob("*/run.json")).read_text())
    assert stored["verdict"]["reasons"][0]["code"] == "hung"


@pytest.mark.model
@pytest.mark.data
def test_the_embedded_model_has_its_published_score(tmp_path: Path, default_model: Path, official_data: Path) -> None:
    """FP32 on SST-2 dev: 89.220, the score in the adapter's README, over all 872 sentences."""
    run = measure(tmp_path, task="sst2", data=str(official_data), duration=1, min_queries=872)
    assert run.accuracy is not None
    assert run.accuracy["value"] == pytest.approx(89.220, abs=0.001)
    assert run.accuracy["samples"] == 872
    assert run.conditions["data"]["comparable"] is True


def test_a_backend_that_cannot_load_leaves_no_folder(tmp_path: Path) -> None:
    """What fails before anything is measured is an error with its own exit code, not a result."""
    engine = tmp_path / "engine.py"
    engine.write_text(
        "class B:\n    needs_inputs = answers = False\n    def load(self, model): raise RuntimeError('no device')\n"
        "    def close(self): pass\nREQUIRES = ()\nPRECISIONS = ()\ndef create(options): return B()\n"
    )
    with pytest.raises(BackendError, match="no device"):
        measure(tmp_path / "out", backend=str(engine), scenario="single-stream")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.model
@pytest.mark.parametrize("task", ["squad", "sst2"])
def test_the_shipped_reference_belongs_to_the_embedded_model(default_model: Path, task: str) -> None:
    """On the built-in sets the key of the shipped score is that of the model and data on this machine: no reference pass is needed."""
    bench = prepare(load({"task": task, "progress": "none"}, origin=str), Silent())
    assert bench.model is not None
    key = references.key(bench.model, bench.task, np.arange(len(bench.task.samples), dtype=np.int64))
    assert json.loads(references.SHIPPED.read_text())[key]["data"] == "built-in sample set"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_screen_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    """stdout is full: the run is stored, its exit code stands, and stderr says what could not be shown."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [
                sys.executable,
                "run_bench.py",
                "--backend",
                "null",
                "--scenario",
                "single-stream",
                "--duration",
                "0.2",
                "--out",
                str(tmp_path),
            ],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == ExitCode.OK
    assert "could not be shown" in done.stderr
    assert len(list(tmp_path.glob("*/run.json"))) == 1
