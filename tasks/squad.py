"""Question answering on SQuAD v1.1: exact match and F1 of the answer's text.

The official dev-v1.1.json is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with nothing
published. Features, answers and scores follow the MLPerf reference for BERT; see `harness/squad_windows.py` and
`harness/squad_answers.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import answers as checked
from harness import metrics, squad_answers, squad_windows
from harness.core import MS_NS, Answer, Int64, Output, Task, TaskOptions
from harness.datafiles import SquadData, find_file, read_squad
from harness.errors import RunError
from harness.features import Features, cached_features, fingerprint, samples_of
from harness.tokenization import Vocabulary, load_vocabulary

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "question-answering"
DEFAULT_MODEL = "minilm-squad"

MAX_LENGTH = 384
LATENCY_BOUND_NS = 130 * MS_NS
"""Server bound of MLPerf Inference for BERT, 99th percentile (rounds 0.7 to 4.1)."""

BUILT_IN = Path(__file__).parent / "samples" / "squad.json"
FILES = ("dev-v1.1.json", "squad/dev-v1.1.json")
OFFICIAL = {"95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9": "SQuAD v1.1 dev"}


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev-v1.1.json or squad/dev-v1.1.json, or a .json file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for a maximum length that leaves no room.
    """
    path = BUILT_IN if options.data is None else find_file(options.data, FILES)
    data = read_squad(path)
    vocabulary = load_vocabulary(options.tokenizer)
    length = min(MAX_LENGTH, options.max_length or MAX_LENGTH)
    settings = {
        "task": "squad",
        "max_length": length,
        "stride": squad_windows.STRIDE,
        "question_tokens": squad_windows.QUESTION_TOKENS,
        "pad_id": vocabulary.pad_id,
    }
    key = fingerprint(data.sha256, vocabulary.sha256, settings)

    features = cached_features(
        options.cache, "squad", key, lambda: squad_windows.build(data, vocabulary, length), lambda found: squad_windows.check(found, data)
    )
    return SquadTask(data, vocabulary, features, key, length)


class SquadTask:
    """SQuAD questions as windows; an example is a question, a sample is a window of one.

    `dataset` is the data as read, `cache_note` says where the features came from.
    """

    name = "squad"
    head: Literal["question-answering", "sequence-classification"] = "question-answering"
    metric = "f1"
    outputs: Sequence[Output] = (Output("start_logits", per_token=True), Output("end_logits", per_token=True))
    latency_bound_ns = LATENCY_BOUND_NS

    def __init__(self, data: SquadData, vocabulary: Vocabulary, features: Features, key: str, max_length: int) -> None:
        built_in = data.path == BUILT_IN
        self.dataset = data
        self.fingerprint = key
        self.data_name = OFFICIAL.get(data.sha256, "built-in sample set" if built_in else data.path.name)
        self.comparable = data.sha256 in OFFICIAL
        self.samples = samples_of(features.arrays, vocabulary.pad_id, max_length)
        self.cache_note = features.note
        self._vocabulary = vocabulary
        self._arrays = features.arrays
        self._windows = np.searchsorted(features.arrays["question"], np.arange(len(data.questions) + 1))

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """`f1`, `exact_match` and `examples` over the questions whose windows are all in `answers`; other questions do not count.

        Raises RunError if no question is complete and BackendError for an answer that is none.
        """
        predictions = self.predictions(answers)
        if not predictions:
            raise RunError("no question has an answer for each of its windows: there is nothing to score", "Let the run last longer.")
        return metrics.score_squad({name: truths for name, truths in self.dataset.truths.items() if name in predictions}, predictions)

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """F1 of each question whose windows are all in `answers`, 0 to 100."""
        predictions = self.predictions(answers)
        truths = {name: truths for name, truths in self.dataset.truths.items() if name in predictions}
        return 100.0 * np.array(metrics.squad_points(truths, predictions)[1], np.float64)

    def predictions(self, answers: Mapping[int, Answer]) -> dict[str, str]:
        """Answer text by question id, for the questions whose windows are all in `answers`."""
        found = {}
        for number, question in enumerate(self.dataset.questions):
            windows = range(int(self._windows[number]), int(self._windows[number + 1]))
            if all(window in answers for window in windows):
                best = squad_answers.best_window(self._span(window, answers[window]) for window in windows)
                found[question.id] = squad_answers.NO_ANSWER if best is None else self._text(windows[best[0]], best[1])
        return found

    def decide(self, sample: int, answer: Answer) -> tuple[int, int] | None:
        """First and last token of the best answer in this window, as positions in its input; None if no pair is valid."""
        span = self._span(sample, answer)
        return None if span is None else (span.start, span.end)

    def subset(self, count: int, seed: int) -> Int64:
        """All windows of `count` questions."""
        questions = checked.draw(count, len(self.dataset.questions), seed)
        return np.flatnonzero(np.isin(self._arrays["question"], questions))

    def _span(self, window: int, answer: Answer) -> squad_answers.Span | None:
        begin, end = self.samples.offsets[window : window + 2]
        start, stop = (checked.logits(answer, output.name, (int(end - begin),), window) for output in self.outputs)
        return squad_answers.best_span(start, stop, self._arrays["max_context"][begin:end], self._in_context(window, int(end - begin)))

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


def score_predictions(dataset: SquadData, predictions: Mapping[str, Any]) -> dict[str, float]:
    """`exact_match`, `f1` and `examples` of texts by question id, over all questions of `dataset`; a missing one counts 0."""
    return metrics.score_squad(dataset.truths, predictions)
