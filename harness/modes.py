"""What is measured, by mode: one stage, accuracy and then performance, or a search for the highest rate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import find_peak, loadgen
from harness.bench import Bench
from harness.core import Reason, Settings
from harness.crew import Crew
from harness.official import engine as official
from harness.official.disagreement import disagreements
from harness.official.engine import Official
from harness.official.player import official_version
from harness.phases import Message
from harness.stages import Stage, generated_samples, kept_answers, meets_bound, run_stage, watched


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
    keep = kept_answers(bench, settings, 0)
    with bench.phase(name):
        played = official.measure_official(
            crew,
            requested,
            traffic,
            bench.policy,
            watched(bench, settings, traffic, name),
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
