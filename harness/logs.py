"""LoadGen's log files of a run: what was played and answered, put into its formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness import loadgen, stage_phases
from harness.bench import Bench
from harness.core import Answer, Columns, Settings
from harness.mlperf import accuracy as mlperf_accuracy
from harness.mlperf import detail as mlperf_detail
from harness.mlperf import result as mlperf_result
from harness.mlperf import summary as mlperf_summary
from harness.mlperf import trace as mlperf_trace
from harness.modes import Outcome
from harness.phases import Message, Phase, Played
from harness.stages import Stage, generated_samples
from harness.validity import query_latency_ns

LOADGEN = "6.0.17"
"""The version of LoadGen whose rules and formats these are."""

PREFIX = "mlperf_log_"
SUMMARY, DETAIL, ACCURACY, TRACE = (f"{PREFIX}{name}" for name in ("summary.txt", "detail.txt", "accuracy.json", "trace.json"))


def files(bench: Bench, outcome: Outcome, conditions: Mapping[str, Any]) -> dict[str, Iterable[str]]:
    """File name to text; none for a scenario that LoadGen does not have, or where the official LoadGen wrote them."""
    if bench.scenario.name not in loadgen.NAMES or outcome.logged:
        return {}
    played = as_played(bench, outcome)
    effective = loadgen.effective(played.requested, played.total, played.loaded)
    judged = replace(effective, target_qps=bench.settings.target_qps)  # a search changes the rate
    result = mlperf_result.result(judged, played.result) if played.result is not None else None
    said = [*played.messages, *(message for phase in played.phases for message in phase.messages)]
    found: dict[str, Iterable[str]] = {
        SUMMARY: mlperf_summary.render(
            result,
            judged,
            played.sut_name,
            warnings=sum(message.is_warning for message in said),
            errors=sum(message.is_error for message in said),
        ),
        DETAIL: mlperf_detail.render(played, result, _identity(conditions)),
        ACCURACY: mlperf_accuracy.render(_records(bench, outcome)),
    }
    if bench.config.trace:
        found[TRACE] = mlperf_trace.chunks(played)
    return found


def _identity(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Who made the log, in the keys with which LoadGen tells its own build."""
    git = conditions.get("git") or {}
    return {
        "loadgen_version": f"{LOADGEN} @ Assay {conditions['libraries'].get('assay', 'checkout')}",
        "loadgen_build_date_local": "",
        "loadgen_build_date_utc": "",
        "loadgen_git_commit_date": "",
        "loadgen_git_log_message": str(git.get("commit") or ""),
        "loadgen_git_status_message": "",
        "loadgen_file_sha1": {},
    }


def as_played(bench: Bench, outcome: Outcome) -> Played:
    """The run as one StartTest of LoadGen."""
    settings, total = outcome.asked or bench.settings, len(bench.task.samples)
    if bench.scenario.closed_loop and bench.config.target_qps is None and not _counts_on_rate(settings):
        settings = replace(settings, target_qps=_rate(outcome.judged.measured.columns))  # nobody expected a latency: the measured one
    requested = loadgen.requested(bench.scenario.name, settings, outcome.mode)
    phases: list[Phase] = []
    judged: Phase | None = None
    queries = samples = 0
    for stage in outcome.stages:
        made = stage_phases.phases(stage, outcome.mode, queries, samples)
        if stage is outcome.judged and stage.settings.mode == "performance" and made:
            judged = made[-1]
        phases += made
        queries += sum(phase.part.queries for phase in made)
        samples += sum(phase.part.queries * phase.part.samples_per_query for phase in made)
    begun = phases[0].begun_ns if phases else 0
    loaded = settings.library_sample_count or total
    return Played(requested, total, loaded, f"Assay {bench.config.backend}", begun, tuple(phases), judged, _said(bench, outcome))


def _counts_on_rate(settings: Settings) -> bool:
    """Whether the expected rate decided what was played: the number of whole permutations, or which answers were logged."""
    return settings.concatenate_permutation or settings.accuracy_log.target > 0


def _rate(columns: Columns) -> float:
    """Queries per second of mean latency; 1 where nothing was answered."""
    latency = query_latency_ns(columns) if len(columns.query) else np.zeros(1)
    return 1e9 / float(latency.mean()) if float(latency.mean()) >= 1 else 1.0


def _said(bench: Bench, outcome: Outcome) -> tuple[Message, ...]:
    return (*outcome.messages, *(Message("warning_generic_message", text) for text in dict.fromkeys(bench.said)))


def _records(bench: Bench, outcome: Outcome) -> Iterator[mlperf_accuracy.Record]:
    """Logged answers in the order in which they came."""
    first = 0
    for stage in outcome.stages:
        yield from _of_stage(bench, stage, first)
        first += generated_samples(stage)


def _of_stage(bench: Bench, stage: Stage, first: int) -> Iterator[mlperf_accuracy.Record]:
    columns, answers = stage.measured.columns, stage.measured.answers
    rows = np.flatnonzero(stage.keep.logged(len(columns.sample)) & columns.served)
    for row in rows[np.argsort(columns.done_ns[rows], kind="stable")].tolist():
        yield mlperf_accuracy.Record(first + row, int(columns.sample[row]), _payload(bench, answers, row))


def _payload(bench: Bench, answers: Mapping[int, Answer], row: int) -> bytes:
    """Nothing where the backend is no model."""
    answer: Any = answers.get(row)
    return b"" if answer is None else mlperf_accuracy.payload(bench.task.outputs, answer)
