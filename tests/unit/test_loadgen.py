"""LoadGen's settings: as requested, as they take effect, and as ours."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.core import MS_NS, AccuracyLog, Seeds, Settings
from harness.errors import UsageError
from harness.loadgen import (
    CONFIGURED,
    MODES,
    NAMES,
    SCENARIOS,
    Effective,
    Requested,
    as_names,
    effective,
    from_names,
    percentile,
    played,
    requested,
    target_qps,
    with_test05,
)

SEED = st.integers(0, 2**64 - 1)


def test_names_and_defaults_are_those_of_the_python_module() -> None:
    """42 attributes and two enumerations of the table in section 11, in numbers that are easily mistaken."""
    names = as_names(Requested())
    assert len(names) == 42
    assert (names["scenario"], names["mode"]) == ("SingleStream", "PerformanceOnly")
    assert (names["min_duration_ms"], names["min_query_count"]) == (10_000, 100)
    assert (names["single_stream_expected_latency_ns"], names["multi_stream_expected_latency_ns"]) == (1e6, 8e6)
    assert (names["server_target_latency_ns"], names["ttft_latency"], names["tpot_latency"]) == (100_000_000,) * 3
    assert all(names[name] == 0 for name in names if name.endswith("seed"))
    assert MODES.index("FindPeakPerformance") == 3
    assert set(CONFIGURED.values()) < set(MODES)
    assert NAMES == {"single-stream": "SingleStream", "multi-stream": "MultiStream", "server": "Server", "offline": "Offline"}


def test_numbers_are_taken_in_the_type_of_the_setting() -> None:
    """A whole number may be written 100.0, a real one 5, a switch 1."""
    asked = from_names({"min_query_count": 100.0, "server_target_qps": 5, "test05": 1, "qsl_rng_seed": 2**64 - 1})
    assert (asked.min_query_count, asked.server_target_qps, asked.test05) == (100, 5.0, True)
    assert [type(value) for value in (asked.min_query_count, asked.server_target_qps, asked.test05)] == [int, float, bool]
    assert asked.qsl_rng_seed == 2**64 - 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_qps": 5.0}, "target_qps: LoadGen has no such setting"),
        ({"scenario": "Sever"}, "scenario: 'Sever' is none of LoadGen's"),
        ({"scenario": ["Server"]}, "scenario: ['Server'] is none of LoadGen's"),
        ({"min_duration_ms": -1}, "min_duration_ms: -1 is outside 0 to 2^64 - 1"),
        ({"min_duration_ms": 0.5}, "min_duration_ms: 0.5 is not a whole number"),
        ({"print_timestamps": 2}, "print_timestamps: 2 is not true or false"),
        ({"server_target_qps": True}, "server_target_qps: True is not a number"),
        ({"server_target_qps": [1]}, "server_target_qps: [1] is not a number"),
        ({"server_target_qps": math.nan}, "server_target_qps: nan is no number"),
        ({"server_target_qps": -math.inf}, "server_target_qps: -inf is no number"),
        ({"min_duration_ms": math.inf}, "min_duration_ms: inf is no number"),
        ({"min_duration_ms": math.nan}, "min_duration_ms: nan is no number"),
        ({"server_target_qps": 10**400}, "server_target_qps: 1"),
    ],
)
def test_what_loadgen_does_not_know_is_refused(values: dict[str, Any], message: str) -> None:
    """The setting comes first, then its value; the cure is never empty."""
    with pytest.raises(UsageError) as caught:
        from_names(values)
    assert str(caught.value).startswith(message)
    assert caught.value.cure


def test_test05_changes_mode_and_seeds_and_nothing_else() -> None:
    """What StartTest does before it looks at anything."""
    asked = Requested(
        mode="SubmissionRun", qsl_rng_seed=1, test05=True, test05_qsl_rng_seed=4, test05_sample_index_rng_seed=5, test05_schedule_rng_seed=6
    )
    assert with_test05(asked) == replace(asked, mode="PerformanceOnly", qsl_rng_seed=4, sample_index_rng_seed=5, schedule_rng_seed=6)
    assert with_test05(replace(asked, test05=False)) == replace(asked, test05=False)


# ------------------------------------------------------------------------------------------------------------------------- effective


def took_effect(total: int = 100, loaded: int = 30, **settings: Any) -> Effective:
    return effective(Requested(**settings), total, loaded)


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"scenario": "SingleStream", "single_stream_expected_latency_ns": 4e5}, 2500.0),
        ({"scenario": "MultiStream", "multi_stream_expected_latency_ns": 8e6}, 125.0),
        ({"scenario": "Server", "server_target_qps": 12.5}, 12.5),
        ({"scenario": "Server", "server_target_qps": -3.0}, 1.0),
        ({"scenario": "Offline", "offline_expected_qps": -0.1}, 1.0),
    ],
)
def test_the_rate_of_each_scenario_is_its_own_field(settings: dict[str, Any], rate: float) -> None:
    """The inverse of a latency in closed loops; a negative rate becomes 1."""
    assert target_qps(Requested(**settings)) == rate
    assert took_effect(**settings).target_qps == rate


def test_a_latency_without_an_inverse_is_refused() -> None:
    """0 and below, named as the setting."""
    for name, scenario in (("single_stream", "SingleStream"), ("multi_stream", "MultiStream")):
        for value in (0.0, -5.0):
            with pytest.raises(UsageError, match=f"{name}_expected_latency_ns {value:g}: must be above zero"):
                target_qps(Requested(**{"scenario": scenario, f"{name}_expected_latency_ns": value}))  # type: ignore[arg-type]


def test_the_percentile_of_each_scenario_is_its_own_field() -> None:
    """Offline has a fixed one, which it does not use."""
    shares = {
        "single_stream_target_latency_percentile": 0.91,
        "multi_stream_target_latency_percentile": 0.92,
        "server_target_latency_percentile": 0.93,
    }
    assert [percentile(Requested(scenario=name, **shares)) for name in SCENARIOS] == [0.91, 0.92, 0.93, 0.99]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "samples", "least"),
    [
        ({"offline_expected_qps": 100.0, "min_duration_ms": 10_000}, 1100, 1100),
        ({"offline_expected_qps": 5.0, "min_duration_ms": 10_000}, 100, 100),
        ({"offline_expected_qps": 99.99, "min_duration_ms": 1000, "min_query_count": 0}, 109, 109),
        ({"performance_issue_unique": True}, 30, 30),
        ({"performance_issue_unique": True, "performance_sample_count_override": 12}, 12, 12),
    ],
)
def test_offline_is_one_query_of_enough_samples(settings: dict[str, Any], samples: int, least: int) -> None:
    """1.1 times the duration at the expected rate, cut to whole samples, or the requested count, or the set where each is issued once."""
    found = took_effect(scenario="Offline", **settings)
    assert (found.min_query_count, found.samples_per_query, found.min_sample_count) == (1, samples, least)
    assert found.target_duration_ms == 0
    assert found.min_duration_ms == settings.get("min_duration_ms", 10_000)


@pytest.mark.parametrize(("least", "raised"), [(100, 210), (61, 210), (200, 210), (210, 240), (400, 420)])
def test_concatenated_single_stream_asks_a_whole_set_more(least: int, raised: int) -> None:
    """Twice the duration at the expected rate or the requested count, raised to the next multiple of what the library loads; the set
    size given by hand does not count."""
    found = took_effect(
        scenario="SingleStream",
        sample_concatenate_permutation=True,
        min_query_count=least,
        min_duration_ms=100,
        single_stream_expected_latency_ns=1e6,
        performance_sample_count_override=7,
    )
    assert found.min_query_count == raised
    assert found.performance_sample_count == 7


def test_counts_and_limits_of_the_effective_settings() -> None:
    """Overrides win over what the library says; max_async is 1 but for Server; the target latency is Server's only."""
    plain, server = took_effect(), took_effect(scenario="Server", server_max_async_queries=9, accuracy_sample_count_override=4)
    assert (plain.performance_sample_count, plain.accuracy_sample_count, plain.max_async_queries, plain.target_latency_ns) == (
        30,
        100,
        1,
        0,
    )
    assert (server.accuracy_sample_count, server.max_async_queries, server.target_latency_ns) == (4, 9, 100_000_000)
    assert took_effect(scenario="MultiStream", min_query_count=7).min_sample_count == 56


# ------------------------------------------------------------------------------------------------------------------------- ours


def test_ours_are_theirs_in_our_units() -> None:
    """Every setting that reaches a scenario, once."""
    asked = Requested(
        scenario="Server",
        server_target_qps=12.5,
        server_target_latency_ns=50_000_000,
        server_target_latency_percentile=0.97,
        server_coalesce_queries=True,
        server_max_async_queries=6,
        min_duration_ms=7,
        max_duration_ms=9,
        min_query_count=11,
        max_query_count=13,
        qsl_rng_seed=1,
        sample_index_rng_seed=2,
        schedule_rng_seed=3,
        accuracy_log_rng_seed=4,
        accuracy_log_probability=0.5,
        accuracy_log_sampling_target=15,
        performance_issue_same=True,
        performance_issue_same_index=16,
        performance_sample_count_override=17,
        accuracy_sample_count_override=18,
        sample_concatenate_permutation=True,
    )
    assert played(asked, 100, 30, "accuracy") == Settings(
        min_duration_ns=7 * MS_NS,
        max_duration_ns=9 * MS_NS,
        min_queries=11,
        max_queries=13,
        target_qps=12.5,
        latency_bound_ns=50_000_000,
        percentile=0.97,
        samples_per_query=8,
        performance_sample_count=17,
        library_sample_count=30,
        accuracy_sample_count=18,
        seeds=Seeds(1, 2, 3),
        mode="accuracy",
        issue="same",
        same_index=16,
        concatenate_permutation=True,
        coalesce=True,
        max_async=6,
        accuracy_log=AccuracyLog(4, 0.5, 15),
        require_early_stopping=True,
    )


def test_other_scenarios_have_no_bound_and_no_limit_of_outstanding_queries() -> None:
    """Server's fields do not leak; both issue switches together mean unique, as LoadGen plays it."""
    asked = Requested(server_max_async_queries=5, performance_issue_unique=True, performance_issue_same=True)
    ours = played(asked, 100, 30, "performance")
    assert (ours.latency_bound_ns, ours.max_async, ours.issue) == (0, 0, "unique")
    assert (ours.performance_sample_count, ours.accuracy_sample_count) == (30, 100)


@given(
    scenario=st.sampled_from(sorted(NAMES)),
    rate=st.floats(0.01, 1e6),
    numbers=st.tuples(*[st.integers(0, 10**6)] * 8),
    seeds=st.tuples(SEED, SEED, SEED, SEED),
    share=st.floats(0.5, 0.999),
    issue=st.sampled_from(["random", "unique", "same"]),
    switches=st.tuples(st.booleans(), st.booleans()),
)
def test_what_is_requested_of_loadgen_is_what_we_play(
    scenario: str, rate: float, numbers: tuple[int, ...], seeds: tuple[int, ...], share: float, issue: Any, switches: tuple[bool, bool]
) -> None:
    """To TestSettings and back, our settings are the same, but for what the scenario does not have and the rounding of an inverse."""
    assume(1e9 / rate > 0)
    least_ms, most_ms, least, most, bound, same, max_async, target = numbers
    server = scenario == "server"
    ours = Settings(
        min_duration_ns=least_ms * MS_NS,
        max_duration_ns=most_ms * MS_NS,
        min_queries=least,
        max_queries=most,
        target_qps=rate,
        latency_bound_ns=1 + bound if server else 0,
        percentile=0.99 if scenario == "offline" else share,
        performance_sample_count=40,
        library_sample_count=50,
        accuracy_sample_count=60,
        seeds=Seeds(*seeds[:3]),
        issue=issue,
        same_index=same,
        concatenate_permutation=switches[0],
        coalesce=server and switches[1],
        max_async=max_async if server else 0,
        accuracy_log=AccuracyLog(seeds[3], 0.5, target),
        require_early_stopping=True,
    )
    back = played(requested(scenario, ours, "PerformanceOnly"), 100, 50, "performance")
    assert back.target_qps == pytest.approx(rate, rel=1e-15)
    assert replace(back, target_qps=rate) == ours


def test_parts_of_a_millisecond_are_rounded_up() -> None:
    """A run that LoadGen is asked for is never shorter than ours."""
    asked = requested("server", Settings(min_duration_ns=1_000_001, max_duration_ns=2_000_001), "PerformanceOnly")
    assert (asked.min_duration_ms, asked.max_duration_ms) == (2, 3)


def test_a_server_without_a_bound_asks_for_the_loosest() -> None:
    """LoadGen has no "none": the longest latency it can hold stands for it."""
    assert requested("server", Settings(latency_bound_ns=0), "PerformanceOnly").server_target_latency_ns == 2**63 - 1


def test_every_effective_setting_is_a_plain_value() -> None:
    """What the detail log prints: names in the order of the declaration."""
    names = as_names(took_effect(scenario="Server"))
    assert list(names) == [field.name for field in fields(Effective)]
    assert all(isinstance(value, str | int | float | bool) for value in names.values())
