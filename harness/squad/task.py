"""Question answering on SQuAD data: from questions to windows, from the logits of windows to texts and scores.

`SquadTask` judges answers by the rules of v1.1; `no_answer_task` beside it adds those of v2.0. Features and answers follow the MLPerf
reference for BERT; see `harness/squad/windows.py` and `harness/squad/answers.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness import answers as checked
from harness import calibration as calibrating
from harness import metrics, units
from harness.core import MS_NS, Answer, Calibration, Int64, Output, TaskOptions
from harness.datafiles import SquadData, read_squad
from harness.errors import MissingError, RunError
from harness.features import Features, cached_features, fingerprint, samples_of
from harness.squad import answers as squad_answers
from harness.squad import windows as squad_windows
from harness.tokenization import Vocabulary, load_vocabulary

MAX_LENGTH = 384
LATENCY_BOUND_NS = 130 * MS_NS
"""Server bound of MLPerf Inference for BERT, 99th percentile (rounds 0.7 to 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Questions, ready to be asked. `name` is the task's, `key` its fingerprint, `max_length` in tokens."""

    name: str
    data: SquadData
    data_name: str
    comparable: bool
    vocabulary: Vocabulary
    features: Features
    key: str
    max_length: int


Kind = TypeVar("Kind", bound="SquadTask")


def make(
    kind: type[Kind], data: SquadData, options: TaskOptions, *, data_name: str, comparable: bool, name: str = "", data_key: str = ""
) -> Kind:
    """The task `kind` on `data`, tokenised with `options.tokenizer` for inputs of up to MAX_LENGTH tokens, or `options.max_length`.

    `name` is another name for the task; `data_key` identifies the data in the fingerprint (default: the sha256 of the file). Raises
    MissingError and DataError for the tokenizer and for contexts without tokens, UsageError for a maximum length that leaves no room.
    """
    vocabulary = load_vocabulary(options.tokenizer)
    length = min(MAX_LENGTH, options.max_length or MAX_LENGTH)
    settings = {
        "task": name or kind.name,
        "max_length": length,
        "stride": squad_windows.STRIDE,
        "question_tokens": squad_windows.QUESTION_TOKENS,
        "pad_id": vocabulary.pad_id,
    }
    key = fingerprint(data_key or data.sha256, vocabulary.sha256, settings)
    features = cached_features(
        options.cache,
        name or kind.name,
        key,
        lambda: squad_windows.build(data, vocabulary, length),
        lambda found: squad_windows.check(found, data),
    )
    return kind(
        Asked(
            name=name or kind.name,
            data=data,
            data_name=data_name,
            comparable=comparable,
            vocabulary=vocabulary,
            features=features,
            key=key,
            max_length=length,
        )
    )


class SquadTask:
    """Questions as windows; an example is a question, a sample is a window of one.

    `dataset` is the data as read, `cache_note` says where the features came from.
    """

    name = "squad"
    head: Literal["question-answering", "sequence-classification"] = "question-answering"
    metric = "f1"
    outputs: Sequence[Output] = (Output("start_logits", per_token=True), Output("end_logits", per_token=True))
    latency_bound_ns = LATENCY_BOUND_NS
    training: Sequence[str] = ("train-v1.1.json", "train-v1.1.partial.json")
    """Names of training files beside the scored one."""
    layouts: Sequence[str] = (".json",)
    """Endings of data files; another file is a list."""

    def __init__(self, asked: Asked) -> None:
        arrays = asked.features.arrays
        self.name = asked.name
        self.dataset = asked.data
        self.fingerprint = asked.key
        self.data_name = asked.data_name
        self.comparable = asked.comparable
        self.samples = samples_of(arrays, asked.vocabulary.pad_id, asked.max_length)
        self.cache_note = asked.features.note
        self._vocabulary = asked.vocabulary
        self._arrays = arrays
        self._windows = np.searchsorted(arrays["question"], np.arange(len(asked.data.questions) + 1))

    # --------------------------------------------------------------------------------------------------------------------- scores

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """`f1`, `exact_match` and `examples` over the questions whose windows are all in `answers`; other questions do not count.

        Raises RunError if no question is complete and BackendError for an answer that is none.
        """
        predictions = self.predictions(answers)
        if not predictions:
            raise nothing_to_score()
        return metrics.score_squad(self._truths(predictions), predictions)

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """F1 of each question whose windows are all in `answers`, 0 to 100."""
        return 100.0 * np.array(self._judged(answers)[1], np.float64)

    def correct(self, answers: Mapping[int, Answer]) -> NDArray[np.bool_]:
        """Whether the answer is an exact match, for each question whose windows are all in `answers`."""
        return np.array([exact == 1.0 for exact in self._judged(answers)[0]], np.bool_)

    def answered(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """A checksum (crc32) of the text that answers each question whose windows are all in `answers`."""
        return np.array([zlib.crc32(text.encode()) for text in self.predictions(answers).values()], np.float64)

    def _judged(self, answers: Mapping[int, Answer]) -> tuple[Sequence[float], Sequence[float]]:
        """Exact match and F1 of each complete question, 0 to 1."""
        predictions = self.predictions(answers)
        return metrics.squad_points(self._truths(predictions), predictions)

    def _truths(self, predictions: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        return {name: truths for name, truths in self.dataset.truths.items() if name in predictions}

    # -------------------------------------------------------------------------------------------------------------------- answers

    def predictions(self, answers: Mapping[int, Answer]) -> dict[str, str]:
        """Answer text by question id, for the questions whose windows are all in `answers`."""
        return {self.dataset.questions[number].id: self._best(windows, answers)[0] for number, windows in self._complete(answers)}

    def decide(self, sample: int, answer: Answer) -> tuple[int, int] | None:
        """First and last token of the best answer in this window, as positions in its input; None if no pair is valid."""
        span = self._span(sample, answer)
        return None if span is None else (span.start, span.end)

    def subset(self, count: int, seed: int) -> Int64:
        """All windows of `count` questions."""
        questions = checked.draw(count, len(self.dataset.questions), seed)
        return np.flatnonzero(np.isin(self._arrays["question"], questions))

    # ---------------------------------------------------------------------------------------------------------------- calibration

    def calibration(self, count: int, seed: int) -> Calibration:
        """`count` windows of questions of the training file beside the scored one, of the built-in set those made of the built-in QNLI set;
        none on a context that is scored. Raises MissingError where there is none, and DataError."""
        if calibrating.is_built_in(self.dataset.path):
            return self._drawn(calibrating.borrowed_questions(), count, seed, "questions of the built-in qnli set, on its sentences")
        return self.calibration_from(calibrating.training_file(self.dataset.path, self.training), count, seed)

    def calibration_from(self, file: Path, count: int, seed: int) -> Calibration:
        """`count` windows of a file in the layout of the data, none on a context that is scored; or those that a list names by id of the
        question or number of the sample, which are samples of the scored set: MLPerf's calibration lists are such, and allowed there.
        Raises MissingError, DataError and UsageError."""
        if file.suffix.lower() in self.layouts:
            return self._drawn(self._read_training(file), count, seed, file.name)
        kept = calibrating.listed(file, calibrating.read_list(file), self._windows_of(), len(self.samples))[:count]
        if len(kept) < calibrating.LEAST:
            listed = units.plural(len(kept), "sample")
            raise MissingError(f"{file}: it lists {listed}, calibration needs {calibrating.LEAST}", "List more.")
        source = f"{len(kept)} samples of {self.data_name} that {file.name} lists: they are scored as well, as MLPerf's lists are"
        return calibrating.of_samples(calibrating.some(self.samples, kept), source)

    def _windows_of(self) -> Callable[[str], Sequence[int]]:
        places = {question.id: number for number, question in enumerate(self.dataset.questions)}
        return lambda name: range(*self._windows[places[name] : places[name] + 2]) if name in places else ()

    def _read_training(self, file: Path) -> SquadData:
        return read_squad(file)

    def _drawn(self, data: SquadData, count: int, seed: int, source: str) -> Calibration:
        texts = [(data.contexts[question.context], question.text) for question in data.questions]
        scored = {calibrating.spelled([context]) for context in self.dataset.contexts}
        apart = [number for number, (context, _) in enumerate(texts) if calibrating.spelled([context]) not in scored]
        if len(apart) < calibrating.LEAST:
            raise calibrating.too_few(len(apart), source)
        few = calibrating.some_questions(data, calibrating.drawn(apart, count, seed))
        windows = samples_of(
            squad_windows.build(few, self._vocabulary, self.samples.max_length), self._vocabulary.pad_id, self.samples.max_length
        )
        kept = checked.draw(count, len(windows), seed)
        return calibrating.of_samples(calibrating.some(windows, kept), f"{len(kept)} of {source}, drawn with seed {seed}")

    def _complete(self, answers: Mapping[int, Answer]) -> Iterator[tuple[int, range]]:
        """Number and windows of each question whose windows are all in `answers`."""
        for number in range(len(self.dataset.questions)):
            windows = range(int(self._windows[number]), int(self._windows[number + 1]))
            if all(window in answers for window in windows):
                yield number, windows

    def _best(self, windows: range, answers: Mapping[int, Answer]) -> tuple[str, float]:
        """Text and score (sum of logits) of the best answer in the windows of one question; where no pair is valid, what the references
        for v1.1 and v2.0 put in its place: a word and 0."""
        best = squad_answers.best_window(self._span(window, answers[window]) for window in windows)
        return (squad_answers.NO_ANSWER, 0.0) if best is None else (self._text(windows[best[0]], best[1]), best[1].score)

    def _span(self, window: int, answer: Answer) -> squad_answers.Span | None:
        begin, end = self.samples.offsets[window : window + 2]
        start, stop = self._logits(window, answer)
        return squad_answers.best_span(start, stop, self._arrays["max_context"][begin:end], self._in_context(window, int(end - begin)))

    def _logits(self, window: int, answer: Answer) -> tuple[squad_answers.Floats, squad_answers.Floats]:
        """Start and end logits of a window, each (tokens,). Raises BackendError for an answer that is none."""
        begin, end = self.samples.offsets[window : window + 2]
        start, stop = (checked.logits(answer, output.name, (int(end - begin),), window) for output in self.outputs)
        return start, stop

    def _in_context(self, window: int, length: int) -> squad_answers.Flags:
        first, size = self._arrays["first"][window], self._arrays["size"][window]
        positions = np.arange(length)
        return np.asarray((positions >= first) & (positions < first + size))

    def _text(self, window: int, span: squad_answers.Span) -> str:
        """Text of a span: owner words cut to what the tokens stand for (WordPiece), or the characters the tokens were made from."""
        arrays, question = self._arrays, self.dataset.questions[int(self._arrays["question"][window])]
        context = self.dataset.contexts[question.context]
        shift = int(arrays["context_offsets"][question.context] + arrays["start"][window] - arrays["first"][window])
        start, end = shift + span.start, shift + span.end
        first, last = int(arrays["owner_first"][start]), int(arrays["owner_last"][end])
        if not self._vocabulary.wordpiece:
            return context[first:last].strip()
        original = " ".join(squad_windows.WORD.findall(context)[first : last + 1])
        pieces = self._vocabulary.pieces(arrays["context_ids"][start : end + 1])
        return squad_answers.project(squad_answers.join_pieces(pieces), original, self._vocabulary.basic)


def nothing_to_score() -> RunError:
    """The error of a score over answers that complete no question."""
    return RunError("no question has an answer for each of its windows: there is nothing to score", "Let the run last longer.")
