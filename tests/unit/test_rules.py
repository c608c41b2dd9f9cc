"""The rule books: what each asks for, and what it refuses."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.config import RunConfig
from harness.core import SECOND_NS, AccuracyLog, Columns, Seeds, Settings, Traffic, Verdict
from harness.errors import MissingError, UsageError
from harness.mlperf import rounds
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
        library_sample_count=100,
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


# -------------------------------------------------------------------------------------------------------------------- LoadGen's modes


PACED = Named("server", False, 0.99, needs_rate=True, paced=True)


@pytest.mark.parametrize("round_", ["v5.0", "v5.1", "v6.0", "v6.1"])
def test_the_seeds_are_those_of_the_round(round_: Any) -> None:
    """All three, under every rule book; the default round is the newest."""
    assert resolve(RunConfig(round=round_), OFFLINE, BOUND_NS).seeds == rounds.seeds(round_)
    assert resolve(RunConfig(round=round_, rules="mlperf"), OFFLINE, BOUND_NS).seeds == rounds.seeds(round_)
    assert resolve(RunConfig(), OFFLINE, BOUND_NS).seeds == rounds.seeds("v6.1") == Seeds()


def test_a_seed_that_is_given_beats_that_of_the_round() -> None:
    """One by one, also 0; under the rules of MLPerf it must be the round's own."""
    assert resolve(RunConfig(round="v5.0", sample_seed=0), OFFLINE, BOUND_NS).seeds == replace(rounds.seeds("v5.0"), sample_index=0)
    own = rounds.seeds("v5.1").qsl
    assert resolve(RunConfig(round="v5.1", rules="mlperf", qsl_seed=own), OFFLINE, BOUND_NS).seeds.qsl == own
    with pytest.raises(UsageError, match=rf"--qsl-seed {own} \(they fix it at {rounds.seeds('v6.0').qsl}\)"):
        resolve(RunConfig(round="v6.0", rules="mlperf", qsl_seed=own), OFFLINE, BOUND_NS)


def test_test05_takes_the_other_seeds_of_its_round() -> None:
    """They are known of v6.1; a seed that is given beats them too."""
    other = rounds.test05_seeds("v6.1")
    assert resolve(RunConfig(test05=True), OFFLINE, BOUND_NS).seeds == other != rounds.seeds("v6.1")
    assert resolve(RunConfig(test05=True, schedule_seed=4), OFFLINE, BOUND_NS).seeds == replace(other, schedule=4)
    with pytest.raises(UsageError, match=r"the TEST05 seeds of round v5\.1 are not known") as caught:
        resolve(RunConfig(test05=True, round="v5.1"), OFFLINE, BOUND_NS)
    assert "--round v6.1" in caught.value.cure


def test_the_settings_of_loadgens_modes_are_taken_over() -> None:
    """Each reaches the scenario; max_async only one whose queries arrive by themselves."""
    config = RunConfig(
        max_queries=7,
        max_async=9,
        issue="same",
        same_index=3,
        concatenate=True,
        coalesce=True,
        accuracy_count=11,
        accuracy_log_probability=0.25,
        accuracy_log_target=13,
        accuracy_log_seed=17,
    )
    settings = resolve(config, PACED, BOUND_NS, sample_count=50)
    assert (settings.max_queries, settings.max_async, settings.issue, settings.same_index) == (7, 9, "same", 3)
    assert (settings.concatenate_permutation, settings.coalesce, settings.accuracy_sample_count) == (True, True, 11)
    assert settings.accuracy_log == AccuracyLog(17, 0.25, 13)
    assert settings.library_sample_count == 50
    assert resolve(config, SINGLE, BOUND_NS).max_async == 0


def test_an_accuracy_run_of_more_samples_than_there_are_is_refused() -> None:
    """The flag, its value and the size of the data are named."""
    assert resolve(RunConfig(accuracy_count=240), OFFLINE, BOUND_NS, sample_count=240).accuracy_sample_count == 240
    with pytest.raises(UsageError, match="--accuracy-count 241: the data has 240 samples"):
        resolve(RunConfig(accuracy_count=241), OFFLINE, BOUND_NS, sample_count=240)


@pytest.mark.parametrize(
    ("config", "scenario", "message", "cure"),
    [
        ({"find_peak": "loadgen"}, SINGLE, "--find-peak is not for single-stream", "--scenario server"),
        ({"find_peak": "loadgen"}, OFFLINE, "--find-peak is not for offline", "--scenario server"),
        ({"find_peak": "loadgen", "mode": "accuracy"}, PACED, "--find-peak and --mode accuracy exclude each other", "performance"),
        ({"find_peak": "loadgen", "engine": "mlcommons"}, PACED, "--find-peak and --engine mlcommons exclude each other", "native"),
        ({"find_peak": "loadgen", "traffic": "t.json"}, PACED, "--find-peak and --traffic exclude each other", "its own rate"),
        ({"traffic": "t.json", "target_qps": 5}, PACED, "--traffic and --target-qps exclude each other", "its own rate"),
        ({"traffic": "t.json", "issue": "same"}, PACED, "--traffic and --issue exclude each other", "its own samples"),
        ({"traffic": "t.json", "sample_seed": 4}, PACED, "--traffic and --sample-seed exclude each other", "its own samples"),
        ({"engine": "mlcommons", "traffic": "t.json"}, PACED, "--engine mlcommons and --traffic exclude each other", "--engine native"),
        (
            {"engine": "mlcommons", "workers": 2},
            PACED,
            "--engine mlcommons and several processes exclude each other",
            "--worker-mode thread or --workers 1",
        ),
        ({"issue": "unique", "mode": "accuracy"}, SINGLE, "--issue unique and --mode accuracy exclude each other", "performance"),
        ({"issue": "unique", "mode": "submission"}, SINGLE, "--issue unique and --mode submission exclude each other", "performance"),
    ],
)
def test_modes_that_exclude_one_another_are_refused(config: dict[str, Any], scenario: Any, message: str, cure: str) -> None:
    """Each pair with its own message and way out, under the quick rules as under the others."""
    for rules in ("quick", "standard"):
        with pytest.raises(UsageError) as caught:
            resolve(RunConfig(rules=rules, **config), scenario, BOUND_NS)  # type: ignore[arg-type]
        assert str(caught.value) == message
        assert cure in caught.value.cure


@pytest.mark.parametrize(
    "config",
    [
        {"find_peak": "loadgen"},
        {"engine": "mlcommons", "workers": 2, "worker_mode": "thread"},
        {"engine": "mlcommons", "mode": "submission"},
        {"traffic": "t.json", "mode": "submission"},
        {"issue": "same", "mode": "submission"},
        {"issue": "unique"},
    ],
)
def test_modes_that_go_together_are_allowed(config: dict[str, Any]) -> None:
    """What is not named above is a run."""
    assert resolve(RunConfig(**config), PACED, BOUND_NS).min_queries == 64


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_queries": 20_000}, "--max-queries 20000 (they fix it at none)"),
        ({"max_async": 5}, "--max-async 5 (they fix it at none)"),
        ({"issue": "unique"}, "--issue unique (they fix it at random)"),
        ({"concatenate": True}, "--concatenate True (they fix it at False)"),
        ({"accuracy_count": 100}, "--accuracy-count 100 (they fix it at 10833)"),
        ({"traffic": "t.json"}, "--traffic t.json (they fix it at none)"),
        ({"test05": True}, "--test05 True (they fix it at False)"),
        ({"find_peak": "loadgen"}, "--find-peak loadgen (they fix it at none)"),
        ({"accuracy_log_probability": 0.1}, "--accuracy-log-probability 0.1 (they fix it at 0)"),
        ({"reference_score": 50}, "--reference-score 50 (they fix it at none)"),
        ({"accuracy_target": 0.5}, "--accuracy-target 0.5 (they ask for 0.99 or 0.999)"),
    ],
)
def test_mlperf_fixes_loadgens_modes(change: dict[str, Any], named: str) -> None:
    """A run that counts is one that LoadGen would have played by mlperf.conf."""
    with pytest.raises(UsageError) as caught:
        resolve(RunConfig(rules="mlperf", **change), PACED, BOUND_NS)
    assert named in str(caught.value)


def test_offline_asks_every_sample_where_the_answers_are_scored() -> None:
    """At least as many as the data has, unless they are not scored or a smaller set is asked for."""
    assert resolve(RunConfig(min_queries=5), OFFLINE, BOUND_NS, sample_count=240).min_queries == 240
    assert resolve(RunConfig(min_queries=5, accuracy=False), OFFLINE, BOUND_NS, sample_count=240).min_queries == 5
    assert resolve(RunConfig(min_queries=5, performance_samples=20), OFFLINE, BOUND_NS, sample_count=240).min_queries == 5
