"""One run from beginning to end: prepare, load, warm up, settle the rate, measure, check the answers, store.

Everything that can be wrong is found before anything is measured; from then on what happens is a result and is written down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from harness import conditions, plugins, probe, store
from harness.bench import ANSWER_SEED, Bench, prepare, specs
from harness.ceiling import SHARE, measure_ceiling
from harness.config import RunConfig
from harness.core import MS_NS, Columns, Run, Settings
from harness.crew import Crew, form, patience
from harness.errors import RunError, UsageError
from harness.gate import check_answers
from harness.interference import WORTH_SAYING, cpu_time, others_share
from harness.measure import Measured, Watch, measure
from harness.progress import Progress, Silent
from harness.record import Origin, as_run, failed_run
from harness.rules import GIVE_UP_EXTRA_S, GIVE_UP_FACTOR, RULES
from harness.table import ROW_BYTES
from harness.warmup import largest_batch, warm_up_batches

REPORTS = ("markdown",)
"""Reports that are written into every run folder, by plugin name."""

PROBE_S = 4.0
"""Most time for a probe of service times."""

LOAD_PATIENCE = 10
"""Loading may take this many times as long as a call may hang: large models come from slow disks."""

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that was written down."""

    run: Run
    columns: Columns | None
    folder: Path


def run(config: RunConfig, *, progress: Progress | None = None) -> Finished:
    """Measure what `config` says. Raises AssayError for what makes a measurement impossible; a run that fails or is INVALID is a
    result, with `run.exit_code` saying so. Raises store.NotStored, with the result in it, when it cannot be written."""
    started = datetime.now(UTC)
    folder = store.open_folder(config.out, store.make_run_id(started, config.scenario, config.task, config.backend, config.name or ""))
    try:
        bench = prepare(config, progress or Silent())
        result = _conduct(bench, folder.path.name, started)
    except BaseException:
        folder.discard()
        raise
    finally:
        if progress is not None:
            progress.close()
    texts = {f"report.{each.EXTENSION}": each.render(result[0], result[1]) for each in (plugins.load("reports", name) for name in REPORTS)}
    folder.save(result[0], result[1], texts)
    return Finished(result[0], result[1], folder.path)


def _conduct(bench: Bench, run_id: str, started: datetime) -> tuple[Run, Columns | None]:
    """Load, warm, measure, judge."""
    config = bench.config
    context = conditions.collect(ROOT)
    crew = form(specs(bench, config.backend, config.workers), processes=config.workers > 1 and config.worker_mode == "process")
    try:
        with bench.phase("load"):
            origin = Origin(run_id, started, context, crew.call("load", tick=patience(LOAD_PATIENCE * config.hang_timeout))[0])
        try:
            _warm(bench, crew)
            _settle_rate(bench, crew)
        except RunError as error:
            return failed_run(bench, origin, error), None
        measured = _measure(bench, crew)
        scored = check_answers(bench, crew, measured, origin.backend)
    finally:
        crew.close()
    return as_run(bench, origin, measured, scored), measured.columns


def _warm(bench: Bench, crew: Crew) -> None:
    with bench.phase("warm-up"):
        largest = largest_batch(bench.scenario, bench.settings, bench.policy, len(bench.task.samples))
        batches = warm_up_batches(bench.task.samples, bench.policy, largest)
        warmed = min(crew.call("warm", batches, bench.config.warmup, tick=patience(bench.config.warmup + bench.config.hang_timeout)))
        if warmed < len(batches):
            bench.warnings.append(
                f"warm-up ran {warmed} of {len(batches)} shapes in {bench.config.warmup:g} s; --warmup gives it more time"
            )


def _settle_rate(bench: Bench, crew: Crew) -> None:
    """Find the rate where the scenario needs one and none was given, and say what was chosen."""
    if not bench.scenario.needs_rate or bench.config.target_qps is not None:
        return
    samples, settings, policy = bench.task.samples, bench.settings, bench.policy
    with bench.phase("probe"):
        model = probe.probe(crew, samples, policy, PROBE_S, ANSWER_SEED, patience(PROBE_S + bench.config.hang_timeout))
        if bench.scenario.paced:
            highest = probe.highest_rate(bench.scenario, settings, model, samples, policy, crew.size, ANSWER_SEED)
            rate = _rate_below(bench, highest, model)
        else:
            rate = probe.offline_rate(bench.scenario, settings, model, samples, policy, crew.size)
            rate = min(rate, measure_ceiling().queries_per_second)  # an expectation only: the run goes on if it was too low
    bench.settings = replace(settings, target_qps=_rounded(rate))


def _rate_below(bench: Bench, highest: float | None, model: probe.ServiceModel) -> float:
    bound = bench.settings.latency_bound_ns / MS_NS
    if highest is not None:
        ceiling = SHARE * measure_ceiling().queries_per_second
        if highest * probe.SPARE > ceiling:
            bench.warnings.append(f"the backend is faster than the harness can ask: asked for {SHARE:.0%} of the harness's own ceiling")
            return ceiling
        bench.warnings.append(
            f"rate found by a probe: {model.probes} timed batches, replayed in simulated time, meet {bound:g} ms with a tenth to spare up "
            f"to about {_rounded(highest):g} queries/s; asked for {probe.SPARE:.0%} of that"
        )
        return highest * probe.SPARE
    median = int(np.median(bench.task.samples.lengths))
    bench.warnings.append(
        f"by the probe no rate meets {bound:g} ms here; asked for a low one: raise --latency-bound or use a faster backend"
    )
    shortest = bench.settings.min_queries / (bench.settings.min_duration_ns / 1e9)  # slower would only make the run longer
    return max(0.2e9 / max(model.time_ns(1, median), 1.0), shortest)


def _rounded(rate: float) -> float:
    """Three significant digits: a rate people can type."""
    return float(f"{rate:.3g}")


def _refuse_too_large(settings: Settings) -> None:
    """Raises UsageError for a schedule that would not fit into memory, before it is made."""
    rows = max(settings.min_queries * settings.samples_per_query, settings.target_qps * settings.min_duration_ns / 1e9)
    needed, free = rows * ROW_BYTES * 1.5, psutil.virtual_memory().available
    if needed > free:
        raise UsageError(
            f"a ledger of {rows:,.0f} rows needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            "ask for fewer: lower --target-qps, --duration or --min-queries",
        )


def _give_up_ns(bench: Bench, planned_s: float) -> int:
    """When to stop serving a backlog; 0: never. Traffic that waits for the system ends by itself."""
    if bench.scenario.closed_loop:
        return 0
    if bench.settings.max_duration_ns:  # ends a schedule; what was asked by then has as long again to be answered
        return bench.settings.max_duration_ns * (2 if bench.scenario.paced else 1)
    if not bench.scenario.paced or not RULES[bench.config.rules].gives_up:
        return 0
    return round((GIVE_UP_FACTOR * planned_s + GIVE_UP_EXTRA_S) * 1e9)


def _measure(bench: Bench, crew: Crew) -> Measured:
    settings, config = bench.settings, bench.config
    _refuse_too_large(settings)
    traffic = bench.scenario.traffic(settings, len(bench.task.samples))
    planned_s = max(settings.min_duration_ns, 0 if traffic.due_ns is None else int(traffic.due_ns[-1])) / 1e9
    at_once = not bench.scenario.closed_loop and not bench.scenario.paced
    watch = Watch(
        phase="run",
        progress=bench.progress,
        planned_s=planned_s,
        hang_timeout_s=config.hang_timeout,
        stop_on_error=config.on_error == "stop",
        percentile=0.0 if at_once else settings.percentile,
        bound_ns=settings.latency_bound_ns if bench.scenario.paced else 0,
        give_up_ns=_give_up_ns(bench, planned_s),
        rows=len(traffic.sample) if at_once else 0,
    )
    before = cpu_time()
    with bench.phase("run"):
        measured = measure(crew, bench.scenario, settings, traffic, bench.policy, watch, ANSWER_SEED)
    bench.others_share = others_share(before, cpu_time())
    if bench.others_share is not None and bench.others_share > WORTH_SAYING:
        bench.warnings.append(
            f"other processes used {bench.others_share:.0%} of this machine's cores during the run; latency suffers far more than in "
            "proportion: run it again when the machine is quiet"
        )
    return measured
