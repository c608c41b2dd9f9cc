"""Scores of predictions made elsewhere, against the data alone: no model and no tokenizer is needed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness import metrics
from harness.classification import Examples, Kind
from harness.datafiles import SquadData
from harness.errors import DataError, UsageError
from harness.prediction_files import ONE_EACH, Row, listed, read_labels, read_no_answer, read_texts, split_ids
from harness.squad import no_answer_scores as squad2_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was given to be scored.

    no_answer      file with no-answer scores, None: there is none
    threshold      an answer whose no-answer score is above it counts as none; None: as the official script (1.0)
    allow_missing  score what there is; without it a missing class or value is an error
    """

    predictions: Path
    no_answer: Path | None = None
    threshold: float | None = None
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """`scores` by the names of run.json's accuracy.scores; `predictions` is how many were read, `missing` the ids of the data that have
    none, `unknown` the ids of predictions that are not in the data and were passed over. `partial`: what is missing was left out of the
    scores."""

    scores: Mapping[str, float]
    predictions: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    partial: bool = False


class Scorer(Protocol):
    """Data against which predictions are scored. A task whose predictions can be scored has `scorer(data: Path | None) -> Scorer`."""

    metric: str
    data_name: str
    comparable: bool

    def score(self, given: Given) -> Scored:
        """Scores in points. Raises MissingError and DataError for the files, UsageError for what this data has no use for."""
        ...


# ------------------------------------------------------------------------------------------------------------------------ SQuAD


class SquadScorer:
    """Answer texts by question id. A question without a prediction counts as wrong; a prediction for no question is passed over, as in
    the official scripts, unless all are."""

    metric = "f1"

    def __init__(self, data: SquadData, *, data_name: str, comparable: bool, no_answers: bool = False) -> None:
        self.data = data
        self.data_name = data_name
        self.comparable = comparable
        self._no_answers = no_answers

    def score(self, given: Given) -> Scored:
        """v1.1 as evaluate-v1.1.py, v2.0 as evaluate-v2.0.py."""
        truths = self.data.truths
        found = split_ids(read_texts(given.predictions), truths, given.predictions, self.data_name)
        missing = tuple(name for name in truths if name not in found.known)
        return Scored(self._scores(truths, found.known, given), found.read, missing, found.unknown)

    def _scores(self, truths: squad2_scores.Truths, found: Mapping[str, str], given: Given) -> dict[str, float]:
        if not self._no_answers:
            _refuse_no_answer(given)
            return metrics.score_squad(truths, found)
        no_answer = None if given.no_answer is None else self._no_answer(given.no_answer, truths, found)
        if given.threshold is None:
            return squad2_scores.Judged(truths, found, no_answer).scores()
        if no_answer is None:
            raise UsageError("--na-threshold: there are no no-answer scores to hold it against", "Give them with --na-probs.")
        return squad2_scores.Judged(truths, found, no_answer, given.threshold).scores()

    def _no_answer(self, path: Path, truths: Collection[str], found: Collection[str]) -> dict[str, float]:
        scores = split_ids(read_no_answer(path), truths, path, self.data_name).known
        absent = [name for name in found if name not in scores]
        if absent:
            raise DataError(f"{path}: {listed(absent)} without a no-answer score", "Every prediction must have one.")
        return scores


def _refuse_no_answer(given: Given) -> None:
    for flag, value in (("--na-probs", given.no_answer), ("--na-threshold", given.threshold)):
        if value is not None:
            raise UsageError(f"{flag}: the questions of this task all have an answer", "Leave it out; it belongs to squad2.")


# ----------------------------------------------------------------------------------------------------------- classes and values


class LabelScorer:
    """Classes or values by the `ids` of the examples: for a data set of GLUE row numbers from 0, in the order of its file."""

    def __init__(self, kind: Kind, examples: Examples, *, data_name: str, comparable: bool) -> None:
        self.metric = kind.metric
        self.data_name = data_name
        self.comparable = comparable
        self._examples = examples
        self._scorer = kind.scorer
        self._read = _Labels(kind).index if kind.classes else _value

    def score(self, given: Given) -> Scored:
        """Scores of the examples that have a prediction. Raises DataError for one that has none, unless that is allowed, and for a
        prediction of no example."""
        _refuse_no_answer(given)
        path, ids = given.predictions, self._examples.ids
        found = split_ids([(row.index, row) for row in read_labels(path)], ids, path, self.data_name)
        if found.unknown:
            raise DataError(f"{path}: {listed(found.unknown)} not in {self.data_name}", ONE_EACH)
        predictions = {name: self._read(row, path) for name, row in found.known.items()}
        missing = tuple(name for name in ids if name not in predictions)
        if missing and not given.allow_missing:
            cure = "Give one for each, or --allow-missing to score those that are there."
            raise DataError(f"{path}: {listed(missing)} of {self.data_name} without a prediction", cure)
        pairs = [(label, predictions[name]) for name, label in zip(ids, self._examples.labels, strict=True) if name in predictions]
        scores = self._scorer([label for label, _ in pairs], [prediction for _, prediction in pairs])
        return Scored({**scores, "examples": float(len(pairs))}, found.read, missing, partial=bool(missing))


class _Labels:
    """The class that a prediction names: by its name or another spelling of it, without regard to capitals, or by its number where the
    classes have an order that everybody knows."""

    def __init__(self, kind: Kind) -> None:
        names = {name: number for number, name in enumerate(kind.classes)}
        numbers = {str(number): number for number in names.values()} if kind.ordered else {}
        aliases = {_spelled(alias): names[name] for alias, name in kind.aliases.items()}
        self._known = numbers | aliases | {_spelled(name): number for name, number in names.items()}
        self._cure = f"Classes are {', '.join(kind.classes)}" + (f", or 0 to {len(names) - 1} in this order." if numbers else ".")

    def index(self, row: Row, path: Path) -> float:
        """Raises DataError, with the line, for what names no class."""
        found = self._known.get(_spelled(row.prediction))
        if found is None:
            raise DataError(f"{path}:{row.line}: prediction {row.prediction!r} is no class of this task", self._cure)
        return float(found)


def _spelled(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _value(row: Row, path: Path) -> float:
    """The value that a prediction states. Raises DataError, with the line, for what is no finite number."""
    try:
        value = float(row.prediction)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}:{row.line}: prediction {row.prediction!r} is no finite number", "This task predicts a value.")
    return value
