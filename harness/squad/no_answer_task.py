"""Question answering on SQuAD v2.0 data: a question may have no answer, and then the only right answer is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core import Answer
from harness.datafiles import SquadData, read_squad
from harness.errors import BackendError
from harness.squad import answers as squad_answers
from harness.squad import no_answer_scores as squad2_scores
from harness.squad.task import SquadTask, nothing_to_score

THRESHOLD = 0.0
"""A question is answered with none if its no-answer score is above this (null_score_diff_threshold of run_squad.py and run_qa.py)."""

NO_ANSWER = (0, 0)
"""What a window decides that holds no answer: the position of [CLS]."""


class Squad2Task(SquadTask):
    """Questions as windows, scored as evaluate-v2.0.py does.

    The no-answer score of a question is its null score (the lowest of its windows) minus the score of its best answer: logits, not a
    probability. Above THRESHOLD the question is answered with "". The best threshold is found over the texts before any threshold, and
    is only reported.
    """

    name = "squad2"
    training = ("train-v2.0.json", "train-v2.0.partial.json", *SquadTask.training)

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """`f1`, `exact_match` and `examples` over the questions whose windows are all in `answers`, and what else
        `squad2_scores.Judged.scores` tells: both for questions with and without an answer, and the best threshold.

        Raises RunError if no question is complete and BackendError for an answer that is none.
        """
        judged = self._official(answers)
        if not judged.truths:
            raise nothing_to_score()
        return judged.scores()

    def predictions(self, answers: Mapping[int, Answer]) -> dict[str, str]:
        """Answer text by question id, for the questions whose windows are all in `answers`; "" for none."""
        return {name: "" if score > THRESHOLD else text for name, (text, score) in self.candidates(answers).items()}

    def candidates(self, answers: Mapping[int, Answer]) -> dict[str, tuple[str, float]]:
        """Text of the best answer that says something, and the no-answer score, by question id, for the questions whose windows are all
        in `answers`. They are what evaluate-v2.0.py takes as predictions and as --na-prob-file."""
        found = {}
        for number, windows in self._complete(answers):
            text, score = self._best(windows, answers)
            null = min(squad_answers.null_score(*self._logits(window, answers[window])) for window in windows)
            if not math.isfinite(null - score):
                raise BackendError(f"the logits of sample {windows[0]} give the no-answer score {null - score}", "Run the model in fp32.")
            found[self.dataset.questions[number].id] = text, null - score
        return found

    def decide(self, sample: int, answer: Answer) -> tuple[int, int] | None:
        """First and last token of the best answer in this window; NO_ANSWER if its null score is higher, None if no pair is valid."""
        span = self._span(sample, answer)
        if span is None:
            return None
        return NO_ANSWER if squad_answers.null_score(*self._logits(sample, answer)) - span.score > THRESHOLD else (span.start, span.end)

    def _read_training(self, file: Path) -> SquadData:
        return read_squad(file, unanswerable=True)

    def _judged(self, answers: Mapping[int, Answer]) -> tuple[Sequence[float], Sequence[float]]:
        points = self._official(answers).points()
        return [exact for exact, _ in points], [f1 for _, f1 in points]

    def _official(self, answers: Mapping[int, Answer]) -> squad2_scores.Judged:
        candidates = self.candidates(answers)
        texts = {name: text for name, (text, _) in candidates.items()}
        no_answer = {name: score for name, (_, score) in candidates.items()}
        return squad2_scores.Judged(self._truths(texts), texts, no_answer, THRESHOLD)
