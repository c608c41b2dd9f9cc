"""mlperf_log_detail.txt of our own runs: JSON lines, the keys that are read, times, and the places of messages."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from harness.core import MS_NS, SECOND_NS, Part
from harness.loadgen import Requested, effective
from harness.mlperf import detail as mlperf_detail
from harness.mlperf import reader as mlperf_reader
from harness.mlperf.detail import IDENTITY
from harness.mlperf.result import result
from harness.phases import Message, Phase, Played
from tests.unit.test_mlperf_result import columns

BEGUN = 1_795_252_283_412_072_000  # 2026-11-21 09:11:23.412072 UTC

READ = {
    "loadgen_version",
    "loadgen_git_status_message",
    "loadgen_file_sha1",
    "test_datetime",
    "sut_name",
    "qsl_reported_total_count",
    "effective_scenario",
    "effective_test_mode",
    "effective_samples_per_query",
    "effective_target_qps",
    "effective_target_latency_ns",
    "effective_min_duration_ms",
    "effective_min_query_count",
    "effective_min_sample_count",
    "effective_performance_sample_count",
    "effective_accuracy_sample_count",
    "effective_qsl_rng_seed",
    "effective_sample_index_rng_seed",
    "effective_schedule_rng_seed",
    "effective_accuracy_log_rng_seed",
    "effective_sample_concatenate_permutation",
    "loaded_qsl_set",
    "generated_query_count",
    "power_begin",
    "power_end",
    "result_validity",
    "result_min_duration_met",
    "result_min_queries_met",
    "early_stopping_met",
    "early_stopping_result",
    "result_query_count",
    "result_min_latency_ns",
    "result_max_latency_ns",
    "result_mean_latency_ns",
    *(f"result_{share}_percentile_latency_ns" for share in ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")),
    "num_errors",
}
"""What the submission checker and MLPerf's report tools read in every scenario (specification mlperf_bert.md, 2.4)."""

OWN = {
    "SingleStream": {"early_stopping_latency_ss", "early_stopping_latency_ms", "result_qps_without_loadgen_overhead"},
    "MultiStream": {"early_stopping_latency_ms", "result_99.00_percentile_per_query_latency_ns"},
    "Server": {"result_completed_samples_per_sec", "result_scheduled_samples_per_sec", "result_perf_constraints_met"},
    "Offline": {"result_samples_per_second"},
}

IDENTITIES: dict[str, Any] = dict.fromkeys(IDENTITY, "x") | {"loadgen_file_sha1": {"a": "b"}, "pid": 7}


def phase(**changed: Any) -> Phase:
    rows = columns([0, 10 * MS_NS], [5 * MS_NS, 5 * MS_NS])
    return replace(Phase("performance", Part(rows.sample, 2, 1, 20 * MS_NS), rows, BEGUN + 3 * MS_NS + 7), **changed)


def played(scenario: str, *phases: Phase, messages: tuple[Message, ...] = (), **settings: Any) -> Played:
    asked = Requested(**{"scenario": scenario, "min_duration_ms": 0, "min_query_count": 1} | settings)
    return Played(asked, 100, 50, 'a "quoted" name', BEGUN, phases, phases[-1] if phases else None, messages)


def rendered(run: Played) -> str:
    judged = result(effective(run.requested, run.total, run.loaded), run.result) if run.result else None
    return mlperf_detail.render(run, judged, IDENTITIES)


def said(run: Played) -> list[str]:
    """Messages, and the keys that mark where they stand."""
    marks = ("requested_scenario", "loaded_qsl_set", "generated_query_count", "power_end", "result_validity")
    found: list[str] = []
    for entry in mlperf_reader.entries(rendered(run)):
        if entry.key in marks:
            found.append(entry.key)
        elif entry.key.endswith("generic_message") or entry.is_error:
            found.append(entry.value)
    return found


@pytest.mark.parametrize("scenario", OWN)
def test_every_line_is_json_and_no_key_is_missing(scenario: str) -> None:
    """Each line after its marker parses, nan is null, and all keys that the submission checker reads are there."""
    lines = rendered(played(scenario, phase())).splitlines()
    entries = [json.loads(line.removeprefix(":::MLLOG "), parse_constant=lambda name: pytest.fail(name)) for line in lines]
    assert all(line.startswith(':::MLLOG {"key": "') for line in lines)
    assert {entry["key"] for entry in entries} >= READ | OWN[scenario]
    assert {entry["metadata"]["pid"] for entry in entries} == {7}


def test_strings_are_escaped() -> None:
    """Unlike LoadGen's: a name with quotation marks comes back whole."""
    values = mlperf_reader.first(mlperf_reader.entries(rendered(played("Server", phase()))))
    assert values["sut_name"] == 'a "quoted" name'


def test_values_have_loadgens_formats() -> None:
    """Six digits for floats, plain integers, small words for booleans, lists and mappings without spaces."""
    text = rendered(played("Server", phase(), server_target_qps=1234567.8, qsl_rng_seed=2**64 - 1))
    assert '"requested_server_target_qps", "value": 1.23457e+06,' in text
    assert '"requested_qsl_rng_seed", "value": 18446744073709551615,' in text
    assert '"requested_print_timestamps", "value": false,' in text
    assert '"loaded_qsl_set", "value": [0,0],' in text
    assert '"loadgen_file_sha1", "value": {"a":"b"},' in text


def test_a_rate_that_is_no_number_is_null() -> None:
    """One Server query has no scheduled rate."""
    one = phase(columns=columns([0], [5]))
    assert '"result_scheduled_samples_per_sec", "value": null,' in rendered(played("Server", one))
    assert math.isnan(result(effective(Requested(scenario="Server"), 9, 9), one).rates["result_scheduled_samples_per_sec"])


def test_times_are_nanoseconds_since_the_log_began() -> None:
    """Whole milliseconds and six digits of the rest; never backwards."""
    text = rendered(played("Server", phase()))
    assert '"generated_query_count", "value": 2, "time_ms": 3.000007,' in text
    assert '"num_errors", "value": 0, "time_ms": 18.000007,' in text
    times = [entry.time_ms for entry in mlperf_reader.entries(text)]
    assert times == sorted(times)


def test_wall_times_are_utc() -> None:
    """test_datetime as ISO, power times as MM-DD-YYYY with milliseconds; the end is the latest completion."""
    values = mlperf_reader.first(mlperf_reader.entries(rendered(played("Server", phase()))))
    assert values["test_datetime"] == "2026-11-21T09:11:23Z"
    assert (values["power_begin"], values["power_end"]) == ("11-21-2026 09:11:23.415", "11-21-2026 09:11:23.430")


def test_a_submission_tells_accuracy_first() -> None:
    """Each mode is announced once; the result comes at the end."""
    run = played("SingleStream", phase(mode="accuracy"), phase(mode="accuracy"), phase(), mode="SubmissionRun")
    starts = [text for text in said(run) if text.startswith("Starting") or text in ("generated_query_count", "result_validity")]
    assert starts == [
        "Starting accuracy mode",
        "generated_query_count",
        "generated_query_count",
        "Starting performance mode",
        "generated_query_count",
        "result_validity",
    ]


def test_an_accuracy_run_ends_with_its_power_times() -> None:
    """No result and no count of errors."""
    run = replace(played("Offline", phase(mode="accuracy"), mode="AccuracyOnly"), result=None)
    assert mlperf_reader.entries(rendered(run))[-1].key == "power_end"


def test_messages_stand_before_the_settings_and_behind_the_queries() -> None:
    """What was overruled comes before the requested settings, how the phase ended behind its queries; errors are counted."""
    ended = phase(messages=(Message("error_runtime", "Ending early: x"),))
    run = played("Server", ended, messages=(Message("warning_generic_message", "Audit Config file found"),))
    assert said(run) == [
        "Audit Config file found",
        "requested_scenario",
        "Starting performance mode",
        "loaded_qsl_set",
        "generated_query_count",
        "Ending early: x",
        "power_end",
        "result_validity",
    ]
    assert mlperf_reader.first(mlperf_reader.entries(rendered(run)))["num_errors"] == 1


def test_a_search_for_the_peak_tells_its_bounds_in_loadgens_places() -> None:
    """A test of bounds before its run, halves behind the set that is loaded once, what was found at the end."""

    def spoken(*texts: str) -> Phase:
        return phase(mode="find-peak", messages=tuple(Message("generic_message", text) for text in texts))

    run = played(
        "Server",
        spoken("FindPeakPerformance: Check validity of the base settings field: 1.000000"),
        spoken("FindBoundaries: Checking fields [1.000000, 2.000000)"),
        spoken("FindPeakPerformance: Found boundaries: [1.000000, 2.000000)", "FindPeakPerformanceBinarySearch: Testing a"),
        spoken("FindPeakPerformanceBinarySearch: Testing b", "FindPeakPerformance: Found peak performance field: 1.5"),
        mode="FindPeakPerformance",
    )
    run_of = ["generated_query_count", "power_end"]
    assert said(run)[1:] == [
        "Starting FindPeakPerformance mode",
        "FindPeakPerformance: Check validity of the base settings field: 1.000000",
        "loaded_qsl_set",
        *run_of,
        "FindBoundaries: Checking fields [1.000000, 2.000000)",
        "loaded_qsl_set",
        *run_of,
        "FindPeakPerformance: Found boundaries: [1.000000, 2.000000)",
        "loaded_qsl_set",
        "FindPeakPerformanceBinarySearch: Testing a",
        *run_of,
        "FindPeakPerformanceBinarySearch: Testing b",
        *run_of,
        "FindPeakPerformance: Found peak performance field: 1.5",
        "result_validity",
    ]


def test_a_search_that_no_scenario_but_server_knows_is_refused_in_the_log() -> None:
    """The error follows the start of the mode, and nothing else."""
    error = Message("error_invalid_config", "Finding peak performance is only supported in Server scenarios.")
    run = played("Offline", messages=(error,), mode="FindPeakPerformance")
    assert said(run) == ["requested_scenario", "Starting FindPeakPerformance mode", error.text]


def test_the_log_goes_on_where_phases_lie_apart() -> None:
    """A phase of the same test a second later is a second later in the log."""
    run = played("Server", phase(), phase(begun_ns=BEGUN + SECOND_NS))
    counts = [entry.time_ms for entry in mlperf_reader.entries(rendered(run)) if entry.key == "generated_query_count"]
    assert counts == [3.000007, 1000.0]
