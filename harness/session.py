"""One run from beginning to end: prepare, load, warm up, settle the rate, measure, check the answers, store.

Everything that can be wrong is found before anything is measured; from then on what happens is a result and is written down.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness import conditions, logs, modes, plugins, probe, store, warmup
from harness.bench import ANSWER_SEED, Bench, make_ready, prepare
from harness.ceiling import SHARE, measure_ceiling
from harness.config import RunConfig
from harness.core import MS_NS, Columns, Run
from harness.crew import Crew, patience
from harness.errors import RunError
from harness.gate import check_answers
from harness.instances.auto import form_crew
from harness.measure import Measured
from harness.progress import Progress, Silent
from harness.record import Origin, as_run, failed_run
from harness.telemetry.account import account, warnings
from harness.telemetry.parquet import TELEMETRY_FILE, as_parquet
from harness.telemetry.stream import Stream, beside

REPORTS = ("markdown", "html")
"""Reports that are written into every run folder, by plugin name."""

PROBE_S = 4.0
"""Most time for a probe of service times."""

EXPECTED_MOST = 500_000.0
"""Most queries a second that LoadGen is told to expect: it makes them all beforehand."""

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
        with beside(os.getpid(), config.telemetry) as stream:
            result = _conduct(bench, folder.path, started, stream)
    except BaseException:
        folder.discard()
        raise
    finally:
        if progress is not None:
            progress.close()
    texts = {f"report.{each.EXTENSION}": each.render(result[0], result[1]) for each in (plugins.load("reports", name) for name in REPORTS)}
    folder.save(result[0], result[1], texts | result[2])
    return Finished(result[0], result[1], folder.path)


def _conduct(bench: Bench, folder: Path, started: datetime, stream: Stream) -> tuple[Run, Columns | None, dict[str, bytes | Iterable[str]]]:
    """Load, warm, measure, judge; the run, its ledger, and LoadGen's logs and telemetry.parquet by file name."""
    config = bench.config
    context = conditions.collect(ROOT)
    make_ready(bench, config.backend)
    crew = form_crew(bench, context, LOAD_PATIENCE * config.hang_timeout)
    try:
        with bench.phase("load"):
            origin = Origin(folder.name, started, context, crew.call("load", tick=patience(LOAD_PATIENCE * config.hang_timeout))[0])
        try:
            warm(bench, crew)
            _settle_rate(bench, crew)
        except RunError as error:
            now = time.monotonic_ns()
            bench.telemetry = account(stream.stop(), now, now)
            return failed_run(bench, origin, error), None, {}
        outcome = modes.play(bench, crew, folder)
        scored = check_answers(bench, crew, outcome, origin.backend)
    finally:
        crew.close()
    texts = logs.files(bench, outcome, context) | _note_telemetry(bench, stream, outcome.judged.measured, str(origin.backend.get("device")))
    names = {Path(name).stem: name for name in texts}
    return as_run(bench, origin, outcome, scored, names), outcome.judged.measured.columns, texts


def _note_telemetry(bench: Bench, stream: Stream, measured: Measured, device: str) -> dict[str, bytes]:
    """Note in `bench` what was read beside the run. telemetry.parquet by its name; nothing where nothing was read."""
    recording, from_ns, to_ns = stream.stop(), measured.start_ns, measured.start_ns + measured.columns.end_ns
    served = int(np.count_nonzero(measured.columns.served))
    bench.telemetry = account(recording, from_ns, to_ns, samples=served, device=device)
    bench.warnings += warnings(recording, from_ns, to_ns)
    return {TELEMETRY_FILE: as_parquet(recording, from_ns)} if recording.at_ns else {}


def warm(bench: Bench, crew: Crew) -> None:
    """Run every shape until it gets no faster, for at most `--warmup` seconds. Notes in `bench.warmed` what was run; what did not become
    warm is a warning."""
    with bench.phase("warm-up"):
        samples, policy, budget_s = bench.task.samples, bench.policy, bench.config.warmup
        batches = warmup.warm_up_batches(samples, policy, warmup.largest_batch(bench.scenario, bench.settings, policy, len(samples)))
        times = crew.call("settle", batches, budget_s, tick=patience(budget_s + bench.config.hang_timeout))
    bench.warmed = warmup.warmed(batches, samples, policy, times)
    bench.warnings += warmup.warnings(bench.warmed, budget_s)


def _settle_rate(bench: Bench, crew: Crew) -> None:
    """Find the rate where the scenario needs one and none was given, and say what was chosen."""
    expected = bench.config.engine != "native"  # LoadGen makes its queries beforehand, by the expected latency
    if bench.config.target_qps is not None or bench.recorded is not None or not (bench.scenario.needs_rate or expected):
        return
    samples, settings, policy = bench.task.samples, bench.settings, bench.policy
    with bench.phase("probe"):
        model = probe.probe(crew, samples, policy, PROBE_S, ANSWER_SEED, patience(PROBE_S + bench.config.hang_timeout))
        if bench.scenario.closed_loop:
            rate = _expected_rate(bench, model)
        elif bench.scenario.paced:
            highest = probe.highest_rate(bench.scenario, settings, model, samples, policy, crew.size, ANSWER_SEED)
            rate = _rate_below(bench, highest, model)
        else:
            rate = probe.offline_rate(bench.scenario, settings, model, samples, policy, crew.size)
            rate = min(rate, measure_ceiling().queries_per_second)  # an expectation only: the run goes on if it was too low
    bench.settings = replace(settings, target_qps=_rounded(rate))


def _expected_rate(bench: Bench, model: probe.ServiceModel) -> float:
    """Queries a second that LoadGen may expect where each waits for the one before: twice what the probe saw, so that it does not run out
    of queries."""
    samples = bench.scenario.traffic(bench.settings, len(bench.task.samples)).parts[0].samples_per_query
    query_ns = model.time_ns(samples, int(np.median(bench.task.samples.lengths)))
    rate = min(2e9 / max(query_ns, 1.0), EXPECTED_MOST)
    bench.warnings.append(
        f"expected latency of {1000 / rate:.3g} ms told to LoadGen: half of what a probe saw, so that it makes enough queries"
    )
    return rate


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
