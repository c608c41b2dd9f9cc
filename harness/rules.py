"""The three rule books: what a run must do before its number counts.

| rules    | least time | early stopping | seeds, set, bounds            |
|----------|------------|----------------|-------------------------------|
| quick    | 10 s       | reported       | the user's                    |
| standard | 60 s       | required       | the user's                    |
| mlperf   | 600 s      | required       | those of the round, fixed     |

Only a schedule can outgrow what a system serves: the session gives it up after `GIVE_UP_FACTOR` x its length + 60 s, under mlperf never, as
LoadGen. Offline asks every sample at least once where the answers are scored, so that the score is that of the timed run.
Source of the mlperf row: mlperf.conf of LoadGen 6.0.17, model bert, and the wildcard model where bert has no entry; only the seeds
differ between rounds (`harness.mlperf.rounds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.config import RunConfig, flag
from harness.core import MS_NS, SECOND_NS, AccuracyLog, Scenario, Seeds, Settings
from harness.early_stopping import required
from harness.errors import AssayError, MissingError, UsageError
from harness.mlperf import rounds

LEAST_TARGET, STRICT_TARGET = 0.99, 0.999
"""Shares of the FP32 score that bert-99 and bert-99.9 must reach; from the second on TEST01 lets scores be apart by 0.1 % only."""

LOADGEN_MIN_QUERIES = 100
"""LoadGen's default `min_query_count`, in force where mlperf.conf names none."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A rule book. `min_queries` by scenario name (offline: samples); `fixed` are settings that have one value, by field of RunConfig."""

    name: str
    duration_s: float
    early_stopping: bool
    tasks: tuple[str, ...] = ()  # empty: all
    min_queries: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    gives_up: bool = True


GIVE_UP_FACTOR, GIVE_UP_EXTRA_S = 5, 60
"""Early stopping may make a schedule four times as long as planned; the rest is for what is still waiting then."""


RULES: Mapping[str, Rules] = {
    "quick": Rules("quick", duration_s=10, early_stopping=False),
    "standard": Rules("standard", duration_s=60, early_stopping=True),
    "mlperf": Rules(
        "mlperf",
        duration_s=600,
        early_stopping=True,
        tasks=("squad",),
        min_queries={"multi-stream": 662, "offline": 10_833},
        fixed={
            "performance_samples": 10_833,
            "latency_bound": 130.0,
            "samples_per_query": 8,
            "max_duration": 0.0,
            "max_queries": None,
            "max_async": None,
            "issue": "random",
            "concatenate": False,
            "accuracy_count": 10_833,
            "traffic": None,
            "test05": False,
            "find_peak": "none",
            "accuracy_log_probability": 0.0,
            "reference_score": None,
            "accuracy": True,
            "accuracy_samples": None,
        },
        gives_up=False,
    ),
}


def resolve(config: RunConfig, scenario: Scenario, task_latency_bound_ns: int, *, sample_count: int | None = None) -> Settings:
    """What the scenario is to play under the rules. `target_qps` is left at LoadGen's 1.0 where the configuration has none.

    Raises UsageError, naming them, for settings the rules do not allow, and, where `sample_count` is given, for a performance set
    larger than the data (MissingError where it is the rules that ask for it).
    """
    rules = RULES[config.rules]
    percentile = config.percentile or scenario.percentile
    floor = _least_queries(rules, scenario, percentile)
    _refuse_contradictions(config, rules, scenario, floor)
    _refuse_modes(config, scenario)
    duration = config.duration or rules.duration_s
    performance = rules.fixed.get("performance_samples", config.performance_samples or 0)
    if sample_count is not None and performance > sample_count:
        raise _too_few_samples(rules, performance, sample_count)
    return Settings(
        min_duration_ns=round(duration * SECOND_NS),
        max_duration_ns=round((config.max_duration or 0) * SECOND_NS),
        min_queries=max(config.min_queries or floor, _to_score(config, scenario, performance, sample_count)),
        target_qps=config.target_qps or 1.0,
        latency_bound_ns=_latency_bound_ns(config, rules, task_latency_bound_ns),
        percentile=percentile,
        samples_per_query=config.samples_per_query,
        max_queries=config.max_queries or 0,
        performance_sample_count=performance,
        library_sample_count=performance or sample_count or 0,
        accuracy_sample_count=_accuracy_count(config, sample_count),
        seeds=_seeds(config),
        issue=config.issue,
        same_index=config.same_index,
        concatenate_permutation=config.concatenate,
        coalesce=config.coalesce,
        max_async=config.max_async or 0 if scenario.paced else 0,
        accuracy_log=AccuracyLog(config.accuracy_log_seed, config.accuracy_log_probability, config.accuracy_log_target),
        require_early_stopping=rules.early_stopping,
    )


def _seeds(config: RunConfig) -> Seeds:
    """Those of the round, of its TEST05, or the user's."""
    built_in = rounds.test05_seeds(config.round) if config.test05 else rounds.seeds(config.round)
    return Seeds(
        built_in.qsl if config.qsl_seed is None else config.qsl_seed,
        built_in.sample_index if config.sample_seed is None else config.sample_seed,
        built_in.schedule if config.schedule_seed is None else config.schedule_seed,
    )


def _accuracy_count(config: RunConfig, sample_count: int | None) -> int:
    count = config.accuracy_count or 0
    if sample_count is not None and count > sample_count:
        raise UsageError(f"--accuracy-count {count}: the data has {sample_count:,} samples", "give fewer, or more data by --data")
    return count


def _too_few_samples(rules: Rules, performance: int, sample_count: int) -> AssayError:
    if rules.fixed:
        text = f"--rules {rules.name} needs the {performance:,} samples of the official data, here are {sample_count:,}"
        return MissingError(text, "give the folder with it by --data, or use --rules standard")
    return UsageError(f"--performance-samples {performance}: the data has {sample_count:,} samples", "give fewer, or more data by --data")


def early_stopping_floor(scenario: Scenario, percentile: float) -> int:
    """Fewest queries at which early stopping can be met: h(1) + 1 for closed loops, h(0) for open ones, where no query over the
    latency bound is needed for an estimate (LoadGen's early stopping; p99: 662 and 459, p90: 64)."""
    return required(1 if scenario.closed_loop else 0, percentile)


def _least_queries(rules: Rules, scenario: Scenario, percentile: float) -> int:
    if not rules.early_stopping:
        return scenario.quick_queries
    stated = rules.min_queries.get(scenario.name, LOADGEN_MIN_QUERIES)
    return stated if rules.fixed else max(stated, early_stopping_floor(scenario, percentile))


def _to_score(config: RunConfig, scenario: Scenario, performance: int, sample_count: int | None) -> int:
    """Samples that Offline must ask for the score to be that of the timed run; 0 where it need not or cannot ask all of them."""
    scored = config.accuracy and config.accuracy_samples is None
    if sample_count is None or not scored or scenario.closed_loop or scenario.paced or performance not in (0, sample_count):
        return 0
    return sample_count


def _latency_bound_ns(config: RunConfig, rules: Rules, task_bound_ns: int) -> int:
    bound_ms = rules.fixed.get("latency_bound", config.latency_bound)
    return task_bound_ns if bound_ms is None else max(1, round(bound_ms * MS_NS))  # 0 would be no bound


def _refuse_contradictions(config: RunConfig, rules: Rules, scenario: Scenario, floor: int) -> None:
    """One UsageError that lists every setting the rules do not allow."""
    if not rules.early_stopping:
        return
    problems = []
    if rules.tasks and config.task not in rules.tasks:
        problems.append(f"--task {config.task} (they cover {', '.join(rules.tasks)})")
    if config.duration is not None and config.duration < rules.duration_s:
        problems.append(f"--duration {config.duration:g} (they ask for {rules.duration_s:g} s or more)")
    if config.min_queries is not None and config.min_queries < floor:
        problems.append(f"--min-queries {config.min_queries} (they ask for {floor:,} or more)")
    if rules.fixed and config.accuracy_target < LEAST_TARGET:
        problems.append(f"--accuracy-target {config.accuracy_target:g} (they ask for {LEAST_TARGET:g} or {STRICT_TARGET:g})")
    problems += _against_fixed(config, rules, scenario)
    if problems:
        raise UsageError(f"--rules {rules.name} does not allow {'; '.join(problems)}", "leave these out, or use --rules quick")


def _refuse_modes(config: RunConfig, scenario: Scenario) -> None:
    """Raises UsageError for modes that exclude one another, or the scenario."""
    search = config.find_peak != "none"
    processes = config.workers != "auto" and config.workers > 1 and config.worker_mode == "process"
    excluded = (
        (search and not scenario.paced, f"--find-peak is not for {scenario.name}", "use --scenario server: only there a rate is asked for"),
        (search and config.mode != "performance", f"--find-peak and --mode {config.mode}", "search in performance mode"),
        (search and config.engine != "native", "--find-peak and --engine mlcommons", "search with --engine native, then confirm the rate"),
        (search and config.traffic is not None, "--find-peak and --traffic", "a recorded trace has its own rate"),
        (config.traffic is not None and config.target_qps is not None, "--traffic and --target-qps", "a recorded trace has its own rate"),
        *_beside_traffic(config),
        (config.traffic is not None and config.mode == "accuracy", "--traffic and --mode accuracy", "use --mode performance"),
        (config.engine != "native" and config.traffic is not None, "--engine mlcommons and --traffic", "replay with --engine native"),
        (config.engine != "native" and processes, "--engine mlcommons and several processes", "use --worker-mode thread or --workers 1"),
        (config.issue == "unique" and config.mode != "performance", f"--issue unique and --mode {config.mode}", "use --mode performance"),
    )
    for refused, text, cure in excluded:
        if refused:
            raise UsageError(f"{text} exclude each other" if " and " in text else text, cure)


def _beside_traffic(config: RunConfig) -> list[tuple[bool, str, str]]:
    """A record says which samples are asked, and when: settings that would choose them have no say."""
    unset = {name: field.default for name, field in RunConfig.model_fields.items()}
    given = [name for name in _CHOOSE_SAMPLES if config.traffic is not None and getattr(config, name) != unset[name]]
    return [(True, f"--traffic and {flag(name)}", "a recorded trace has its own samples and times; leave it out") for name in given]


_CHOOSE_SAMPLES = (
    "issue",
    "same_index",
    "concatenate",
    "performance_samples",
    "qsl_seed",
    "sample_seed",
    "schedule_seed",
    "test05",
)


def _against_fixed(config: RunConfig, rules: Rules, scenario: Scenario) -> list[str]:
    """Settings that differ from the one value the rules give them; None in the configuration is "by the rules"."""
    seeds = rounds.seeds(config.round)
    by_round = {"qsl_seed": seeds.qsl, "sample_seed": seeds.sample_index, "schedule_seed": seeds.schedule}
    fixed = {**rules.fixed, **by_round, "percentile": scenario.percentile} if rules.fixed else {}
    problems = []
    for name, value in fixed.items():
        given = getattr(config, name)
        if given is not None and given != value:
            problems.append(f"{_as_flag(name, given)} (they fix it at {_shown(value)})")
    return problems


def _as_flag(field: str, value: object) -> str:
    return flag(field).replace("--", "--no-", 1) if value is False else f"{flag(field)} {_shown(value)}"


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
