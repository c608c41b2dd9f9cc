"""LoadGen's modes as whole runs of the null backend: what was asked, what is stored, and the log files beside it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import card, cli, loadgen, session
from harness.blank import SAMPLES
from harness.config import load
from harness.core import Columns, Run, Seeds, Settings, Status
from harness.ending import NATURAL, RAN_OUT
from harness.errors import DataError, ExitCode, UsageError
from harness.generated import Made, generate
from harness.mlperf import accuracy as mlperf_accuracy
from harness.mlperf import reader as mlperf_reader
from harness.store import read_columns

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")
RATES = {"server": 2500.0, "offline": 3000.0, "single-stream": 5000.0, "multi-stream": 5000.0}
LOGS = {"mlperf_log_summary.txt", "mlperf_log_detail.txt", "mlperf_log_accuracy.json"}


@dataclass(frozen=True)
class Finished:
    """A run, read back from its folder."""

    run: Run
    columns: Columns
    folder: Path

    @property
    def entries(self) -> list[mlperf_reader.Entry]:
        return mlperf_reader.entries((self.folder / "mlperf_log_detail.txt").read_text())

    @property
    def summary(self) -> Any:
        return mlperf_reader.summary((self.folder / "mlperf_log_summary.txt").read_text())

    @property
    def logged(self) -> list[mlperf_accuracy.Record]:
        return mlperf_accuracy.read((self.folder / "mlperf_log_accuracy.json").read_text())

    def said(self, key: str) -> list[Any]:
        return [entry.value for entry in self.entries if entry.key == key]

    @property
    def codes(self) -> list[str]:
        return [reason["code"] for reason in self.run.verdict["reasons"]]


def measure(out: Path, scenario: str, **settings: Any) -> Finished:
    """A run of 200 us a call for 0.15 s; 50 samples are loaded, 120 are asked for accuracy."""
    chosen = {
        "backend": "null:200us",
        "scenario": scenario,
        "target_qps": RATES[scenario],
        "duration": 0.15,
        "performance_samples": 50,
        "accuracy_count": 120,
        "latency_bound": 1000,
        "warmup": 0.01,
        "out": str(out),
        "progress": "none",
    }
    finished = session.run(load({name: value for name, value in (chosen | settings).items() if value is not None}, origin=str))
    columns = read_columns(finished.folder)
    assert columns is not None
    return Finished(finished.run, columns, finished.folder)


def replay(out: Path, scenario: str, file: Path | str, **settings: Any) -> Finished:
    """The same, with the traffic of a file: it says what is asked, and when."""
    unset = {"target_qps": None, "duration": None, "performance_samples": None}
    return measure(out, scenario, **{**unset, "traffic": str(file), **settings})


def planned(run: Run, mode: str) -> Made:
    """What LoadGen makes for the settings that the run says it was played by."""
    resolved = {name: value for name, value in run.config["resolved"].items() if name != "batching"}  # which LoadGen does not know
    resolved["latency_bound_ns"] = resolved["latency_bound_ns"] or 0
    resolved["seeds"] = Seeds(**resolved["seeds"])
    resolved["accuracy_log"] = loadgen.AccuracyLog(**resolved["accuracy_log"])
    settings = Settings(**resolved)
    return generate(loadgen.requested(run.config["scenario"], settings, mode), SAMPLES, settings.library_sample_count)


def assert_served(columns: Columns) -> None:
    assert (columns.status == Status.DONE).all()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_performance_run_and_its_logs(tmp_path: Path, scenario: str) -> None:
    """What was asked is what LoadGen makes for these settings, one after another; the logs are there, parse, and call VALID what run.json
    calls VALID."""
    done = measure(tmp_path, scenario, min_queries=700)
    assert done.run.verdict["valid"], done.run.verdict["reasons"]
    assert {file.name for file in done.folder.iterdir()} == {
        *LOGS,
        "queries.parquet",
        "report.md",
        "report.html",
        "run.json",
        "telemetry.parquet",
    }
    assert set(done.run.files.values()) >= LOGS
    made = planned(done.run, "PerformanceOnly").phases[0]
    both = min(len(made.sample), len(done.columns.sample))
    assert both >= 700
    assert done.columns.sample[:both].tolist() == made.sample[:both].tolist()
    if scenario in ("server", "offline"):
        assert made.due_ns is not None
        assert done.columns.due_ns[:both].tolist() == made.due_ns[:both].tolist()
    assert (done.summary["Result is"], done.summary["Mode"]) == ("VALID", "PerformanceOnly")
    first = mlperf_reader.first(done.entries)
    assert first["result_validity"] == "VALID"
    assert first["result_query_count"] == done.run.counts["queries"]
    assert first["loaded_qsl_set"] == made.loaded.tolist()
    assert done.said("generic_message")[0] == "Starting performance mode"
    assert (NATURAL in done.said("generic_message")) == (scenario != "server")
    beyond = len(done.columns.sample) > len(made.sample) and scenario == "offline"  # which LoadGen would not have asked
    assert mlperf_reader.counts(done.entries) == (int(beyond), 0)
    assert done.logged == []


def test_an_invalid_run_is_invalid_in_its_logs(tmp_path: Path) -> None:
    """1 ms a call one by one at 2,500 queries/s: the bound of 20 ms is missed by both accounts."""
    done = measure(tmp_path, "server", backend="null:1ms", max_batch=1, latency_bound=20, min_queries=600)
    assert done.run.exit_code == ExitCode.INVALID
    assert done.summary["Result is"] == "INVALID"
    assert mlperf_reader.first(done.entries)["result_perf_constraints_met"] is False


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_accuracy_run_asks_every_sample_and_logs_every_answer(tmp_path: Path, scenario: str) -> None:
    """120 samples in three sets, though the minimum duration and a maximum of queries are long reached; each once in the accuracy log, in
    LoadGen's order, and no speed is claimed."""
    extra = {"samples_per_query": 5} if scenario == "multi-stream" else {}
    done = measure(tmp_path, scenario, mode="accuracy", duration=0.005, min_queries=1, max_queries=3, **extra)
    assert done.run.exit_code == ExitCode.OK
    assert sorted(done.columns.sample.tolist()) == list(range(120))
    made = planned(done.run, "AccuracyOnly")
    assert done.columns.sample.tolist() == np.concatenate([phase.sample for phase in made.phases]).tolist()
    assert sorted(record.qsl_idx for record in done.logged) == list(range(120))
    assert [int(done.columns.sample[record.seq_id]) for record in done.logged] == [record.qsl_idx for record in done.logged]
    assert done.said("generated_query_count") == [phase.queries for phase in made.phases]
    assert done.said("generic_message") == ["Starting accuracy mode"]
    assert "Result is" not in done.summary
    assert done.run.verdict["metric"] is None
    assert_served(done.columns)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_submission_is_both_in_one_log(tmp_path: Path, scenario: str) -> None:
    """The ledger that is stored and judged is the timed one; the logs tell of accuracy first, and hold its answers and those of the timed
    part that were asked to be logged, numbered on."""
    extra = {"samples_per_query": 5} if scenario == "multi-stream" else {}
    done = measure(tmp_path, scenario, mode="submission", min_queries=700, accuracy_log_probability=0.2, **extra)
    assert done.run.verdict["valid"], done.run.verdict["reasons"]
    assert (done.summary["Result is"], done.summary["Mode"]) == ("VALID", "SubmissionRun")
    assert done.said("generic_message")[0] == "Starting accuracy mode"
    assert "Starting performance mode" in done.said("generic_message")
    made = planned(done.run, "SubmissionRun")
    logged = {record.seq_id: record.qsl_idx for record in done.logged}
    assert sorted(logged[seq] for seq in range(120)) == list(range(120))
    timed = {seq - 120 for seq in logged if seq >= 120}
    both = min(made.rows - 120, len(done.columns.sample))
    assert {row for row in timed if row < both} == set(np.flatnonzero(made.phases[-1].logged[:both]).tolist())
    assert all(int(done.columns.sample[row]) == logged[row + 120] for row in timed)
    assert 0.1 * len(done.columns.sample) < len(timed) < 0.3 * len(done.columns.sample)


@pytest.mark.parametrize("scenario", ["server", "single-stream"])
def test_a_performance_run_logs_the_answers_that_loadgen_would(tmp_path: Path, scenario: str) -> None:
    """By a target: the rows that `assay traffic` names for the same settings, all of them, whatever order they were answered in."""
    done = measure(tmp_path, scenario, accuracy_log_target=60, accuracy_log_seed=11)
    made = planned(done.run, "PerformanceOnly")
    both = min(made.rows, len(done.columns.sample))
    found = sorted(record.seq_id for record in done.logged)
    assert [seq for seq in found if seq < both] == [seq for seq in made.about()["accuracy_log_seq_ids"] if seq < both]
    assert 20 < len(found) < 130
    assert all(int(done.columns.sample[record.seq_id]) == record.qsl_idx for record in done.logged)


def test_the_search_finds_a_rate_that_its_runs_bear_out(tmp_path: Path) -> None:
    """2 ms a call one by one bear 500 queries/s, and for a tenth of a second somewhat more; the search ends below 1,600, judges the run at
    its peak, and the log tells of every run."""
    done = measure(
        tmp_path,
        "server",
        backend="null:2ms",
        find_peak="loadgen",
        target_qps=100,
        find_peak_step=3,
        find_peak_decimals=0,
        duration=0.1,
        min_queries=30,
        max_batch=1,
        latency_bound=40,
    )
    found = done.run.traffic["find_peak"]
    assert found["algorithm"] == "loadgen"
    assert 100 <= found["found_qps"] < 1600
    rates = [each["target_qps"] for each in found["tried"]]
    assert rates[:2] == [100, 400]
    assert found["found_qps"] == max(each["target_qps"] for each in found["tried"] if each["met"])
    assert done.run.config["resolved"]["target_qps"] == found["found_qps"]
    assert done.run.config["target_qps"] == 100
    assert (done.summary["Mode"], float(done.summary["target_qps"])) == ("FindPeakPerformance", pytest.approx(found["found_qps"], rel=1e-5))
    first = mlperf_reader.first(done.entries)
    assert (first["requested_server_target_qps"], first["effective_target_qps"]) == (100, 100)
    assert len(done.said("generated_query_count")) == len(rates)
    said = done.said("generic_message")
    assert said[:2] == ["Starting FindPeakPerformance mode", "FindPeakPerformance: Check validity of the base settings field: 100.000000"]
    assert said[-1] == f"FindPeakPerformance: Found peak performance field: {found['found_qps']:f}"


# -------------------------------------------------------------------------------------------------------------------------- replayed


def settings_file(folder: Path, **settings: Any) -> Path:
    file = folder / "settings.json"
    seeds = {"qsl_rng_seed": 1, "sample_index_rng_seed": 2, "schedule_rng_seed": 3}
    file.write_text(
        json.dumps({"qsl_total": 200, "qsl_perf": 60, "settings": {"min_duration_ms": 100, "min_query_count": 64} | seeds | settings})
    )
    return file


@pytest.mark.parametrize("suffix", ["json", "parquet"])
@pytest.mark.parametrize(
    ("scenario", "settings"),
    [
        ("server", {"scenario": "Server", "server_target_qps": 2000.0}),
        ("single-stream", {"scenario": "SingleStream", "single_stream_expected_latency_ns": 1e6}),
        ("multi-stream", {"scenario": "MultiStream", "multi_stream_samples_per_query": 3, "multi_stream_expected_latency_ns": 2e6}),
        ("offline", {"scenario": "Offline", "offline_expected_qps": 3000.0}),
    ],
)
def test_traffic_that_was_written_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: str, settings: dict[str, Any], suffix: str
) -> None:
    """Same queries, same samples, same due times as the file; the run is as long as it and says where it came from."""
    file = tmp_path / f"t.{suffix}"
    assert cli.main(["traffic", "--settings", str(settings_file(tmp_path, **settings)), "--out", str(file)]) == ExitCode.OK
    capsys.readouterr()
    width = settings.get("multi_stream_samples_per_query", 8)
    done = replay(tmp_path / "out", scenario, file, samples_per_query=width)
    rows = pq.read_table(file).to_pydict() if suffix == "parquet" else json.loads(file.read_text())
    assert done.columns.query.tolist() == rows["query"]
    assert done.columns.sample.tolist() == rows["sample"]
    if scenario in ("server", "offline"):
        assert done.columns.due_ns.tolist() == rows["due_ns"]
    assert done.run.verdict["valid"], done.run.verdict["reasons"]
    assert done.run.traffic["replayed"]["file"] == str(file)
    assert_served(done.columns)
    assert done.said("generated_query_count") == [len(set(rows["query"]))]


def test_a_former_run_is_played_again(tmp_path: Path) -> None:
    """From its queries.parquet: the same samples at the same times, on two workers; as a closed loop the same samples in the same order."""
    first = measure(tmp_path / "first", "server")
    ledger = str(first.folder / "queries.parquet")
    again = replay(tmp_path / "again", "server", ledger, workers=2, worker_mode="thread")
    assert again.run.verdict["valid"], again.run.verdict["reasons"]
    for name in ("query", "sample", "due_ns"):
        assert getattr(again.columns, name).tolist() == getattr(first.columns, name).tolist()
    single = replay(tmp_path / "single", "single-stream", ledger)
    assert single.columns.sample.tolist() == first.columns.sample.tolist()
    assert single.run.verdict["valid"], single.run.verdict["reasons"]


def test_a_schedule_that_is_replayed_offline_is_asked_at_once(tmp_path: Path) -> None:
    """Latencies count from the start for all: the rate is what the system serves, not what the schedule's own due times would suggest."""
    first = measure(tmp_path / "first", "server")
    ledger = str(first.folder / "queries.parquet")
    done = replay(tmp_path / "again", "offline", ledger, max_batch=1)
    assert (done.columns.due_ns == 0).all()
    assert done.columns.sample.tolist() == first.columns.sample.tolist()
    assert done.run.verdict["metric"]["value"] < 5000 * 1.01


def test_a_maximum_of_queries_cuts_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it cuts a schedule of our own."""
    file = tmp_path / "t.json"
    settings = settings_file(tmp_path, scenario="Server", server_target_qps=2000.0)
    assert cli.main(["traffic", "--settings", str(settings), "--out", str(file)]) == ExitCode.OK
    capsys.readouterr()
    done = replay(tmp_path / "out", "server", file, duration=0.15, max_queries=70)
    assert done.columns.sample.tolist() == json.loads(file.read_text())["sample"][:70]
    assert done.said("error_runtime") == ["IssueQueryThread 0 Ending early: Max query count reached. query_count 70"]


def test_a_trace_that_does_not_fit_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """Samples outside the data name the row; no folder is left."""
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"query": [0, 1], "sample": [3, SAMPLES], "due_ns": [0, 5]}))
    with pytest.raises(DataError, match=f"row 1 asks sample {SAMPLES}, the data has 10,833 samples"):
        replay(tmp_path / "out", "server", file)
    assert list((tmp_path / "out").iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- single settings


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_unique_issue_asks_each_sample_once(tmp_path: Path, scenario: str) -> None:
    """The set in LoadGen's order and no more; a run that ends with it before its time is INVALID, and a closed loop ran out."""
    extra = {"samples_per_query": 5} if scenario == "multi-stream" else {}
    done = measure(tmp_path, scenario, issue="unique", **extra)
    assert done.columns.sample.tolist() == planned(done.run, "PerformanceOnly").phases[0].sample.tolist()
    assert sorted(done.columns.sample.tolist()) == list(range(50))
    assert done.run.exit_code == ExitCode.INVALID
    assert "min_duration" in done.codes
    assert done.summary["Result is"] == "INVALID"
    assert done.said("error_runtime") == ([RAN_OUT] if "stream" in scenario else [])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_issue_asks_one_sample(tmp_path: Path, scenario: str) -> None:
    """The third entry of the loaded set, and in MultiStream those behind it, again and again."""
    done = measure(tmp_path, scenario, issue="same", same_index=3, samples_per_query=2)
    loaded = done.said("loaded_qsl_set")[0]
    wanted = {loaded[3], loaded[4]} if scenario == "multi-stream" else {loaded[3]}
    assert set(done.columns.sample.tolist()) == wanted
    assert done.run.verdict["valid"], done.run.verdict["reasons"]
    assert mlperf_reader.first(done.entries)["effective_performance_issue_same_index"] == 3


@pytest.mark.parametrize("scenario", ["single-stream", "server", "offline"])
def test_concatenation_asks_whole_permutations(tmp_path: Path, scenario: str) -> None:
    """Each 50 samples in a row hold the whole set."""
    done = measure(tmp_path, scenario, concatenate=True)
    whole = done.columns.sample[: len(done.columns.sample) // 50 * 50].reshape(-1, 50)
    assert len(whole) >= 2
    assert (np.sort(whole, axis=1) == np.arange(50)).all()
    made = planned(done.run, "PerformanceOnly").phases[0]
    both = min(len(made.sample), len(done.columns.sample))
    assert done.columns.sample[:both].tolist() == made.sample[:both].tolist()
    assert "WARNING" in done.summary


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream", "server"])
def test_a_maximum_of_queries_ends_the_run(tmp_path: Path, scenario: str) -> None:
    """After exactly as many; LoadGen's sentence and INVALID follow."""
    done = measure(tmp_path, scenario, max_queries=40, samples_per_query=2)
    assert done.run.counts["queries"] == 40
    assert done.run.exit_code == ExitCode.INVALID
    assert done.said("error_runtime") == ["IssueQueryThread 0 Ending early: Max query count reached. query_count 40"]
    assert mlperf_reader.counts(done.entries) == (0, 1)
    assert done.summary["Result is"] == "INVALID"


@pytest.mark.parametrize("scenario", ["single-stream", "server"])
def test_a_maximum_duration_ends_the_run(tmp_path: Path, scenario: str) -> None:
    """With the first query that is issued later; its time is told."""
    done = measure(tmp_path, scenario, max_duration=0.15, min_queries=5000)
    last_ns = int(done.columns.due_ns[-1])
    assert last_ns > 150_000_000 >= done.columns.due_ns[-2]
    assert done.said("error_runtime") == [f"IssueQueryThread 0 Ending early: Max test duration reached. duration_ns {last_ns}"]


@pytest.mark.parametrize(
    ("workers", "batching"),
    [({}, "fifo"), ({}, "sorted"), ({"workers": 2, "worker_mode": "thread"}, "sorted"), ({"workers": 2, "worker_mode": "process"}, "fifo")],
)
def test_too_many_unanswered_queries_end_the_run(tmp_path: Path, workers: dict[str, Any], batching: str) -> None:
    """At the first query that its own stamps say is one too many, and nowhere else; what was asked is answered, and the log says how many
    were outstanding."""
    done = measure(tmp_path, "server", backend="null:3ms", max_async=20, max_batch=1, batching=batching, target_qps=5000, **workers)
    due, finished = done.columns.due_ns, np.sort(done.columns.done_ns)
    outstanding = np.arange(1, len(due) + 1) - np.searchsorted(finished, due, side="right")
    assert (outstanding[:-1] <= 20).all()
    assert outstanding[-1] == 21
    assert done.said("error_runtime") == [
        f"IssueQueryThread 0 Ending early: Too many outstanding queries. issued {len(due)} outstanding 21"
    ]
    assert_served(done.columns)
    assert done.run.exit_code == ExitCode.INVALID
    assert done.run.complete


def test_few_unanswered_queries_do_not_end_the_run(tmp_path: Path) -> None:
    """More than ever wait: the whole schedule is played."""
    done = measure(tmp_path, "server", max_async=100_000)
    assert done.columns.due_ns.tolist() == planned(done.run, "PerformanceOnly").phases[0].due_ns.tolist()  # type: ignore[union-attr]
    assert done.said("error_runtime") == []


def test_a_trace_is_json_with_an_event_for_every_sample(tmp_path: Path) -> None:
    """Due times and latencies of the ledger, to the nanosecond."""
    done = measure(tmp_path, "server", trace=True)
    text = (done.folder / "mlperf_log_trace.json").read_text()
    events: Sequence[dict[str, Any]] = json.loads(text)["traceEvents"]
    begins = [event for event in events if event["name"] == "Sample" and event["ph"] == "b"]
    assert len(begins) == len(done.columns.sample)
    found = mlperf_reader.samples(text)
    order = np.argsort(found.sequence)
    assert (found.due_ns[order] - found.due_ns.min()).tolist() == done.columns.due_ns.tolist()
    assert found.latency_ns[order].tolist() == done.columns.latency_ns.tolist()
    assert found.sample[order].tolist() == done.columns.sample.tolist()
    assert done.run.files["mlperf_log_trace"] == "mlperf_log_trace.json"


def test_test05_and_the_round_change_the_seeds_of_a_run(tmp_path: Path) -> None:
    """The seeds in the detail log are those of the run, and another round asks other samples."""
    runs = [measure(tmp_path / str(i), "server", **each) for i, each in enumerate(({}, {"test05": True}, {"round": "v5.0"}))]
    seeds = [mlperf_reader.first(run.entries)["effective_sample_index_rng_seed"] for run in runs]
    assert seeds == [2747215439041700203, 11403566307062068064, 15036839855038426416]
    assert len({tuple(run.columns.sample[:50].tolist()) for run in runs}) == 3


def test_modes_that_exclude_one_another_leave_no_folder(tmp_path: Path) -> None:
    """Refused before anything is loaded."""
    with pytest.raises(UsageError, match="--find-peak is not for offline"):
        measure(tmp_path, "offline", find_peak="loadgen")
    assert list(tmp_path.iterdir()) == []


def test_recorded_queries_of_another_size_are_refused(tmp_path: Path) -> None:
    """Queries of one sample are less work than multi-stream's eight, and no run of it."""
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"query": [0, 1, 2], "sample": [3, 4, 5], "due_ns": [0, 1, 2]}))
    with pytest.raises(DataError, match="queries of 1 samples, multi-stream asks 8 at a time"):
        replay(tmp_path / "out", "multi-stream", file)
    same = tmp_path / "same.json"
    same.write_text(json.dumps({"query": [0, 0, 0], "sample": [3, 4, 5], "due_ns": [0, 1, 2]}))
    with pytest.raises(DataError, match="queries of 3 samples, server asks 1 at a time"):
        replay(tmp_path / "out", "server", same)


def test_a_replay_says_so_on_its_card_and_in_its_log(tmp_path: Path) -> None:
    """Recorded traffic is no traffic by the rules: the card marks it, and the detail log warns."""
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"query": list(range(70)), "sample": [0] * 70, "due_ns": [1000 * row for row in range(70)]}))
    done = replay(tmp_path / "out", "server", file)
    assert "replayed traffic, 70 queries" in card.make(done.run).marks
    assert done.said("warning_generic_message") == [f"Traffic was replayed from {file}, not generated from the seeds."]


@pytest.mark.official
@pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed")
@pytest.mark.parametrize("mode", ["accuracy", "submission"])
def test_the_official_loadgen_plays_every_mode(tmp_path: Path, mode: str) -> None:
    """An accuracy run has no verdict of its own, a submission run has its accuracy logs apart; the cards say who made the traffic. Calls
    of 4 ms: handing hundreds of thousands of samples over takes Python some ms, by which the two engines' stamps would differ."""
    done = measure(tmp_path, "offline", backend="null:4ms", engine="mlcommons", mode=mode, target_qps=10_000, min_queries=500)
    assert done.run.exit_code == ExitCode.OK, done.run.verdict
    logs = done.folder if mode == "accuracy" else done.folder / "accuracy"
    assert len(mlperf_accuracy.read((logs / "mlperf_log_accuracy.json").read_text())) == 120
    said = dict(card.make(done.run).rows)["official LoadGen"]
    assert said.endswith("an accuracy run has no verdict" if mode == "accuracy" else "agrees with Assay's own verdict and figures")


def test_whole_permutations_without_an_expected_rate_are_valid_in_the_log_too(tmp_path: Path) -> None:
    """The expected latency decides how many whole permutations there must be: the log holds the one that was played, not a measured one."""
    done = measure(tmp_path, "single-stream", target_qps=None, concatenate=True, min_queries=100)
    assert done.run.verdict["valid"], done.run.verdict["reasons"]
    assert done.summary["Result is"] == "VALID"
    assert mlperf_reader.first(done.entries)["effective_target_qps"] == 1
