"""What a run needs, resolved and not yet loaded: scenario, task, model, settings, workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from harness import conditions, inputs, loadgen, models, plugins, requirements, traffic_file
from harness.batching import CPU_TOKENS, Policy, pad_to, shapes
from harness.blank import BlankTask
from harness.config import RunConfig
from harness.core import MS_NS, BackendOptions, Model, Scenario, Settings, Task
from harness.placement import place
from harness.progress import Progress
from harness.rules import resolve
from harness.traffic_file import Recorded
from harness.warmup import Warmed
from harness.worker import WorkerSpec

ANSWER_SEED = 20_240_601
"""Chooses which answers beyond the first of each sample are kept and compared. Any constant would do."""


@dataclass(slots=True)
class Bench:
    """What a run needs, ready to be loaded. `model` is None for a backend that looks at nothing; `recorded` is the traffic to replay;
    `said` are warnings for LoadGen's detail log; `instances` is what run.json says of the workers, once there are any; `warmed` is what
    warm-up did, `telemetry` what was read beside the run."""

    config: RunConfig
    scenario: Scenario
    task: Task
    model: Model | None
    settings: Settings
    policy: Policy
    progress: Progress
    recorded: Recorded | None = None
    timings: dict[str, float | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    others_share: float | None = None
    instances: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)
    warmed: Warmed | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show and time a part of the work."""
        self.progress.phase(name)
        start = time.monotonic()
        try:
            yield
        finally:
            key = name.replace("-", "_").replace(" ", "_")
            self.timings[key] = (self.timings.get(key) or 0.0) + time.monotonic() - start


def beside_the_round(config: RunConfig, scenario: Scenario, settings: Settings, sample_count: int) -> str:
    """Every effective setting beside what the round of MLPerf requires, as a table; empty under other rules."""
    if config.rules != "mlperf":
        return ""
    mode = loadgen.CONFIGURED[config.mode]
    effective = loadgen.effective(loadgen.requested(scenario.name, settings, mode), sample_count, settings.library_sample_count)
    return requirements.text(requirements.table(effective, config.round, scenario.name))


def prepare(config: RunConfig, progress: Progress) -> Bench:
    """Resolve model, data and rules. Loads no weights."""
    scenario: Scenario = plugins.load("scenarios", config.scenario).create()
    policy = batching_policy(config)
    timings: dict[str, float | None] = {"export": None}
    start = time.monotonic()
    progress.phase("prepare")
    inputs.check(config)  # before the backend imports its runtime
    backend = plugins.load("backends", plugins.split_backend(config.backend).plugin).create(_first_options(config))
    task, model = _task_and_model(config) if backend.needs_inputs else _nothing_to_ask(config)
    settings = resolve(config, scenario, task.latency_bound_ns, sample_count=len(task.samples))
    recorded = traffic_file.read(config.traffic) if config.traffic is not None else None
    if recorded is not None:
        settings = _replaying(config, settings, recorded, scenario)
    if table := beside_the_round(config, scenario, settings, len(task.samples)):
        progress.note(table)
    timings["prepare"] = time.monotonic() - start
    return Bench(config, scenario, task, model, settings, policy, progress, recorded, timings, _without_use(config))


def _without_use(config: RunConfig) -> list[str]:
    """Warnings of what was given and is not looked at."""
    info, precision, _ = plugins.find_backend(config.backend)
    if config.calibration is None or inputs.reads_calibration(precision, info.calibrated):
        return []
    return [f"--calibration {config.calibration} was not read: {config.backend} needs no calibration"]


def batching_policy(config: RunConfig) -> Policy:
    """How calls are made up: the same for all backends on this machine."""
    tokens = config.max_batch_tokens
    if tokens is None:
        tokens = CPU_TOKENS if config.batching != "fixed" and _on_cpu(config.device) else 0
    return Policy(config.batching, config.max_batch, round(config.batch_wait * MS_NS), tokens, pad_to(config.pad_to))


def _on_cpu(device: str) -> bool:
    return not conditions.gpus() if device == "auto" else device == "cpu"


def _replaying(config: RunConfig, settings: Settings, recorded: Recorded, scenario: Scenario) -> Settings:
    """The rate is the record's. Under the quick rules it is as long as it is, where nothing else was asked for."""
    settings = replace(settings, target_qps=recorded.rate)
    if config.rules != "quick":
        return settings
    if config.duration is None:
        last_ns = int(recorded.due_ns[-1] - recorded.due_ns[0]) if recorded.due_ns is not None and scenario.paced else 0
        settings = replace(settings, min_duration_ns=last_ns)
    return settings if config.min_queries else replace(settings, min_queries=min(settings.min_queries, recorded.queries))


def _first_options(config: RunConfig) -> BackendOptions:
    _, precision, options = plugins.find_backend(config.backend)
    return BackendOptions(precision, config.device, options=options)


def _task_and_model(config: RunConfig) -> tuple[Task, Model]:
    cache = models.default_cache()
    model = inputs.find_model(config, cache=cache)
    return inputs.make_task(config, model, cache=cache), model


def _nothing_to_ask(config: RunConfig) -> tuple[Task, None]:
    return BlankTask(config.task), None


def backend_options(bench: Bench, backend: str) -> BackendOptions:
    """What every instance of `backend` is given in this run. Raises MissingError where it needs calibration samples and there are none."""
    info, precision, options = plugins.find_backend(backend)
    return BackendOptions(
        precision,
        bench.config.device,
        options=options,
        cache=models.default_cache(),
        shapes=shapes(bench.task.samples, bench.policy),
        calibration=inputs.calibration_for(bench.config, bench.task, precision, info.calibrated),
    )


def make_ready(bench: Bench, backend: str) -> None:
    """Have the backend export, quantise or build what it keeps on disk, before any worker loads it; timed as `export`."""
    ahead = getattr(plugins.load("backends", plugins.split_backend(backend).plugin), "prepare", None)
    if ahead is None or bench.model is None:
        return
    start = time.monotonic()
    bench.progress.phase("export")
    ahead(backend_options(bench, backend), bench.model, bench.progress.note)
    bench.timings["export"] = (bench.timings.get("export") or 0.0) + time.monotonic() - start


def specs(bench: Bench, backend: str, workers: int) -> list[WorkerSpec]:
    """One spec per worker, each with its share of threads and, as a process, its own cores."""
    config = bench.config
    common = backend_options(bench, backend)
    shares = place(workers, config.threads, processes=workers > 1 and config.worker_mode == "process")
    return [
        WorkerSpec(
            worker=index,
            backend=plugins.split_backend(backend).plugin,
            options=replace(common, threads=share.threads, worker=index),
            model=bench.model,
            samples=bench.task.samples,
            outputs=bench.task.outputs,
            policy=bench.policy,
            cores=share.cores,
        )
        for index, share in enumerate(shares)
    ]
