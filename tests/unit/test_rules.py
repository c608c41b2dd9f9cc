"""The rule books: what each asks for, and what it refuses."""

from dataclasses import dataclass
from typing import Any

import pytest

from harness.config import RunConfig
from harness.core import SECOND_NS, Columns, Seeds, Settings, Traffic, Verdict
from harness.errors import MissingError, UsageError
from harness.rules import RULES, resolve

BOUND_NS = 130_000_000


@dataclass
class Named:
    """A scenario that is only asked what it is."""

    name: str
    closed_loop: bool
    percentile: float
    quick_queries: int = 64
    needs_rate: bool = False
    paced: bool = False

    def traffic(self, settings: Settings, sample_count: int) -> Traffic:
        raise NotImplementedError

    def wants_more(self, columns: Columns, settings: Settings) -> int:
        raise NotImplementedError

    def judge(self, columns: Columns, settings: Settings) -> Verdict:
        raise NotImplementedError


SINGLE = Named("single-stream", True, 0.9)
MULTI = Named("multi-stream", True, 0.99, quick_queries=16)
SERVER = Named("server", False, 0.99, needs_rate=True)
OFFLINE = Named("offline", False, 0.99, needs_rate=True)


def test_the_table_is_the_one_of_the_rules() -> None:
    """Least times and whether early stopping is required."""
    assert {name: (rules.duration_s, rules.early_stopping) for name, rules in RULES.items()} == {
        "quick": (10, False),
        "standard": (60, True),
        "mlperf": (600, True),
    }


def test_quick_asks_for_ten_seconds_and_the_scenarios_least() -> None:
    """Quick reports early stopping and asks no more of a run than that."""
    settings = resolve(RunConfig(), MULTI, BOUND_NS)
    assert settings == Settings(
        min_duration_ns=10 * SECOND_NS,
        min_queries=16,
        latency_bound_ns=BOUND_NS,
        percentile=0.99,
    )


def test_the_users_settings_are_taken_over() -> None:
    """Every setting of the schema that reaches the scenario does so in its unit."""
    config = RunConfig(
        duration=2,
        max_duration=0,
        min_queries=5,
        target_qps=12.5,
        latency_bound=50,
        percentile=0.95,
        samples_per_query=4,
        performance_samples=100,
        qsl_seed=1,
        sample_seed=0,
        schedule_seed=3,
    )
    assert resolve(config, SERVER, BOUND_NS) == Settings(
        min_duration_ns=2 * SECOND_NS,
        max_duration_ns=0,
        min_queries=5,
        target_qps=12.5,
        latency_bound_ns=50_000_000,
        percentile=0.95,
        samples_per_query=4,
        performance_sample_count=100,
        seeds=Seeds(1, 0, 3),
    )


@pytest.mark.parametrize(("scenario", "least"), [(SINGLE, 100), (MULTI, 662), (SERVER, 459)])
def test_standard_asks_for_what_early_stopping_needs(scenario: Any, least: int) -> None:
    """LoadGen's floor (64, 662, 459) or its default of 100 queries, whichever is more; early stopping is required."""
    settings = resolve(RunConfig(rules="standard"), scenario, BOUND_NS)
    assert settings.min_queries == least
    assert settings.require_early_stopping
    assert settings.min_duration_ns == 60 * SECOND_NS


@pytest.mark.parametrize(("scenario", "least"), [(SINGLE, 100), (MULTI, 662), (SERVER, 100), (OFFLINE, 10_833)])
def test_mlperf_is_mlperf_conf(scenario: Any, least: int) -> None:
    """The net settings of LoadGen's embedded mlperf.conf for bert."""
    settings = resolve(RunConfig(rules="mlperf"), scenario, 1)
    assert settings.min_queries == least
    assert settings.min_duration_ns == 600 * SECOND_NS
    assert settings.max_duration_ns == 0
    assert settings.performance_sample_count == 10_833
    assert settings.latency_bound_ns == BOUND_NS
    assert settings.seeds == Seeds()


def test_mlperf_accepts_what_agrees_with_it() -> None:
    """A longer run, more queries, the same bound and the strict accuracy target are allowed."""
    config = RunConfig(rules="mlperf", duration=700, min_queries=20_000, latency_bound=130, accuracy_target=0.999, max_batch=64)
    assert resolve(config, OFFLINE, BOUND_NS).min_queries == 20_000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"duration": 60}, "--duration 60 (they ask for 600 s or more)"),
        ({"min_queries": 10}, "--min-queries 10 (they ask for 662 or more)"),
        ({"latency_bound": 100}, "--latency-bound 100 (they fix it at 130)"),
        ({"percentile": 0.9}, "--percentile 0.9 (they fix it at 0.99)"),
        ({"samples_per_query": 4}, "--samples-per-query 4 (they fix it at 8)"),
        ({"performance_samples": 100}, "--performance-samples 100 (they fix it at 10833)"),
        ({"qsl_seed": 7}, "--qsl-seed 7 (they fix it at 2085463073848966840)"),
        ({"max_duration": 700}, "--max-duration 700 (they fix it at 0)"),
        ({"accuracy": False}, "--no-accuracy (they fix it at True)"),
        ({"accuracy_samples": 10}, "--accuracy-samples 10 (they fix it at none)"),
        ({"task": "sst2"}, "--task sst2 (they cover squad)"),
    ],
)
def test_mlperf_refuses_what_contradicts_it(change: dict[str, Any], named: str) -> None:
    """Each setting that differs is named with the value the rules give it."""
    with pytest.raises(UsageError) as caught:
        resolve(RunConfig(rules="mlperf", **change), MULTI, BOUND_NS)
    assert named in str(caught.value)


def test_all_contradictions_are_told_at_once() -> None:
    """Nobody has to mend one setting to hear of the next."""
    with pytest.raises(UsageError, match=r"--duration 20 .*; --min-queries 5 "):
        resolve(RunConfig(rules="standard", duration=20, min_queries=5), MULTI, BOUND_NS)


def test_a_performance_set_larger_than_the_data_is_refused() -> None:
    """The user's own number is a usage error; the rules' number means that data is missing."""
    with pytest.raises(UsageError, match="--performance-samples 300: the data has 240 samples"):
        resolve(RunConfig(performance_samples=300), OFFLINE, BOUND_NS, sample_count=240)
    with pytest.raises(MissingError, match="--rules mlperf needs the 10,833 samples of the official data, here are 240"):
        resolve(RunConfig(rules="mlperf"), OFFLINE, BOUND_NS, sample_count=240)
