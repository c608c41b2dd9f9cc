"""What is measured, by mode: one phase, accuracy and then performance, or a search for the highest rate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harness import ending, find_peak, loadgen, traffic_file
from harness.bench import ANSWER_SEED, Bench
from harness.core import Columns, Limits, Part, Reason, Settings, Traffic
from harness.crew import Crew
from harness.errors import DataError, UsageError
from harness.interference import WORTH_SAYING, cpu_time, others_share
from harness.measure import Measured, Watch, measure
from harness.mlperf import accuracy_log
from harness.official import engine as official
from harness.official.disagreement import disagreements
from harness.official.engine import Official
from harness.official.player import official_version
from harness.phases import Message, Phase
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


@dataclass(slots=True)
class Outcome:
    """What was measured.

    judged     the stage that the run is judged by
    stages     all of them, in order
    scored     the accuracy stage, if there was one
    mode       LoadGen's name of the mode
    facts      what goes into run.json under `traffic`
    messages   said before the first stage, in LoadGen's words
    logged     the official LoadGen wrote its own logs
    settled    it has judged the run VALID
    reasons    why the run is INVALID beyond what its rows say
    asked      the settings before a search changed the rate
    """

    judged: Stage
    stages: list[Stage]
    scored: Stage | None = None
    mode: str = "PerformanceOnly"
    facts: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    logged: bool = False
    reasons: list[Reason] = field(default_factory=list)
    asked: Settings | None = None
    settled: bool = False


def play(bench: Bench, crew: Crew, folder: Path) -> Outcome:
    """Measure what the configuration's mode asks for. Sets `bench.settings` to those of the stage that is judged. `folder`: for the logs
    of the official LoadGen."""
    if bench.config.find_peak == "loadgen":
        return _search(bench, crew)
    if bench.config.engine == "mlcommons":
        return _officially(bench, crew, folder)
    mode = loadgen.CONFIGURED[bench.config.mode]
    if bench.config.mode == "performance":
        stage = run_stage(bench, crew, bench.settings, "run")
        return Outcome(stage, [stage], mode=mode)
    first = run_stage(bench, crew, replace(bench.settings, mode="accuracy"), "accuracy")
    if bench.config.mode == "accuracy":
        bench.settings = first.settings
        return Outcome(first, [first], first, mode)
    if first.measured.reasons:  # there is nothing to time if the answers did not come
        bench.settings = first.settings
        return Outcome(first, [first], first, mode)
    second = run_stage(bench, crew, bench.settings, "run", before=generated_samples(first))
    return Outcome(second, [first, second], first, mode)


def run_stage(bench: Bench, crew: Crew, settings: Settings, name: str, before: int = 0) -> Stage:
    """Serve one ledger. `before`: samples made before it in the same test, for the choice of logged answers."""
    _refuse_too_large(settings, bench.scenario.closed_loop)
    traffic = _traffic(bench, settings)
    keep = _keep(bench, settings, before)
    watch = _watch(bench, settings, traffic, f"{name} {settings.target_qps:g}/s" if name == "find-peak" else name)
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


def _keep(bench: Bench, settings: Settings, before: int) -> Keep:
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


def _watch(bench: Bench, settings: Settings, traffic: Traffic, name: str) -> Watch:
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


# ------------------------------------------------------------------------------------------------------------- the official LoadGen


def _officially(bench: Bench, crew: Crew, folder: Path) -> Outcome:
    """The same modes, played and judged by the official LoadGen; of a submission run the accuracy part is a test of its own, with its
    logs in a folder of its own."""
    mode = bench.config.mode
    if mode == "performance":
        return _judged_officially(bench, *_official_stage(bench, crew, bench.settings, "run", folder))
    aside = folder / "accuracy" if mode == "submission" else folder
    first, _ = _official_stage(bench, crew, replace(bench.settings, mode="accuracy"), "accuracy", aside)
    if mode == "accuracy" or first.measured.reasons:
        bench.settings = first.settings
        return Outcome(
            first,
            [first],
            first,
            loadgen.CONFIGURED["accuracy"],
            {"official": {"version": official_version(), "result_validity": None, "disagreements": []}},
            logged=True,
        )
    outcome = _judged_officially(bench, *_official_stage(bench, crew, bench.settings, "run", folder))
    outcome.scored = first
    outcome.stages.insert(0, first)
    return outcome


def _official_stage(bench: Bench, crew: Crew, settings: Settings, name: str, folder: Path) -> tuple[Stage, Official]:
    total = len(bench.task.samples)
    requested = loadgen.requested(bench.scenario.name, settings, "AccuracyOnly" if settings.mode == "accuracy" else "PerformanceOnly")
    loaded = settings.library_sample_count or total
    traffic = bench.scenario.traffic(loadgen.played(requested, total, loaded, settings.mode), total)  # whole milliseconds, as LoadGen
    keep = _keep(bench, settings, 0)
    with bench.phase(name):
        played = official.measure_official(
            crew,
            requested,
            traffic,
            bench.policy,
            _watch(bench, settings, traffic, name),
            keep,
            total=total,
            loaded=loaded,
            folder=folder,
            lengths=bench.task.samples.lengths,
            max_length=bench.task.samples.max_length,
            outputs=bench.task.outputs,
            trace=bench.config.trace,
        )
    return Stage(settings, played.traffic, played.measured, keep), played


def _judged_officially(bench: Bench, stage: Stage, played: Official) -> Outcome:
    """LoadGen's verdict beside ours. What it calls INVALID is INVALID here too, whatever the rules ask for."""
    found = played.detail()
    facts: dict[str, Any] = {"version": played.version, "result_validity": found.get("result_validity"), "disagreements": []}
    outcome = Outcome(stage, [stage], facts={"official": facts}, logged=True)
    if played.void:
        facts["result_validity"] = "void"
        return outcome
    columns = stage.measured.columns
    facts["disagreements"] = disagreements(columns, stage.settings, bench.scenario, found, played.traffic)
    outcome.settled = found.get("result_validity") == "VALID"
    strictly = bench.scenario.judge(columns, replace(stage.settings, require_early_stopping=True))
    if found.get("result_validity") == "INVALID" and bench.scenario.judge(columns, stage.settings).valid:
        why = strictly.reasons[0] if strictly.reasons else Reason("", "no reason that Assay sees", "see mlperf_log_summary.txt")
        outcome.reasons.append(Reason("loadgen", f"the official LoadGen says INVALID: {why.text}", why.cure))
    bench.warnings += [f"the official LoadGen and Assay disagree on this run: {text}" for text in facts["disagreements"]]
    return outcome


# ------------------------------------------------------------------------------------------------------------------------ find-peak


def _search(bench: Bench, crew: Crew) -> Outcome:
    """LoadGen's search; the run that is judged is that at the highest rate that passed, or the first where that failed."""
    search = find_peak.loadgen(bench.settings.target_qps, bench.config.find_peak_step, bench.config.find_peak_decimals)
    stages: list[Stage] = []
    tried: list[dict[str, Any]] = []
    attempt, made = next(search), 0
    while True:
        said = tuple(Message("generic_message", line) for line in attempt.text.splitlines())
        settings = replace(bench.settings, target_qps=attempt.qps)
        stage = run_stage(bench, crew, settings, "find-peak", before=made)
        made += generated_samples(stage)
        stages.append(replace(stage, messages=said + stage.messages))
        passed = not stage.measured.reasons and meets_bound(stage.measured.columns, stage.settings)
        tried.append({"target_qps": attempt.qps, "met": passed})
        if stage.measured.interrupted:
            peak = find_peak.Peak(None, "interrupted")
            break
        try:
            attempt = search.send(passed)
        except StopIteration as done:
            peak = done.value
            break
    last = tuple(Message("error_runtime" if peak.qps is None else "generic_message", line) for line in peak.text.splitlines())
    stages[-1] = replace(stages[-1], messages=stages[-1].messages + last)
    judged = next((stage for stage in stages if stage.settings.target_qps == peak.qps), stages[-1 if peak.text == "interrupted" else 0])
    asked, bench.settings = bench.settings, judged.settings
    facts = {"find_peak": {"algorithm": "loadgen", "found_qps": peak.qps, "tried": tried}}
    return Outcome(judged, stages, mode="FindPeakPerformance", facts=facts, asked=asked)


def generated_samples(stage: Stage) -> int:
    """Samples that LoadGen makes for the stage, asked or not: each takes a value of the generator that chooses logged answers."""
    return sum(part.queries * part.samples_per_query for part in stage.traffic.parts)


def meets_bound(columns: Columns, settings: Settings) -> bool:
    """LoadGen's performance constraint alone: the target percentile within the latency bound."""
    if not len(columns.query):
        return False
    return not settings.latency_bound_ns or percentile(columns.latency_ns, settings.percentile) <= settings.latency_bound_ns


# -------------------------------------------------------------------------------------------------------------------- LoadGen's phases


def phases(stage: Stage, mode: str, first_query: int, first_sample: int) -> list[Phase]:
    """The stage as LoadGen tells it: one phase for each loaded set, times counted from the start of each."""
    found: list[Phase] = []
    columns, row = stage.measured.columns, 0
    parts = stage.traffic.parts or (_replayed(stage.traffic),)
    for part in parts:
        rows = len(columns.query) if len(parts) == 1 else part.queries * part.samples_per_query
        piece = _slice(columns, row, row + rows)
        if not len(piece.query):
            break
        zero_ns, zero_query = int(piece.due_ns[0]), int(piece.query[0])
        piece = _shifted(piece, zero_ns if len(parts) > 1 else 0, zero_query)
        asked = int(piece.query[-1]) + 1
        if asked > part.queries or len(piece.query) > part.queries * part.samples_per_query:  # went on beyond what LoadGen makes
            part = replace(part, queries=asked, samples_per_query=len(piece.query) // asked)
        kind = "accuracy" if stage.settings.mode == "accuracy" else "find-peak" if mode == "FindPeakPerformance" else "performance"
        found.append(
            Phase(
                kind,  # type: ignore[arg-type]
                part,
                piece,
                stage.measured.begun_ns + (zero_ns if len(parts) > 1 else 0),
                first_query + zero_query,
                first_sample + row,
                stage.messages if row + rows >= len(columns.query) else (),
            )
        )
        row += rows
    return found


def _replayed(traffic: Traffic) -> Part:
    """A recorded trace names no loaded set: the samples it asks, in the order it asks them first."""
    _, first = np.unique(traffic.sample, return_index=True)
    asked = traffic.sample[np.sort(first)]
    queries = int(traffic.query[-1]) + 1
    return Part(asked, queries, len(traffic.sample) // queries, 0 if traffic.due_ns is None else int(traffic.due_ns[-1]))


def _slice(columns: Columns, first: int, stop: int) -> Columns:
    rows = slice(first, stop)
    return replace(columns, **{name: getattr(columns, name)[rows] for name in _ARRAYS})


_ARRAYS = ("query", "sample", "due_ns", "taken_ns", "done_ns", "batch", "worker", "status")


def _shifted(columns: Columns, zero_ns: int, zero_query: int) -> Columns:
    """Times and query numbers counted from here."""
    if not zero_ns and not zero_query:
        return columns
    times = {name: np.where(getattr(columns, name) < 0, -1, getattr(columns, name) - zero_ns) for name in ("due_ns", "taken_ns", "done_ns")}
    return replace(columns, query=columns.query - zero_query, end_ns=max(0, columns.end_ns - zero_ns), **times)
