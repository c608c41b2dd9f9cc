"""The accuracy gate's arithmetic: what is scored, against what, and whether timed answers agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import accuracy
from harness.core import Answer, Columns, Model, Output, Samples, Status, Task


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

    def decide(self, sample: int, answer: Answer) -> int:
        return int(answer["logits"].argmax())


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


def test_the_first_served_answer_to_a_sample_counts() -> None:
    """Later answers to the same sample, and answers of rows marked as errors, are not scored."""
    table = columns([7, 7, 8, 7], [Status.ERROR, Status.DONE, Status.DONE, Status.DONE])
    found = accuracy.by_sample(table, {0: answer(0), 1: answer(1), 2: answer(0), 3: answer(0)})
    assert {sample: int(each["logits"].argmax()) for sample, each in found.items()} == {7: 1, 8: 0}


def test_target_is_a_share_of_the_reference() -> None:
    """99 % of a reference of 90 is 89.1: 268 right of 300 (89.33) pass, 267 (89.0) do not."""
    reference = accuracy.Reference({"accuracy": 90.0}, "test")
    for wrong, passed in ((32, True), (33, False)):
        answers = {i: answer((i + (i < wrong)) % 2) for i in range(300)}
        found = accuracy.judge(Labels(), answers, np.arange(300), reference, 0.99, "timed run")  # type: ignore[arg-type]
        assert found.target == pytest.approx(89.1)
        assert found.passed is passed
        assert found.samples == 300
        assert not found.limited
        assert found.interval is not None
        assert found.interval[0] < found.value < found.interval[1]
        assert found.interval[1] - found.interval[0] == pytest.approx(2 * 1.96 * 1.79, rel=0.15)  # sqrt(89 * 11 / 300)


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


def test_a_shipped_reference_is_used_for_its_model_and_data_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with the program saves the reference pass; another model is computed."""
    model = Model("m", tmp_path, "sequence-classification", "abc", 1, 1)
    task: Task = Labels()  # type: ignore[assignment]
    key = accuracy.reference_key(model, task, np.arange(300))
    (tmp_path / "references.json").write_text(json.dumps({key: {"scores": {"accuracy": 77.0}, "made": "before"}}))
    monkeypatch.setattr(accuracy, "SHIPPED", tmp_path / "references.json")

    def score(sha256: str) -> float:
        other = replace(model, sha256=sha256)
        return accuracy.reference_for(other, task, np.arange(300), None, lambda: {"accuracy": 12.0}).scores["accuracy"]

    assert (score("abc"), score("abd")) == (77.0, 12.0)


def test_reference_is_computed_once_and_a_damaged_store_is_not_trusted(tmp_path: Path) -> None:
    """The second run reads the stored score; garbage in its place is computed again; other samples are another reference."""
    model = Model("m", tmp_path, "sequence-classification", "abc", 1, 1)
    calls: list[int] = []

    def compute() -> dict[str, float]:
        calls.append(1)
        return {"accuracy": 91.5, "examples": 300.0}

    def score(indices: np.ndarray) -> float:
        return accuracy.reference_for(model, Labels(), indices, tmp_path, compute).scores["accuracy"]  # type: ignore[arg-type]

    assert score(np.arange(300)) == score(np.arange(300)) == 91.5
    assert len(calls) == 1
    (stored,) = (tmp_path / "references").iterdir()
    for damage in ('{"scores": {"accuracy": NaN}, "made": ""}', "{", '{"scores": {}}', "[]"):
        stored.write_text(damage)
        assert score(np.arange(300)) == 91.5
    assert len(calls) == 5
    score(np.arange(299))
    assert len(calls) == 6
