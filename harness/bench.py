"""What a run needs, resolved and not yet loaded: scenario, task, model, settings, workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness import inputs, models, plugins
from harness.batching import Policy
from harness.blank import BlankTask
from harness.config import RunConfig
from harness.core import MS_NS, BackendOptions, Model, Scenario, Settings, Task
from harness.placement import place
from harness.progress import Progress
from harness.rules import resolve
from harness.worker import WorkerSpec

ANSWER_SEED = 20_240_601
"""Chooses which answers beyond the first of each sample are kept and compared. Any constant would do."""


@dataclass(slots=True)
class Bench:
    """What a run needs, ready to be loaded. `model` is None for a backend that looks at nothing."""

    config: RunConfig
    scenario: Scenario
    task: Task
    model: Model | None
    settings: Settings
    policy: Policy
    progress: Progress
    timings: dict[str, float | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    others_share: float | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show and time a part of the work."""
        self.progress.phase(name)
        start = time.monotonic()
        try:
            yield
        finally:
            self.timings[name.replace("-", "_").replace(" ", "_")] = time.monotonic() - start


def prepare(config: RunConfig, progress: Progress) -> Bench:
    """Resolve model, data and rules. Loads no weights."""
    scenario: Scenario = plugins.load("scenarios", config.scenario).create()
    policy = Policy(config.batching, config.max_batch, round(config.batch_wait * MS_NS))
    timings: dict[str, float | None] = {"export": None}
    start = time.monotonic()
    progress.phase("prepare")
    _, precision = plugins.find_backend(config.backend)
    backend = plugins.load("backends", _plugin_part(config.backend)).create(BackendOptions(precision, config.device))
    task, model = _task_and_model(config) if backend.needs_inputs else _nothing_to_ask(config)
    settings = resolve(config, scenario, task.latency_bound_ns, sample_count=len(task.samples))
    timings["prepare"] = time.monotonic() - start
    return Bench(config, scenario, task, model, settings, policy, progress, timings)


def _plugin_part(backend: str) -> str:
    return plugins.split_backend(backend)[0]


def _task_and_model(config: RunConfig) -> tuple[Task, Model]:
    cache = models.default_cache()
    model = inputs.find_model(config, cache=cache)
    return inputs.make_task(config, model, cache=cache), model


def _nothing_to_ask(config: RunConfig) -> tuple[Task, None]:
    return BlankTask(config.task), None


def specs(bench: Bench, backend: str, workers: int) -> list[WorkerSpec]:
    """One spec per worker, each with its share of threads and, as a process, its own cores."""
    config = bench.config
    _, precision = plugins.find_backend(backend)
    shares = place(workers, config.threads, processes=workers > 1 and config.worker_mode == "process")
    return [
        WorkerSpec(
            worker=index,
            backend=_plugin_part(backend),
            options=BackendOptions(precision, config.device, share.threads, index),
            model=bench.model,
            samples=bench.task.samples,
            outputs=bench.task.outputs,
            policy=bench.policy,
            cores=share.cores,
        )
        for index, share in enumerate(shares)
    ]
