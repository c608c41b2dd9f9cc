"""mlperf_log_summary.txt, character for character (specification, section 9.1). Pure.

The lines that LoadGen prints of tokens (first token, time per output token, tokens per second) are left out: Assay's answers have none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.errors import DataError
from harness.loadgen import Effective
from harness.mlperf.result import LONGER, SEE_DETAIL, SHARES, SHORT, SLOWER, Latencies, Result

_RULE = "=" * 48

_PARAMETERS = {
    "samples_per_query": "samples_per_query :",
    "target_qps": "target_qps :",
    "target_latency_ns": "target_latency (ns):",
    "max_async_queries": "max_async_queries :",
    "min_duration_ms": "min_duration (ms):",
    "max_duration_ms": "max_duration (ms):",
    "min_query_count": "min_query_count :",
    "max_query_count": "max_query_count :",
    "qsl_rng_seed": "qsl_rng_seed :",
    "sample_index_rng_seed": "sample_index_rng_seed :",
    "schedule_rng_seed": "schedule_rng_seed :",
    "accuracy_log_rng_seed": "accuracy_log_rng_seed :",
    "accuracy_log_probability": "accuracy_log_probability :",
    "accuracy_log_sampling_target": "accuracy_log_sampling_target :",
    "print_timestamps": "print_timestamps :",
    "performance_issue_unique": "performance_issue_unique :",
    "performance_issue_same": "performance_issue_same :",
    "performance_issue_same_index": "performance_issue_same_index :",
    "performance_sample_count": "performance_sample_count :",
    "accuracy_sample_count": "accuracy_sample_count :",
}

_CONCATENATED = (
    "WARNING: sample_concatenate_permutation was set to true. ",
    "Generated samples per query might be different as the one in the setting.",
    "Check the generated_samples_per_query line in the detailed log for the real",
    "samples_per_query value",
)


def render(result: Result | None, effective: Effective, sut_name: str, warnings: int, errors: int) -> str:
    """Text of the file; `result` None: no performance phase was judged (an accuracy run). `effective`: the settings of the judged phase
    (find-peak: with its rate). Raises DataError for a result that does not know its target percentile."""
    return "".join(f"{line}\n" for line in _lines(result, effective, sut_name, warnings, errors))


def _lines(result: Result | None, effective: Effective, sut_name: str, warnings: int, errors: int) -> Iterator[str]:
    if result is not None:
        yield from _section("MLPerf Results Summary")
        yield f"SUT name : {sut_name}"
        yield f"Scenario : {effective.scenario}"
        yield f"Mode     : {effective.test_mode}"
        yield _headline(result, effective.target_latency_percentile)
        yield from _verdict(result)
        yield ""
        yield from _section("Additional Stats")
        yield from _statistics(result)
        yield ""
        yield from _section("Test Parameters Used")
        yield from (f"{label} {_parameter(getattr(effective, name))}" for name, label in _PARAMETERS.items())
        if effective.sample_concatenate_permutation:
            yield from _CONCATENATED
    yield ""
    yield _encountered(warnings, "warning", "warnings")
    yield ""
    yield _encountered(errors, "ERROR", "ERRORS")


def _section(title: str) -> tuple[str, str, str]:
    return _RULE, title, _RULE


def _headline(result: Result, percentile: float) -> str:
    match result.scenario:
        case "Server":
            return f"Completed samples per second    : {fixed(result.rates['result_completed_samples_per_sec'])}"
        case "Offline":
            return f"Samples per second: {result.rates['result_samples_per_second']:g}"
    if result.tail_ns is None:
        raise DataError(
            f"the latency at percentile {100 * percentile:g} is not known: a detail log gives only LoadGen's six percentiles",
            "take the result from the latencies of the run",
        )
    return f"{100 * percentile:.1f}th percentile latency (ns) : {result.tail_ns}"


def _verdict(result: Result) -> Iterator[str]:
    yield f"Result is : {'VALID' if result.valid else 'INVALID'}"
    if result.scenario == "Server":
        yield f"  Performance constraints satisfied : {_answer(result.constraint_met)}"
    yield f"  Min duration satisfied : {_answer(result.duration_met)}"
    yield f"  Min queries satisfied : {_answer(result.queries_met)}"
    yield f"  Early stopping satisfied: {_answer(result.stopping.met)}"
    if not result.valid:
        yield "Recommendations:"
        yield from _recommendations(result)
    if result.scenario != "Offline":
        yield "Early Stopping Result:"
        yield result.stopping.text


def _recommendations(result: Result) -> Iterator[str]:
    if not result.constraint_met:
        yield f" * {SLOWER}"
    if not result.duration_met:
        yield f" * {LONGER[result.scenario]}"
    if not result.queries_met:
        yield f" * {SHORT}"
        yield f"   {SEE_DETAIL}"


def _statistics(result: Result) -> Iterator[str]:
    match result.scenario:
        case "SingleStream":
            yield f"QPS w/ loadgen overhead         : {fixed(result.rates['result_qps_with_loadgen_overhead'])}"
            yield f"QPS w/o loadgen overhead        : {fixed(result.rates['result_qps_without_loadgen_overhead'])}"
            yield ""
        case "Server":
            yield f"Scheduled samples per second : {fixed(result.rates['result_scheduled_samples_per_sec'])}"
        case "MultiStream":
            yield "Per-query latency:  "
    yield from _latencies(result.per_query or result.samples)


def _latencies(latencies: Latencies) -> Iterator[str]:
    yield f"Min latency (ns)                : {latencies.minimum}"
    yield f"Max latency (ns)                : {latencies.maximum}"
    yield f"Mean latency (ns)               : {latencies.mean}"
    for share, value in zip(SHARES, latencies.percentiles, strict=True):
        yield f"{100 * share:.2f} percentile latency (ns)   : {value}"


def _answer(met: bool) -> str:
    return "Yes" if met else "NO"


def _parameter(value: int | float | bool) -> str:
    return f"{value:g}" if isinstance(value, float) else str(int(value))


def _encountered(count: int, one: str, many: str) -> str:
    if count == 0:
        return f"No {many.lower()} encountered during test."
    return f"{count} {one if count == 1 else many} encountered. See detailed log."


def fixed(value: float) -> str:
    """Two decimals as C prints them; x86 gives the nan of 0 / 0 a sign."""
    return "-nan" if math.isnan(value) else f"{value:.2f}"
