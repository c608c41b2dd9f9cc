"""The accuracy gate's arithmetic: what is scored, against what, and whether timed answers agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import accuracy, card, metrics
from harness.core import Accuracy, Answer, Columns, Output, Samples, Status
from harness.references import Reference, given
from tests.example_runs import VALID, changed


class Labels:
    """A task whose sample i has the label i % 2."""

    name, metric, head, data_name, fingerprint = "labels", "accuracy", "sequence-classification", "made up", "f"
    comparable, latency_bound_ns = True, 0
    outputs = (Output("logits", width=2),)
    samples = Samples(np.ones(300, np.int32), np.zeros(300, np.int8), np.arange(301, dtype=np.int64), 0, 8)

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        right = [self.decide(i, answer) == i % 2 for i, answer in answers.items()]
        return {"accuracy": 100 * float(np.mean(right)), "examples": len(right)}

    def points(self, answers: Mapping[int, Answer]) -> np.ndarray:
        return np.array([100.0 * (self.decide(i, answer) == i % 2) for i, answer in answers.items()])

    def correct(self, answers: Mapping[int, Answer]) -> np.ndarray:
        return self.points(answers) > 0

    def answered(self, answers: Mapping[int, Answer]) -> np.ndarray:
        return np.array([float(self.decide(i, answer)) for i, answer in answers.items()])

    def decide(self, sample: int, answer: Answer) -> int:
        return int(answer["logits"].argmax())


class Correlated(Labels):
    """The same labels, judged by Matthews."""

    metric = "matthews"

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        return {"matthews": self.metric_of(self.truths(answers), self.answered(answers)), "examples": len(answers)}

    def points(self, answers: Mapping[int, Answer]) -> np.ndarray:
        return np.empty(0)

    def correct(self, answers: Mapping[int, Answer]) -> np.ndarray:
        return self.truths(answers) == self.answered(answers)

    def truths(self, answers: Mapping[int, Answer]) -> np.ndarray:
        return np.array([i % 2.0 for i in answers])

    def metric_of(self, truths: np.ndarray, answered: np.ndarray) -> float:
        return metrics.matthews(truths, answered)


def answer(label: int, margin: float = 1.0) -> Answer:
    return {"logits": np.array([margin, 0.0] if label == 0 else [0.0, margin], np.float32)}


def columns(samples: list[int], status: list[int] | None = None) -> Columns:
    rows = len(samples)
    times = np.arange(rows, dtype=np.int64)
    return Columns(
        query=times,
        sample=np.array(samples, np.int32),
        due_ns=times,
        taken_ns=times,
        done_ns=times + 1,
        batch=np.arange(rows, dtype=np.int32),
        worker=np.zeros(rows, np.int16),
        status=np.array(status or [Status.DONE] * rows, np.int8),
        end_ns=rows,
    )


RIGHT = {i: answer(i % 2) for i in range(300)}


def flipped(wrong: Iterable[int]) -> dict[int, Answer]:
    """Right answers to all 300 but these."""
    return dict(RIGHT) | {i: answer(1 - i % 2) for i in wrong}


def judge(task: Labels, answers: Mapping[int, Answer], reference: Reference | None, share: float = 0.99) -> Accuracy:
    return accuracy.judge(task, answers, np.arange(300), reference, share, "timed run")  # type: ignore[arg-type]


def known(task: Labels, answers: Mapping[int, Answer]) -> Reference:
    """A reference that knows its examples."""
    found = accuracy.outcomes(task, answers)  # type: ignore[arg-type]
    return Reference(task.score(answers), "cached", {"backend": "pytorch:fp32"}, found)


def test_the_first_served_answer_to_a_sample_counts() -> None:
    """Later answers to the same sample, and answers of rows marked as errors, are not scored."""
    table = columns([7, 7, 8, 7], [Status.ERROR, Status.DONE, Status.DONE, Status.DONE])
    found = accuracy.by_sample(table, {0: answer(0), 1: answer(1), 2: answer(0), 3: answer(0)})
    assert {sample: int(each["logits"].argmax()) for sample, each in found.items()} == {7: 1, 8: 0}


def test_target_is_a_share_of_the_reference() -> None:
    """96 % of a reference of 90 is 86.4: 260 right of 300 (86.67) pass, 259 (86.33) do not."""
    reference = given("accuracy", 90.0)
    for wrong, passed in ((40, True), (41, False)):
        found = judge(Labels(), flipped(range(wrong)), reference, 0.96)
        assert found.target == found.share_target == pytest.approx(86.4)
        assert found.passed is passed
        assert found.samples == 300
        assert found.reference_source == "given by --reference-score"
        assert found.paired is None
        assert not found.limited
        assert found.interval is not None
        assert found.interval[0] < found.value < found.interval[1]
        assert found.interval[1] - found.interval[0] == pytest.approx(2 * 1.96 * 1.965, rel=0.15)  # sqrt(86.6 * 13.4 / 300)


def test_a_small_set_allows_three_flips_whatever_the_share() -> None:
    """99 % of 270 right answers of 300 is a budget of two; the third may be lost too, the fourth may not, and both targets are told."""
    reference = given("accuracy", 90.0)
    for wrong, passed in ((33, True), (34, False)):
        found = judge(Labels(), flipped(range(wrong)), reference)
        assert (found.target, found.share_target) == (pytest.approx(89.0), pytest.approx(89.1))
        assert found.passed is passed


def test_pairs_are_made_of_the_reference_examples() -> None:
    """FP32 is wrong at 0 to 29, the run at 10 to 39: ten flips each way, no gap, p 1, and a pass that other samples could have missed."""
    reference = known(Labels(), flipped(range(30)))
    found = judge(Labels(), flipped(range(10, 40)), reference)
    assert found.reference_source == "cached: pytorch:fp32"
    assert found.paired is not None
    assert (found.paired.flips_to_wrong, found.paired.flips_to_right, found.paired.changed) == (10, 10, 0)
    assert (found.paired.mcnemar_p, found.paired.gap, found.paired.allowed_flips) == (1.0, 0.0, 3)
    assert found.paired.word == "passed, within noise"
    assert judge(Labels(), flipped(range(30)), reference).paired == replace(
        found.paired, flips_to_wrong=0, flips_to_right=0, gap_interval=(0.0, 0.0), word="passed"
    )


def test_pairs_of_a_metric_that_is_no_mean() -> None:
    """Matthews over 300: flips are counted, the interval holds the gap, three flips pass and twelve do not."""
    reference = known(Correlated(), flipped(range(30)))
    three, twelve = (judge(Correlated(), flipped(range(30 + more)), reference) for more in (3, 12))
    assert three.interval is None
    assert (three.passed, twelve.passed) == (True, False)
    assert three.target is not None
    assert three.target < reference.scores["matthews"] * 0.99
    assert three.paired is not None
    assert twelve.paired is not None
    assert (twelve.paired.flips_to_wrong, twelve.paired.flips_to_right) == (12, 0)
    assert twelve.paired.gap == pytest.approx(-8.0, abs=0.1)
    assert twelve.paired.gap_interval is not None
    assert twelve.paired.gap_interval[0] < twelve.paired.gap < twelve.paired.gap_interval[1] < 0
    assert twelve.paired.word == "missed"


def test_a_reference_of_other_examples_gives_no_pairs() -> None:
    """Examples that are not as many as were scored are not held against each other; the scores still are."""
    task = Labels()
    reference = replace(known(task, RIGHT), outcomes=accuracy.outcomes(task, {0: RIGHT[0]}))  # type: ignore[arg-type]
    found = judge(task, RIGHT, reference)
    assert (found.paired, found.passed) == (None, True)


def test_a_task_without_rightness_is_scored_as_before() -> None:
    """A task file from before `correct` has a verdict, an interval and a gap, and no flips and no 3-flip rule."""

    class Old:
        def __init__(self) -> None:
            self.name, self.metric, self.samples = Labels.name, Labels.metric, Labels.samples
            self.score, self.points, self.decide = Labels().score, Labels().points, Labels().decide

    old: Any = Old()
    found = judge(old, flipped(range(33)), known(old, flipped(range(30))))
    assert found.passed is False
    assert found.paired is not None
    assert (found.paired.flips_to_wrong, found.paired.mcnemar_p, found.paired.allowed_flips) == (None, None, None)
    assert found.paired.gap == pytest.approx(-1.0)
    assert found.paired.gap_interval is not None


def test_a_limited_pass_is_marked() -> None:
    """Scoring fewer samples than the task has is said in the result."""
    found = accuracy.judge(Labels(), RIGHT, np.arange(10), None, 0.99, "accuracy pass")  # type: ignore[arg-type]
    assert (found.limited, found.samples, found.passed, found.value) == (True, 10, None, 100.0)


def test_equal_answers_agree_and_tipped_near_ties_do_too() -> None:
    """Another batch may tip a decision whose logits nearly tie; that is no disagreement."""
    table = columns(list(range(300)))
    timed = dict(RIGHT) | {4: {"logits": np.array([0.99, 1.0], np.float32)}}
    passed = dict(RIGHT) | {4: {"logits": np.array([1.0, 0.99], np.float32)}, 5: {"logits": np.array([-3.0, 3.0], np.float32)}}
    found, reason = accuracy.agreement(Labels(), table, timed | {5: passed[5]}, passed, seed=1)  # type: ignore[arg-type]
    assert found["compared"] == 256
    assert reason is None


def test_other_answers_when_timed_are_a_reason() -> None:
    """Ten per cent of the timed answers differ from the pass: INVALID, with the count and the rows."""
    table = columns(list(range(300)))
    timed = {i: answer((i + (i % 10 == 0)) % 2, 5.0) for i in range(300)}
    found, reason = accuracy.agreement(Labels(), table, timed, {i: answer(i % 2, 5.0) for i in range(300)}, seed=1)  # type: ignore[arg-type]
    assert reason is not None
    assert reason.code == "agreement"
    assert 15 <= found["different"] <= 35


@pytest.mark.parametrize(
    ("to_wrong", "to_right", "excused"), [(4, 3, True), (5, 0, True), (6, 0, False), (0, 7, True), (31, 31, True), (32, 32, False)]
)
def test_a_backend_that_depends_on_the_batch_may_answer_otherwise_but_not_worse(to_wrong: int, to_right: int, excused: bool) -> None:
    """Up to a quarter of other answers is excused by a backend's own account, unless the sign test says they are worse (6 of 6: p 0.03)."""
    table = columns(list(range(250)))
    right = {i: answer(i % 2, 5.0) for i in range(250)}
    wrong = {i: answer(1 - i % 2, 5.0) for i in range(250)}
    timed = right | {i: wrong[i] for i in range(to_wrong)}
    passed = right | {i: wrong[i] for i in range(100, 100 + to_right)}
    found, reason = accuracy.agreement(Labels(), table, timed, passed, 1, "ranges of a whole call")  # type: ignore[arg-type]
    assert (found["different"], found.get("depends")) == (to_wrong + to_right, "ranges of a whole call" if excused else None)
    assert (reason is None) is excused
    assert accuracy.agreement(Labels(), table, timed, passed, 1)[1] is not None  # type: ignore[arg-type]


def test_where_no_answer_is_the_better_one_few_may_differ() -> None:
    """A task without points and right answers (a correlation) excuses 5 % of other answers, and no more."""

    class Values(Labels):
        def points(self, answers: Mapping[int, Answer]) -> np.ndarray:
            return np.empty(0)

        def correct(self, answers: Mapping[int, Answer]) -> np.ndarray:
            return np.empty(0, np.bool_)

    table, passed = columns(list(range(200))), {i: answer(i % 2, 5.0) for i in range(200)}
    for count, excused in ((10, True), (11, False)):
        timed = passed | {i: answer(1 - i % 2, 5.0) for i in range(count)}
        assert (accuracy.agreement(Values(), table, timed, passed, 1, "why")[1] is None) is excused  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------------------- card

PAIRS = {
    "flips_to_wrong": 4,
    "flips_to_right": 1,
    "changed": 12,
    "mcnemar_p": 0.375,
    "gap": -0.34404,
    "gap_interval": [-0.917, 0.1154],
    "allowed_flips": 7,
    "word": "passed, within noise",
}


def rows(**found: Any) -> dict[str, str]:
    """Rows of the card of a run with this accuracy."""
    return dict(card.make(changed(VALID, config={"accuracy_target": 0.99}, accuracy={"metric": "accuracy", **found})).rows)


def test_the_card_tells_gap_and_flips_in_a_line() -> None:
    """Word, gap with interval and sign, flips both ways with what is allowed, p, other answers; p and others only where there are any."""
    assert rows(paired=PAIRS)["against FP32"] == (
        "passed, within noise: accuracy −0.344 points (95 % interval −0.917 to +0.115); flips: 4 to wrong (at least 7 allowed), "
        "1 to right, McNemar p 0.38; 12 other answers changed"
    )
    none = PAIRS | {"flips_to_wrong": 0, "flips_to_right": 0, "changed": 0, "gap": -1e-12, "gap_interval": [0.0, 0.0], "word": "passed"}
    assert rows(paired=none)["against FP32"] == (
        "passed: accuracy 0.000 points (95 % interval 0.000 to 0.000); flips: 0 to wrong (at least 7 allowed), 0 to right"
    )
    values = dict.fromkeys(PAIRS) | {"gap": 0.25, "word": "passed"}
    assert rows(paired=values)["against FP32"] == "passed: accuracy +0.250 points"


def test_the_card_says_that_a_small_set_allows_three_flips() -> None:
    """Where the target is below the share of FP32, and only there."""
    lowered = " (small set: 3 flips to wrong are allowed before 99 % of FP32, 65.404, bites) (FP32 reference 66.065; margin +0.018)"
    found = rows(value=65.0, reference=66.065, target=64.982, share_target=65.404, samples=277)["accuracy"]
    assert f"reaches the target 64.982{lowered}; from" in found
    assert "small set" not in rows(target=65.404, share_target=65.404)["accuracy"]


def test_the_card_says_where_a_mere_score_is_from() -> None:
    """Without pairs the reference's origin stands in their place; a run of an older version has neither."""
    told = "only scores are compared; the reference is given by --reference-score"
    assert rows(paired=None, reference_source="given by --reference-score")["against FP32"] == told
    assert "against FP32" not in rows()
