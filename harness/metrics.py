"""Scores of answers against truths, in points from 0 to 100. Pure."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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


def accuracy(labels: Iterable[int], decisions: Iterable[int]) -> dict[str, float]:
    """Share of `decisions` that equal `labels`. Raises ValueError if there is none, or if their numbers differ."""
    hits = [label == decision for label, decision in zip(labels, decisions, strict=True)]
    if not hits:
        raise ValueError("no example to score")
    return {"accuracy": 100.0 * sum(hits) / len(hits), "examples": float(len(hits))}
