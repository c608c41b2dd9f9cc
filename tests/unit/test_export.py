"""Submissions laid out from stored runs: every file of both layouts, every refusal, and a tree that is whole or not there."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.commands.export import add_arguments, execute
from harness.errors import AssayError, DataError, MissingError, UsageError
from harness.flags import Parser
from harness.loadgen import Requested
from harness.mlperf import rounds
from harness.mlperf.conf import from_config
from harness.submission import checks as export_checks
from harness.submission.files import CUT, SHOWN, plain, short_log, user_conf
from harness.submission.folder import Exported, Submission, export
from harness.submission.runs import read, read_detail
from harness.submission.texts import LEGEND, UNVERIFIED, not_submittable
from tests import export_examples as examples
from tests.export_examples import accuracy_log, complaints, complete, run_folder, system_file

V6_SCENARIO = [
    "README.md",
    "TEST01/accuracy/accuracy.txt",
    "TEST01/accuracy/mlperf_log_accuracy.json",
    "TEST01/performance/run_1/mlperf_log_detail.txt",
    "TEST01/performance/run_1/mlperf_log_summary.txt",
    "TEST01/verify_accuracy.txt",
    "TEST01/verify_performance.txt",
    "accuracy/accuracy.txt",
    "accuracy/mlperf_log_accuracy.json",
    "accuracy/mlperf_log_detail.txt",
    "accuracy/mlperf_log_summary.txt",
    "measurements.json",
    "performance/run_1/mlperf_log_detail.txt",
    "performance/run_1/mlperf_log_summary.txt",
    "user.conf",
]
V5_FILES = [
    "calibration.md",
    "code/bert-99/README.md",
    "code/bert-99/box/Offline/README.md",
    "code/bert-99/box/Offline/accuracy.yaml",
    "code/bert-99/box/Offline/performance.yaml",
    "code/bert-99/box/Offline/test01.yaml",
    "compliance/box/bert-99/Offline/TEST01/accuracy/accuracy.txt",
    "compliance/box/bert-99/Offline/TEST01/accuracy/mlperf_log_accuracy.json",
    "compliance/box/bert-99/Offline/TEST01/performance/run_1/mlperf_log_detail.txt",
    "compliance/box/bert-99/Offline/TEST01/performance/run_1/mlperf_log_summary.txt",
    "compliance/box/bert-99/Offline/TEST01/verify_accuracy.txt",
    "compliance/box/bert-99/Offline/TEST01/verify_performance.txt",
    "measurements/box/bert-99/Offline/README.md",
    "measurements/box/bert-99/Offline/box_Offline.json",
    "measurements/box/bert-99/Offline/user.conf",
    "results/box/bert-99/Offline/accuracy/accuracy.txt",
    "results/box/bert-99/Offline/accuracy/mlperf_log_accuracy.json",
    "results/box/bert-99/Offline/accuracy/mlperf_log_detail.txt",
    "results/box/bert-99/Offline/accuracy/mlperf_log_summary.txt",
    "results/box/bert-99/Offline/performance/run_1/mlperf_log_detail.txt",
    "results/box/bert-99/Offline/performance/run_1/mlperf_log_summary.txt",
    "systems/box.json",
]


@pytest.fixture
def wanted(tmp_path: Path) -> Submission:
    """Open, with a description that is complete."""
    return Submission(out=tmp_path / "tree", division="open", submitter="ACME", system=system_file(tmp_path / "box.json"))


def both(tmp_path: Path, **given: Any) -> list[Path]:
    return [*complete(tmp_path / "runs", **given), *complete(tmp_path / "runs", "single-stream", **given)]


def files(tree: Path) -> list[str]:
    return sorted(str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file())


def refused(folders: list[Path], wanted: Submission) -> str:
    """The message of the refusal; nothing is left behind."""
    before = sorted(wanted.out.parent.iterdir())
    with pytest.raises(UsageError) as caught:
        export(folders, wanted)
    assert sorted(wanted.out.parent.iterdir()) == before
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------------- layout


def test_closed_v6_has_these_files_and_no_others(tmp_path: Path, wanted: Submission) -> None:
    """A closed submission of round v6.1 holds exactly the files of its layout, and the checker has nothing to say."""
    made = export(both(tmp_path), replace(wanted, division="closed"))
    scenarios = ["Offline", "SingleStream"]
    expected = [f"results/box/bert-99/{scenario}/{name}" for scenario in scenarios for name in V6_SCENARIO]
    parts = ["README.md", "accuracy.yaml", "performance.yaml", "test01.yaml"]
    expected += [f"src/bert-99/box/{scenario}/{part}" for scenario in scenarios for part in parts]
    expected += ["documentation/calibration.md", "src/bert-99/README.md", "systems/box.json"]
    assert files(wanted.out) == sorted(f"closed/ACME/{name}" for name in expected) == sorted(made.files)
    assert complaints(wanted.out, "v6.1") == []


@pytest.mark.parametrize("round_", ["v5.0", "v5.1"])
def test_v5_has_its_own_layout(tmp_path: Path, wanted: Submission, round_: str) -> None:
    """Rounds v5.0 and v5.1 keep measurements, compliance and code apart from results."""
    wanted = replace(wanted, division="closed")
    export(both(tmp_path, round_=round_), wanted)
    assert complaints(wanted.out, round_) == []
    assert [name for name in files(wanted.out) if "SingleStream" not in name] == [f"closed/ACME/{name}" for name in V5_FILES]


@pytest.mark.parametrize("round_", rounds.ROUNDS)
@pytest.mark.parametrize("scenario", list(examples.NAMES))
def test_open_takes_any_scenario_alone(tmp_path: Path, wanted: Submission, round_: str, scenario: str) -> None:
    """Open needs neither the other scenario nor TEST01 nor calibration.md, in every round."""
    made = export(complete(tmp_path / "runs", scenario, round_=round_)[:2], wanted)
    assert made.findings == ()
    assert complaints(wanted.out, round_) == []
    assert not any("calibration" in name or "TEST01" in name for name in made.files)


def test_submission_run_serves_as_both(tmp_path: Path, wanted: Submission) -> None:
    """The logs of one submission run become those of performance and of accuracy."""
    folder = run_folder(tmp_path, "both", mode="submission")
    export([folder], wanted)
    root = wanted.out / "open/ACME/results/box/bert-99/Offline"
    log = (folder / "mlperf_log_detail.txt").read_bytes()
    assert (root / "performance/run_1/mlperf_log_detail.txt").read_bytes() == log == (root / "accuracy/mlperf_log_detail.txt").read_bytes()
    assert complaints(wanted.out, "v6.1") == []


def test_accuracy_logs_that_lie_apart_are_found(tmp_path: Path, wanted: Submission) -> None:
    """Of a submission run of the official LoadGen, which are two tests, each part gets its own logs."""
    folder = run_folder(tmp_path, "both", mode="submission")
    other = run_folder(tmp_path, "other", mode="accuracy", log={"sut_name": "the accuracy test"})
    (folder / "mlperf_log_accuracy.json").write_bytes(accuracy_log(0))
    (folder / "accuracy").mkdir()
    for name in ("mlperf_log_accuracy.json", "mlperf_log_detail.txt", "mlperf_log_summary.txt"):
        (other / name).rename(folder / "accuracy" / name)
    export([folder], wanted)
    root = wanted.out / "open/ACME/results/box/bert-99/Offline"
    assert (root / "performance/run_1/mlperf_log_detail.txt").read_bytes() == (folder / "mlperf_log_detail.txt").read_bytes()
    assert (root / "accuracy/mlperf_log_detail.txt").read_bytes() == (folder / "accuracy/mlperf_log_detail.txt").read_bytes()
    assert complaints(wanted.out, "v6.1") == []


def test_run_json_may_be_named_itself(tmp_path: Path, wanted: Submission) -> None:
    """A run can be given as its run.json; the logs are taken from beside it."""
    export([run_folder(tmp_path, "both", mode="submission") / "run.json"], wanted)
    assert complaints(wanted.out, "v6.1") == []


def test_own_model_is_mapped_to_the_benchmark(tmp_path: Path, wanted: Submission) -> None:
    """--model-mapping names the folder of the benchmark and writes model_mapping.json, which a second model joins."""
    runs = complete(tmp_path / "runs")[:2]
    export(runs, replace(wanted, mapped_name="my-bert"))
    export(runs, replace(wanted, mapped_name="other", benchmark="bert-99.9"))
    assert json.loads((wanted.out / "open/ACME/model_mapping.json").read_text()) == {"my-bert": "bert-99", "other": "bert-99.9"}
    assert {folder.name for folder in (wanted.out / "open/ACME/results/box").iterdir()} == {"my-bert", "other"}


# ----------------------------------------------------------------------------------------------------------------------------- files


def test_accuracy_text_and_short_log(tmp_path: Path, wanted: Submission) -> None:
    """accuracy.txt holds the line with the scores and the hash of the whole log; of the log the two ends are kept."""
    folders = complete(tmp_path / "runs")[:2]
    export(folders, wanted)
    accuracy = wanted.out / "open/ACME/results/box/bert-99/Offline/accuracy"
    whole = (folders[1] / "mlperf_log_accuracy.json").read_bytes()
    assert (accuracy / "accuracy.txt").read_text() == (
        f'{{"exact_match": 83.68968779564806, "f1": 90.87487229720105}}\nhash={examples.sha256(folders[1] / "mlperf_log_accuracy.json")}\n'
    )
    kept = (accuracy / "mlperf_log_accuracy.json").read_bytes()
    assert kept == whole[:4096] + b"\n\n...\n\n" + whole[-4096:]
    assert len(kept) == 8199


@given(size=st.integers(0, 3 * SHOWN))
def test_short_log_of_any_size(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    """A log of fewer than 4,096 bytes is kept whole; any other becomes 8,199 bytes that begin and end as it does."""
    file = tmp_path_factory.getbasetemp() / "log"
    file.write_bytes(whole := bytes(index % 251 for index in range(size)))
    short = short_log(file)
    assert (short.size, short.sha256) == (size, examples.sha256(file))
    assert short.kept == whole if size < SHOWN else short.kept == whole[:SHOWN] + CUT + whole[-SHOWN:]


@given(value=st.floats(0, 100))
def test_scores_are_written_in_digits_and_a_point(value: float) -> None:
    """A score is written as the pattern of the checker wants it, and reads back as the same number."""
    assert re.fullmatch(r"[\d.]+", plain(value))
    assert float(plain(value)) == value


def test_audit_text_keeps_what_the_audit_wrote(tmp_path: Path, wanted: Submission) -> None:
    """TEST01's accuracy.txt is the audit's own with the hash of the whole log; an old hash goes."""
    folders = complete(tmp_path / "runs")
    (folders[2] / "accuracy.txt").write_text('{"exact_match": 80.0, "f1": 88.5}\nhash=0123\n')
    export(folders, wanted)
    text = (wanted.out / "open/ACME/results/box/bert-99/Offline/TEST01/accuracy/accuracy.txt").read_text()
    assert text == f'{{"exact_match": 80.0, "f1": 88.5}}\nhash={examples.sha256(folders[2] / "mlperf_log_accuracy.json")}\n'


@pytest.mark.parametrize(
    ("scenario", "resolved", "expected"),
    [
        ("offline", {"target_qps": 12.5}, {"offline_expected_qps": 12.5, "min_query_count": 10833}),
        (
            "server",
            {"target_qps": 50.0, "latency_bound_ns": 130_000_000},
            {"server_target_qps": 50.0, "server_target_latency_ns": 130_000_000},
        ),
        ("single-stream", {"target_qps": 80.0, "percentile": 0.9}, {"single_stream_expected_latency_ns": 12_500_000.0}),
        ("multi-stream", {"target_qps": 8.0, "samples_per_query": 4}, {"multi_stream_samples_per_query": 4}),
        ("server", {"target_qps": 0.00001, "percentile": 0.95}, {"server_target_qps": 0.00001, "server_target_latency_percentile": 0.95}),
    ],
)
def test_user_conf_is_what_loadgen_reads(tmp_path: Path, scenario: str, resolved: dict[str, Any], expected: dict[str, Any]) -> None:
    """LoadGen's reader takes from user.conf the settings that the run was played with."""
    folder = run_folder(
        tmp_path, "run", scenario, config={"resolved": {"min_queries": 10833, "performance_sample_count": 10833, **resolved}}
    )
    code, settings = from_config(Requested(), user_conf(read(folder)), "bert", examples.NAMES[scenario])
    assert code == 0
    assert settings.min_duration_ms == 600_000
    assert settings.performance_sample_count_override == 10_833
    assert {name: getattr(settings, name) for name in expected} == pytest.approx(expected)


def test_measurements_say_what_ran(tmp_path: Path, wanted: Submission) -> None:
    """measurements.json tells precision, weights and how they were turned from the backend's own description."""
    backend = {
        "runtime": "pytorch",
        "version": "2.6.0",
        "precision": "amp",
        "matmul_dtype": "bfloat16",
        "method": "autocast",
        "device": "cpu",
    }
    export(complete(tmp_path / "runs", backend=backend)[:2], replace(wanted, retraining="None"))
    values = json.loads((wanted.out / "open/ACME/results/box/bert-99/Offline/measurements.json").read_text())
    assert values["weight_data_types"] == "bf16"
    assert values["weight_transformations"] == "FP32 weights are turned into bf16 by pytorch (autocast)"
    assert values["retraining"] == "None"


def test_backend_without_model_leaves_no_field_empty(tmp_path: Path, wanted: Submission) -> None:
    """Even of a run without weights, which only --allow-incomplete lays out, the five fields say something."""
    export([run_folder(tmp_path, "p", model=None, backend={"runtime": "null", "device": "none"})], replace(wanted, incomplete=True))
    values = json.loads((wanted.out / "open/ACME/results/box/bert-99/Offline/measurements.json").read_text())
    assert values == {"input_data_types": "int64", "retraining": "No"} | dict.fromkeys(examples.MEASURED[2:], "none")


def test_settings_repeat_the_run_and_name_no_folder_of_this_machine(tmp_path: Path, wanted: Submission) -> None:
    """The source folder holds each run's settings without nulls, resolved values and paths."""
    export(complete(tmp_path / "runs")[:2], wanted)
    folder = wanted.out / "open/ACME/src/bert-99/box/Offline"
    assert json.loads((folder / "accuracy.yaml").read_text()) == {
        "scenario": "offline",
        "task": "squad",
        "backend": "pytorch:fp32",
        "model": "bert-large-squad",
        "rules": "mlperf",
        "mode": "accuracy",
        "engine": "mlcommons",
        "round": "v6.1",
    }
    assert "commit c0ffee" in (folder / "README.md").read_text()
    assert not [name for name in files(wanted.out) if b"/home/me" in (wanted.out / name).read_bytes()]


def test_scores_are_marked_unverified(tmp_path: Path, wanted: Submission) -> None:
    """The word unverified stands beside each score, the prescribed sentences under it, and no registered sign anywhere."""
    made = export(complete(tmp_path / "runs")[:2], wanted)
    text = (wanted.out / "open/ACME/results/box/bert-99/Offline/README.md").read_text()
    assert "Score: unverified 20 samples/s" in text
    assert "Accuracy: unverified F1 90.87487229720105" in text
    for said in (text, made.footnote):
        assert f"Unverified MLPerf™ v6.1 Inference Open bert-99 Offline. {UNVERIFIED}\n{LEGEND}" in said
    assert "offline-a`, 649,429 bytes, sha256 " in text
    assert made.scores == ("Offline: unverified 20 samples/s",)
    assert not [name for name in files(wanted.out) if "®" in (wanted.out / name).read_text()]


@pytest.mark.parametrize(("precision", "said"), [("float32", "FP32, as the model's file holds them"), ("bfloat16", "computed in bf16")])
def test_calibration_says_that_nothing_was_quantised(tmp_path: Path, wanted: Submission, precision: str, said: str) -> None:
    """Without quantisation calibration.md states the precision and that no calibration data was used."""
    backend = {"runtime": "pytorch", "version": "2.6.0", "matmul_dtype": precision, "device": "cpu"}
    export(both(tmp_path, backend=backend), replace(wanted, division="closed"))
    text = (wanted.out / "closed/ACME/documentation/calibration.md").read_text()
    assert said in text
    assert "No quantisation was done" in text


def test_calibration_of_quantised_weights_is_the_submitters(tmp_path: Path, wanted: Submission) -> None:
    """For int8 the file that is given becomes calibration.md, byte for byte; one that is not there is refused."""
    note = tmp_path / "how.md"
    runs = both(tmp_path, backend=INT8)
    closed = replace(wanted, division="closed", calibration=note, system=system_file(tmp_path / "box2.json", framework="ONNX Runtime 1.2"))
    with pytest.raises(MissingError, match=r"--calibration: .*how\.md"):
        export(runs, closed)
    note.write_text("per tensor, 100 questions\n")
    export(runs, closed)
    assert (wanted.out / "closed/ACME/documentation/calibration.md").read_text() == "per tensor, 100 questions\n"


# ------------------------------------------------------------------------------------------------------------------------- refusals

INT8 = {"runtime": "onnxruntime", "version": "1.2", "precision": "int8", "device": "cpu"}
SMALL = {"name": "mine", "sha256": "cd", "parameters": 22_000_000, "bytes": 1}
BUILT_IN = {"cpu": {"model": "Some CPU"}, "data": {"name": "built-in sample set", "comparable": False}}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"log": {"result_validity": "INVALID"}}, "result_validity is INVALID"),
        ({"log": {"num_errors": 2}}, "2 error(s) in the log"),
        ({"errors": ("boom",)}, "1 error(s) in the log, the first: error_runtime: boom"),
        ({"log": {"qsl_reported_total_count": 240}}, "the sample library has 240 samples, not 10,833"),
        ({"log": {"effective_performance_sample_count": 1024}}, "effective_performance_sample_count is 1024, needs 10833"),
        ({"log": {"effective_min_duration_ms": 60_000}}, "effective_min_duration_ms is 60000, needs 600000"),
        ({"log": {"result_min_duration_met": False}}, "result_min_duration_met is False"),
        ({"log": {"result_min_queries_met": None}}, "result_min_queries_met is None"),
        ({"log": {"effective_samples_per_query": 660}}, "the query has 660 samples, needs 10833"),
        ({"log": {"effective_qsl_rng_seed": 1}}, "effective_qsl_rng_seed is 1, that of v6.1 is 2085463073848966840"),
        ({"log": {"effective_schedule_rng_seed": 0}}, "effective_schedule_rng_seed is 0"),
        ({"log": {"effective_performance_issue_same": True}}, "effective_performance_issue_same is set"),
        ({"log": {"effective_scenario": "Server"}}, "the log is of scenario Server"),
        ({"log": {"effective_test_mode": "FindPeakPerformance"}}, "the log is of mode FindPeakPerformance"),
        ({"config": {"engine": "native"}}, "the traffic was made by Assay's engine; all submissions must use LoadGen itself"),
        ({"complete": False}, "the run did not end as it should"),
        ({"model": None}, "the backend is no model"),
        ({"conditions": BUILT_IN}, "the questions were not SQuAD v1.1 dev but built-in sample set"),
    ],
)
def test_performance_run_that_breaks_a_rule_is_refused(tmp_path: Path, wanted: Submission, changed: dict[str, Any], said: str) -> None:
    """Each rule of a performance run is refused by its own sentence, in open too."""
    runs = [run_folder(tmp_path / "runs", "p", **changed), run_folder(tmp_path / "runs", "a", mode="accuracy")]
    message = refused(runs, wanted)
    assert f"Offline performance (p): {said}" in message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accuracy": None}, "the run holds no exact_match and f1"),
        ({"accuracy": {"scores": examples.SCORES, "limited": True}}, "only a part of the answers was scored"),
        ({"log": {"effective_accuracy_sample_count": 100}}, "only 100 samples were asked for accuracy"),
        ({"errors": ("boom",)}, "1 error(s) in the log"),
        ({"log": {"effective_test_mode": "PerformanceOnly"}}, "the log is of mode PerformanceOnly"),
    ],
)
def test_accuracy_run_that_breaks_a_rule_is_refused(tmp_path: Path, wanted: Submission, changed: dict[str, Any], said: str) -> None:
    """Each rule of an accuracy run is refused by its own sentence, in open too."""
    runs = [run_folder(tmp_path / "runs", "p"), run_folder(tmp_path / "runs", "a", mode="accuracy", **changed)]
    assert f"Offline accuracy (a): {said}" in refused(runs, wanted)


@pytest.mark.parametrize(
    ("gate", "f1", "passes"),
    [("bert-99", 89.96526, True), ("bert-99", 89.96525, False), ("bert-99.9", 90.783126, True), ("bert-99.9", 90.7831, False)],
)
def test_closed_holds_f1_against_its_gate(tmp_path: Path, wanted: Submission, gate: str, f1: float, passes: bool) -> None:
    """F1 must reach 99 or 99.9 % of 90.874 in closed; in open it is only reported."""
    runs = both(tmp_path, accuracy={"scores": {"exact_match": 80.0, "f1": f1}, "limited": False})
    export(runs, replace(wanted, benchmark=gate))
    closed = replace(wanted, benchmark=gate, division="closed", out=wanted.out.with_name("closed"))
    if passes:
        assert export(runs, closed).findings == ()
    else:
        assert f"F1 {f1} is below the gate of {gate}" in refused(runs, closed)


def test_early_stopping_must_be_met_but_in_offline(tmp_path: Path, wanted: Submission) -> None:
    """A single-stream run without early stopping is refused with what LoadGen said of it; Offline has none."""
    unmet = {"log": {"early_stopping_met": False, "early_stopping_result": " * Only processed 20 queries.  * Need 64."}}
    runs = [run_folder(tmp_path / "s", "p", "single-stream", **unmet), run_folder(tmp_path / "s", "a", "single-stream", "accuracy")]
    assert "early stopping is not met (* Only processed 20 queries. * Need 64.); run more queries" in refused(runs, wanted)
    assert export([run_folder(tmp_path / "o", "p", **unmet), run_folder(tmp_path / "o", "a", mode="accuracy")], wanted).findings == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"log": {"effective_accuracy_log_sampling_target": 0}}, "the audit settings were not in force"),
        ({"log": {"effective_min_duration_ms": 1000}}, "effective_min_duration_ms is 1000"),
        ({"passed": False}, "verify_accuracy.txt does not say TEST PASS"),
    ],
)
def test_audit_that_did_not_pass_is_refused(tmp_path: Path, wanted: Submission, changed: dict[str, Any], said: str) -> None:
    """TEST01 needs its audit settings, a performance log that passes, and both verdicts."""
    runs = [*complete(tmp_path / "runs")[:2], examples.audited_folder(tmp_path / "runs", "t", **changed)]
    assert f"Offline test01 (t): {said}" in refused(runs, wanted)


@pytest.mark.parametrize(("baseline", "passes"), [(90.0, True), (89.2, True), (88.0, False)])
def test_equal_f1_excuses_answers_that_differ(tmp_path: Path, wanted: Submission, baseline: float, passes: bool) -> None:
    """A failed comparison passes if the F1 of both subsets differ by 1 % at most, and the two files are laid out."""
    folder = examples.audited_folder(tmp_path / "runs", "t", passed=False)
    for name, f1 in (("baseline_accuracy.txt", baseline), ("compliance_accuracy.txt", 90.0)):
        (folder / name).write_text(f'{{"exact_match": 80.0, "f1": {f1}}}\n')
    runs = [*complete(tmp_path / "runs")[:2], folder]
    if not passes:
        assert f"their F1, {baseline} and 90.0, by more than 1 %" in refused(runs, wanted)
        return
    export(runs, wanted)
    assert (wanted.out / "open/ACME/results/box/bert-99/Offline/TEST01/accuracy/baseline_accuracy.txt").is_file()


def test_closed_lists_all_that_is_missing_at_once(tmp_path: Path, wanted: Submission) -> None:
    """Scenarios, parts, TEST01, the model, how weights were quantised and what was trained are asked for in one message."""
    runs = [run_folder(tmp_path / "runs", "p", backend=INT8, model=SMALL, config={"backend": "onnxruntime:int8"})]
    message = refused(runs, replace(wanted, division="closed"))
    for said in (
        "--calibration: the weights are quantised; how is not known",
        "--retraining: what was trained of mine is not known",
        "closed bert-99: no runs of SingleStream",
        "Offline: no accuracy run",
        "Offline: no TEST01 run",
        "the model has 22,000,000 parameters and is not BERT-Large",
    ):
        assert said in message


def test_closed_has_neither_server_nor_datacenter(tmp_path: Path, wanted: Submission) -> None:
    """Scenarios and system types that BERT's suite does not have since v5.0 are refused in closed."""
    runs = [*both(tmp_path), run_folder(tmp_path / "more", "sub", "server", "submission")]
    system_file(wanted.system, system_type="datacenter")
    message = refused(runs, replace(wanted, division="closed"))
    assert "Server is not in the BERT suite since v5.0" in message
    assert "BERT is not in the datacenter suite since v5.0" in message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config": {"backend": "onnxruntime:int8"}}, "Offline: the parts were not made the same way"),
        ({"model": {"name": "bert-large-squad", "sha256": "other", "parameters": 334_094_338, "bytes": 1}}, "not made the same way"),
        ({"conditions": {"cpu": {"model": "Another CPU"}, "data": {"comparable": True}}}, "on different machines: Another CPU; Some CPU"),
    ],
)
def test_parts_must_belong_together(tmp_path: Path, wanted: Submission, changed: dict[str, Any], said: str) -> None:
    """Performance and accuracy of another backend, model or machine are refused."""
    runs = [run_folder(tmp_path / "runs", "p"), run_folder(tmp_path / "runs", "a", mode="accuracy", **changed)]
    assert said in refused(runs, wanted)


def test_two_runs_for_one_part_are_refused(tmp_path: Path, wanted: Submission) -> None:
    """Which of two performance runs is meant is not guessed."""
    runs = [run_folder(tmp_path / "runs", name) for name in ("p", "q")]
    assert "two runs for Offline, performance" in refused(runs, wanted)


def test_rounds_may_not_be_mixed(tmp_path: Path, wanted: Submission) -> None:
    """Runs of different rounds are refused; with --round, the seeds of the other ones are."""
    runs = [run_folder(tmp_path / "runs", "p", round_="v6.0"), run_folder(tmp_path / "runs", "a", mode="accuracy")]
    assert "the runs were made for different rounds: v6.0, v6.1" in refused(runs, wanted)
    assert "effective_qsl_rng_seed is 2465351861681999779, that of v6.1 is" in refused(runs, replace(wanted, round="v6.1"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"submitter": "A B"}, "--submitter: 'A B' cannot name a folder"),
        ({"submitter": ""}, "--submitter: '' cannot name a folder"),
        ({"submitter": ".hidden"}, "--submitter: '.hidden'"),
        ({"system_name": "../x"}, "--system-name: '../x'"),
        ({"mapped_name": "my model"}, "--model-mapping: 'my model'"),
        ({"division": "network"}, "--division: 'network' is no choice"),
        ({"benchmark": "bert"}, "--benchmark: 'bert' is no choice"),
        ({"status": "sold"}, "--availability: 'sold' is no choice"),
        ({"division": "closed", "mapped_name": "mine"}, "--model-mapping is for the open division"),
        ({"round": "v4.1"}, "round v4.1 is not built in"),
    ],
)
def test_choices_that_cannot_be(tmp_path: Path, wanted: Submission, changed: dict[str, Any], said: str) -> None:
    """Names that no tree may hold and words that are no choice are refused before anything is written."""
    assert said in refused(complete(tmp_path / "runs")[:2], replace(wanted, **changed))


@pytest.mark.parametrize("name", ["mlperf_log_detail.txt", "mlperf_log_summary.txt", "mlperf_log_accuracy.json"])
def test_run_without_logs_is_refused(tmp_path: Path, wanted: Submission, name: str) -> None:
    """A folder that lacks one of LoadGen's logs is named with the file."""
    folder = run_folder(tmp_path, "a", mode="accuracy")
    (folder / name).unlink()
    with pytest.raises(MissingError, match=name):
        export([folder], wanted)


def test_damaged_detail_log_names_the_line(tmp_path: Path) -> None:
    """A line that is no entry is refused with file and number."""
    file = tmp_path / "mlperf_log_detail.txt"
    examples.write_detail(file, {"a": 1})
    file.write_text(file.read_text() + ':::MLLOG {"key"\n')
    with pytest.raises(DataError, match=r"mlperf_log_detail\.txt: .*line 2"):
        read_detail(file)


GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "logs"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden logs: set ASSAY_GOLDEN")
def test_logs_of_loadgen_are_judged_as_it_judged_them(tmp_path: Path, wanted: Submission) -> None:
    """Logs that the official LoadGen wrote are read: a short run that it calls VALID is refused for its settings, with its error count."""
    runs = [run_folder(tmp_path / "runs", name, "single-stream") for name in ("ss_valid", "ss_invalid_ran_out")]
    for folder in runs:
        for name in ("mlperf_log_detail.txt", "mlperf_log_summary.txt"):
            (folder / name).write_bytes((GOLDEN / folder.name / name).read_bytes())
    valid, invalid = (refused([folder], wanted) for folder in runs)
    assert "result_validity" not in valid
    assert "error(s) in the log" not in valid
    assert "effective_min_duration_ms is 800, needs 600000" in valid
    assert "result_validity is INVALID" in invalid
    assert "1 error(s) in the log, the first: error_runtime: " in invalid


# ---------------------------------------------------------------------------------------------------------------------------- system


def test_missing_description_is_written_and_asked_for_once(tmp_path: Path, wanted: Submission) -> None:
    """A description that does not exist is written with what is known; one message lists the rest; filled in, the same command passes."""
    runs, wanted = complete(tmp_path / "runs")[:2], replace(wanted, system=tmp_path / "new.json")
    with pytest.raises(UsageError) as caught:
        export(runs, wanted)
    asked = [line.strip().partition(":")[0] for line in str(caught.value).splitlines()[2:]]
    fields = json.loads(wanted.system.read_text())
    assert asked == [name for name in examples.NOT_EMPTY if not fields[name]]
    assert {"cooling", "host_networking", "host_memory_configuration"} <= set(asked)
    assert not wanted.out.exists()
    wanted.system.write_text(json.dumps(fields | dict.fromkeys(asked, "1")))
    export(runs, wanted)
    assert complaints(wanted.out, "v6.1") == []
    assert (wanted.out / "open/ACME/systems/new.json").is_file()


def test_description_that_contradicts_is_refused(tmp_path: Path, wanted: Submission) -> None:
    """Another division, submitter or framework in the description than in the command and the runs is refused."""
    system_file(wanted.system, division="closed", submitter="Other", framework="TensorRT 10", accelerators_per_node="8")
    message = refused(complete(tmp_path / "runs")[:2], wanted)
    assert "division: it says 'closed' and --division says 'open'" in message
    assert "submitter: it says 'Other' and --submitter says 'ACME'" in message
    assert "framework: it says 'TensorRT 10', the runs were made with PyTorch 2.6.0" in message
    assert "accelerators_per_node: it says '8', the runs used 0" in message


@pytest.mark.parametrize(
    ("option", "said", "folder"),
    [("", "rack-1", "rack-1"), ("", "Rack 1, left", "box"), ("mine", "rack-1", "mine")],
)
def test_folder_of_the_system(tmp_path: Path, wanted: Submission, option: str, said: str, folder: str) -> None:
    """The folder is called as --system-name says, else as the description says if it can, else as the file."""
    system_file(wanted.system, system_name=said)
    export(complete(tmp_path / "runs")[:2], replace(wanted, system_name=option))
    assert (wanted.out / f"open/ACME/systems/{folder}.json").is_file()
    assert json.loads((wanted.out / f"open/ACME/systems/{folder}.json").read_text())["system_name"] == said


def test_system_without_a_name_for_a_folder_is_refused(tmp_path: Path, wanted: Submission) -> None:
    """Where neither the description nor its file has a name that can be a folder's, --system-name is asked for."""
    system = system_file(tmp_path / "my box.json", system_name="Rack 1")
    assert "neither 'Rack 1' nor 'my box' can name a folder" in refused(complete(tmp_path / "runs")[:2], replace(wanted, system=system))


def test_log_that_is_too_large_is_refused(tmp_path: Path, wanted: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of more bytes than the checker takes is refused."""
    monkeypatch.setattr(export_checks, "FILE_LIMIT", 2**10)
    assert "mlperf_log_detail.txt is larger than" in refused(complete(tmp_path / "runs")[:2], wanted)


# ------------------------------------------------------------------------------------------------------------------------------ tree


def test_incomplete_tree_says_so_at_its_root(tmp_path: Path, wanted: Submission) -> None:
    """--allow-incomplete writes what there is, with every finding in NOT_SUBMITTABLE.md."""
    runs = [run_folder(tmp_path / "runs", "p", log={"result_validity": "INVALID"})]
    made = export(runs, replace(wanted, incomplete=True, system=tmp_path / "new.json"))
    text = (wanted.out / "NOT_SUBMITTABLE.md").read_text()
    assert "## open/ACME/new/bert-99\n" in text
    assert all(f"- {finding}" in text for finding in made.findings)
    assert "Offline: no accuracy run" in text
    assert "new.json: cooling" in text
    assert (wanted.out / "open/ACME/results/new/bert-99/Offline/performance/run_1/mlperf_log_detail.txt").is_file()


def test_repaired_export_takes_the_mark_away(tmp_path: Path, wanted: Submission) -> None:
    """Exported again without findings, the tree loses what was said of that system, and the file if nothing else is in it."""
    runs = complete(tmp_path / "runs")[:2]
    export(runs[:1], replace(wanted, incomplete=True))
    export(runs[:1], replace(wanted, incomplete=True, system_name="other"))
    export(runs, replace(wanted, force=True))
    text = (wanted.out / "NOT_SUBMITTABLE.md").read_text()
    assert "open/ACME/other/" in text
    assert "open/ACME/box/" not in text
    export(runs, replace(wanted, force=True, system_name="other"))
    assert not (wanted.out / "NOT_SUBMITTABLE.md").exists()


def test_not_submittable_keeps_other_sections() -> None:
    """A section is replaced by its title; the others stay."""
    from harness.submission.checks import Finding

    first = not_submittable("", "a", [Finding("x", "y", "z")])
    second = not_submittable(first, "b", [Finding("p", "q", "r")])
    assert not_submittable(second, "a", []) == not_submittable("", "b", [Finding("p", "q", "r")])
    assert not_submittable(first, "a", []) == ""


def test_second_scenario_joins_the_tree(tmp_path: Path, wanted: Submission) -> None:
    """A further scenario is added to a tree without touching what it has."""
    export(complete(tmp_path / "runs")[:2], wanted)
    before = {name: (wanted.out / name).read_bytes() for name in files(wanted.out)}
    export(complete(tmp_path / "runs", "single-stream")[:2], wanted)
    assert {name: (wanted.out / name).read_bytes() for name in before} == before
    assert complaints(wanted.out, "v6.1") == []
    assert len(files(wanted.out)) > len(before)


def test_what_is_there_is_replaced_only_by_force(tmp_path: Path, wanted: Submission) -> None:
    """The same scenario a second time is refused; with --force nothing of the first is left."""
    export(complete(tmp_path / "runs"), wanted)
    assert "open/ACME/results/box/bert-99/Offline" in refused(complete(tmp_path / "again")[:2], wanted)
    export(complete(tmp_path / "third")[:2], replace(wanted, force=True))
    assert not [name for name in files(wanted.out) if "TEST01" in name or "test01" in name]


def test_another_description_of_the_system_is_refused(tmp_path: Path, wanted: Submission) -> None:
    """A description that differs from the one in the tree is not overwritten silently."""
    export(complete(tmp_path / "runs")[:2], wanted)
    system_file(wanted.system, cooling="liquid")
    runs = complete(tmp_path / "runs", "single-stream")[:2]
    assert "open/ACME/systems/box.json" in refused(runs, wanted)
    export(runs, replace(wanted, force=True))
    assert json.loads((wanted.out / "open/ACME/systems/box.json").read_text())["cooling"] == "liquid"


def test_folder_of_something_else_is_left_alone(tmp_path: Path, wanted: Submission) -> None:
    """A folder that holds other things than submissions, or a file, is refused even with --force."""
    wanted.out.mkdir()
    (wanted.out / "thesis.tex").touch()
    assert "is no tree of submissions; it holds thesis.tex" in refused(complete(tmp_path / "runs")[:2], replace(wanted, force=True))
    assert "is no folder" in refused(complete(tmp_path / "more")[:2], replace(wanted, out=wanted.system))


def test_failure_in_the_middle_leaves_the_tree_as_it_was(tmp_path: Path, wanted: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file cannot be written, neither a part of the new tree nor a folder beside it is left, and the old tree stays."""
    export(complete(tmp_path / "runs")[:2], wanted)
    before = {name: (wanted.out / name).read_bytes() for name in files(wanted.out)}
    runs = complete(tmp_path / "runs", "single-stream")[:2]
    there = sorted(tmp_path.iterdir())

    def full(self: Path, data: bytes) -> None:
        if self.name == "user.conf":
            raise OSError(28, "No space left on device")
        with self.open("wb") as stream:
            stream.write(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MissingError, match="No space left on device"):
        export(runs, wanted)
    assert {name: (wanted.out / name).read_bytes() for name in files(wanted.out)} == before
    assert sorted(tmp_path.iterdir()) == there


def test_failed_move_puts_the_old_tree_back(tmp_path: Path, wanted: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new tree cannot take its place, the old one is there again."""
    export(complete(tmp_path / "runs")[:2], wanted)
    before = files(wanted.out)
    rename = Path.rename

    def once(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(MissingError, match="Input/output error"):
        export(complete(tmp_path / "runs", "single-stream")[:2], wanted)
    assert files(wanted.out) == before


def test_out_in_a_missing_folder_is_refused(tmp_path: Path, wanted: Submission) -> None:
    """The folder that the tree is to lie in must be there."""
    with pytest.raises(MissingError, match=r"--out: .* is not there"):
        export(complete(tmp_path / "runs")[:2], replace(wanted, out=tmp_path / "no" / "tree"))


# --------------------------------------------------------------------------------------------------------------------------- command


def run(*words: object) -> int:
    parser = Parser(prog="assay export")
    add_arguments(parser)
    return execute(parser.parse([str(word) for word in words]))


def test_command_says_what_was_written(tmp_path: Path, wanted: Submission, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the scores with the word unverified and ends with the prescribed note."""
    runs = complete(tmp_path / "runs")[:2]
    given = ["--division", "open", "--submitter", "ACME", "--system", wanted.system]
    assert run("mlperf", *runs, "--out", wanted.out, *given) == 0
    said = capsys.readouterr().out
    assert "Offline: unverified 20 samples/s" in said
    assert said.endswith(LEGEND + "\n")
    assert run("mlperf", runs[0], "--out", tmp_path / "part", *given, "--allow-incomplete") == 0
    assert "NOT SUBMITTABLE: 1 thing(s) speak against it, listed in" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["junit", "r"], ["mlperf"], ["mlperf", "r", "--out", "t", "--division", "network"]])
def test_command_line_is_checked(words: list[str]) -> None:
    """Other formats, no runs and other divisions are usage errors."""
    with pytest.raises(UsageError):
        run(*words)


def test_everything_refused_is_an_error_with_a_cure(tmp_path: Path, wanted: Submission) -> None:
    """A refusal says what to do next."""
    with pytest.raises(AssayError) as caught:
        export([run_folder(tmp_path, "p")], wanted)
    assert "--allow-incomplete" in caught.value.cure


def test_exported_is_what_lies_there(tmp_path: Path, wanted: Submission) -> None:
    """The files that are told are those in the tree."""
    made: Exported = export(complete(tmp_path / "runs")[:2], wanted)
    assert sorted(made.files) == files(made.tree)
