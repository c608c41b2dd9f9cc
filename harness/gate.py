"""Runs the accuracy gate: gets the answers that `harness.accuracy` judges, from the timed run, another pass, and the FP32 reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness import accuracy, models, references
from harness.bench import ANSWER_SEED, Bench, specs
from harness.core import Accuracy, Answer, Int64
from harness.crew import Crew, form
from harness.errors import RunError
from harness.measure import Measured, Watch, measure
from harness.modes import Outcome
from harness.paired import Outcomes
from harness.references import Reference
from harness.responses import Keep


def check_answers(bench: Bench, crew: Crew, outcome: Outcome, backend: Mapping[str, Any]) -> Accuracy | None:
    """The accuracy gate; None where there is nothing to score or no sense in it."""
    measured = outcome.judged.measured
    if not backend["answers"]:
        bench.warnings.append("the backend is no model: this measures the harness, and there is no accuracy")
        return None
    if not bench.config.accuracy:
        bench.warnings.append("accuracy was not checked (--no-accuracy): the number says nothing about the answers")
        return None
    if measured.reasons or not measured.columns.served.any():
        bench.warnings.append("accuracy was not checked: the run did not end as it should")
        return None
    indices = _scored_samples(bench, outcome)
    timed = accuracy.by_sample(measured.columns, measured.answers)
    if outcome.scored is outcome.judged:
        answers, source, found = timed, "accuracy run", None
    elif outcome.scored is not None:
        answers = accuracy.by_sample(outcome.scored.measured.columns, outcome.scored.measured.answers)
        source, found = "accuracy run", _agreement(bench, measured, answers, backend)
    elif accuracy.covers(timed, indices):
        answers, source, found = timed, "timed run", None
    else:
        answers, found = _accuracy_pass(bench, crew, measured, indices, backend)
        source = "accuracy pass"
        if measured.reasons and found is None:
            return None
    reference = _reference(bench, indices)
    return accuracy.judge(bench.task, answers, indices, reference, bench.config.accuracy_target, source, found)


def score(bench: Bench, crew: Crew, measured: Measured, backend: Mapping[str, Any]) -> tuple[Accuracy | None, Outcomes | None, str]:
    """The accuracy of loaded instances by a pass over all samples, which the answers of `measured` must agree with; what became of each
    example; and, where there is no accuracy or the answers do not agree, the reason. `backend`: what it says it is."""
    indices = _wanted_samples(bench)
    answers, found = _accuracy_pass(bench, crew, measured, indices, backend)
    problem = measured.reasons[0].text if measured.reasons else ""
    if problem and found is None:
        return None, None, problem
    judged = accuracy.judge(bench.task, answers, indices, _reference(bench, indices), bench.config.accuracy_target, "accuracy pass", found)
    asked = {index: answers[index] for index in indices.tolist() if index in answers}
    return judged, accuracy.outcomes(bench.task, asked), problem


def _scored_samples(bench: Bench, outcome: Outcome) -> Int64:
    """Those that an accuracy run asked, else those that are wanted."""
    if outcome.scored is not None:
        return np.unique(outcome.scored.measured.columns.sample).astype(np.int64)
    return _wanted_samples(bench)


def _wanted_samples(bench: Bench) -> Int64:
    """All, or the examples that the configuration limits it to."""
    limit = bench.config.accuracy_samples
    if limit is None:
        return np.arange(len(bench.task.samples), dtype=np.int64)
    return bench.task.subset(limit, ANSWER_SEED)


def _accuracy_pass(
    bench: Bench, crew: Crew, measured: Measured, indices: Int64, backend: Mapping[str, Any]
) -> tuple[dict[int, Answer], Mapping[str, Any] | None]:
    """All samples once more through the loaded backend. What goes wrong in it is added to the run's reasons."""
    passed = _pass(bench, crew, indices, "accuracy")
    answers = accuracy.by_sample(passed.columns, passed.answers)
    if passed.reasons:
        measured.reasons += [replace(reason, text=f"in the accuracy pass: {reason.text}") for reason in passed.reasons]
        measured.interrupted |= passed.interrupted
        return answers, None
    return answers, _agreement(bench, measured, answers, backend)


def _agreement(bench: Bench, measured: Measured, answers: Mapping[int, Answer], backend: Mapping[str, Any]) -> Mapping[str, Any]:
    """Timed answers against those of an accuracy pass; what disagrees is added to the run's reasons, what is excused to its warnings."""
    depends = str(backend.get("depends_on_batch", ""))
    found, reason = accuracy.agreement(bench.task, measured.columns, measured.answers, answers, ANSWER_SEED, depends)
    if reason is None and "depends" in found:
        bench.warnings.append(
            f"{found['different']} of {found['compared']} timed answers differ from the accuracy pass and are no worse: {depends}"
        )
    if reason is not None:
        measured.reasons.append(reason)
    return found


def _pass(bench: Bench, crew: Crew, indices: Int64, name: str) -> Measured:
    traffic = accuracy.passing_traffic(indices)
    watch = Watch(name, bench.progress, planned_s=0.0, hang_timeout_s=bench.config.hang_timeout, rows=len(indices))
    with bench.phase(name):
        return measure(crew, None, bench.settings, traffic, bench.policy, watch, Keep(ANSWER_SEED))


def _reference(bench: Bench, indices: Int64) -> Reference:
    """The FP32 score on the same samples: given by hand, from a store, or by a pass of a fresh FP32 instance."""
    assert bench.model is not None
    if (score := bench.config.reference_score) is not None:
        return references.given(bench.task.metric, score)
    return references.find(bench.model, bench.task, indices, models.default_cache(), lambda: compute_reference(bench, indices))


def compute_reference(bench: Bench, indices: Int64) -> Reference:
    """Scores and examples of a fresh FP32 instance that answers these samples. Raises RunError where it does not answer them all."""
    crew = form(specs(bench, references.BACKEND, 1), processes=False)
    try:
        (described,) = crew.call("load")
        passed = _pass(bench, crew, indices, "reference")
    finally:
        crew.close()
    if passed.reasons:
        raise RunError(f"the FP32 reference could not be computed: {passed.reasons[0].text}", passed.reasons[0].cure)
    answers = accuracy.by_sample(passed.columns, passed.answers)
    answers = {index: answers[index] for index in indices.tolist() if index in answers}
    return Reference(
        scores=bench.task.score(answers),
        source="computed",
        made=references.made_here(len(indices), described),
        outcomes=accuracy.outcomes(bench.task, answers),
    )
