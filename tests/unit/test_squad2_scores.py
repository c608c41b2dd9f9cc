"""Scores of SQuAD v2.0, against the steps of evaluate-v2.0.py written out one by one."""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.squad.no_answer_scores import Judged, question_points

Truths = Mapping[str, Sequence[str]]

# ------------------------------------------------------------------------------------ the official evaluation, straightforwardly


def plain(text: str) -> str:
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def raw_points(right: Sequence[str], said: str) -> tuple[float, float]:
    accepted = [answer for answer in right if plain(answer)]
    if not accepted:
        accepted = [""]

    def f1(answer: str) -> float:
        ours, theirs = plain(said).split(), plain(answer).split()
        if not ours or not theirs:
            return float(ours == theirs)
        common = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
        if common == 0:
            return 0.0
        precision, recall = common / len(ours), common / len(theirs)
        return 2 * precision * recall / (precision + recall)

    return max(float(plain(answer) == plain(said)) for answer in accepted), max(f1(answer) for answer in accepted)


def official(truths: Truths, said: Mapping[str, str], no_answer: Mapping[str, float] | None, threshold: float) -> dict[str, float]:
    """What evaluate-v2.0.py prints, by its own names; every question has a prediction."""
    raw = {name: raw_points(right, said[name]) for name, right in truths.items()}
    probabilities = dict.fromkeys(said, 0.0) if no_answer is None else no_answer
    final = {}
    for name, points in raw.items():
        final[name] = (float(not truths[name]),) * 2 if probabilities[name] > threshold else points
    out: dict[str, float] = {}
    groups = {"": list(truths), "HasAns_": [n for n in truths if truths[n]], "NoAns_": [n for n in truths if not truths[n]]}
    for prefix, names in groups.items():
        if names:
            out[f"{prefix}exact"] = 100.0 * sum(final[name][0] for name in names) / len(names)
            out[f"{prefix}f1"] = 100.0 * sum(final[name][1] for name in names) / len(names)
            out[f"{prefix}total"] = len(names)
    if no_answer is not None:
        for place, metric in enumerate(("exact", "f1")):
            current = best = float(len(groups["NoAns_"]))
            where = 0.0
            for name in sorted(no_answer, key=lambda key: no_answer[key]):
                if truths[name]:
                    current += raw[name][place]
                elif said[name]:
                    current -= 1
                if current > best:
                    best, where = current, no_answer[name]
            out[f"best_{metric}"], out[f"best_{metric}_thresh"] = 100.0 * best / len(raw), where
    return out


OURS = {
    "exact": "exact_match",
    "f1": "f1",
    "total": "examples",
    "HasAns_exact": "exact_match_has_answer",
    "HasAns_f1": "f1_has_answer",
    "HasAns_total": "examples_has_answer",
    "NoAns_exact": "exact_match_no_answer",
    "NoAns_f1": "f1_no_answer",
    "NoAns_total": "examples_no_answer",
    "best_exact": "best_exact_match",
    "best_exact_thresh": "best_exact_match_threshold",
    "best_f1": "best_f1",
    "best_f1_thresh": "best_f1_threshold",
}

WORDS = st.lists(st.sampled_from(["the", "a", "Rhine", "rhine,", "old", "bridge", "!", "north"]), max_size=4).map(" ".join)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, str], dict[str, float]]:
    size = draw(st.integers(1, 9))
    names = [f"q{number}" for number in range(size)]
    truths = {name: draw(st.lists(WORDS, max_size=3)) for name in names}
    said = {name: draw(WORDS) for name in names}
    order = draw(st.permutations(names))  # scores come in the order of their own file, and few values make ties
    return truths, said, {name: draw(st.sampled_from([-2.5, -1.0, 0.0, 0.25, 1.0, 3.0])) for name in order}


@given(cases(), st.booleans(), st.sampled_from([-1.0, 0.0, 0.3, 1.0]))
def test_scores_are_those_of_the_official_evaluation(
    case: tuple[dict[str, list[str]], dict[str, str], dict[str, float]], scored: bool, threshold: float
) -> None:
    """Every number of the official script, with and without no-answer scores, at any threshold, to the last digit."""
    truths, said, no_answer = case
    expected = official(truths, said, no_answer if scored else None, threshold if scored else 1.0)
    found = Judged(truths, said, no_answer if scored else None, threshold).scores()
    assert found == {OURS[name]: value for name, value in expected.items()}


@given(st.lists(WORDS, max_size=3), WORDS)
@example(["the", "a !"], "")
@example(["the", "Rhine"], "the")
@example([], "the")
def test_points_of_one_question(right: list[str], said: str) -> None:
    """Exact match and F1 of one question are those written out; right answers without a word are none."""
    assert question_points(right, said) == raw_points(right, said)


TRUTHS = {"a": ["The Rhine"], "b": ["old bridges", "bridges"], "c": [], "d": []}
SAID = {"a": "rhine", "b": "bridges of Cologne", "c": "north", "d": ""}


def test_exact_values() -> None:
    """Two of four right, F1 of "bridges of Cologne" against "bridges" 0.5; without no-answer scores no best threshold."""
    assert Judged(TRUTHS, SAID).scores() == {
        "exact_match": 50.0,
        "f1": 62.5,
        "examples": 4.0,
        "exact_match_has_answer": 50.0,
        "f1_has_answer": 75.0,
        "examples_has_answer": 2.0,
        "exact_match_no_answer": 50.0,
        "f1_no_answer": 50.0,
        "examples_no_answer": 2.0,
    }


def test_best_threshold() -> None:
    """Answering a (-3) and b (-1) but not c (2) gives F1 87.5; an exact match gains nothing from b, so its lowest threshold is a's."""
    scores = Judged(TRUTHS, SAID, {"a": -3.0, "b": -1.0, "c": 2.0, "d": 4.0}, threshold=0.0).scores()
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (87.5, -1.0)
    assert (scores["best_exact_match"], scores["best_exact_match_threshold"]) == (75.0, -3.0)
    assert (scores["f1"], scores["exact_match"], scores["f1_no_answer"]) == (87.5, 75.0, 100.0)


def test_threshold_is_exceeded_not_reached() -> None:
    """A no-answer score equal to the threshold leaves the answer; above it the answer is none, right only where there is none."""
    no_answer = {"a": 0.5, "b": 0.6, "c": 0.6, "d": 0.0}
    assert Judged(TRUTHS, SAID, no_answer, threshold=0.5).points() == [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0)]


def test_best_of_all_unanswered_is_threshold_zero() -> None:
    """Where answering gains nothing the best score is that of answering nothing, and the threshold is the official script's 0.0."""
    scores = Judged({"c": [], "d": []}, {"c": "x", "d": "y"}, {"c": -4.0, "d": -3.0}, threshold=0.0).scores()
    assert (scores["best_f1"], scores["best_f1_threshold"], scores["f1"]) == (100.0, 0.0, 0.0)
    assert "f1_has_answer" not in scores


def test_missing_predictions_are_wrong() -> None:
    """A question without a prediction counts 0 even if it has no answer, in the best threshold too."""
    judged = Judged(TRUTHS, {"a": "Rhine"}, {"a": -1.0}, threshold=0.0)
    assert judged.points() == [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]
    assert judged.scores()["best_f1"] == 25.0
    assert judged.scores()["examples"] == 4.0


def test_no_question() -> None:
    """Nothing to score is an error, not a division by zero."""
    with pytest.raises(ValueError, match="no question"):
        Judged({}, {}).scores()


def test_a_prediction_without_no_answer_score() -> None:
    """A no-answer score must be there for every prediction."""
    with pytest.raises(KeyError):
        Judged(TRUTHS, SAID, {"a": 0.0}).scores()
