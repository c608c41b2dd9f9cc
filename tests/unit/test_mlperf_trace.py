"""Our trace is JSON and tells what the columns hold; the reader takes LoadGen's logs, the invalid ones too."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from harness.core import Part
from harness.errors import DataError
from harness.loadgen import Requested
from harness.mlperf import reader as mlperf_reader
from harness.mlperf import trace as mlperf_trace
from harness.phases import Phase, Played
from tests.unit.test_mlperf_result import columns


def traced(scenario: str = "Server") -> tuple[str, list[dict[str, Any]]]:
    """Two samples served in one call by worker 1, and one that was lost."""
    rows = columns([0, 1500, 2000], [4500, 3000, 0], lost=(2,), end_ns=10_000)
    rows.taken_ns[:] = [2001, 2001, 9000]
    rows.batch[:] = [5, 5, 6]
    rows.worker[:] = 1
    phase = Phase("performance", Part(rows.sample, 3, 1, 0), rows, 1_000_000_500, first_query=10, first_sample=20)
    run = Played(Requested(scenario=scenario), 9, 9, "PySUT", 1_000_000_000, (phase,), phase)
    text = "".join(mlperf_trace.chunks(run, pid=3))
    return text, json.loads(text)["traceEvents"]


def test_the_trace_is_one_json_object_in_loadgens_layout() -> None:
    """An event a line, then the unit and when the trace began, in us of Unix time."""
    text, events = traced()
    assert text.startswith('{"traceEvents":[\n{"name":')
    assert text.endswith('"otherData":{\n"ts":1000000.000,\n"version":"MLPerf LoadGen v1.0"\n}\n}\n')
    assert json.loads(text)["displayTimeUnit"] == "ns"
    assert len(text.splitlines()) == len(events) + 8
    assert all({"name", "ph", "pid"} <= event.keys() for event in events)
    assert events[-1]["name"] == "LastTrace"


def test_a_sample_is_a_pair_of_events() -> None:
    """Begin when due, end when answered, in us with three decimals; ids go on from the phases before."""
    text, events = traced()
    assert (
        '{"name":"Sample","cat":"default","ph":"b","pid":3,"id":20,"ts":0.500,"args":{"sample_seq":20,"query_seq":10,"sample_idx":0,'
        '"issue_start_ns":2001,"complete_ns":4500}},\n{"name":"Sample","cat":"default","ph":"e", "pid":3,"id":20,"ts":5.000},\n'
    ) in text
    assert sum(event["ph"] == "b" for event in events) == sum(event["ph"] == "e" for event in events) == 3


def test_a_lost_sample_lasts_until_the_end_and_says_so() -> None:
    """It can never look fast."""
    (lost,) = (event for event in traced()[1] if event["ph"] == "b" and "status" in event["args"])
    assert (lost["id"], lost["args"]["complete_ns"], lost["args"]["status"]) == (22, 8000, "lost")


def test_each_call_is_an_event_of_its_worker() -> None:
    """One call of two samples, in the row of worker 1; a call that never ended has none."""
    calls = [event for event in traced()[1] if event["ph"] == "X"]
    assert [(event["tid"], event["ts"], event["dur"], event["args"]) for event in calls] == [(2, 2.501, 2.499, {"batch": 5, "samples": 2})]


def test_only_server_has_counters_of_latency() -> None:
    """Waiting and service, as LoadGen's issue_delay and issue_to_done."""
    counters = [event["args"] for event in traced()[1] if event["ph"] == "C"]
    assert counters[0] == {"issue_delay": 2001, "issue_to_done": 2499}
    assert not [event for event in traced("SingleStream")[1] if event["ph"] == "C"]


def test_a_long_trace_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a piece changes nothing."""
    whole = traced()[0]
    monkeypatch.setattr(mlperf_trace, "_LINES", 2)
    assert traced()[0] == whole


def test_our_trace_is_read_as_loadgens() -> None:
    """Samples come back in order of completion; times are whole ns."""
    found = mlperf_reader.samples(traced()[0])
    assert found.sequence.tolist() == [20, 21, 22]
    assert (found.due_ns.tolist(), found.latency_ns.tolist()) == ([500, 2000, 2500], [4500, 3000, 8000])
    assert (found.query.tolist(), found.issue_delay_ns.tolist()) == ([10, 11, 12], [2001, 501, 7000])


def test_no_samples_are_no_rows() -> None:
    """A trace without samples has empty columns."""
    assert mlperf_reader.samples('{"traceEvents":[\n').sequence.shape == (0,)


def test_a_damaged_sample_is_named_with_its_line() -> None:
    """The second line here."""
    with pytest.raises(DataError, match="line 2: not a sample"):
        mlperf_reader.samples('{"traceEvents":[\n{"name":"Sample","cat":"default","ph":"b","pid":3,"id":2\n')


# ------------------------------------------------------------------------------------------------------------------------- detail log


def line(key: str, value: str, error: str = "false", warning: str = "false") -> str:
    return (
        f':::MLLOG {{"key": "{key}", "value": {value}, "time_ms": 1.500000, "namespace": "mlperf::logging", "event_type": "POINT_IN_TIME", '
        f'"metadata": {{"is_error": {error}, "is_warning": {warning}, "file": "f", "line_no": 1, "pid": 2, "tid": 3}}}}\n'
    )


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ('"plain"', "plain"),
        ('"with "quotes" and \\slash"', 'with "quotes" and \\slash'),
        ('"two\nlines"', "two\nlines"),
        ("inf", math.inf),
        ("1e+06", 1e6),
        ("18446744073709551615", 2**64 - 1),
        ("[1,5]", [1, 5]),
        ("true", True),
    ],
)
def test_values_are_read_as_loadgen_writes_them(value: str, read: object) -> None:
    """Also where a line is no JSON."""
    (entry,) = mlperf_reader.entries(line("k", value))
    assert (entry.key, entry.value, entry.time_ms) == ("k", read, 1.5)


def test_a_nan_is_read() -> None:
    """LoadGen prints it with a sign."""
    assert math.isnan(mlperf_reader.entries(line("k", "-nan"))[0].value)


def test_errors_and_warnings_are_counted() -> None:
    """By their flags, in valid lines and in others."""
    text = line("a", "1", error="true") + line("b", "-nan", warning="true") + line("c", '"""', error="true")
    assert mlperf_reader.counts(mlperf_reader.entries(text)) == (1, 2)


def test_the_first_of_a_key_counts() -> None:
    """As for the submission checker; the verdict is what begins with result_ or early_stopping_."""
    text = line("result_validity", '"VALID"') + line("result_validity", '"INVALID"') + line("early_stopping_met", "true") + line("x", "1")
    entries = mlperf_reader.entries(text)
    assert mlperf_reader.first(entries)["result_validity"] == "VALID"
    assert mlperf_reader.verdict(entries) == {"result_validity": "VALID", "early_stopping_met": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "line 1: does not begin with :::MLLOG"),
        (line("k", "1") + ":::MLLOG {}\n", "line 2: not an entry"),
        (line("k", "1") + line("k", '"cut')[:60], "line 2: not an entry"),
    ],
)
def test_what_is_no_entry_is_named_with_its_line(text: str, message: str) -> None:
    """Files of other kinds and files cut short."""
    with pytest.raises(DataError, match=message) as caught:
        mlperf_reader.entries(text)
    assert caught.value.cure


def test_settings_that_a_log_does_not_tell_are_an_error() -> None:
    """The message names the key."""
    with pytest.raises(DataError, match="effective_scenario"):
        mlperf_reader.effective({})


def test_a_summary_is_read_by_its_labels() -> None:
    """Names before the first colon, the first of each."""
    values = mlperf_reader.summary("====\nResult is : VALID\n  Early stopping satisfied: Yes\nResult is : INVALID\n")
    assert values == {"Result is": "VALID", "Early stopping satisfied": "Yes"}
