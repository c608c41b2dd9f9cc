"""TEST01: which answers differ, what excuses them, when a run is as fast, and the kit's texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import Answer, Metric, Output, Samples
from harness.errors import DataError, RunError
from harness.mlperf import test01
from harness.mlperf.accuracy import payload
from harness.mlperf.test01 import (
    Comparison,
    Verdict,
    accuracy_text,
    compare,
    decode,
    excused,
    performance,
    score,
    verify_accuracy_text,
    verify_performance_text,
)

SQUAD = (Output("start_logits", per_token=True), Output("end_logits", per_token=True))
CLASSES = (Output("logits", width=2),)


@dataclass(frozen=True)
class Logged:
    seq_id: int
    qsl_idx: int
    data: bytes


def log(*answers: tuple[int, list[float]]) -> list[Logged]:
    return [Logged(number, index, np.array(values, "<f4").tobytes()) for number, (index, values) in enumerate(answers)]


class Positive:
    """A task whose samples are all of class 1."""

    outputs = CLASSES
    metric = "accuracy"
    samples = Samples(np.zeros(8, np.int32), np.zeros(8, np.int8), np.arange(0, 9, 2), 0, 2)

    def decide(self, sample: int, answer: Answer) -> int:
        return int(np.argmax(answer["logits"]))

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        right = [self.decide(index, answer) == 1 for index, answer in answers.items()]
        return {"accuracy": 100 * sum(right) / len(right), "examples": len(right)}


TASK: Any = Positive()
ACCURACY = log((3, [0.0, 1.0]), (2, [0.25, 1.0]), (1, [0.5, 1.0]), (0, [0.75, 1.0]))


# ------------------------------------------------------------------------------------------------------------------------- answers


def test_equal_bytes_pass() -> None:
    """Samples asked twice and in another order: each answer is held against the accuracy run's to the same sample."""
    found = compare(log((0, [0.75, 1.0]), (3, [0.0, 1.0]), (0, [0.75, 1.0])), ACCURACY)
    assert found == Comparison(3, 2, 4, 0, 0, 0, 0, 0.0, ())
    assert found.identical
    assert found.kit_passes


def test_a_difference_behind_the_first_number_is_seen() -> None:
    """The kit's script would pass it; ours counts it, with its size and its sample."""
    found = compare(log((0, [0.75, 1.5]), (1, [0.5, 1.0])), ACCURACY)
    assert (found.different, found.first_different, found.largest, found.examples) == (1, 0, 0.5, (0,))
    assert not found.identical
    assert found.kit_passes


def test_no_record_is_no_pass() -> None:
    """Nothing logged, nothing proved; the kit says the same."""
    found = compare([], ACCURACY)
    assert not found.complete
    assert not found.identical
    assert not found.kit_passes


def test_a_sample_without_counterpart_is_no_pass() -> None:
    """The kit's script overlooks it."""
    found = compare(log((0, [0.75, 1.0]), (9, [0.0, 1.0])), ACCURACY)
    assert (found.missing, found.different) == (1, 0)
    assert not found.identical
    assert found.kit_passes


def test_an_empty_answer_is_no_answer() -> None:
    """Even where the accuracy run's is empty, too."""
    found = compare([Logged(0, 0, b"")], [Logged(0, 0, b"")])
    assert found.different == 1
    assert not found.identical
    assert not found.kit_passes


def test_answers_of_other_sizes_and_nan_differ_without_end() -> None:
    """No number says how far apart they are."""
    assert compare(log((0, [0.75])), ACCURACY).largest == math.inf
    assert compare(log((0, [math.nan, 1.0])), ACCURACY).largest == math.inf


def test_of_two_answers_of_the_accuracy_run_the_first_counts() -> None:
    """By sequence number, whatever their order in the file: a submission run's log ends with its performance phase."""
    accuracy = [Logged(7, 0, b"late"), Logged(2, 0, b"soon")]
    assert compare([Logged(0, 0, b"soon")], accuracy).identical
    assert compare([Logged(0, 0, b"late")], accuracy).different == 1
    assert compare([Logged(0, 0, b"soon")], accuracy).conflicting == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=9)), max_size=20))
def test_counts_add_up(answers: list[tuple[int, bytes]]) -> None:
    """Every record is missing, different or identical, and identical means equal bytes for all."""
    records = [Logged(number, index, data) for number, (index, data) in enumerate(answers)]
    accuracy = [Logged(0, 0, b"0"), Logged(1, 1, b"1"), Logged(2, 2, b"22")]
    found = compare(records, accuracy)
    expected = {0: b"0", 1: b"1", 2: b"22"}
    assert found.missing == sum(index == 3 for index, _ in answers)
    assert found.different == sum(data != expected.get(index, data) for index, data in answers)
    assert found.first_different <= found.different
    assert found.identical == (bool(answers) and all(expected.get(index) == data for index, data in answers))


# --------------------------------------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("outputs", [SQUAD, CLASSES, (*SQUAD, *CLASSES), (Output("a", width=2), Output("b", width=3))])
def test_bytes_of_the_log_are_read_back(outputs: tuple[Output, ...]) -> None:
    """What `mlperf_accuracy.payload` writes: per token, per sample, and both."""
    numbers = np.random.default_rng(0)
    answer = {each.name: numbers.random(5 if each.per_token else each.width, np.float32) for each in outputs}
    found = decode(payload(outputs, answer), outputs, 5)
    assert found.keys() == answer.keys()
    assert all(np.array_equal(found[name], answer[name]) for name in answer)


def test_padding_behind_the_tokens_is_cut() -> None:
    """MLPerf's reference logs all 384 rows; only the real tokens are an answer."""
    padded = np.arange(20, dtype="<f4").reshape(10, 2)
    found = decode(padded.tobytes(), SQUAD, 3)
    assert found["start_logits"].tolist() == [0, 2, 4]
    assert found["end_logits"].tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("outputs", "size"), [(SQUAD, 16), (SQUAD, 28), (SQUAD, 25), (CLASSES, 12), (CLASSES, 4), (CLASSES, 9), (CLASSES, 0)]
)
def test_bytes_that_are_no_answer_are_refused(outputs: tuple[Output, ...], size: int) -> None:
    """Too few, too many, half a number: the message has the count."""
    with pytest.raises(DataError, match=f"^{size} bytes are no answer"):
        decode(bytes(size), outputs, 3)


# -------------------------------------------------------------------------------------------------------------------------- scores


def test_differences_that_cost_nothing_are_excused() -> None:
    """Other numbers, same decisions: both scores are 100."""
    found = score(TASK, log((0, [0.7, 1.0]), (1, [0.4, 1.0])), ACCURACY)
    assert found is not None
    assert (found.baseline["accuracy"], found.compliance["accuracy"], found.different_decisions) == (100, 100, 0)
    assert found.baseline["examples"] == 2
    assert found.excused(0.001)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_worse_of_the_first_and_the_last_answers_counts(order: list[int]) -> None:
    """One of two answers to a sample is wrong: whether it comes first or last, it is not excused."""
    answers = [(0, [0.75, 1.0]), (0, [1.0, 0.0])]
    found = score(TASK, log(*(answers[place] for place in order)), ACCURACY)
    assert found is not None
    assert (found.baseline["accuracy"], found.compliance["accuracy"], found.different_decisions) == (100, 0, 1)
    assert not found.excused(0.01)


def test_a_subset_without_a_complete_example_excuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Different answers, and no score to tell whether it matters: failed, and said."""

    def nothing(answers: Mapping[int, Answer]) -> dict[str, float]:
        raise RunError("nothing to score")

    monkeypatch.setattr(TASK, "score", nothing)
    found = verdict(log((0, [0.75, 2.0])))
    assert found.scores is None
    assert not found.passed
    assert "no example is complete" in found.text()
    assert verdict(log((0, [0.75, 1.0]))).passed


def test_a_sample_that_the_data_does_not_have_is_named() -> None:
    """A log of other data is no crash."""
    with pytest.raises(DataError, match="sample 9 is logged, the data has 4 samples"):
        score(TASK, log((9, [0.0, 1.0])), log((9, [0.0, 1.0])))
    with pytest.raises(DataError, match="sample 1: 4 bytes"):
        score(TASK, log((1, [0.0])), ACCURACY)


@pytest.mark.parametrize(
    ("baseline", "compliance", "share", "expected"),
    [
        (90.0, 90.0, 0.001, True),
        (90.0, 89.11, 0.01, True),
        (90.0, 89.10, 0.01, False),  # 1 - 90 / 89.1 is over a hundredth: the checker divides by the compliance score
        (90.0, 90.90, 0.01, True),
        (90.0, 90.92, 0.01, False),
        (90.0, 89.92, 0.001, True),
        (90.0, 89.90, 0.001, False),
        (0.0, 0.0, 0.01, False),
        (90.0, 0.0, 0.01, False),
    ],
)
def test_the_checkers_rule(baseline: float, compliance: float, share: float, expected: bool) -> None:
    """At most 1 % or 0.1 % apart in either direction, and no score of 0."""
    assert excused(baseline, compliance, share) is expected


# --------------------------------------------------------------------------------------------------------------------- performance


def rate(value: float) -> Metric:
    return Metric("samples_per_second", value, "samples/s", "higher")


def latency(ns: float) -> Metric:
    return Metric("latency", ns, "ns", "lower")


@pytest.mark.parametrize(("value", "passed"), [(90.0, True), (89.9, False), (110.0, True), (110.2, False), (100.0, True)])
def test_a_tenth_is_allowed_either_way(value: float, passed: bool) -> None:
    """The kit's bounds, inclusive; a run that is much faster fails, too."""
    check = performance("offline", rate(100.0), rate(value), submission_valid=True, audit_valid=True)
    assert check.allowed == 0.10
    assert check.passed is passed


@pytest.mark.parametrize(
    ("scenario", "ns", "allowed"),
    [
        ("single-stream", 200_000, 0.20),
        ("single-stream", 200_001, 0.10),
        ("multi-stream", 1_600_000, 0.20),
        ("multi-stream", 1_600_001, 0.10),
        ("server", 100, 0.10),
    ],
)
def test_short_latencies_may_scatter_more(scenario: str, ns: int, allowed: float) -> None:
    """20 % up to 0.2 ms in single-stream and 1.6 ms in multi-stream."""
    assert performance(scenario, latency(ns), latency(ns), submission_valid=True, audit_valid=True).allowed == allowed


def test_a_rate_is_no_latency() -> None:
    """100 queries/s is not short."""
    assert performance("single-stream", rate(100), rate(100), submission_valid=True, audit_valid=True).allowed == 0.10


@pytest.mark.parametrize(("submission", "audit"), [(False, True), (True, False)])
def test_both_runs_must_be_valid(submission: bool, audit: bool) -> None:
    """Equal numbers do not help."""
    assert not performance("offline", rate(1), rate(1), submission_valid=submission, audit_valid=audit).passed


def test_a_run_without_a_number_fails() -> None:
    """None, or a number of another kind."""
    assert not performance("offline", rate(1), None, submission_valid=True, audit_valid=True).passed
    assert not performance("offline", rate(1), latency(1), submission_valid=True, audit_valid=True).passed


# --------------------------------------------------------------------------------------------------------------------------- texts


def verdict(performance_log: list[Logged], value: float = 100.0, share: float = 0.01) -> Verdict:
    comparison = compare(performance_log, ACCURACY)
    scores = score(TASK, performance_log, ACCURACY) if comparison.complete else None
    return Verdict(comparison, scores, share, performance("offline", rate(100.0), rate(value), submission_valid=True, audit_valid=True))


def test_the_checker_finds_its_line() -> None:
    """A line that is exactly TEST PASS or TEST FAIL ends both files."""
    same, other = compare(log((0, [0.75, 1.0])), ACCURACY), compare(log((0, [0.75, 9.0])), ACCURACY)
    assert verify_accuracy_text(same).splitlines()[-1] == "TEST PASS"
    assert verify_accuracy_text(other).splitlines()[-1] == "TEST FAIL"
    assert "num_perf_log_data_mismatch = 1" in verify_accuracy_text(other).splitlines()
    passed = verify_performance_text(verdict(log((0, [0.75, 1.0]))).check)
    assert passed.splitlines() == ["Reference score = 100.0", "Test score = 100.0", "TEST PASS"]
    failed = verify_performance_text(performance("offline", rate(100.0), rate(100.0), submission_valid=True, audit_valid=False))
    assert failed.splitlines() == ["TEST01 run: result is not VALID", "Reference score = 100.0", "Test score = 100.0", "TEST FAIL"]


def test_the_score_line_is_the_checkers() -> None:
    """Squad: exact_match, then f1, nothing else; another task: what there is."""
    line = accuracy_text({"f1": 90.87487229720105, "exact_match": 83.68968779564806, "examples": 10570})
    assert re.match(r'^\{"exact_match": ([\d.]+), "f1": ([\d.]+)\}\n$', line)
    assert json.loads(line) == {"exact_match": 83.68968779564806, "f1": 90.87487229720105}
    assert accuracy_text({"accuracy": 89.25, "examples": 872}) == '{"accuracy": 89.25, "examples": 872}\n'


def test_last_bit_differences_pass_and_are_told() -> None:
    """Batched FP32: no byte is equal, no decision differs."""
    found = verdict(log((0, [0.75, 1.0000001]), (1, [0.5, 1.0000001])))
    assert found.passed
    assert not found.findings()
    shown = found.text()
    assert "0 identical, 2 different (by at most 1.2e-07), 0 without a counterpart" in shown
    assert "MLPerf's script, which compares first numbers only: PASS" in shown
    assert "0 stand for another decision; accuracy on these samples 100.000 in the accuracy run, 100.000 in the timed run" in shown
    assert shown.endswith("TEST01 passed")


@pytest.mark.parametrize(
    ("answers", "value", "said", "cure"),
    [
        ([(0, [1.0, 0.0])], 100.0, "1 of 1 answers of the timed run are not those of the accuracy run", "state kept between calls"),
        ([], 100.0, "logged no answer", "--duration"),
        ([(9, [0.0, 1.0])], 100.0, "1 of 1 logged answers are to samples that the accuracy run did not answer", "--accuracy-count"),
        ([(0, [0.75, 1.0])], 80.0, "the headline number changed by -20.0 %, 10.0 % is allowed", "--duration"),
    ],
)
def test_a_failure_says_what_and_what_to_do(answers: list[tuple[int, list[float]]], value: float, said: str, cure: str) -> None:
    """Numbers, sample and cure."""
    found = verdict(log(*answers), value)
    assert not found.passed
    assert said in found.text()
    assert cure in found.text()
    assert found.text().endswith("TEST01 failed")
    assert [each["text"] for each in found.as_data()["findings"]] == [each.text for each in found.findings()]


def test_the_audit_is_the_kits() -> None:
    """Seed and target of BERT's audit.config (specification, section 3.7)."""
    assert (test01.SEED, test01.TARGET) == (720381539243781796, 4096)
