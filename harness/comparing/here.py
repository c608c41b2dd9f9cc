"""A candidate of this environment: worker processes of its own beside this process, so that neither thread settings nor memory of one
candidate reach another; while one is measured the others wait."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness import accuracy, bench, conditions, gate, session, summary
from harness.bench import ANSWER_SEED, Bench
from harness.comparing import room
from harness.comparing.seats import Facts, Ready, Scored, Stretch, Visited
from harness.config import RunConfig
from harness.core import Columns, Int64, Settings, Traffic
from harness.crew import Crew, form, patience
from harness.errors import AssayError
from harness.instances.auto import settle
from harness.measure import Measured, Watch, measure
from harness.progress import Progress
from harness.responses import Keep
from harness.validity import query_latency_ns


class HereSeat:
    """Implements `harness.comparing.seats.Seat`."""

    def __init__(self, config: RunConfig, progress: Progress, project: Path = session.ROOT) -> None:
        """Resolve settings, model and data; loads no weights. `project`: the checkout to name. Raises AssayError."""
        self._bench = bench.prepare(config, progress)
        self._project = project
        self._crew: Crew | None = None
        self._backend: dict[str, Any] = {}
        self._last: Measured | None = None
        self.facts = _facts(self._bench, project)

    @property
    def warnings(self) -> list[str]:
        return self._bench.warnings

    def ready(self) -> Ready:
        each = self._bench
        bench.make_ready(each, each.config.backend)
        self._bench, search = settle(each, conditions.collect(self._project), session.LOAD_PATIENCE * each.config.hang_timeout)
        config = self._bench.config
        self.facts = replace(self.facts, settings=config.model_dump(mode="json"))
        assert isinstance(config.workers, int)
        threads = sum(spec.options.threads for spec in bench.specs(self._bench, config.backend, config.workers))
        workers = {"workers": config.workers, "threads": threads, "mode": "thread" if _in_threads(config) else "process", "search": search}
        model = self._bench.model
        return Ready(workers, room.needed(model.bytes if model else None, config.workers))

    def load(self) -> dict[str, Any]:
        each, config = self._bench, self._bench.config
        assert isinstance(config.workers, int)
        self._crew = form(bench.specs(each, config.backend, config.workers), processes=not _in_threads(config))
        try:
            self._backend = self._crew.call("load", tick=patience(session.LOAD_PATIENCE * config.hang_timeout))[0]
            session.warm(each, self._crew)
        except BaseException:
            self.close()
            raise
        return self._backend

    def visit(self, stretch: Stretch) -> Visited:
        assert self._crew is not None
        each = self._bench
        settings, traffic, scenario = self._asked(stretch)
        watch = Watch(stretch.label, each.progress, planned_s=stretch.seconds, hang_timeout_s=each.config.hang_timeout)
        self._last = measured = measure(self._crew, scenario, settings, traffic, each.policy, watch, Keep(ANSWER_SEED))
        if measured.interrupted or measured.reasons:
            problem = "" if measured.interrupted else measured.reasons[0].text
            return Visited(0.0, 0, 0, measured.columns.latency_ns[:0], problem=problem, interrupted=measured.interrupted)
        return self._visited(measured.columns)

    def _asked(self, stretch: Stretch) -> tuple[Settings, Traffic, Any]:
        """These samples, all at once, or the scenario's own traffic."""
        each = self._bench
        if stretch.samples is not None:
            return each.settings, accuracy.passing_traffic(stretch.samples.astype("int64")), None
        settings = replace(
            each.settings, min_duration_ns=round(stretch.seconds * 1e9), min_queries=stretch.queries, require_early_stopping=False
        )
        return settings, each.scenario.traffic(settings, len(each.task.samples)), each.scenario

    def _visited(self, columns: Columns) -> Visited:
        samples = self._bench.task.samples
        found = summary.throughput(columns, samples, self._bench.policy, packed=bool(self._backend.get("packed")))
        return Visited(
            seconds=float(columns.done_ns.max()) / 1e9,
            samples=len(columns.sample),
            tokens=int(samples.lengths[columns.sample].sum()),
            latency_ns=self._latencies(columns),
            padding_share=found["padding_share"],
        )

    def _latencies(self, columns: Columns) -> Int64:
        """Of each query in a closed loop, else of each sample, as a run tells them."""
        return query_latency_ns(columns) if self._bench.scenario.closed_loop else columns.latency_ns

    def score(self) -> Scored:
        """A candidate whose answers cannot be judged has lost nothing else: the reason becomes its problem."""
        assert self._crew is not None
        if self._last is None or not (self._backend["answers"] and self._bench.config.accuracy):
            return Scored(None)
        try:
            scored, outcomes, problem = gate.score(self._bench, self._crew, self._last, self._backend)
        except AssayError as error:
            return Scored(None, problem=f"its answers could not be judged: {error}")
        if self._last.interrupted:
            return Scored(None, interrupted=True)
        return Scored(scored, outcomes, problem)

    def close(self) -> None:
        if self._crew is not None:
            self._crew.close()
            self._crew = None


def _in_threads(config: RunConfig) -> bool:
    return config.worker_mode == "thread" and isinstance(config.workers, int) and config.workers > 1


def _facts(each: Bench, project: Path) -> Facts:
    model = each.model
    return Facts(
        settings=each.config.model_dump(mode="json"),
        scenario=each.scenario.name,
        closed_loop=each.scenario.closed_loop,
        paced=each.scenario.paced,
        data_name=each.task.data_name,
        samples=len(each.task.samples),
        fingerprint=each.task.fingerprint,
        comparable=each.task.comparable,
        policy=asdict(each.policy),
        model={"name": model.name, "sha256": model.sha256, "parameters": model.parameters, "bytes": model.bytes} if model else None,
        conditions=_conditions(project),
    )


def _conditions(project: Path) -> dict[str, Any]:
    """What may differ between candidates of one machine."""
    checkout = next((folder for folder in (project, *project.parents) if (folder / ".git").exists()), project)
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "libraries": conditions.libraries(),
        "git": conditions.git(checkout),
        "environment": conditions.environment(),
    }
