"""LoadGen's log files of a run: which are written, and what of the run stands in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import logs
from harness.batching import Policy
from harness.bench import Bench
from harness.blank import BlankTask
from harness.config import RunConfig
from harness.core import MS_NS, AccuracyLog, Answer, Columns, Output, Seeds, Settings, Status
from harness.measure import Measured
from harness.mlperf import accuracy as mlperf_accuracy
from harness.mlperf import reader as mlperf_reader
from harness.mlperf.accuracy_log import selected
from harness.modes import Outcome
from harness.phases import Message
from harness.plugins import load
from harness.progress import Silent
from harness.responses import Keep
from harness.stages import Stage
from harness.testing import simulate

SMALL = Settings(
    min_duration_ns=20 * MS_NS,
    min_queries=70,
    target_qps=1000.0,
    percentile=0.9,
    performance_sample_count=8,
    library_sample_count=8,
    accuracy_sample_count=20,
    seeds=Seeds(3, 5, 7),
)
CONDITIONS: Mapping[str, Any] = {"libraries": {"assay": "1.2"}, "git": {"commit": "abc"}}


class Task(BlankTask):
    """20 samples; an answer is one number."""

    outputs = (Output("logits", width=1),)

    def __init__(self) -> None:
        super().__init__("squad")
        self.samples = replace(self.samples, offsets=np.zeros(21, np.int64))


def bench(scenario: str, **config: Any) -> Bench:
    plugin = load("scenarios", scenario).create()
    return Bench(RunConfig(scenario=scenario, backend="null:1ms", **config), plugin, Task(), None, SMALL, Policy("fifo", 1), Silent())


def stage(made: Bench, settings: Settings, keep: Keep, messages: tuple[Message, ...] = (), begun_ns: int = 10**18) -> Stage:
    """Served in 1 ms a call; the answer to row r is r."""
    traffic = made.scenario.traffic(settings, 20)
    columns = simulate(traffic, Policy("fifo", 1), lambda _: MS_NS)
    answers: dict[int, Answer] = {row: {"logits": np.array([row], np.float32)} for row in range(len(columns.sample))}
    return Stage(settings, traffic, Measured(columns, answers, begun_ns=begun_ns), keep, messages)


def submission(made: Bench, log: AccuracyLog) -> Outcome:
    first = stage(made, replace(SMALL, mode="accuracy"), Keep(1, every=True))
    made.settings = replace(SMALL, accuracy_log=log)
    second = stage(made, made.settings, Keep(1, log=log, first=20), (Message("generic_message", "the end"),), 10**18 + 10**9)
    return Outcome(second, [first, second], first, "SubmissionRun")


def texts(made: Bench, outcome: Outcome) -> dict[str, str]:
    return {name: text if isinstance(text, str) else "".join(text) for name, text in logs.files(made, outcome, CONDITIONS).items()}


def test_summary_detail_and_accuracy_are_always_written_and_a_trace_on_request() -> None:
    """Under LoadGen's names."""
    names = ["mlperf_log_summary.txt", "mlperf_log_detail.txt", "mlperf_log_accuracy.json"]
    for trace, more in ((False, []), (True, ["mlperf_log_trace.json"])):
        made = bench("single-stream", trace=trace)
        one = stage(made, SMALL, Keep(1))
        assert list(logs.files(made, Outcome(one, [one]), CONDITIONS)) == names + more


def test_nothing_is_written_where_the_official_loadgen_wrote_or_has_no_such_scenario() -> None:
    """Its logs are not overwritten; a scenario of the user's own has no name in them."""
    made = bench("single-stream")
    one = stage(made, SMALL, Keep(1))
    assert logs.files(made, Outcome(one, [one], logged=True), CONDITIONS) == {}

    class Own:
        name = "bursts"

    made.scenario = Own()  # type: ignore[assignment]
    assert logs.files(made, Outcome(one, [one]), CONDITIONS) == {}


def test_the_accuracy_log_counts_samples_through_all_stages() -> None:
    """All answers of the accuracy part, then those of the performance part that LoadGen's rule selects behind 20 samples, each with the
    bytes of its own answer, in order of completion."""
    made, log = bench("single-stream"), AccuracyLog(9, 0.3)
    outcome = submission(made, log)
    records = mlperf_accuracy.read(texts(made, outcome)["mlperf_log_accuracy.json"])
    rows = len(outcome.judged.measured.columns.sample)
    chosen = np.flatnonzero(selected(log, 1, rows, 20)).tolist()
    assert [record.seq_id for record in records] == [*range(20), *(20 + row for row in chosen)]
    samples = [*outcome.stages[0].measured.columns.sample.tolist(), *outcome.judged.measured.columns.sample[chosen].tolist()]
    assert [record.qsl_idx for record in records] == samples
    assert [np.frombuffer(record.data, "<f4")[0] for record in records] == [*range(20), *chosen]
    assert 0 < len(chosen) < rows


def changed(columns: Columns, **rows: Any) -> Columns:
    return replace(columns, **rows)


def test_records_stand_in_the_order_of_completion_and_only_of_answers() -> None:
    """Rows that failed have none; a backend that is no model leaves empty ones."""
    made = bench("server")
    one = stage(made, SMALL, Keep(1, every=True))
    columns = one.measured.columns
    rows = len(columns.sample)
    status = columns.status.copy()
    status[3] = Status.ERROR
    one.measured = Measured(changed(columns, done_ns=columns.done_ns[::-1].copy(), status=status))
    records = mlperf_accuracy.read(texts(made, Outcome(one, [one]))["mlperf_log_accuracy.json"])
    assert [record.seq_id for record in records] == [row for row in range(rows - 1, -1, -1) if row != 3]
    assert {record.data for record in records} == {b""}


def test_phases_of_all_stages_follow_one_another() -> None:
    """One StartTest: numbers of queries and samples go on, the performance phase is the one that is judged."""
    made = bench("single-stream")
    outcome = submission(made, AccuracyLog())
    told = logs.as_played(made, outcome)
    assert [phase.mode for phase in told.phases] == ["accuracy"] * 3 + ["performance"]
    assert [phase.first_sample for phase in told.phases] == [0, 8, 16, 20]
    assert told.result is told.phases[-1]
    assert (told.begun_ns, told.phases[-1].begun_ns) == (10**18, 10**18 + 10**9)
    assert (told.total, told.loaded, told.sut_name) == (20, 8, "Assay null:1ms")
    assert (told.requested.scenario, told.requested.mode) == ("SingleStream", "SubmissionRun")


def test_the_detail_log_tells_settings_phases_messages_and_verdict() -> None:
    """One JSON object a line, read back: who wrote it, what was requested, generated and said."""
    made = bench("single-stream")
    outcome = submission(made, AccuracyLog())
    text = texts(made, outcome)["mlperf_log_detail.txt"]
    assert all(json.loads(line.removeprefix(":::MLLOG ")) for line in text.splitlines())
    entries = mlperf_reader.entries(text)
    first = mlperf_reader.first(entries)
    assert first["loadgen_version"] == "6.0.17 @ Assay 1.2"
    assert first["loadgen_git_log_message"] == "abc"
    assert (first["requested_test_mode"], first["effective_min_query_count"]) == ("SubmissionRun", 70)
    assert (first["qsl_reported_total_count"], first["qsl_reported_performance_count"]) == (20, 8)
    assert [entry.value for entry in entries if entry.key == "generated_query_count"] == [8, 8, 4, 70]
    assert [entry.value for entry in entries if entry.key == "generic_message"][-1] == "the end"
    assert first["result_validity"] == "VALID"
    assert first["result_query_count"] == 70
    assert first["num_errors"] == 0


def test_an_accuracy_run_has_no_result() -> None:
    """Its summary holds no verdict, its detail log no result."""
    made = bench("single-stream")
    one = stage(made, replace(SMALL, mode="accuracy"), Keep(1, every=True))
    made.settings = one.settings
    found = texts(made, Outcome(one, [one], one, "AccuracyOnly"))
    assert "Result is" not in found["mlperf_log_summary.txt"]
    assert mlperf_reader.verdict(mlperf_reader.entries(found["mlperf_log_detail.txt"])) == {}


def test_errors_and_warnings_are_counted_in_the_summary() -> None:
    """What was said before the first phase and at the end of each."""
    made = bench("single-stream")
    one = stage(made, SMALL, Keep(1), (Message("error_runtime", "one"),))
    outcome = Outcome(one, [one], messages=[Message("warning_generic_message", "w"), Message("error_invalid_test_settings", "two")])
    summary = texts(made, outcome)["mlperf_log_summary.txt"].splitlines()
    assert summary[-3:] == ["1 warning encountered. See detailed log.", "", "2 ERRORS encountered. See detailed log."]


def test_a_search_requests_its_base_and_judges_its_peak() -> None:
    """The detail log's settings are those before the search, the summary's target that of the run it judges."""
    made = bench("server", find_peak="loadgen")
    slow, fast = (stage(made, replace(SMALL, target_qps=rate, latency_bound_ns=10**9), Keep(1)) for rate in (500.0, 900.0))
    made.settings = fast.settings
    outcome = Outcome(fast, [slow, fast], mode="FindPeakPerformance", asked=slow.settings)
    found = texts(made, outcome)
    assert mlperf_reader.first(mlperf_reader.entries(found["mlperf_log_detail.txt"]))["requested_server_target_qps"] == 500
    assert mlperf_reader.summary(found["mlperf_log_summary.txt"])["target_qps"] == "900"
    assert mlperf_reader.summary(found["mlperf_log_summary.txt"])["Mode"] == "FindPeakPerformance"
    assert logs.as_played(made, outcome).result is not None
    assert logs.as_played(made, outcome).phases[1].first_query == slow.traffic.parts[0].queries


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_a_run_without_a_row_has_logs_without_phases(mode: Any) -> None:
    """Interrupted before the first query: the settings stand there, and nothing is judged."""
    made = bench("single-stream")
    one = stage(made, replace(SMALL, mode=mode), Keep(1))
    empty = {
        name: getattr(one.measured.columns, name)[:0]
        for name in ("query", "sample", "due_ns", "taken_ns", "done_ns", "batch", "worker", "status")
    }
    one.measured = Measured(changed(one.measured.columns, **empty))
    found = texts(made, Outcome(one, [one]))
    assert "Result is" not in found["mlperf_log_summary.txt"]
    assert mlperf_accuracy.read(found["mlperf_log_accuracy.json"]) == []
    assert "generated_query_count" not in mlperf_reader.first(mlperf_reader.entries(found["mlperf_log_detail.txt"]))
