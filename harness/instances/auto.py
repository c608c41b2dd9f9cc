"""The crew of a run. With `--workers auto` its instances are found first: in the cache, or by a short measured search."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from harness import models, plugins, tournament
from harness.bench import Bench, specs
from harness.config import MOST_WORKERS, RunConfig
from harness.core import Model, Task
from harness.crew import Crew, form
from harness.errors import AssayError
from harness.instances import cache as instances_cache
from harness.instances.rig import CrewRig, as_asked
from harness.instances.yardstick import Work
from harness.interference import cpu_time, others_share
from harness.tournament import Candidate
from harness.tournament_words import Finding, facts, text

FOLDER = "instances"
"""Folder of the cache that holds what was found."""

Conditions = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """For what instances are sought. `conditions`: as `harness.conditions.collect` tells them."""

    config: RunConfig
    model: Model | None
    task: Task
    work: Work
    conditions: Conditions


def form_crew(bench: Bench, conditions: Conditions, load_s: float) -> Crew:
    """The workers that the settings ask for, not yet loaded. Notes in `bench.instances` what they are, and how they were found.

    load_s  how long loading may take in a search

    Raises the first candidate's error if all fail.
    """
    settled, search = settle(bench, conditions, load_s)
    workers = settled.config.workers
    assert workers != "auto"
    processes = workers > 1 and settled.config.worker_mode == "process"
    each = specs(settled, bench.config.backend, workers)
    threads = sum(spec.options.threads for spec in each)
    bench.instances = {"workers": workers, "threads": threads, "mode": "process" if processes else "thread", "search": search}
    return form(each, processes)


def settle(bench: Bench, conditions: Conditions, load_s: float) -> tuple[Bench, dict[str, Any] | None]:
    """The bench with a number of workers, and how it was found: None where it was given. Raises the first candidate's error if all
    fail."""
    if bench.config.workers != "auto":
        return bench, None
    with bench.phase("workers"):
        finding = _find(bench, conditions, load_s)
    search = facts(finding)
    bench.progress.note(f"workers: {text(search)}")
    return as_asked(bench, finding.chosen), search


def _find(bench: Bench, conditions: Conditions, load_s: float) -> Finding:
    """From the cache, else measured and kept there. A folder that cannot be written costs the next run a search, and is said."""
    case = Case(
        bench.config,
        bench.model,
        bench.task,
        Work(bench.scenario, bench.settings, bench.task.samples, bench.policy, bench.config.hang_timeout),
        conditions,
    )
    folder, found_by = models.default_cache() / FOLDER, key(case)
    if (known := instances_cache.read(folder, found_by)) is not None:
        return known
    finding = _search(bench, case, load_s)
    try:
        instances_cache.write(folder, found_by, finding)
    except OSError as error:
        bench.warnings.append(f"what --workers auto found could not be kept in {folder}: {error.strerror}; the next run searches again")
    return finding


def _search(bench: Bench, case: Case, load_s: float) -> Finding:
    rig = CrewRig(bench, case.work, load_s)
    measured, before = datetime.now(UTC), cpu_time()
    try:
        tried = _candidates(case, on_gpu=_is_gpu(case) and _runs_on_gpu(case, rig))
        trials = tournament.search(tried, rig, time.monotonic, lambda each: bench.progress.phase(f"workers: {each}"))
    finally:
        rig.close_all()
    share = others_share(before, cpu_time())
    return Finding(trials, case.work.unit, case.work.measure, measured.isoformat(timespec="seconds"), share)


def _candidates(case: Case, *, on_gpu: bool) -> tuple[Candidate, ...]:
    threads, most = _threads(case), min(case.work.most_workers or MOST_WORKERS, MOST_WORKERS)
    if on_gpu:
        gpus = len(case.conditions["gpus"]) if case.config.device == "auto" else 1
        return tournament.on_gpu(threads, max(1, gpus), most)
    # Threads of one process share one pool of CPU threads, and the official LoadGen is served by threads only.
    alone = case.config.worker_mode == "thread" or case.config.engine != "native"
    return tournament.on_cpu(threads, 1 if alone else most, fewer=case.config.threads is None)


def _threads(case: Case) -> int:
    """As asked, else the cores that this process may use, no more than its control group pays for."""
    cpu = case.conditions["cpu"]
    quota = cpu["quota_cores"] or cpu["usable_cores"]
    return case.config.threads or min(cpu["usable_cores"], max(1, int(quota)))


def _is_gpu(case: Case) -> bool:
    """There may be a GPU at work."""
    device = case.config.device
    return device.startswith("cuda") or (device == "auto" and bool(case.conditions["gpus"]))


def _runs_on_gpu(case: Case, rig: CrewRig) -> bool:
    """What the backend itself says when it is loaded. One that fails is tried as on a CPU, and fails there with its reason."""
    alone = Candidate(1, _threads(case))
    try:
        rig.open(alone)
    except AssayError:
        return False
    rig.close(alone)
    return rig.device.lower().startswith(("cuda", "gpu"))


def key(case: Case) -> dict[str, Any]:
    """What a finding depends on, as plain JSON values."""
    config, work = case.config, case.work
    info = plugins.find_backend(config.backend).info
    return {
        "machine": instances_cache.machine(case.conditions),
        "backend": config.backend,
        "plugin": sha256(info.file.read_bytes()).hexdigest() if info.file else info.module,
        "device": config.device,
        "threads": config.threads,
        "mode": config.worker_mode,
        "engine": config.engine,
        "model": case.model.sha256 if case.model else None,
        "task": case.task.fingerprint,
        "scenario": work.scenario.name,
        "policy": asdict(work.policy),
        "bound_ns": work.settings.latency_bound_ns if work.scenario.paced else 0,
        "percentile": work.settings.percentile,
        "busy_at_once": work.most_workers,
    }


def plan(case: Case) -> str:
    """What a run would do about its workers; nothing is loaded."""
    folder = models.default_cache() / FOLDER
    if (known := instances_cache.read(folder, key(case))) is not None:
        return f"auto: {text(facts(known))}"
    names = ", ".join(map(str, _candidates(case, on_gpu=False)))
    streams = ", or streams if the backend runs on the GPU" if _is_gpu(case) else ""
    return f"auto: a search of about {tournament.BUDGET_S:g} s and a load of each: {names}{streams}"
