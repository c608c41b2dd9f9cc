"""One text or two, and a class or a value for each example: what the tasks of GLUE and a user's own are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from harness import answers as checked
from harness import calibration as calibrating
from harness.core import MS_NS, Answer, Calibration, Int64, Output, Samples, TaskOptions
from harness.errors import MissingError, RunError, UsageError
from harness.features import Arrays, cached_features, check_ragged, fingerprint, samples_of
from harness.metrics import Values
from harness.tokenization import CHUNK, Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from tokenizers import Encoding

MAX_LENGTH = 128
"""Tokens of an input, as in the fine-tuning of BERT on GLUE (Devlin et al. 2019)."""

LATENCY_BOUND_NS = 100 * MS_NS
"""Server bound: LoadGen's default (server_target_latency_ns), since MLPerf has none for these tasks."""

TYPES = {"input_ids": "int32", "token_type_ids": "int8", "offsets": "int64"}


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled texts of a file, in file order.

    sha256   over all that the examples were made from: the file, and whatever chose among its columns
    first    the texts, or the first text of each pair
    second   the second text of each pair; empty for single texts
    labels   the number of the class, or the value to predict
    ids      what predictions made elsewhere call the examples
    """

    path: Path
    sha256: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    labels: tuple[float, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is predicted and how it is scored.

    classes   names of the classes, in the order of their numbers; empty where a value is predicted
    metric    the primary metric, a key of what `scorer` returns
    scorer    metrics in points from labels and predictions, (examples,) each
    aliases   other names that models have for a class, and the class
    ordered   outputs without names (LABEL_0, LABEL_1 ...) stand for the classes in their order; False where models do not agree on one
    """

    name: str
    classes: tuple[str, ...]
    metric: str
    scorer: Callable[[Values, Values], dict[str, float]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Training:
    """What reads examples that are not scored: `read` a file in the layout of the task, `tokenised` the examples as the task asks them.
    `beside` are names of training files beside the scored one; none where only `--calibration` can say where they are."""

    read: Callable[[Path], Examples]
    tokenised: Callable[[Examples], Samples]
    beside: tuple[str, ...] = ()


def make(
    kind: Kind,
    examples: Examples,
    options: TaskOptions,
    *,
    data_name: str,
    comparable: bool,
    max_length: int = MAX_LENGTH,
    latency_bound_ns: int = LATENCY_BOUND_NS,
    read: Callable[[Path], Examples] | None = None,
    beside: tuple[str, ...] = (),
) -> ClassificationTask:
    """The task of asking `examples`, tokenised for a model; features are kept in `options.cache`. `read` and `beside` are those of
    `Training`; without `read` there is nothing to calibrate with.

    Raises UsageError for label names that cannot be understood and for a maximum length that leaves no room, MissingError and DataError
    for the tokenizer.
    """
    order = class_order(kind, options.labels)
    vocabulary = load_vocabulary(options.tokenizer)
    length = min(max_length, options.max_length or max_length)
    key = fingerprint(examples.sha256, vocabulary.sha256, {"task": kind.name, "max_length": length, "pad_id": vocabulary.pad_id})
    features = cached_features(
        options.cache, kind.name, key, lambda: build(examples, vocabulary, length), lambda found: check(found, examples)
    )
    return ClassificationTask(
        kind,
        examples,
        order,
        samples_of(features.arrays, vocabulary.pad_id, length),
        fingerprint=key,
        data_name=data_name,
        comparable=comparable,
        latency_bound_ns=latency_bound_ns,
        cache_note=features.note,
        training=None if read is None else Training(read, lambda found: _tokenised(found, vocabulary, length), beside),
    )


def _tokenised(examples: Examples, vocabulary: Vocabulary, max_length: int) -> Samples:
    return samples_of(build(examples, vocabulary, max_length), vocabulary.pad_id, max_length)


# ----------------------------------------------------------------------------------------------------------------------- labels


def class_order(kind: Kind, labels: Sequence[str]) -> tuple[int, ...]:
    """The class that each output of a model with these label names stands for; empty where a value is predicted.

    Names are compared without regard to capitals, and a space or `-` is `_`. Without names, and for LABEL_0, LABEL_1 ... or 0, 1 ...,
    outputs stand for the classes in order, if the kind is `ordered`. Raises UsageError for other names: guessing would turn right
    answers into wrong ones.
    """
    if not kind.classes:
        if len(labels) > 1:
            raise UsageError(f"the model has {len(labels)} labels, {kind.name} predicts one value", "Use a model with one output.")
        return ()
    known = _known_names(kind)
    numbers = [str(number) for number in range(len(kind.classes))]
    order = tuple(known.get(_spelled(label), -1) for label in labels or numbers)
    if sorted(order) == list(range(len(kind.classes))):
        return order
    said = f"the labels of the model, {', '.join(map(repr, labels))}, do" if labels else "the model has no label names, and its outputs do"
    *others, last = (f"which is {name}" for name in kind.classes)
    raise UsageError(
        f"{said} not say {', '.join(others)} and {last}",
        f"Name them {', '.join(kind.classes)} in id2label of its config.json, or use a model for {kind.name}.",
    )


def _known_names(kind: Kind) -> dict[str, int]:
    """Spelled names that stand for a class; its own name outweighs the others."""
    numbers = {name: number for number, name in enumerate(kind.classes)}
    generic = {text: number for number in numbers.values() for text in (str(number), f"label_{number}")} if kind.ordered else {}
    aliases = {_spelled(alias): numbers[name] for alias, name in kind.aliases.items()}
    return generic | aliases | {_spelled(name): number for name, number in numbers.items()}


def _spelled(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


# --------------------------------------------------------------------------------------------------------------------- features


def build(examples: Examples, vocabulary: Vocabulary, max_length: int) -> Arrays:
    """Texts or pairs with their special tokens, as tokenizer(first, second, truncation=True, max_length=...) of transformers does it: of
    a pair that is too long the longer text is cut, token by token.

    Raises UsageError if `max_length` leaves no room for a token of each text.
    """
    tokenizer = vocabulary.tokenizer
    if max_length <= tokenizer.num_special_tokens_to_add(is_pair=bool(examples.second)) + bool(examples.second):
        what = "two texts" if examples.second else "a text"
        raise UsageError(
            f"a maximum length of {max_length} tokens leaves no room for {what}", f"Use a model that takes {MAX_LENGTH} tokens."
        )
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    try:
        rows = [(np.array(row.ids, np.int32), np.array(row.type_ids, np.int8)) for row in _encodings(examples, vocabulary)]
    finally:
        tokenizer.no_truncation()
    return {
        "input_ids": np.concatenate([ids for ids, _ in rows]),
        "token_type_ids": np.concatenate([types for _, types in rows]),
        "offsets": np.cumsum([0, *(len(ids) for ids, _ in rows)], dtype=np.int64),
    }


def texts_of(examples: Examples) -> list[tuple[str, ...]]:
    """The text or the two texts of each example."""
    return list(zip(examples.first, examples.second, strict=True)) if examples.second else [(text,) for text in examples.first]


def _encodings(examples: Examples, vocabulary: Vocabulary) -> Iterator[Encoding]:
    texts = list(zip(examples.first, examples.second, strict=True)) if examples.second else list(examples.first)
    for start in range(0, len(texts), CHUNK):
        yield from vocabulary.tokenizer.encode_batch(texts[start : start + CHUNK])


def check(arrays: Arrays, examples: Examples) -> None:
    """Raises ValueError unless `arrays` have the names, types and lengths of what `build` makes of `examples`."""
    check_ragged(arrays, TYPES, {"offsets": ("input_ids", "token_type_ids")})
    if len(arrays["offsets"]) - 1 != len(examples.first):
        raise ValueError("the features are of another number of examples")


# ------------------------------------------------------------------------------------------------------------------------- task


class ClassificationTask:
    """Texts or pairs of texts; an example is a sample. Made by `make`.

    `dataset` are the examples, `kind` what is asked of them, `cache_note` says where the features came from.
    """

    head: Literal["question-answering", "sequence-classification"] = "sequence-classification"

    def __init__(
        self,
        kind: Kind,
        examples: Examples,
        order: tuple[int, ...],
        samples: Samples,
        *,
        fingerprint: str,
        data_name: str,
        comparable: bool,
        latency_bound_ns: int,
        cache_note: str,
        training: Training | None = None,
    ) -> None:
        self.kind, self.dataset, self.samples = kind, examples, samples
        self.name, self.metric = kind.name, kind.metric
        self.outputs: Sequence[Output] = (Output("logits", width=len(kind.classes) or 1),)
        self.fingerprint, self.data_name, self.comparable = fingerprint, data_name, comparable
        self.latency_bound_ns, self.cache_note = latency_bound_ns, cache_note
        self._order = order
        self._training = training

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """What the kind's scorer makes of the examples in `answers`, and `examples` (how many).

        Raises RunError if there is none and BackendError for an answer that is none.
        """
        if not answers:
            raise RunError("no example has an answer: there is nothing to score", "Let the run last longer.")
        return self.kind.scorer(self.truths(answers), self.answered(answers)) | {"examples": float(len(answers))}

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """100 for each example that was judged right, 0 for each other; empty where the primary metric is not accuracy."""
        return np.where(self.correct(answers), 100.0, 0.0) if self.metric == "accuracy" else np.empty(0)

    def correct(self, answers: Mapping[int, Answer]) -> NDArray[np.bool_]:
        """Which examples were given their class, in ascending order; empty where a value is predicted."""
        if not self.kind.classes:
            return np.empty(0, np.bool_)
        return np.asarray(self.truths(answers) == self.answered(answers))

    def truths(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """Labels of the examples in `answers`, in ascending order."""
        return np.array([self.dataset.labels[sample] for sample in sorted(answers)], np.float64)

    def answered(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """The class or the value that each example was given, in ascending order. Raises BackendError for an answer that is none."""
        return np.array([self._prediction(sample, answers[sample]) for sample in sorted(answers)], np.float64)

    def metric_of(self, truths: NDArray[np.float64], answered: NDArray[np.float64]) -> float:
        """The primary metric in points of any pairs of what `truths` and `answered` give."""
        return self.kind.scorer(truths, answered)[self.metric]

    def decide(self, sample: int, answer: Answer) -> float:
        """The number of the class with the highest logit, the first of equal ones; of a value, its first three digits."""
        prediction = self._prediction(sample, answer)
        return prediction if self.kind.classes else float(f"{prediction:.3g}")

    def subset(self, count: int, seed: int) -> Int64:
        """`count` examples."""
        return checked.draw(count, len(self.samples), seed)

    def calibration(self, count: int, seed: int) -> Calibration:
        """`count` examples of the training file beside the scored one, of the built-in sets those of the other sets, none with the texts of
        an example that is scored. Raises MissingError where there is none, and DataError."""
        training = self._trainable()
        if calibrating.is_built_in(self.dataset.path):
            texts = calibrating.borrowed_texts(self.dataset.path, bool(self.dataset.second))
            return self._drawn(training, texts, count, seed, "sentences of the other built-in sample sets")
        if not training.beside:
            raise MissingError(f"{self.dataset.path}: no training data is known for it", calibrating.USE_ANOTHER)
        return self.calibration_from(calibrating.training_file(self.dataset.path, training.beside), count, seed)

    def calibration_from(self, file: Path, count: int, seed: int) -> Calibration:
        """`count` examples of a file in the layout of the data, none with the texts of an example that is scored. Raises MissingError and
        DataError."""
        training = self._trainable()
        return self._drawn(training, texts_of(training.read(file)), count, seed, file.name)

    def _trainable(self) -> Training:
        if self._training is None:
            raise MissingError(
                f"--task {self.name} has no training data to calibrate with", "Use a precision that needs none, such as int8."
            )
        return self._training

    def _drawn(self, training: Training, texts: Sequence[tuple[str, ...]], count: int, seed: int, source: str) -> Calibration:
        kept = calibrating.drawn(calibrating.never_scored(texts, texts_of(self.dataset), source), count, seed)
        first, second = zip(*((texts[number][0], texts[number][-1]) for number in kept), strict=True)
        examples = Examples(self.dataset.path, "", first, second if self.dataset.second else (), (0.0,) * len(kept), tuple(map(str, kept)))
        return calibrating.of_samples(training.tokenised(examples), f"{len(kept)} of {source}, drawn with seed {seed}")

    def _prediction(self, sample: int, answer: Answer) -> float:
        logits = checked.logits(answer, "logits", (self.outputs[0].width,), sample)
        return self._order[int(np.argmax(logits))] if self.kind.classes else float(logits[0])
