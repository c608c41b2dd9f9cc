"""Scores of answers to SQuAD v2.0, where a question may have none: what evaluate-v2.0.py, the official script, computes. Pure.

An answer of "" says that there is none. The no-answer score of a question says how much there seems to be none: its answer counts as ""
if the score is above a threshold. Sums run in the order of the official script, so that results are equal to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.metrics import exact_match, f1, normalize_answer

OFFICIAL_THRESHOLD = 1.0
"""`--na-prob-thresh` of the official script where none is given: no probability is above it."""

Truths = Mapping[str, Sequence[str]]
"""Right answers by question id; none for a question that cannot be answered."""


def question_points(truths: Sequence[str], prediction: str) -> tuple[float, float]:
    """Exact match and F1 of one answer, 0 to 1: the best over the right answers; without one, only an answer that says nothing is right.

    Right answers of which `normalize_answer` leaves nothing are passed over.
    """
    right = [truth for truth in truths if normalize_answer(truth)] or [""]
    return max(exact_match(prediction, truth) for truth in right), max(_f1(prediction, truth) for truth in right)


def _f1(prediction: str, truth: str) -> float:
    """F1 over words; where one side has no words, 1 if the other has none either."""
    empty = [not normalize_answer(text) for text in (prediction, truth)]
    return float(all(empty)) if any(empty) else f1(prediction, truth)


class Judged:
    """The answers to the questions of `truths`, judged.

    `predictions` and `no_answer` (no-answer scores) are by question id; ids that are not in `truths` are passed over. With `no_answer`,
    every prediction must have a score (KeyError). `threshold` is what makes an answer "". A question without a prediction counts 0,
    whether it has an answer or not (the official script ends with an error).
    """

    def __init__(
        self,
        truths: Truths,
        predictions: Mapping[str, str],
        no_answer: Mapping[str, float] | None = None,
        threshold: float = OFFICIAL_THRESHOLD,
    ) -> None:
        self.truths = truths
        self.predictions = predictions
        self.no_answer = no_answer
        self.raw = {name: question_points(answers, predictions[name]) for name, answers in truths.items() if name in predictions}
        self._threshold = threshold

    def points(self) -> list[tuple[float, float]]:
        """Exact match and F1 of each question, in the order of `truths`, 0 to 1, with the threshold applied."""
        return [self._points(name) for name in self.truths]

    def _points(self, name: str) -> tuple[float, float]:
        if name not in self.raw:
            return 0.0, 0.0
        if self.no_answer is not None and self.no_answer[name] > self._threshold:
            right = float(not self.truths[name])
            return right, right
        return self.raw[name]

    def scores(self) -> dict[str, float]:
        """`exact_match` and `f1` in points and `examples`, over all questions, over those that have an answer (`_has_answer`) and over
        those that have none (`_no_answer`), each only if there are any; with no-answer scores also `best_exact_match`, `best_f1` and the
        `_threshold` of each. Raises ValueError without questions.

        Names of the official script: exact, f1, total; HasAns_..., NoAns_...; best_exact, best_exact_thresh, best_f1, best_f1_thresh.
        """
        if not self.truths:
            raise ValueError("no question to score")
        points = dict(zip(self.truths, self.points(), strict=True))
        scores = _means(points.values(), "")
        scores |= _means((value for name, value in points.items() if self.truths[name]), "_has_answer")
        scores |= _means((value for name, value in points.items() if not self.truths[name]), "_no_answer")
        for place, metric in enumerate(("exact_match", "f1") if self.no_answer is not None else ()):
            scores[f"best_{metric}"], scores[f"best_{metric}_threshold"] = self.best(place)
        return scores

    def best(self, place: int) -> tuple[float, float]:
        """Highest exact match (`place` 0) or F1 (1) that any threshold gives, in points, and the lowest threshold that gives it.

        find_best_thresh of the official script, with what it does at the edges: no answer at all counts as threshold 0.0, and of
        questions with equal no-answer scores some may be answered and others not.
        """
        assert self.no_answer is not None
        total = best = float(sum(1 for name in self.raw if not self.truths[name]))
        threshold = 0.0
        for name in sorted((name for name in self.no_answer if name in self.raw), key=self.no_answer.__getitem__):
            total += self.raw[name][place] if self.truths[name] else -float(bool(self.predictions[name]))
            if total > best:
                best, threshold = total, self.no_answer[name]
        return 100.0 * best / len(self.truths), threshold


def _means(points: Iterable[tuple[float, float]], kind: str) -> dict[str, float]:
    """Means in points and their number, each name with `kind` behind it; nothing where there is nothing."""
    rows = list(points)
    if not rows:
        return {}
    exact, total = (100.0 * sum(column) / len(rows) for column in zip(*rows, strict=True))
    return {f"exact_match{kind}": exact, f"f1{kind}": total, f"examples{kind}": float(len(rows))}
