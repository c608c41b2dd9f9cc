"""LoadGen's settings: as requested (its TestSettings), as they take effect, and as our scenarios play them. Pure.

Names, defaults and rules are those of LoadGen 6.0.17 (bindings/python_api.cc, test_settings.h, test_settings_internal.cc); times are in
the unit that a name says, rates per second, percentiles shares of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from harness.core import MS_NS, AccuracyLog, Seeds, Settings
from harness.errors import UsageError
from harness.suggest import advice

SCENARIOS = {"SingleStream": "single-stream", "MultiStream": "multi-stream", "Server": "server", "Offline": "offline"}
"""LoadGen's name of a scenario, and ours."""

NAMES = {ours: theirs for theirs, ours in SCENARIOS.items()}

MODES = ("SubmissionRun", "AccuracyOnly", "PerformanceOnly", "FindPeakPerformance")
"""In the order of LoadGen's enumeration: the number that a configuration file gives is the index."""


CONFIGURED = {"performance": "PerformanceOnly", "accuracy": "AccuracyOnly", "submission": "SubmissionRun"}
"""Our name of a mode, and LoadGen's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """TestSettings, with the attribute names and defaults of the Python module. `from_names` makes one from a dictionary."""

    scenario: str = "SingleStream"
    mode: str = "PerformanceOnly"
    single_stream_expected_latency_ns: float = 1_000_000.0
    single_stream_target_latency_percentile: float = 0.9
    multi_stream_expected_latency_ns: float = 8_000_000.0
    multi_stream_target_latency_percentile: float = 0.99
    multi_stream_samples_per_query: int = 8
    server_target_qps: float = 1.0
    server_target_latency_ns: int = 100_000_000
    server_target_latency_percentile: float = 0.99
    server_coalesce_queries: bool = False
    server_find_peak_qps_decimals_of_precision: int = 1
    server_find_peak_qps_boundary_step_size: float = 1.0
    server_max_async_queries: int = 0
    server_num_issue_query_threads: int = 0
    offline_expected_qps: float = 1.0
    min_duration_ms: int = 10_000
    max_duration_ms: int = 0
    min_query_count: int = 100
    max_query_count: int = 0
    qsl_rng_seed: int = 0
    sample_index_rng_seed: int = 0
    schedule_rng_seed: int = 0
    accuracy_log_rng_seed: int = 0
    accuracy_log_probability: float = 0.0
    accuracy_log_sampling_target: int = 0
    print_timestamps: bool = False
    performance_issue_unique: bool = False
    performance_issue_same: bool = False
    performance_issue_same_index: int = 0
    performance_sample_count_override: int = 0
    accuracy_sample_count_override: int = 0
    sample_concatenate_permutation: bool = False
    test05: bool = False
    test05_qsl_rng_seed: int = 0
    test05_sample_index_rng_seed: int = 0
    test05_schedule_rng_seed: int = 0
    use_token_latencies: bool = False
    infer_token_latencies: bool = False
    token_latency_scaling_factor: int = 0
    ttft_latency: int = 100_000_000
    tpot_latency: int = 100_000_000


_LARGEST = 1.7976931348623157e308
"""The largest double; a larger integer cannot be compared with one."""

_TYPES = {each.name: str(each.type) for each in fields(Requested)}
_CHOICES = {"scenario": tuple(SCENARIOS), "mode": MODES}


def from_names(values: Mapping[str, Any]) -> Requested:
    """TestSettings from a dictionary of its names; what is not there has its default. Raises UsageError for a name or value that
    LoadGen does not know."""
    return Requested(**{name: _checked(name, value) for name, value in values.items()})


def _checked(name: str, value: Any) -> Any:
    """`value` in the type of the setting. Raises UsageError."""
    if name not in _TYPES:
        raise UsageError(f"{name}: LoadGen has no such setting", advice(name, _TYPES, "settings"))
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise UsageError(f"{name}: {value!r} is none of LoadGen's", f"choose one of {', '.join(_CHOICES[name])}")
        return value
    if _TYPES[name] == "bool":
        if value not in (True, False):
            raise UsageError(f"{name}: {value!r} is not true or false", "write true or false")
        return bool(value)
    whole = _TYPES[name] == "int"
    if isinstance(value, int | float) and not abs(value) <= _LARGEST:
        raise UsageError(f"{name}: {value} is no number", "write a number")
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != int(value)):
        raise UsageError(f"{name}: {value!r} is not a {'whole ' if whole else ''}number", "write a number")
    if whole and not 0 <= value < 2**64:
        raise UsageError(f"{name}: {value} is outside 0 to 2^64 - 1", "give a smaller number")
    return int(value) if whole else float(value)


def with_test05(requested: Requested) -> Requested:
    """What StartTest does with `test05`: a performance run with the other seeds."""
    if not requested.test05:
        return requested
    return replace(
        requested,
        mode="PerformanceOnly",
        qsl_rng_seed=requested.test05_qsl_rng_seed,
        sample_index_rng_seed=requested.test05_sample_index_rng_seed,
        schedule_rng_seed=requested.test05_schedule_rng_seed,
    )


# ------------------------------------------------------------------------------------------------------------------------- effective


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """What LoadGen makes of its settings; in the order of its detail log, which prefixes each name with `effective_`."""

    scenario: str
    test_mode: str
    samples_per_query: int
    target_qps: float
    target_latency_ns: int
    target_latency_percentile: float
    max_async_queries: int
    target_duration_ms: int
    min_duration_ms: int
    max_duration_ms: int
    min_query_count: int
    max_query_count: int
    min_sample_count: int
    qsl_rng_seed: int
    sample_index_rng_seed: int
    schedule_rng_seed: int
    accuracy_log_rng_seed: int
    accuracy_log_probability: float
    accuracy_log_sampling_target: int
    print_timestamps: bool
    performance_issue_unique: bool
    performance_issue_same: bool
    performance_issue_same_index: int
    performance_sample_count: int
    accuracy_sample_count: int
    sample_concatenate_permutation: bool


def effective(requested: Requested, total: int, loaded: int) -> Effective:
    """Settings as they take effect on a sample library of `total` samples that says `loaded` of them fit in memory."""
    asked = requested
    performance = asked.performance_sample_count_override or loaded
    offline = asked.scenario == "Offline"
    queries, samples = _counts(asked, performance, loaded)
    return Effective(
        scenario=asked.scenario,
        test_mode=asked.mode,
        samples_per_query=samples,
        target_qps=target_qps(asked),
        target_latency_ns=asked.server_target_latency_ns if asked.scenario == "Server" else 0,
        target_latency_percentile=percentile(asked),
        max_async_queries=asked.server_max_async_queries if asked.scenario == "Server" else 1,
        target_duration_ms=0 if offline else asked.min_duration_ms,
        min_duration_ms=asked.min_duration_ms,
        max_duration_ms=asked.max_duration_ms,
        min_query_count=queries,
        max_query_count=asked.max_query_count,
        min_sample_count=queries * samples,
        qsl_rng_seed=asked.qsl_rng_seed,
        sample_index_rng_seed=asked.sample_index_rng_seed,
        schedule_rng_seed=asked.schedule_rng_seed,
        accuracy_log_rng_seed=asked.accuracy_log_rng_seed,
        accuracy_log_probability=asked.accuracy_log_probability,
        accuracy_log_sampling_target=asked.accuracy_log_sampling_target,
        print_timestamps=asked.print_timestamps,
        performance_issue_unique=asked.performance_issue_unique,
        performance_issue_same=asked.performance_issue_same,
        performance_issue_same_index=asked.performance_issue_same_index,
        performance_sample_count=performance,
        accuracy_sample_count=asked.accuracy_sample_count_override or total,
        sample_concatenate_permutation=asked.sample_concatenate_permutation,
    )


def target_qps(requested: Requested) -> float:
    """Scheduled queries per second: the inverse of the expected latency where queries wait for one another; a negative rate is 1."""
    match requested.scenario:
        case "SingleStream":
            return _inverse("single_stream_expected_latency_ns", requested.single_stream_expected_latency_ns)
        case "MultiStream":
            return _inverse("multi_stream_expected_latency_ns", requested.multi_stream_expected_latency_ns)
        case "Server":
            rate = requested.server_target_qps
        case _:
            rate = requested.offline_expected_qps
    return rate if rate >= 0 else 1.0


def _inverse(name: str, latency_ns: float) -> float:
    if latency_ns <= 0:
        raise UsageError(f"{name} {latency_ns:g}: must be above zero", "give the latency you expect, in nanoseconds")
    return 1e9 / latency_ns


def percentile(requested: Requested) -> float:
    """Target percentile of the scenario, a share; Offline's is fixed and unused."""
    match requested.scenario:
        case "SingleStream":
            return requested.single_stream_target_latency_percentile
        case "MultiStream":
            return requested.multi_stream_target_latency_percentile
        case "Server":
            return requested.server_target_latency_percentile
        case _:
            return 0.99


def _counts(asked: Requested, performance: int, loaded: int) -> tuple[int, int]:
    """Effective min_query_count and samples_per_query."""
    least, seconds = asked.min_query_count, asked.min_duration_ms / 1000.0
    if asked.scenario == "Offline":
        wanted = max(least, math.trunc(1.1 * seconds * target_qps(asked)))
        return 1, performance if asked.performance_issue_unique else wanted
    if asked.scenario == "SingleStream" and asked.sample_concatenate_permutation:
        least = max(least, math.trunc(2.0 * seconds * target_qps(asked)))
        least += loaded - least % loaded
    return least, asked.multi_stream_samples_per_query if asked.scenario == "MultiStream" else 1


# ------------------------------------------------------------------------------------------------------- between LoadGen's and ours


def played(requested: Requested, total: int, loaded: int, mode: Literal["performance", "accuracy"]) -> Settings:
    """The settings with which our scenario of the same name plays one part of a test: performance or accuracy."""
    asked = with_test05(requested)
    return Settings(
        min_duration_ns=asked.min_duration_ms * MS_NS,
        max_duration_ns=asked.max_duration_ms * MS_NS,
        min_queries=asked.min_query_count,
        max_queries=asked.max_query_count,
        target_qps=target_qps(asked),
        latency_bound_ns=asked.server_target_latency_ns if asked.scenario == "Server" else 0,
        percentile=percentile(asked),
        samples_per_query=asked.multi_stream_samples_per_query,
        performance_sample_count=asked.performance_sample_count_override or loaded,
        library_sample_count=loaded,
        accuracy_sample_count=asked.accuracy_sample_count_override or total,
        seeds=Seeds(asked.qsl_rng_seed, asked.sample_index_rng_seed, asked.schedule_rng_seed),
        mode=mode,
        issue="unique" if asked.performance_issue_unique else "same" if asked.performance_issue_same else "random",
        same_index=asked.performance_issue_same_index,
        concatenate_permutation=asked.sample_concatenate_permutation,
        coalesce=asked.server_coalesce_queries,
        max_async=asked.server_max_async_queries if asked.scenario == "Server" else 0,
        accuracy_log=AccuracyLog(asked.accuracy_log_rng_seed, asked.accuracy_log_probability, asked.accuracy_log_sampling_target),
        require_early_stopping=True,
    )


def requested(scenario: str, settings: Settings, mode: str) -> Requested:
    """The TestSettings that make LoadGen play what our `scenario` (our name) plays with `settings`."""
    name = NAMES[scenario]
    latency_ns = 1e9 / settings.target_qps
    rates: dict[str, dict[str, Any]] = {
        "SingleStream": {
            "single_stream_expected_latency_ns": latency_ns,
            "single_stream_target_latency_percentile": settings.percentile,
        },
        "MultiStream": {
            "multi_stream_expected_latency_ns": latency_ns,
            "multi_stream_target_latency_percentile": settings.percentile,
            "multi_stream_samples_per_query": settings.samples_per_query,
        },
        "Server": {
            "server_target_qps": settings.target_qps,
            "server_target_latency_ns": settings.latency_bound_ns or 2**63 - 1,
            "server_target_latency_percentile": settings.percentile,
            "server_coalesce_queries": settings.coalesce,
            "server_max_async_queries": settings.max_async,
        },
        "Offline": {"offline_expected_qps": settings.target_qps},
    }
    log = settings.accuracy_log
    return Requested(
        scenario=name,
        mode=mode,
        min_duration_ms=-(-settings.min_duration_ns // MS_NS),
        max_duration_ms=-(-settings.max_duration_ns // MS_NS),
        min_query_count=settings.min_queries,
        max_query_count=settings.max_queries,
        qsl_rng_seed=settings.seeds.qsl,
        sample_index_rng_seed=settings.seeds.sample_index,
        schedule_rng_seed=settings.seeds.schedule,
        accuracy_log_rng_seed=log.seed,
        accuracy_log_probability=log.probability,
        accuracy_log_sampling_target=log.target,
        performance_issue_unique=settings.issue == "unique",
        performance_issue_same=settings.issue == "same",
        performance_issue_same_index=settings.same_index,
        performance_sample_count_override=settings.performance_sample_count,
        accuracy_sample_count_override=settings.accuracy_sample_count,
        sample_concatenate_permutation=settings.concatenate_permutation,
        **rates[name],
    )


def as_names(values: Requested | Effective) -> dict[str, Any]:
    """A plain dictionary, in the order of the declaration."""
    return asdict(values)
