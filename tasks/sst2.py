"""Sentiment of sentences on SST-2 (GLUE): accuracy, negative against positive.

The official dev.tsv (872 sentences) is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with
nothing published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness import answers as checked
from harness import metrics
from harness.core import MS_NS, Answer, Int64, Output, Task, TaskOptions
from harness.datafiles import Sentences, find_file, read_sentences
from harness.errors import RunError, UsageError
from harness.features import Arrays, Features, cached_features, check_ragged, fingerprint, samples_of
from harness.tokenization import Vocabulary, encode, load_vocabulary

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"
DEFAULT_MODEL = "minilm-sst2"

MAX_LENGTH = 128
LATENCY_BOUND_NS = 100 * MS_NS
"""Server bound: LoadGen's default (server_target_latency_ns), since MLPerf has none for this task."""

BUILT_IN = Path(__file__).parent / "samples" / "sst2.tsv"
FILES = ("dev.tsv", "SST-2/dev.tsv", "glue/SST-2/dev.tsv")
OFFICIAL = {"54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0": "SST-2 dev"}

TYPES = {"input_ids": "int32", "token_type_ids": "int8", "offsets": "int64"}


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, SST-2/dev.tsv or glue/SST-2/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    classes = classes_of(options.labels)
    data = read_sentences(BUILT_IN if options.data is None else find_file(options.data, FILES))
    vocabulary = load_vocabulary(options.tokenizer)
    length = min(MAX_LENGTH, options.max_length or MAX_LENGTH)
    key = fingerprint(data.sha256, vocabulary.sha256, {"task": "sst2", "max_length": length, "pad_id": vocabulary.pad_id})
    features = cached_features(options.cache, "sst2", key, lambda: build(data, vocabulary, length), lambda found: check(found, data))
    return Sst2Task(data, vocabulary, features, key, length, classes)


def classes_of(labels: Sequence[str]) -> tuple[int, int]:
    """0 (negative) or 1 (positive) for each output of a model with these label names; without names, output 0 is negative.

    Understood are negative, neg, positive, pos in any case, and names that end in 0 and 1. Raises UsageError for others: guessing
    would turn right answers into wrong ones.
    """
    classes = tuple(map(_class_of, labels or ("0", "1")))
    if classes == (0, 1):
        return 0, 1
    if classes == (1, 0):
        return 1, 0
    raise UsageError(
        f"the labels of the model, {', '.join(map(repr, labels))}, do not say which is negative and which is positive",
        "Name them negative and positive in id2label of its config.json, or use a model for SST-2.",
    )


def _class_of(label: str) -> int | None:
    name = label.strip().lower()
    if name in ("negative", "neg") or name in ("0", "label_0"):
        return 0
    return 1 if name in ("positive", "pos", "1", "label_1") else None


def build(data: Sentences, vocabulary: Vocabulary, max_length: int) -> Arrays:
    """Sentences with their special tokens, cut to `max_length` tokens, as tokenizer(sentence, truncation=True) of transformers does it.

    Raises UsageError if `max_length` leaves no room.
    """
    if max_length <= vocabulary.tokenizer.num_special_tokens_to_add(is_pair=False):
        raise UsageError(f"a maximum length of {max_length} tokens leaves no room for a sentence", "Use a model that takes 128 tokens.")
    vocabulary.tokenizer.enable_truncation(max_length)
    encodings = list(encode(vocabulary.tokenizer, data.sentences, special=True))
    vocabulary.tokenizer.no_truncation()
    return {
        "input_ids": np.concatenate([np.array(encoding.ids, np.int32) for encoding in encodings]),
        "token_type_ids": np.concatenate([np.array(encoding.type_ids, np.int8) for encoding in encodings]),
        "offsets": np.cumsum([0, *(len(encoding.ids) for encoding in encodings)], dtype=np.int64),
    }


def check(arrays: Arrays, data: Sentences) -> None:
    """Raises ValueError unless `arrays` have the names, types and lengths of what `build` makes of `data`."""
    check_ragged(arrays, TYPES, {"offsets": ("input_ids", "token_type_ids")})
    if len(arrays["offsets"]) - 1 != len(data.sentences):
        raise ValueError("the features are of another number of sentences")


class Sst2Task:
    """Sentences; an example is a sample is a sentence. `cache_note` says where the features came from."""

    name = "sst2"
    head: Literal["question-answering", "sequence-classification"] = "sequence-classification"
    metric = "accuracy"
    outputs: Sequence[Output] = (Output("logits", width=2),)
    latency_bound_ns = LATENCY_BOUND_NS

    def __init__(
        self, data: Sentences, vocabulary: Vocabulary, features: Features, key: str, max_length: int, classes: tuple[int, int]
    ) -> None:
        built_in = data.path == BUILT_IN
        self.dataset = data
        self.fingerprint = key
        self.data_name = OFFICIAL.get(data.sha256, "built-in sample set" if built_in else data.path.name)
        self.comparable = data.sha256 in OFFICIAL
        self.samples = samples_of(features.arrays, vocabulary.pad_id, max_length)
        self.cache_note = features.note
        self._classes = classes

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """`accuracy` and `examples` over the sentences in `answers`.

        Raises RunError if there is none and BackendError for an answer that is none.
        """
        if not answers:
            raise RunError("no sentence has an answer: there is nothing to score", "Let the run last longer.")
        labels = [self.dataset.labels[sample] for sample in answers]
        return metrics.accuracy(labels, [self.decide(sample, answer) for sample, answer in answers.items()])

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """100 for each sentence that was judged right, 0 for each other."""
        return np.array([100.0 * (self.decide(sample, answer) == self.dataset.labels[sample]) for sample, answer in answers.items()])

    def decide(self, sample: int, answer: Answer) -> int:
        """0 (negative) or 1 (positive): the class of the higher logit, of output 0 if both are equal."""
        return self._classes[int(np.argmax(checked.logits(answer, "logits", (2,), sample)))]

    def subset(self, count: int, seed: int) -> Int64:
        """`count` sentences."""
        return checked.draw(count, len(self.samples), seed)
