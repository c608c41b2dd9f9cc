"""Scores: exact values of evaluate-v1.1.py, what holds for any text, and scikit-learn and scipy on random labels and values."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import metrics
from harness.metrics import accuracy, binary_f1, exact_match, f1, macro_f1, matthews, normalize_answer, pearson, score_squad, spearman

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


def test_no_question_is_an_error() -> None:
    """No question gives no score."""
    with pytest.raises(ValueError, match="no question"):
        score_squad({}, {})


# ----------------------------------------------------------------------------------------------------------- classes and values


def test_exact_values() -> None:
    """By hand: 2 of 4 right; TP 2, FP 1, FN 1; Matthews (2 x 0 - 1 x 1) / sqrt(3 x 3 x 1 x 1); values 1, 2, 3 against 1, 3, 2."""
    labels, decisions = [1, 0, 1, 1], [1, 1, 1, 0]
    assert accuracy(labels, decisions) == 50.0
    assert binary_f1(labels, decisions) == pytest.approx(200 / 3)
    assert macro_f1(labels, decisions) == pytest.approx(100 / 3)
    assert matthews(labels, decisions) == pytest.approx(-100 / 3)
    assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(50)
    assert spearman([1, 2, 3], [10, 1000, 20]) == pytest.approx(50)
    assert metrics.score(("f1", "accuracy"), labels, decisions) == {"f1": binary_f1(labels, decisions), "accuracy": 50.0}


@pytest.mark.parametrize("decided", [0, 1])
def test_constant_predictions(decided: int) -> None:
    """A model that always gives one class has Matthews 0, and F1 0 where it never gives class 1."""
    labels = [1, 0, 1, 0, 1]
    assert matthews(labels, [decided] * 5) == 0.0
    assert matthews([decided] * 5, labels) == 0.0
    assert binary_f1(labels, [decided] * 5) == pytest.approx(75.0 * decided)
    assert binary_f1([0, 0], [0, 0]) == 0.0


def test_constant_values() -> None:
    """A constant has the correlation 0 with anything, where scipy gives NaN, even if its mean cannot be written exactly."""
    for correlation in (pearson, spearman):
        assert correlation([0.1] * 3, [1, 2, 3]) == 0.0
        assert correlation([1, 2, 3], [0.1] * 3) == 0.0
        assert correlation([4.0], [4.0]) == 0.0


@pytest.mark.parametrize("name", metrics.METRICS)
def test_nothing_to_score_is_an_error(name: str) -> None:
    """No example gives no score, and labels without a prediction are an error."""
    with pytest.raises(ValueError, match="no example"):
        metrics.METRICS[name]([], [])
    with pytest.raises(ValueError, match="2 labels and 1 predictions"):
        metrics.METRICS[name]([1, 0], [1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_must_be_finite(value: float) -> None:
    """A correlation with a value that is no number or infinite is an error, not NaN."""
    for correlation in (pearson, spearman):
        with pytest.raises(ValueError, match="not finite"):
            correlation([1, 2, 3], [1, value, 3])


binary = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
several = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
numbers = st.integers(-40, 40).map(lambda value: value / 8)  # few different ones: many ties
wide = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
values = st.lists(st.tuples(numbers, numbers) | st.tuples(wide, wide), min_size=2, max_size=40)


@settings(deadline=None)  # the first call imports much
@given(binary)
def test_binary_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    """Accuracy, F1 of class 1 and Matthews equal scikit-learn's on random labels of two classes."""
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    labels, decisions = zip(*pairs, strict=True)
    assert accuracy(labels, decisions) == pytest.approx(100 * sklearn.accuracy_score(labels, decisions), abs=1e-9)
    assert binary_f1(labels, decisions) == pytest.approx(100 * sklearn.f1_score(labels, decisions, zero_division=0.0), abs=1e-9)
    assert matthews(labels, decisions) == pytest.approx(100 * quiet(sklearn.matthews_corrcoef, labels, decisions), abs=1e-9)


@settings(deadline=None)  # the first call imports much
@given(several)
def test_scores_of_several_classes_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    """Accuracy, macro F1 and Matthews equal scikit-learn's on random labels of four classes."""
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    labels, decisions = zip(*pairs, strict=True)
    assert accuracy(labels, decisions) == pytest.approx(100 * sklearn.accuracy_score(labels, decisions), abs=1e-9)
    assert macro_f1(labels, decisions) == pytest.approx(
        100 * sklearn.f1_score(labels, decisions, average="macro", zero_division=0.0), abs=1e-9
    )
    assert matthews(labels, decisions) == pytest.approx(100 * quiet(sklearn.matthews_corrcoef, labels, decisions), abs=1e-9)


@settings(deadline=None)  # the first call imports much
@given(values)
def test_correlations_are_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    """Pearson and Spearman equal scipy's on random values, with ties; where scipy has none, ours are 0."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    first, second = zip(*pairs, strict=True)
    for ours, theirs in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        expected = float(quiet(theirs, first, second)[0])
        assert ours(first, second) == pytest.approx(0.0 if np.isnan(expected) else 100 * expected, abs=1e-6)


@given(values)
def test_correlations_do_not_depend_on_scale(pairs: list[tuple[float, float]]) -> None:
    """Both are the same either way, within -100 to 100, and keep their value when one side is doubled."""
    first, second = zip(*pairs, strict=True)
    for correlation in (pearson, spearman):
        assert correlation(first, second) == pytest.approx(correlation(second, first), abs=1e-9)
        assert -100 <= correlation(first, second) <= 100
        assert correlation([2 * value for value in first], second) == pytest.approx(correlation(first, second), abs=1e-9)


def quiet(function: object, *arguments: Sequence[float]) -> object:
    """What a library's function gives, without its warnings about input that is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)  # type: ignore[operator]
