"""The accuracy gate: the score of the run that was timed, held against the FP32 reference on the same samples.

Where every sample was issued, the score comes from the timed run's own answers. Otherwise the same loaded backend answers every sample
once more, and a seeded selection of the timed answers must agree with that pass (the idea of MLPerf's TEST01).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness import paired
from harness.core import Accuracy, Answer, Answered, Columns, Int64, Limits, Reason, Rescored, Task, Traffic
from harness.paired import Outcomes, Rescore
from harness.references import Reference
from harness.stats import bootstrap_interval

AGREEMENT_SAMPLE = 256
"""Timed answers that are compared with the accuracy pass (all of them if there are fewer)."""

AGREEMENT_SHARE = 0.99
"""Share of them that must agree: a decision may tip where two logits nearly tie and the batch was another."""

DEPENDENT_SHARE, UNSCORED_SHARE, DEPENDENT_P = 0.25, 0.05, 0.05
"""For a backend whose answers depend on the batch: most of them that may differ, and most where the task does not know which of two answers
to an example is the better one; and the p below which the timed answers are worse than the pass's. Dynamic INT8 alone and in batches
points at another span in a sixth of SQuAD's questions, as good as the first."""

AGREEMENT_TOLERANCE = 0.05
"""Answers whose largest difference is within this share of the range of the pass's values agree even if the decision tipped: BF16 in
another batch differs by about 0.01."""

INTERVAL_SEED = 1
"""Any constant: the same answers give the same interval."""


def passing_traffic(indices: Int64) -> Traffic:
    """Every one of these samples once, all at once."""
    return Traffic(
        query=np.zeros(len(indices), np.int64),
        sample=indices.astype(np.int32),
        due_ns=np.zeros(len(indices), np.int64),
        limits=Limits(0, 1),
    )


def by_sample(columns: Columns, answers: Mapping[int, Answer]) -> dict[int, Answer]:
    """The first answer to each sample. Answers of rows that were marked as errors are not among them."""
    served = columns.served
    first: dict[int, Answer] = {}
    for row in sorted(answers):
        if row < len(served) and served[row]:
            first.setdefault(int(columns.sample[row]), answers[row])
    return first


def covers(answers: Mapping[int, Answer], indices: Int64) -> bool:
    """Every one of these samples has an answer."""
    return len(answers) >= len(indices) and all(index in answers for index in indices.tolist())


def agreement(
    task: Task, columns: Columns, timed: Mapping[int, Answer], passed: Mapping[int, Answer], seed: int, depends: str = ""
) -> tuple[dict[str, Any], Reason | None]:
    """Compare a seeded selection of timed answers (by row) with the accuracy pass (by sample); the counts, and a Reason if
    they disagree.

    `depends`: why this backend's answers depend on the batch by its own account, empty where they do not. Such a backend is excused, as
    MLPerf's TEST01 excuses other answers that score alike, while no more than `DEPENDENT_SHARE` differ and the timed ones are not worse:
    among examples that one of the two answers better, the exact sign test must not tell them apart.
    """
    served = columns.served
    rows = [row for row in sorted(timed) if row < len(served) and served[row] and int(columns.sample[row]) in passed]
    picked = np.random.default_rng(seed).permutation(rows)[:AGREEMENT_SAMPLE].tolist()
    ranges = _ranges(passed)
    different = [row for row in picked if not _agree(task, int(columns.sample[row]), timed[row], passed[int(columns.sample[row])], ranges)]
    found: dict[str, Any] = {"compared": len(picked), "different": len(different)}
    if len(different) <= (1 - AGREEMENT_SHARE) * len(picked):
        return found, None
    timed_of = {int(columns.sample[row]): timed[row] for row in picked}
    if depends and _excused(task, timed_of, passed, len(different) / len(picked)):
        return found | {"depends": depends}, None
    rows_text = ", ".join(map(str, sorted(different)[:5]))
    return found, Reason(
        "agreement",
        f"{len(different)} of {len(picked)} answers of the timed run differ from the accuracy pass (rows {rows_text} ...)",
        "the backend answers differently when it is timed: look at batching, state between calls and races between workers",
    )


def _excused(task: Task, timed: Mapping[int, Answer], passed: Mapping[int, Answer], share: float) -> bool:
    """Whether answers of which `share` differ are no worse than the pass's, by what becomes of its examples with these in place of its
    own."""
    before, after = outcomes(task, passed), outcomes(task, {**passed, **timed})
    ours, theirs = (after.points, before.points) if len(before.points) else (after.correct, before.correct)
    if not len(ours):
        return share <= UNSCORED_SHARE
    worse, better = int((ours < theirs).sum()), int((ours > theirs).sum())
    return share <= DEPENDENT_SHARE and (worse <= better or paired.mcnemar(worse, better) >= DEPENDENT_P)


def _ranges(passed: Mapping[int, Answer]) -> dict[str, float]:
    """Range over all answers of each output that is a single value: one value alone has none."""
    first = next(iter(passed.values()), {})
    return {name: float(np.ptp([answer[name] for answer in passed.values()])) for name, values in first.items() if values.size == 1}


def _agree(task: Task, sample: int, timed: Answer, passed: Answer, ranges: Mapping[str, float]) -> bool:
    if task.decide(sample, timed) == task.decide(sample, passed):
        return True
    tolerances = {name: AGREEMENT_TOLERANCE * max(ranges.get(name, float(np.ptp(passed[name]))), 1e-6) for name in passed}
    return all(float(np.abs(timed[name] - passed[name]).max()) <= tolerance for name, tolerance in tolerances.items())


def judge(
    task: Task,
    answers: Mapping[int, Answer],
    indices: Int64,
    reference: Reference | None,
    share: float,
    source: str,
    found: Mapping[str, Any] | None = None,
) -> Accuracy:
    """Score the answers to `indices` and hold the primary metric against `share` of the reference, or where a small set allows more,
    against what 3 flips would make of it."""
    asked = {index: answers[index] for index in indices.tolist() if index in answers}
    scores = task.score(asked)
    here = outcomes(task, asked)
    scored = Accuracy(
        metric=task.metric,
        value=scores[task.metric],
        reference=None,
        target=None,
        passed=None,
        source=source,
        samples=int(scores.get("examples", len(indices))),
        scores=scores,
        interval=bootstrap_interval(here.points, np.mean, INTERVAL_SEED) if len(here.points) else None,
        limited=len(indices) < len(task.samples),
        agreement=found,
    )
    return scored if reference is None else _against(scored, reference, share, here, _rescore(task, asked))


def _against(scored: Accuracy, reference: Reference, share: float, here: Outcomes, rescore: Rescore | None) -> Accuracy:
    """The score with its target and, where the reference's examples are known and the same, its pairs."""
    known = reference.outcomes if reference.outcomes is not None and len(reference.outcomes) == len(here) else None
    base = reference.scores[scored.metric]
    held = paired.hold(scored.value, base, share, paired.floor(base, here, known, rescore))
    return replace(
        scored,
        reference=held.reference,
        target=held.target,
        passed=held.passed,
        share_target=held.share_target,
        reference_source=reference.told,
        paired=None if known is None else paired.compare(known, here, held, rescore),
    )


def outcomes(task: Task, answers: Mapping[int, Answer]) -> Outcomes:
    """What became of each example that `score` counts. A task from before `correct` knows no right and wrong."""
    return Outcomes(
        points=np.asarray(task.points(answers), np.float64),
        correct=np.asarray(task.correct(answers), np.bool_) if hasattr(task, "correct") else np.empty(0, np.bool_),
        answered=np.asarray(task.answered(answers), np.float64) if isinstance(task, Answered) else np.empty(0),
        truths=np.asarray(task.truths(answers), np.float64) if isinstance(task, Rescored) else np.empty(0),
    )


def _rescore(task: Task, answers: Mapping[int, Answer]) -> Rescore | None:
    """How the metric is computed anew, where the task can."""
    return Rescore(task.truths(answers), task.metric_of) if isinstance(task, Rescored) else None
