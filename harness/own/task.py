"""A task on a user's own file: `--task my.yaml`, `--task pairs.csv`.

`about` says which head the model needs, `make` makes the task. Texts with labels are asked as `harness/classification.py` does it,
questions on contexts as `harness/squad/task.py` does it. Two things differ from SQuAD there, so that scripts without spaces work: an answer
is cut from the context by character, never by word, and each Han or Kana character counts as a word of the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import calibration as calibrating
from harness import classification, metrics
from harness.core import Answer, Calibration, Task, TaskOptions
from harness.datafiles import SquadData
from harness.errors import MissingError, UsageError
from harness.features import cached_features, fingerprint
from harness.own import data as own_data
from harness.own import labels as own_labels
from harness.own import questions as own_questions
from harness.own import scores as own_scores
from harness.own.settings import Settings, read_settings
from harness.own.table import FORMATS
from harness.squad import task as squad_task
from harness.squad import windows as squad_windows
from harness.tokenization import load_vocabulary

DEFAULT_SPANS_MODEL = "minilm-squad"
"""What answers questions on contexts where no model is named."""


def about(
    source: Path, flags: Mapping[str, Any], data: Path | None = None
) -> tuple[Literal["question-answering", "sequence-classification"], str]:
    """Head that a model for this file needs, and its default model: none ("") for classification and regression.

    Arguments and errors are those of `own_settings.read_settings` and `own_data.read`.
    """
    own = own_data.read(read_settings(source, flags, data))
    return ("question-answering", DEFAULT_SPANS_MODEL) if own.kind == "question-answering" else ("sequence-classification", "")


def make(source: Path, flags: Mapping[str, Any], options: TaskOptions) -> Task:
    """The task of the file `source`, `options.data` in place of the data that a YAML file names.

    Raises UsageError for settings, columns and labels that cannot be understood, MissingError and DataError for data and tokenizer.
    """
    own = own_data.read(read_settings(source, flags, options.data))
    return _spans(own, options) if own.kind == "question-answering" else _labelled(own, options)


def _labelled(own: own_data.Own, options: TaskOptions) -> Task:
    settings = own.settings
    examples, classes = own_labels.examples(own, options.labels)
    scorer = partial(own_scores.of_classes, positive=_positive(own, classes)) if classes else own_scores.of_values
    return classification.make(
        classification.Kind(settings.name, classes, own.metric, scorer),
        examples,
        options,
        data_name=own.described,
        comparable=False,
        max_length=settings.max_length or classification.MAX_LENGTH,
        latency_bound_ns=settings.latency_bound_ns or classification.LATENCY_BOUND_NS,
        read=lambda file: own_labels.examples(own_data.read(replace(settings, data=file)), options.labels)[0],
    )


def _positive(own: own_data.Own, classes: Sequence[str]) -> int | None:
    """The class whose F1 counts: the one that was named, by its name in the data or in the model, else the second of two."""
    named = own.settings.positive
    if named is None:
        return 1 if len(classes) == 2 else None
    mapping = own.settings.labels
    number = own_labels.class_of(mapping.get(named, named), classes, numbered=named in mapping)
    if number is None:
        raise UsageError(
            f"{own.settings.origins['positive']}: {named!r} is none of the classes: {', '.join(map(repr, classes))}",
            "Name the class whose F1 is meant, as the data or the model calls it.",
        )
    return number


# ------------------------------------------------------------------------------------------------------------------------- spans


def _spans(own: own_data.Own, options: TaskOptions) -> OwnSpans:
    """As `squad_task.make` does it, but for the owners of tokens: characters, not words."""
    settings, data = own.settings, own_questions.questions(own)
    vocabulary = replace(load_vocabulary(options.tokenizer), wordpiece=False)
    longest = settings.max_length or squad_task.MAX_LENGTH
    length = min(longest, options.max_length or longest)
    asked = {
        "task": settings.name,
        "spans": "characters",
        "max_length": length,
        "stride": squad_windows.STRIDE,
        "question_tokens": squad_windows.QUESTION_TOKENS,
        "pad_id": vocabulary.pad_id,
    }
    key = fingerprint(data.sha256, vocabulary.sha256, asked)
    features = cached_features(
        options.cache,
        settings.name,
        key,
        lambda: squad_windows.build(data, vocabulary, length),
        lambda found: squad_windows.check(found, data),
    )
    task = OwnSpans(
        squad_task.Asked(
            name=settings.name,
            data=data,
            data_name=own_questions.described(own, data),
            comparable=False,
            vocabulary=vocabulary,
            features=features,
            key=key,
            max_length=length,
        )
    )
    task.settings = settings
    task.metric = own.metric
    task.latency_bound_ns = settings.latency_bound_ns or squad_task.LATENCY_BOUND_NS
    return task


class OwnSpans(squad_task.SquadTask):
    """Questions on contexts in any script. Texts are compared as `metrics.normalize_answer` leaves them, after `own_scores.separated`."""

    name = "own"
    layouts = FORMATS
    settings: Settings

    def calibration(self, count: int, seed: int) -> Calibration:  # noqa: ARG002 - as the task protocol has it
        """Raises MissingError: which file holds training data is not said anywhere."""
        raise MissingError(f"{self.dataset.path}: no training data is known for it", calibrating.USE_ANOTHER)

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """`exact_match`, `f1` and `examples` over the questions whose windows are all in `answers`; other questions do not count.

        Raises RunError if no question is complete and BackendError for an answer that is none.
        """
        exact, f1 = self._judged(answers)
        if not exact:
            raise squad_task.nothing_to_score()
        return {"exact_match": 100.0 * sum(exact) / len(exact), "f1": 100.0 * sum(f1) / len(f1), "examples": float(len(exact))}

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """Exact match or F1 of each question whose windows are all in `answers`, 0 to 100."""
        return 100.0 * np.array(self._judged(answers)[self.metric == "f1"], np.float64)

    def _read_training(self, file: Path) -> SquadData:
        return own_questions.questions(own_data.read(replace(self.settings, data=file)))

    def _judged(self, answers: Mapping[int, Answer]) -> tuple[Sequence[float], Sequence[float]]:
        """Exact match and F1 of each complete question, 0 to 1."""
        predictions = self.predictions(answers)
        truths = {name: [own_scores.separated(truth) for truth in truths] for name, truths in self._truths(predictions).items()}
        return metrics.squad_points(truths, {name: own_scores.separated(text) for name, text in predictions.items()})
