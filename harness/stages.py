"""One stage of a run: a ledger of traffic that is served, with its answers, and what LoadGen would say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psutil

from harness import ending, loadgen, traffic_file
from harness.bench import ANSWER_SEED, Bench
from harness.core import Columns, Limits, Settings, Traffic
from harness.crew import Crew
from harness.errors import DataError, UsageError
from harness.interference import WORTH_SAYING, cpu_time, others_share
from harness.measure import Measured, Watch, measure
from harness.mlperf import accuracy_log
from harness.phases import Message
from harness.responses import Keep
from harness.rules import GIVE_UP_EXTRA_S, GIVE_UP_FACTOR, RULES
from harness.stats import percentile
from harness.table import ROW_BYTES


@dataclass(slots=True)
class Stage:
    """One ledger that was served: its settings, traffic, rows and answers, and what LoadGen would say of it."""

    settings: Settings
    traffic: Traffic
    measured: Measured
    keep: Keep
    messages: tuple[Message, ...] = ()


def run_stage(bench: Bench, crew: Crew, settings: Settings, name: str, before: int = 0) -> Stage:
    """Serve one ledger. `before`: samples made before it in the same test, for the choice of logged answers."""
    _refuse_too_large(settings, bench.scenario.closed_loop)
    traffic = _traffic(bench, settings)
    keep = kept_answers(bench, settings, before)
    watch = watched(bench, settings, traffic, f"{name} {settings.target_qps:g}/s" if name == "find-peak" else name)
    cpu = cpu_time()
    with bench.phase(name):
        scenario = bench.scenario if settings.mode == "performance" else None
        measured = measure(crew, scenario, settings, traffic, bench.policy, watch, keep)
    _note_others(bench, others_share(cpu, cpu_time()))
    said: tuple[Message, ...] = ()
    if settings.mode == "performance":
        _note_replay(bench, settings, traffic, measured)
        said = ending.messages(
            measured.columns,
            traffic.limits,
            paced=bench.scenario.paced,
            at_once=_at_once(bench),
            finite=settings.issue == "unique" and len(measured.columns.query) == len(traffic.query),
        )
    return Stage(settings, traffic, measured, keep, said)


def _note_replay(bench: Bench, settings: Settings, traffic: Traffic, measured: Measured) -> None:
    """What LoadGen's logs do not tell by themselves: traffic that was replayed, and Offline that asked more than LoadGen makes."""
    planned = sum(part.queries * part.samples_per_query for part in traffic.parts)
    if bench.recorded is not None:
        bench.said.append(f"Traffic was replayed from {bench.config.traffic}, not generated from the seeds.")
    elif _at_once(bench) and len(measured.columns.query) > planned:
        asked, told = len(measured.columns.query), settings.target_qps
        more = f"{asked:,} samples were asked; LoadGen would have made {planned:,} for target_qps {told:g}"
        bench.said.append(f"{more} and called the run INVALID.")
        rate = asked / max(measured.seconds, 1e-9)
        if bench.config.target_qps is not None:
            bench.warnings.append(f"{more} and called the run too short; set --target-qps to about {rate:.3g}")


def _traffic(bench: Bench, settings: Settings) -> Traffic:
    """The scenario's own, or what a file recorded."""
    if bench.recorded is None or settings.mode == "accuracy":
        return bench.scenario.traffic(settings, len(bench.task.samples))
    assert bench.config.traffic is not None
    _check_width(bench, settings, bench.recorded)
    return traffic_file.as_traffic(
        bench.recorded,
        bench.config.traffic,
        len(bench.task.samples),
        closed_loop=bench.scenario.closed_loop,
        limits=Limits(0, bench.recorded.queries, settings.max_duration_ns, settings.max_queries, settings.max_async),
        at_once=_at_once(bench),
    )


def _check_width(bench: Bench, settings: Settings, recorded: traffic_file.Recorded) -> None:
    """Raises DataError for recorded queries of another size than the scenario's: they would be another amount of work."""
    if _at_once(bench):
        return
    planned = bench.scenario.traffic(settings, len(bench.task.samples)).parts
    width = planned[0].samples_per_query if planned else 1
    sizes = np.unique(np.unique(recorded.query, return_counts=True)[1])
    if sizes.tolist() != [width]:
        found = " or ".join(str(size) for size in sizes[:5])
        raise DataError(
            f"{bench.config.traffic}: queries of {found} samples, {bench.scenario.name} asks {width} at a time",
            "set --samples-per-query to the size of its queries"
            if bench.scenario.closed_loop and width > 1
            else "replay it in its own scenario",
        )


def kept_answers(bench: Bench, settings: Settings, before: int) -> Keep:
    """Which answers of a stage are kept: all of an accuracy stage, else those that the log wants. `before`: as in `run_stage`."""
    if settings.mode == "accuracy":
        return Keep(ANSWER_SEED, every=True)
    log = settings.accuracy_log
    if not (log.probability or log.target) or bench.scenario.name not in loadgen.NAMES:
        return Keep(ANSWER_SEED)
    total = len(bench.task.samples)
    effective = loadgen.effective(
        loadgen.requested(bench.scenario.name, settings, "PerformanceOnly"), total, settings.library_sample_count or total
    )
    return Keep(ANSWER_SEED, log=log, expected=accuracy_log.expected(effective), first=before)


def _at_once(bench: Bench) -> bool:
    return not bench.scenario.closed_loop and not bench.scenario.paced


def watched(bench: Bench, settings: Settings, traffic: Traffic, name: str) -> Watch:
    """How a stage is looked after while it is served."""
    config = bench.config
    planned_s = max(settings.min_duration_ns, 0 if traffic.due_ns is None else int(traffic.due_ns[-1])) / 1e9
    counted = _at_once(bench) or settings.mode == "accuracy"
    return Watch(
        phase=name,
        progress=bench.progress,
        planned_s=planned_s,
        hang_timeout_s=config.hang_timeout,
        stop_on_error=config.on_error == "stop",
        percentile=0.0 if counted else settings.percentile,
        bound_ns=settings.latency_bound_ns if bench.scenario.paced else 0,
        give_up_ns=_give_up_ns(bench, settings, planned_s),
        rows=len(traffic.sample) if counted else 0,
    )


def _refuse_too_large(settings: Settings, closed_loop: bool) -> None:
    """Raises UsageError for a schedule that would not fit into memory, before it is made. Only closed loops may have queries of several
    samples."""
    rows = max(
        settings.min_queries * (settings.samples_per_query if closed_loop else 1), settings.target_qps * settings.min_duration_ns / 1e9
    )
    needed, free = rows * ROW_BYTES * 1.5, psutil.virtual_memory().available
    if needed > free:
        raise UsageError(
            f"a ledger of {rows:,.0f} rows needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            "ask for fewer: lower --target-qps, --duration or --min-queries",
        )


def _give_up_ns(bench: Bench, settings: Settings, planned_s: float) -> int:
    """When to stop serving a backlog; 0: never. Traffic that waits for the system ends by itself."""
    if bench.scenario.closed_loop or settings.mode == "accuracy":
        return 0
    if settings.max_duration_ns:  # ends a schedule; what was asked by then has as long again to be answered
        return settings.max_duration_ns * (2 if bench.scenario.paced else 1)
    if not bench.scenario.paced or not RULES[bench.config.rules].gives_up:
        return 0
    return round((GIVE_UP_FACTOR * planned_s + GIVE_UP_EXTRA_S) * 1e9)


def _note_others(bench: Bench, share: float | None) -> None:
    said = bench.others_share is not None and bench.others_share > WORTH_SAYING
    bench.others_share = max(share or 0.0, bench.others_share or 0.0) if share is not None else bench.others_share
    if share is not None and share > WORTH_SAYING and not said:
        bench.warnings.append(
            f"other processes used {share:.0%} of this machine's cores during the run; latency suffers far more than in "
            "proportion: run it again when the machine is quiet"
        )


def generated_samples(stage: Stage) -> int:
    """Samples that LoadGen makes for the stage, asked or not: each takes a value of the generator that chooses logged answers."""
    return sum(part.queries * part.samples_per_query for part in stage.traffic.parts)


def meets_bound(columns: Columns, settings: Settings) -> bool:
    """LoadGen's performance constraint alone: the target percentile within the latency bound."""
    if not len(columns.query):
        return False
    return not settings.latency_bound_ns or percentile(columns.latency_ns, settings.percentile) <= settings.latency_bound_ns
