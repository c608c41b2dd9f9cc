"""mlperf_log_detail.txt: LoadGen's keys in LoadGen's order, one `:::MLLOG {json}` line each (specification, section 9.2). Pure.

Unlike LoadGen's, every line is JSON: strings are escaped, and what C prints as -nan or inf is null. Keys of token latencies are left out:
Assay's answers have no tokens. `test_datetime` is UTC, as its Z says. `file` and `line_no` name this module and no line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any, Literal

import numpy as np

from harness.core import MS_NS
from harness.loadgen import Effective, Requested, effective
from harness.mlperf.result import LONGER, SHARES, SHORT, SLOWER, Latencies, Result
from harness.phases import Message, Phase, Played

IDENTITY = (
    "loadgen_version",
    "loadgen_build_date_local",
    "loadgen_build_date_utc",
    "loadgen_git_commit_date",
    "loadgen_git_log_message",
    "loadgen_git_status_message",
    "loadgen_file_sha1",
)
"""Keys that the caller gives; `loadgen_file_sha1` is a mapping from file to SHA-1, the others are strings."""

_OWN = {
    "SingleStream": ("single_stream_expected_latency_ns", "single_stream_target_latency_percentile"),
    "MultiStream": ("multi_stream_expected_latency_ns", "multi_stream_target_latency_percentile", "multi_stream_samples_per_query"),
    "Server": (
        "server_target_qps",
        "server_target_latency_ns",
        "server_target_latency_percentile",
        "server_coalesce_queries",
        "server_find_peak_qps_decimals_of_precision",
        "server_find_peak_qps_boundary_step_size",
        "server_max_async_queries",
        "server_num_issue_query_threads",
    ),
    "Offline": ("offline_expected_qps",),
}

_SHARED = (
    "min_duration_ms",
    "max_duration_ms",
    "min_query_count",
    "max_query_count",
    "qsl_rng_seed",
    "sample_index_rng_seed",
    "schedule_rng_seed",
    "accuracy_log_rng_seed",
    "accuracy_log_probability",
    "accuracy_log_sampling_target",
    "print_timestamps",
    "performance_issue_unique",
    "performance_issue_same",
    "performance_issue_same_index",
    "performance_sample_count_override",
    "accuracy_sample_count_override",
    "sample_concatenate_permutation",
)

_COUNTERS = (
    "logger_swap_request_slots_retry_count",
    "logger_swap_request_slots_retry_retry_count",
    "logger_swap_request_slots_retry_reencounter_count",
    "logger_start_reading_entries_retry_count",
    "logger_tls_total_log_cas_fail_count",
    "logger_tls_total_swap_buffers_slot_retry_count",
)

_STARTING = {
    "accuracy": "Starting accuracy mode",
    "performance": "Starting performance mode",
    "find-peak": "Starting FindPeakPerformance mode",
}

_TESTING = "FindPeakPerformanceBinarySearch: "
_BEFORE = ("FindPeakPerformance: Check ", "FindBoundaries: ")
_BETWEEN = "FindPeakPerformance: Found boundaries"
_AFTER = ("FindPeakPerformance: Initial ", "FindPeakPerformance: Found peak")

_Line = tuple[str, Any, int]  # key, value, ns since the log began


def render(played: Played, result: Result | None, identity: Mapping[str, Any]) -> str:
    """Text of the file. `result`: of the phase that is judged, None where there is none. `identity`: the keys of IDENTITY, and `pid`.

    In a find-peak phase the messages stand where LoadGen has them: a test of bounds before its run, what was found after it.
    """
    lines = [*_header(played, identity), *_settings(played), *_phases(played)]
    if result is not None:
        end_ns = lines[-1][2]
        lines += [(key, value, end_ns) for key, value in [*_results(result), ("num_errors", _errors(played))]]
    pid = int(identity.get("pid", 0))
    text, latest_ns = [], 0
    for key, value, time_ns in lines:
        latest_ns = max(latest_ns, time_ns)
        text.append(_formatted(key, value, latest_ns, pid))
    return "".join(text)


def _header(played: Played, identity: Mapping[str, Any]) -> Iterator[_Line]:
    for key in IDENTITY:
        yield key, identity[key], 0
    yield "test_datetime", f"{_utc(played.begun_ns, 's')}Z", 0
    yield "sut_name", played.sut_name, 0
    yield "get_sut_name_duration_ns", 0, 0
    yield "qsl_name", "Assay", 0
    yield "qsl_reported_total_count", played.total, 0
    yield "qsl_reported_performance_count", played.loaded, 0


def _settings(played: Played) -> Iterator[_Line]:
    asked = played.requested
    taken = effective(asked, played.total, played.loaded)
    unplayed = asked.mode == "FindPeakPerformance" and not played.phases
    late = [message for message in played.messages if unplayed and message.key == "error_invalid_config"]
    yield from _said([message for message in played.messages if message not in late], 0)
    yield "requested_scenario", asked.scenario, 0
    yield "requested_test_mode", asked.mode, 0
    for name in (*_OWN[asked.scenario], *_SHARED):
        yield f"requested_{name}", _typed(asked, name), 0
    for field in fields(Effective):
        yield f"effective_{field.name}", _typed(taken, field.name), 0
    if unplayed:
        yield "generic_message", _STARTING["find-peak"], 0
        yield from _said(late, 0)


def _typed(settings: Requested | Effective, name: str) -> Any:
    return getattr(settings, name)


# ------------------------------------------------------------------------------------------------------------------------------ phases


def _phases(played: Played) -> Iterator[_Line]:
    for mode, group in groupby(played.phases, key=lambda phase: phase.mode):
        phases = list(group)
        yield "generic_message", _STARTING[mode], _since(phases[0], played)
        before: Phase | None = None
        for phase in phases:
            yield from _phase(phase, before, played)
            before = phase


def _phase(phase: Phase, before: Phase | None, played: Played) -> Iterator[_Line]:
    begun, part = _since(phase, played), phase.part
    done_ns = int(phase.columns.done_ns.max(initial=0))
    end = begun + max(done_ns, phase.columns.end_ns)
    early, inner, ending, late = _placed(phase)
    yield from _said(early, begun)
    if not (_searches(phase) and before is not None and _searches(before)):  # the search by halves loads its set once
        yield "loaded_qsl_set", part.indices.tolist(), begun
    yield from _said(inner, begun)
    yield "generated_query_count", part.queries, begun
    yield "generated_samples_per_query", part.samples_per_query, begun
    yield "generated_query_duration", part.duration_ns, begun
    yield from _said(ending, end)
    yield from ((key, 0, end) for key in _COUNTERS)
    yield "power_begin", _power(phase.begun_ns), end
    yield "power_end", _power(phase.begun_ns + done_ns), end
    yield from _said(late, end)


def _since(phase: Phase, played: Played) -> int:
    return max(0, phase.begun_ns - played.begun_ns)


def _said(messages: Sequence[Message], time_ns: int) -> Iterator[_Line]:
    return ((message.key, message.text, time_ns) for message in messages)


def _searches(phase: Phase) -> bool:
    return any(message.text.startswith(_TESTING) for message in phase.messages)


def _placed(phase: Phase) -> tuple[list[Message], list[Message], list[Message], list[Message]]:
    """Messages before the set is loaded, before queries are generated, when the last was issued, and after the phase."""
    widens = any(message.text.startswith(_BEFORE) for message in phase.messages)
    places: tuple[list[Message], list[Message], list[Message], list[Message]] = ([], [], [], [])
    for message in phase.messages:
        places[_place(message.text, widens)].append(message)
    return places


def _place(text: str, widens: bool) -> int:
    if text.startswith(_BETWEEN):
        return 3 if widens else 0
    if text.startswith(_BEFORE):
        return 0
    if text.startswith(_TESTING):
        return 1
    return 3 if text.startswith(_AFTER) else 2


# ----------------------------------------------------------------------------------------------------------------------------- results


def _results(result: Result) -> Iterator[tuple[str, Any]]:
    yield "result_validity", "VALID" if result.valid else "INVALID"
    if result.scenario == "Server":
        yield "result_perf_constraints_met", result.constraint_met
    yield "result_min_duration_met", result.duration_met
    yield "result_min_queries_met", result.queries_met
    yield "early_stopping_met", result.stopping.met
    if not result.valid:
        yield "result_invalid_reason", _reason(result)
    yield "early_stopping_result", result.stopping.text.replace("\n", " ")
    yield "result_query_count", result.queries
    if result.over_latency is not None:
        yield "result_overlatency_query_count", result.over_latency
    yield from result.rates.items()
    if result.scenario == "SingleStream":
        yield "early_stopping_latency_ss", result.stopping.single_ns
    if result.per_query is not None:
        yield from _latencies(result.per_query, "query_latency_ns", "per_query_latency_ns")
    if result.scenario in ("SingleStream", "MultiStream"):
        yield "early_stopping_latency_ms", result.stopping.multi_ns
    yield from _latencies(result.samples, "latency_ns", "latency_ns")


def _reason(result: Result) -> str:
    constraint = "" if result.constraint_met else f"{SLOWER} "
    duration = "" if result.duration_met else f"{LONGER[result.scenario]} "
    return constraint + duration + ("" if result.queries_met else SHORT)


def _latencies(latencies: Latencies, whole: str, part: str) -> Iterator[tuple[str, Any]]:
    yield f"result_min_{whole}", latencies.minimum
    yield f"result_max_{whole}", latencies.maximum
    yield f"result_mean_{whole}", latencies.mean
    for share, value in zip(SHARES, latencies.percentiles, strict=True):
        yield f"result_{100 * share:.2f}_percentile_{part}", value


def _errors(played: Played) -> int:
    said = [*played.messages, *(message for phase in played.phases for message in phase.messages)]
    return sum(message.is_error for message in said)


# ------------------------------------------------------------------------------------------------------------------------------- lines


def _formatted(key: str, value: Any, time_ns: int, pid: int) -> str:
    whole, rest = divmod(time_ns, MS_NS)
    flags = f'"is_error": {_json(key.startswith("error_"))}, "is_warning": {_json(key.startswith("warning_"))}'
    return (
        f':::MLLOG {{"key": {_json(key)}, "value": {_json(value)}, "time_ms": {whole}.{rest:06d}, "namespace": "mlperf::logging", '
        f'"event_type": "POINT_IN_TIME", "metadata": {{{flags}, "file": "mlperf_detail.py", "line_no": 0, "pid": {pid}, "tid": {pid}}}}}\n'
    )


def _json(value: Any) -> str:
    """As LoadGen writes values: floats with six significant digits, lists and mappings without spaces."""
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else "null"
    return json.dumps(value, separators=(",", ":"))


def _utc(time_ns: int, unit: Literal["s", "ms"]) -> str:
    return str(np.datetime_as_string(np.datetime64(time_ns, "ns"), unit=unit))


def _power(time_ns: int) -> str:
    """MM-DD-YYYY HH:MM:SS.mmm in UTC."""
    date, time = _utc(time_ns, "ms").split("T")
    year, month, day = date.split("-")
    return f"{month}-{day}-{year} {time}"
