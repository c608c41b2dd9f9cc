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
from harness.errors import RunError, UsageError
from harness.loadgen import SCENARIOS, from_names, played
from harness.measure import Watch
from harness.mlperf.accuracy import read
from harness.official.disagreement import disagreements
from harness.official.engine import VOID, Official, measure_official
from harness.official.player import still_playing
from harness.plugins import load
from harness.progress import Silent
from harness.responses import Keep
from harness.worker import WorkerSpec

pytestmark = [
    pytest.mark.official,
    pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed"),
]

TOTAL = 60
TRIES = 5
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


def agreed(bench: Bench, scenario: str, **options: Any) -> Official:
    """A run of which both say the same. Where others use this machine's cores, a thread may be kept waiting between the two stamps of one
    event, so some further tries are granted; what was asked, and that all was answered, must be right each time."""
    for _ in range(TRIES):
        official, settings = bench.play(scenario, **options)
        assert official.measured.reasons == []
        said = differences(official, settings, scenario)
        assert not any("LoadGen asked" in sentence or "queries:" in sentence for sentence in said)
        if not said:
            return official
    pytest.fail(f"{TRIES} runs, and in none of them the figures agree; the last: {said}")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", ["fifo", "sorted"])
@pytest.mark.parametrize("scenario", list(SHORT))
def test_a_sound_run(bench: Bench, scenario: str, kind: Any, workers: int) -> None:
    """Every sample that LoadGen asks is answered, without a reason against the run, and both say the same of it."""
    official = agreed(bench, scenario, workers=workers, policy=Policy(kind, 4))
    assert (official.measured.columns.status == Status.DONE).all()
    assert not official.void


@pytest.mark.parametrize("scenario", list(SHORT))
def test_the_null_backend(bench: Bench, scenario: str) -> None:
    """A backend that looks at nothing and says nothing is served just so."""
    agreed(bench, scenario, kind="null")


@pytest.mark.parametrize(
    ("scenario", "changed"),
    [
        ("Server", {"server_coalesce_queries": True, "server_target_qps": 20_000.0}),
        ("Server", {"performance_issue_unique": True, "server_target_qps": 5_000.0}),
        ("SingleStream", {"performance_issue_same": True, "performance_issue_same_index": 7}),
        ("MultiStream", {"multi_stream_samples_per_query": 3, "sample_concatenate_permutation": True}),
        ("Offline", {"sample_concatenate_permutation": True}),
    ],
)
def test_other_ways_to_ask(bench: Bench, scenario: str, changed: dict[str, Any]) -> None:
    """LoadGen asks just what our own traffic of the same settings asks, in any of its modes of issue."""
    agreed(bench, scenario, **changed)


def test_server_is_charged_from_its_schedule(bench: Bench) -> None:
    """Due times of Server are those of our own schedule, but for the delay of the first callback; every query counts as one."""
    official, _ = bench.play("Server")
    columns = official.measured.columns
    assert official.traffic.due_ns is not None
    early = official.traffic.due_ns[: len(columns.due_ns)] - columns.due_ns
    assert early.min() >= 0
    assert np.median(early) < 1_000_000
    assert columns.query.tolist() == list(range(len(columns.query)))


def test_multi_stream_queries_are_of_one_size(bench: Bench) -> None:
    """The samples of one callback are one query, due together, and asked when all of the query before are answered."""
    columns = bench.play("MultiStream", policy=Policy("sorted", 3), workers=3)[0].measured.columns
    queries = len(columns.query) // 8
    assert columns.query.tolist() == np.repeat(np.arange(queries), 8).tolist()
    due, done = columns.due_ns.reshape(queries, 8), columns.done_ns.reshape(queries, 8)
    assert (due == due[:, :1]).all()
    assert (done.max(axis=1)[:-1] <= due[1:, 0]).all()


@pytest.mark.parametrize("scenario", list(SHORT))
@pytest.mark.parametrize("loaded", [TOTAL, 25])
def test_accuracy_log_holds_the_answers(bench: Bench, scenario: str, loaded: int) -> None:
    """An accuracy run, of one loaded set or of several, logs every sample with the bytes of its own answer, cut to its length."""
    changed = {"server_target_qps": 5_000.0, "multi_stream_samples_per_query": 5, "mode": "AccuracyOnly"}
    official, settings = bench.play(scenario, workers=2, policy=Policy("sorted", 4), loaded=loaded, **changed)
    assert official.measured.reasons == []
    assert differences(official, settings, scenario) == []
    logged = {record.qsl_idx: record.data for record in read((official.log_folder / "mlperf_log_accuracy.json").read_text())}
    lengths = samples().lengths
    assert logged == {i: np.array([i] * int(lengths[i]) + [i, -i], "<f4").tobytes() for i in range(TOTAL)}
    assert sorted(official.measured.columns.sample[list(official.measured.answers)]) == sorted(official.measured.columns.sample)


def test_performance_logs_what_it_is_asked_to(bench: Bench) -> None:
    """With a probability of one the accuracy log of a performance run holds every answer."""
    official, _ = bench.play("Offline", accuracy_log_probability=1.0)
    assert len(read((official.log_folder / "mlperf_log_accuracy.json").read_text())) == 900


@pytest.mark.parametrize("kind", ["raise", "nan"])
@pytest.mark.parametrize("scenario", list(SHORT))
def test_errors_are_told(bench: Bench, scenario: str, kind: str) -> None:
    """A backend that fails for some samples does not hang LoadGen; the run has a reason against it, and its logs are void."""
    official, settings = bench.play(scenario, kind, watch={"stop_on_error": False})
    assert [reason.code for reason in official.measured.reasons] == ["errors"]
    failed = official.measured.columns.status == Status.ERROR
    assert failed[official.measured.columns.sample >= 40].all()
    assert official.void
    assert sorted(path.name for path in official.log_folder.iterdir() if "trace" not in path.name) == [
        f"mlperf_log_accuracy.json{VOID}",
        f"mlperf_log_detail.txt{VOID}",
        f"mlperf_log_summary.txt{VOID}",
    ]
    assert any("LoadGen knows of no errors" in sentence for sentence in differences(official, settings, scenario))


@pytest.mark.parametrize("scenario", ["SingleStream", "Offline"])
def test_an_interrupt_ends_the_run(bench: Bench, scenario: str) -> None:
    """Ctrl-C keeps what was measured, tells LoadGen that the rest is complete, and says that its logs are no result."""
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    long = {"min_duration_ms": 60_000, "single_stream_expected_latency_ns": 2e7, "min_query_count": 4_000}
    official, _ = bench.play(scenario, "slow", **long)
    codes = [reason.code for reason in official.measured.reasons]
    assert codes[0] == "interrupted"
    assert codes[-1] == "stopped"
    assert official.measured.interrupted
    assert official.measured.seconds < 5
    assert 0 < np.count_nonzero(official.measured.columns.status == Status.DONE) < 4_000
    assert official.void
    assert not still_playing()


def test_a_hanging_backend_ends_the_run(bench: Bench) -> None:
    """A call that never returns is given up: its rows are lost, whatever LoadGen was told."""
    official, _ = bench.play("Offline", "hang", watch={"hang_timeout_s": 0.5})
    assert [reason.code for reason in official.measured.reasons] == ["hung", "unanswered", "stopped"]
    assert np.count_nonzero(official.measured.columns.status == Status.LOST) == 4
    assert not still_playing()


def test_a_schedule_that_cannot_be_cut_short_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """LoadGen sleeps through the rest of a Server schedule: it is left behind, and until it is done no other test can begin."""
    monkeypatch.setattr("harness.official.player.STOP_PATIENCE_S", 0.05)
    monkeypatch.setattr("harness.measure.ERROR_GRACE_S", 0.0)
    slow = {"server_target_qps": 50.0, "min_query_count": 1, "min_duration_ms": 2500}
    official, _ = bench.play("Server", "raise", **slow)
    assert [reason.code for reason in official.measured.reasons] == ["errors", "stopped"]
    assert still_playing()
    with pytest.raises(RunError, match="still plays"):
        bench.play("Offline")
    for thread in threading.enumerate():
        if thread.name == "official-loadgen":
            thread.join(10)
    assert not still_playing()
    assert bench.play("Offline")[0].measured.reasons == []


def test_processes_are_refused(bench: Bench) -> None:
    """Workers in processes of their own cannot answer the LoadGen of this one."""
    crew = ProcessCrew([bench.spec("good", Policy())])
    bench.crews.append(crew)
    requested = from_names({"scenario": "Offline"})
    traffic = load("scenarios", "offline").create().traffic(played(requested, TOTAL, TOTAL, "performance"), TOTAL)
    with pytest.raises(UsageError, match="serves with threads of this process") as error:
        measure_official(
            crew, requested, traffic, Policy(), Watch("run", Silent(), 0.0, 60.0), Keep(0),
            total=TOTAL, loaded=TOTAL, folder=bench.folder, lengths=samples().lengths,
        )  # fmt: skip
    assert error.value.cure == "set --worker-mode thread or --workers 1"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mode": "SubmissionRun"}, "does not play SubmissionRun"),
        ({"mode": "FindPeakPerformance"}, "does not play FindPeakPerformance"),
        ({"server_num_issue_query_threads": 2}, "waits for ever"),
        ({"use_token_latencies": True}, "first token"),
    ],
)
def test_what_would_hang_is_refused(bench: Bench, changed: dict[str, Any], message: str) -> None:
    """Settings that LoadGen cannot play from Python are refused before it is started."""
    with pytest.raises(UsageError, match=message):
        bench.play("Server", **changed)


def test_tampered_columns_are_found(bench: Bench) -> None:
    """Other samples, other latencies and other counts than LoadGen's are told, each by its name."""
    changed = {"server_target_latency_ns": 20_000_000}
    official = agreed(bench, "Server", **changed)
    settings = played(from_names({"scenario": "Server"} | SHORT["Server"] | SEEDS | changed), TOTAL, TOTAL, "performance")
    honest = official.measured.columns

    def said(**changes: Any) -> str:
        measured = replace(official.measured, columns=replace(honest, **changes))
        return "\n".join(differences(replace(official, measured=measured), settings, "Server"))

    assert said() == ""
    swapped = honest.sample.copy()
    swapped[3] = (swapped[3] + 1) % TOTAL
    assert "LoadGen asked other samples than our traffic: 1 of 500, the first at row 3" in said(sample=swapped)
    late = said(done_ns=honest.done_ns + 50_000_000)
    assert "p50 latency: ours" in late
    assert "latency bound: not met by us, met by LoadGen" in late
    assert "early stopping: not met by us, met by LoadGen" in late
    assert "verdict: INVALID by us, VALID by LoadGen" in late
    short = {
        name: getattr(honest, name)[:400] for name in ("query", "sample", "due_ns", "taken_ns", "done_ns", "batch", "worker", "status")
    }
    assert "queries: ours 400, LoadGen's 500" in said(**short)
    assert "minimum queries: not met by us, met by LoadGen" in said(**short)
