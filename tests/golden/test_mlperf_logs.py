"""LoadGen's log files against those that the official LoadGen 6.0.17 wrote, character for character."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import AccuracyLog, Columns, Part, Status
from harness.loadgen import Effective, Requested
from harness.loadgen import effective as made_effective
from harness.mlperf import accuracy as mlperf_accuracy
from harness.mlperf import accuracy_log
from harness.mlperf import detail as mlperf_detail
from harness.mlperf import reader as mlperf_reader
from harness.mlperf import result as mlperf_result
from harness.mlperf import summary as mlperf_summary
from harness.mlperf import trace as mlperf_trace
from harness.mlperf.reader import Entry
from harness.phases import Message, Phase, Played

GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
SELECTIONS = sorted(GOLDEN.glob("acclog_*.json"))
TOKENS = ("use_token_latencies", "infer_token_latencies")
FOLDERS = [
    path.parent
    for path in sorted(GOLDEN.glob("logs/*/mlperf_log_detail.txt"))
    if "token" not in path.parent.name and not any(f'"{name}": true' in (path.parent / "config.json").read_text() for name in TOKENS)
]

pytestmark = pytest.mark.skipif(not FOLDERS, reason="no golden logs: set ASSAY_GOLDEN")
each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)

MESSAGES = {"generic_message", "warning_generic_message", "error_runtime", "error_invalid_config", "error_invalid_test_settings"}
FOUND = ("FindPeakPerformance: Initial", "FindPeakPerformance: Found peak")
MODES = {"Starting accuracy mode": "accuracy", "Starting performance mode": "performance"}


@dataclass(frozen=True)
class Official:
    """What the official package wrote in one run."""

    entries: list[Entry]
    first: dict[str, Any]
    lines: list[str]
    summary: str
    accuracy: str
    trace: str

    @property
    def effective(self) -> Effective:
        """Of the phase that is judged: a search for the peak found another rate."""
        found = mlperf_reader.effective(self.first)
        for entry in self.entries:
            if str(entry.value).startswith("FindPeakPerformance: Found peak performance field: "):
                found = replace(found, target_qps=float(entry.value.rsplit(" ", 1)[1]))
        return found

    @property
    def has_result(self) -> bool:
        return "result_validity" in self.first


@functools.cache
def official(folder: Path) -> Official:
    """Without the warning of LoadGen's own log queue, which tells of no fact about the run (the summary counts it all the same)."""
    text = (folder / "mlperf_log_detail.txt").read_text()
    entries = mlperf_reader.entries(text)
    trace = folder / "mlperf_log_trace.json"
    return Official(
        entries,
        mlperf_reader.first(entries),
        [line for line in text.splitlines() if "Logging allocation detected" not in line],
        (folder / "mlperf_log_summary.txt").read_text(),
        (folder / "mlperf_log_accuracy.json").read_text(),
        trace.read_text() if trace.exists() else "",
    )


def requested(first: dict[str, Any]) -> Requested:
    values = {}
    for field in fields(Requested):
        key = f"requested_{'test_mode' if field.name == 'mode' else field.name}"
        if key in first:
            values[field.name] = float(first[key]) if field.type == "float" else first[key]
    return Requested(**values)


def columns_of(samples: mlperf_reader.TraceSamples, first: int, rows: int) -> Columns:
    """Samples `first` and following of a trace, counted from when the first of them was scheduled."""
    order = np.argsort(samples.sequence)[first : first + rows]
    due = samples.due_ns[order] - samples.due_ns[order[0]]
    done = due + samples.latency_ns[order]
    count = len(order)
    return Columns(
        query=samples.query[order] - samples.query[order[0]],
        sample=samples.sample[order].astype(np.int32),
        due_ns=due,
        taken_ns=due + samples.issue_delay_ns[order],
        done_ns=done,
        batch=np.arange(count, dtype=np.int32),
        worker=np.zeros(count, np.int16),
        status=np.full(count, Status.DONE, np.int8),
        end_ns=int(done.max()),
    )


BLANK = columns_of(mlperf_reader.TraceSamples(*np.zeros((6, 1), np.int64)), 0, 1)


def phases(entries: list[Entry]) -> Iterator[Phase]:
    """The phases that a detail log tells of, with no columns worth the name."""
    waiting: list[Message] = []
    found: dict[str, Any] | None = None
    indices, mode, number = [], "find-peak", 0
    said = {f"effective_{field.name}" for field in fields(Effective)}
    start = max(index for index, entry in enumerate(entries) if entry.key in said)
    for entry in entries[start + 1 :]:
        if entry.key in MESSAGES and "Logging allocation" not in entry.value:
            message = Message(entry.key, entry.value)
            if entry.value.startswith("Starting "):
                mode = MODES.get(entry.value, "find-peak")
            elif entry.value.startswith("Find") and not entry.value.startswith(FOUND):
                waiting.append(message)
            elif found is not None:
                found["messages"].append(message)
        elif entry.key == "loaded_qsl_set":
            indices = entry.value
        elif entry.key == "generated_query_count":
            if found is not None:
                yield phase(found)
            found = {"indices": indices, "mode": mode, "messages": waiting, "number": number}
            waiting, number = [], number + 1
        if found is not None:
            found[entry.key] = entry.value
    if found is not None:
        yield phase(found)


def phase(found: dict[str, Any]) -> Phase:
    part = Part(
        np.array(found["indices"], np.int32),
        found["generated_query_count"],
        found["generated_samples_per_query"],
        found["generated_query_duration"],
    )
    return Phase(found["mode"], part, BLANK, 10**18 + found["number"] * 10**9, messages=tuple(found["messages"]))


def played(run: Official) -> Played:
    before = takewhile(lambda entry: not entry.key.startswith("requested_"), run.entries)
    messages = [Message(entry.key, entry.value) for entry in before if entry.key in MESSAGES]
    messages += [Message(entry.key, entry.value) for entry in run.entries if "only supported in Server" in str(entry.value)]
    each = tuple(phases(run.entries))
    first = run.first
    return Played(
        requested(first),
        first["qsl_reported_total_count"],
        first["qsl_reported_performance_count"],
        first["sut_name"],
        10**18,
        each,
        each[-1] if run.has_result else None,
        tuple(messages),
    )


# ----------------------------------------------------------------------------------------------------------------------------- summary

RATES = ("QPS w/ loadgen overhead", "Scheduled samples per second", "Completed samples per second")


def assert_same_lines(ours: str, theirs: str, by_value: tuple[str, ...] = ()) -> None:
    """Equal, but for rates of which only six digits are known: those within these digits, which are rounded to two decimals again."""
    mine, official = ours.split("\n"), theirs.split("\n")
    assert len(mine) == len(official)
    for our, their in zip(mine, official, strict=True):
        if our != their and our.startswith(by_value) and by_value:
            assert our.partition(":")[0] == their.partition(":")[0]
            assert float(our.partition(":")[2]) == pytest.approx(float(their.partition(":")[2]), rel=5e-6, abs=0.0101)
        else:
            assert our == their


@each_folder
def test_the_summary_is_rebuilt_from_the_detail_log(folder: Path) -> None:
    """Every line of mlperf_log_summary.txt follows from the detail log; rates with more than its six digits within these."""
    run = official(folder)
    latency = mlperf_reader.samples(run.trace).latency_ns if run.trace else None
    found = mlperf_result.from_detail(run.first, latency) if run.has_result else None
    text = mlperf_summary.render(found, run.effective, run.first["sut_name"], *mlperf_reader.counts(run.entries))
    assert_same_lines(text, run.summary, RATES)


TRACED = [
    folder for folder in FOLDERS if (folder / "mlperf_log_trace.json").exists() and "Find" not in (folder / "config.json").read_text()
]


def performance_rows(run: Official) -> tuple[int, int]:
    """First sample of the performance phase, and how many were issued in it."""
    each = [each for each in phases(run.entries) if each.mode == "accuracy"]
    first = sum(each.part.queries * each.part.samples_per_query for each in each)
    last = [each for each in phases(run.entries) if each.mode == "performance"]
    return first, run.first["result_query_count"] * last[0].part.samples_per_query if last else 0


@pytest.mark.parametrize("folder", TRACED, ids=lambda path: path.name)
def test_the_summary_is_rebuilt_from_the_latencies(folder: Path) -> None:
    """Our result of the traced latencies prints LoadGen's summary; only the rate that needs the instant of the start differs."""
    run = official(folder)
    if not run.has_result:
        pytest.skip("no performance phase")
    columns = columns_of(mlperf_reader.samples(run.trace), *performance_rows(run))
    judged = replace(next(each for each in phases(run.entries) if each.mode == "performance"), columns=columns)
    found = mlperf_result.result(run.effective, judged)
    overhead = "result_qps_with_loadgen_overhead"
    if overhead in found.rates:
        found = replace(found, rates={**found.rates, overhead: run.first[overhead]})
    text = mlperf_summary.render(found, run.effective, run.first["sut_name"], *mlperf_reader.counts(run.entries))
    assert_same_lines(text, run.summary, RATES[:1])
    told = mlperf_result.from_detail(run.first)
    for key, rate in told.rates.items():
        assert f"{rate:g}" == f"{found.rates[key]:g}" or math.isnan(rate)
    assert replace(told, rates={}, tail_ns=found.tail_ns) == replace(found, rates={})


# ------------------------------------------------------------------------------------------------------------------------------ detail

OURS = re.compile(r'"key": "(qsl_name|test_datetime|get_sut_name_duration_ns|power_begin|power_end)", "value": ("?)[^,]*?("?), "time_ms"')
WHERE = re.compile(r'("time_ms": )[0-9]+(\.[0-9]{6})|("file": )"[^"]*"|("line_no": |"pid": |"tid": )[0-9]+')


def masked(line: str) -> str:
    """Without times, places and what is ours to say, but with the form of each value."""
    line = OURS.sub(
        r'"key": "\1", "value": \2\3, "time_ms"', line.replace('"value": -nan', '"value": null').replace('"value": inf', '"value": null')
    )
    return WHERE.sub(lambda found: (found[1] or found[3] or found[4]) + ("." if found[1] else ""), line)


@each_folder
def test_the_detail_log_is_rebuilt_line_for_line(folder: Path) -> None:
    """Keys, order, values and their formats are LoadGen's; what C prints as -nan is null, and each line is JSON."""
    run = official(folder)
    found = mlperf_result.from_detail(run.first) if run.has_result else None
    text = mlperf_detail.render(played(run), found, run.first)
    ours = text.splitlines()
    logged = [line for line in run.lines if '"key": "error_uncommitted' not in line]
    assert [masked(line) for line in ours] == [masked(line) for line in logged]
    for line in ours:
        json.loads(line.removeprefix(mlperf_reader.MARKER), parse_constant=lambda name: pytest.fail(name))
    times = [entry.time_ms for entry in mlperf_reader.entries(text)]
    assert times == sorted(times)


@each_folder
def test_effective_settings_are_those_of_the_log(folder: Path) -> None:
    """Our rules make LoadGen's effective settings of its requested ones, to its six digits."""
    run = official(folder)
    made = made_effective(requested(run.first), run.first["qsl_reported_total_count"], run.first["qsl_reported_performance_count"])
    for field in fields(Effective):
        told = run.first[f"effective_{field.name}"]
        mine = getattr(made, field.name)
        assert (f"{mine:g}", f"{told:g}") == (f"{told:g}",) * 2 if field.type == "float" else mine == told


# ------------------------------------------------------------------------------------------------------------------- accuracy and trace


@each_folder
def test_the_accuracy_log_is_rebuilt_byte_for_byte(folder: Path) -> None:
    """Reading and writing again gives the same file."""
    text = official(folder).accuracy
    assert "".join(mlperf_accuracy.render(mlperf_accuracy.read(text))) == text


def logged(effective: Effective, first: int, rows: int) -> set[int]:
    """Sequence ids that a test logs: all of its accuracy samples, some of its performance samples."""
    log = AccuracyLog(effective.accuracy_log_rng_seed, effective.accuracy_log_probability, effective.accuracy_log_sampling_target)
    chosen = accuracy_log.selected(log, accuracy_log.expected(effective), rows, first)
    return set(range(first)) | set((first + np.flatnonzero(chosen)).tolist())


@each_folder
def test_the_accuracy_log_holds_the_selected_answers(folder: Path) -> None:
    """The sequence ids in the accuracy log are those that our selection names."""
    run = official(folder)
    if run.effective.test_mode == "FindPeakPerformance":
        pytest.skip("what a search issues is told by no log")
    first, rows = performance_rows(run) if run.has_result else (len(mlperf_accuracy.read(run.accuracy)), 0)
    assert {record.seq_id for record in mlperf_accuracy.read(run.accuracy)} == logged(run.effective, first, rows)


@pytest.mark.parametrize("path", SELECTIONS, ids=lambda path: path.stem)
def test_the_selection_of_answers_is_loadgens(path: Path) -> None:
    """Sequence ids and sample indices of a sampled accuracy log equal the recorded ones."""
    golden = json.loads(path.read_text())
    config = golden["config"]
    settings = config["settings"]
    effective = made_effective(Requested(**settings), config["qsl_total"], config["qsl_perf"])
    generated = [
        queries * samples for queries, samples in zip(golden["generated_query_count"], golden["generated_samples_per_query"], strict=True)
    ]
    accuracy = {"AccuracyOnly": len(generated), "SubmissionRun": len(generated) - 1}.get(settings.get("mode", ""), 0)
    first = sum(generated[:accuracy])
    found = logged(effective, first, golden["issued_samples_total"] - first)
    assert {sequence for sequence, _ in golden["accuracy_log_seq_id_qsl_idx"]} == found
    indices = golden["sample_indices_first_2000"]
    assert all(indices[sequence] == index for sequence, index in golden["accuracy_log_seq_id_qsl_idx"] if sequence < len(indices))


EVENT = re.compile(r'"ph":"[be]",? ?"pid":\d+(,"id":.*)')


@pytest.mark.parametrize("folder", TRACED, ids=lambda path: path.name)
def test_the_trace_has_loadgens_sample_events_and_is_json(folder: Path) -> None:
    """Fed the columns of an official trace, ours has the same sample events, and unlike it is JSON."""
    run = official(folder)
    samples = mlperf_reader.samples(run.trace)
    columns = columns_of(samples, 0, len(samples.sequence))
    begun = int(samples.due_ns[np.argmin(samples.sequence)])
    one = Phase("performance", Part(np.zeros(0, np.int32), 0, 1, 0), columns, 10**18 + begun)
    text = "".join(mlperf_trace.chunks(replace(played(run), begun_ns=10**18, phases=(one,), result=None)))
    events = json.loads(text)["traceEvents"]
    assert sum(event.get("ph") == "b" for event in events) == len(samples.sequence)
    assert sorted(EVENT.findall(text)) == sorted(each for each in EVENT.findall(run.trace) if "sample_seq" in each or '"args"' not in each)
    counters = [line.partition('"ts"')[2] for line in run.trace.splitlines() if line.startswith('{"name":"Latency"')]
    assert sorted(counters) == sorted(line.partition('"ts"')[2] for line in text.splitlines() if line.startswith('{"name":"Latency"'))
