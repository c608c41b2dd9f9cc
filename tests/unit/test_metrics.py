"""Scores: exact values of evaluate-v1.1.py, and what holds for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import accuracy, exact_match, f1, normalize_answer, score_squad

texts = st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Cat, sat!", "cat sat"),
        ("a theatre an anthem", "theatre anthem"),
        ("U.S. $5.00", "us 500"),
        ("The", ""),
        ("«Élan»", "«élan»"),
        ("one\u00a0two\tthree", "one two three"),
        ("the-end", "theend"),
    ],
)
def test_normalize(text: str, normal: str) -> None:
    """Case, ASCII punctuation, articles and white space do not count; other punctuation does."""
    assert normalize_answer(text) == normal


@given(texts)
def test_normalize_keeps_no_spare_space(text: str) -> None:
    """A normalised answer has single spaces between its words and none around."""
    normal = normalize_answer(text)
    assert normal == " ".join(normal.split())


@pytest.mark.parametrize(
    ("prediction", "truth", "value"),
    [
        ("the Denver Broncos", "Denver Broncos", 1.0),
        ("Denver", "Denver Broncos", 2 / 3),
        ("big big cat", "big cat cat", 2 / 3),
        ("left", "right", 0.0),
        ("the", "a", 0.0),
    ],
)
def test_f1(prediction: str, truth: str, value: float) -> None:
    """F1 counts each shared word as often as both have it, and is 0 when nothing is shared, even between two empty texts."""
    assert f1(prediction, truth) == pytest.approx(value, abs=1e-12)


@given(texts, texts)
def test_f1_is_symmetric_and_bounded(one: str, other: str) -> None:
    """F1 is the same both ways, between 0 and 1, and 1 for an exact match that has a word."""
    assert f1(one, other) == f1(other, one)
    assert 0 <= f1(one, other) <= 1
    if exact_match(one, other) and normalize_answer(one):
        assert f1(one, other) == 1


def test_score_takes_the_best_truth_and_counts_missing_questions() -> None:
    """Each question has the score of its best right answer; a question without a prediction counts 0."""
    truths = {"a": ("Paris", "the city of Paris"), "b": ("ten",), "c": ("blue", "red")}
    assert score_squad(truths, {"a": "city of Paris", "b": "ten men", "zzz": "red"}) == pytest.approx(
        {"exact_match": 100 / 3, "f1": 100 * (1 + 2 / 3) / 3, "examples": 3}
    )


def test_accuracy() -> None:
    """Accuracy is the share of equal labels in points."""
    assert accuracy([1, 0, 1, 1], [1, 1, 1, 0]) == {"accuracy": 50.0, "examples": 4.0}


def test_nothing_to_score_is_an_error() -> None:
    """No example gives no score, and labels without a decision are an error."""
    with pytest.raises(ValueError, match="no question"):
        score_squad({}, {})
    with pytest.raises(ValueError, match="no example"):
        accuracy([], [])
    with pytest.raises(ValueError, match="shorter"):
        accuracy([1, 0], [1])
