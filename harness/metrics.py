"""Scores of answers against truths, in points from 0 to 100. Pure."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case without ASCII punctuation, articles (a, an, the) and spare white space, as evaluate-v1.1.py of SQuAD does it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(prediction: str, truth: str) -> float:
    """1.0 if both are the same after `normalize_answer`, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(truth))


def f1(prediction: str, truth: str) -> float:
    """Harmonic mean of precision and recall over the words both share, 0 to 1 (evaluate-v1.1.py: 0 when they share none, even if
    both are empty)."""
    predicted, true = normalize_answer(prediction).split(), normalize_answer(truth).split()
    shared = sum((Counter(predicted) & Counter(true)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(true)
    return 2 * precision * recall / (precision + recall)


def squad_points(truths: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """Exact match and F1 of each question of `truths` (id to right answers), 0 to 1: the best over its right answers; 0 without a
    prediction."""
    exact, total = [], []
    for question, answers in truths.items():
        given = predictions.get(question)
        exact.append(0.0 if given is None else max(exact_match(given, answer) for answer in answers))
        total.append(0.0 if given is None else max(f1(given, answer) for answer in answers))
    return exact, total


def score_squad(truths: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> dict[str, float]:
    """Exact match and F1 over all questions of `truths` (id to right answers): the best over the right answers of each, then the mean.

    A question without a prediction counts 0. Raises ValueError if there is no question.
    """
    if not truths:
        raise ValueError("no question to score")
    exact, total = squad_points(truths, predictions)
    return {
        "exact_match": 100.0 * sum(exact) / len(truths),
        "f1": 100.0 * sum(total) / len(truths),
        "examples": float(len(truths)),
    }


# ----------------------------------------------------------------------------------------------------------- classes and values


Values = Sequence[float] | NDArray[np.float64]
"""A number for each example: the index of a class, or a value that was predicted."""


def accuracy(labels: Values, decisions: Values) -> float:
    """Share of `decisions` that equal `labels`. Raises ValueError if there is none, or if their numbers differ."""
    true, decided = _arrays(labels, decisions)
    return 100.0 * int((true == decided).sum()) / len(true)


def binary_f1(labels: Values, decisions: Values) -> float:
    """F1 of class 1 against all others: 2 TP / (2 TP + FP + FN); 0 where neither side has class 1 (as f1_score of scikit-learn).

    Raises ValueError as `accuracy` does.
    """
    return 100.0 * _f1_of(1.0, *_arrays(labels, decisions))


def macro_f1(labels: Values, decisions: Values) -> float:
    """Mean of the F1 of each class that `labels` or `decisions` name (f1_score with average="macro" of scikit-learn).

    Raises ValueError as `accuracy` does.
    """
    true, decided = _arrays(labels, decisions)
    classes = np.union1d(true, decided).tolist()
    return 100.0 * sum(_f1_of(each, true, decided) for each in classes) / len(classes)


def matthews(labels: Values, decisions: Values) -> float:
    """Matthews' correlation, -100 to 100; for more than two classes R_K (Gorodkin 2004, Comput. Biol. Chem. 28:367).

    With n examples, c of them right, t_k of class k and p_k decided k: (c n - sum t_k p_k) / sqrt((n^2 - sum p_k^2) (n^2 - sum t_k^2)).
    0 where one side has a single class (as matthews_corrcoef of scikit-learn). Raises ValueError as `accuracy` does.
    """
    true, decided = _arrays(labels, decisions)
    n, right = len(true), int((true == decided).sum())
    _, number = np.unique(np.concatenate((true, decided)), return_inverse=True)
    of_true, of_decided = (np.bincount(side, minlength=int(number.max()) + 1) for side in (number[:n], number[n:]))
    product = (n * n - int(of_decided @ of_decided)) * (n * n - int(of_true @ of_true))
    return 100.0 * (right * n - int(of_true @ of_decided)) / math.sqrt(product) if product else 0.0


def pearson(labels: Values, predictions: Values) -> float:
    """Pearson's correlation, -100 to 100: covariance over the product of the standard deviations.

    0 where one side is constant: there is no correlation then (pearsonr of scipy gives NaN). Raises ValueError as `accuracy` does, and
    for values that are not finite.
    """
    return 100.0 * _correlation(*_finite(labels, predictions))


def spearman(labels: Values, predictions: Values) -> float:
    """Spearman's correlation, -100 to 100: Pearson's of the ranks; values that tie share their mean rank (spearmanr of scipy).

    0 where one side is constant. Raises ValueError as `pearson` does.
    """
    first, second = _finite(labels, predictions)
    return 100.0 * _correlation(_ranks(first), _ranks(second))


METRICS: Mapping[str, Callable[[Values, Values], float]] = {
    "accuracy": accuracy,
    "f1": binary_f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
"""What `score` can be asked for. Accuracy alone is the mean of what each example adds."""


def score(names: Sequence[str], labels: Values, predictions: Values) -> dict[str, float]:
    """These of `METRICS`, in points. Raises ValueError as they do, and KeyError for a name that is none."""
    return {name: METRICS[name](labels, predictions) for name in names}


def _arrays(labels: Values, predictions: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} labels and {len(second)} predictions")
    if len(first) == 0:
        raise ValueError("no example to score")
    return first, second


def _finite(labels: Values, predictions: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = _arrays(labels, predictions)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a value is not finite")
    return first, second


def _f1_of(positive: float, true: NDArray[np.float64], decided: NDArray[np.float64]) -> float:
    """F1 of one class, 0 to 1."""
    is_true, is_decided = true == positive, decided == positive
    named = int(is_true.sum()) + int(is_decided.sum())
    return 2 * int((is_true & is_decided).sum()) / named if named else 0.0


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Pearson's correlation, -1 to 1; 0 where one side is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    first, second = first / np.abs(first).max(), second / np.abs(second).max()  # so that no square leaves the range of a float
    return float(np.clip(first @ second / math.sqrt(float(first @ first) * float(second @ second)), -1.0, 1.0))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each value, from 1; equal values have the mean of the ranks they fill."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[where], np.float64)
