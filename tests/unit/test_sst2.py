"""The task `sst2`: what it is, its built-in set, and the official one. Reading, tokens and scores: test_glue.py, test_classification.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers

from harness import glue
from harness.classification import ClassificationTask, class_order
from harness.core import Answer, TaskOptions
from harness.errors import UsageError
from harness.features import fingerprint
from tasks import sst2

ROWS = [("the film is good ", 1), ("it is bad", 0), ("good !", 1), ("bad " * 200, 0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\n" + "".join(f"{sentence}\t{label}\n" for sentence, label in ROWS))
    return tmp_path


def create(folder: Path, labels: tuple[str, ...] = ()) -> ClassificationTask:
    task = sst2.create(TaskOptions(folder, folder, None, labels))
    assert isinstance(task, ClassificationTask)
    return task


def logits(*values: float) -> Answer:
    return {"logits": np.array(values, np.float32)}


def test_sentences_are_encoded_as_the_tokenizer_does(folder: Path) -> None:
    """Each sample is the encoding of its sentence with special tokens, cut to 128 with the last special token kept."""
    task = create(folder)
    tokenizer = tiny_tokenizers.wordpiece(folder)
    tokenizer.enable_truncation(128)
    for sample, (sentence, _) in enumerate(ROWS):
        begin, end = task.samples.offsets[sample : sample + 2]
        assert task.samples.input_ids[begin:end].tolist() == tokenizer.encode(sentence).ids
    assert task.samples.lengths.tolist() == [6, 5, 4, 128]
    assert task.samples.input_ids[-1] == 3
    assert not task.samples.token_type_ids.any()


def test_score(folder: Path) -> None:
    """Accuracy is over the answered sentences alone, and is what SST-2 adds to the GLUE score."""
    task = create(folder)
    answers = {0: logits(-1, 1), 1: logits(0, 3), 3: logits(2, 1)}
    assert task.score(answers) == {"accuracy": pytest.approx(200 / 3), "glue": pytest.approx(200 / 3), "examples": 3.0}
    assert task.points(answers).tolist() == [100, 0, 100]
    assert [task.decide(sample, answer) for sample, answer in answers.items()] == [1, 1, 0]
    assert task.decide(0, logits(1, 1)) == 0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ((), (0, 1)),
        (("NEGATIVE", "POSITIVE"), (0, 1)),
        (("Positive", "negative"), (1, 0)),
        (("LABEL_0", "LABEL_1"), (0, 1)),
        (("LABEL_1", "LABEL_0"), (1, 0)),
        (("neg", "pos"), (0, 1)),
        (("1", "0"), (1, 0)),
    ],
)
def test_labels_of_the_model(folder: Path, labels: tuple[str, ...], classes: tuple[int, int]) -> None:
    """Output 0 stands for what the model calls it."""
    assert class_order(sst2.KIND, labels) == classes
    assert create(folder, labels).decide(0, logits(9, 0)) == classes[0]


@pytest.mark.parametrize("labels", [("bad", "good"), ("negative", "neutral", "positive"), ("positive", "positive"), ("LABEL_0",)])
def test_labels_that_cannot_be_understood(folder: Path, labels: tuple[str, ...]) -> None:
    """Labels that do not say which is which are an error, not a guess."""
    with pytest.raises(UsageError, match="do not say which is negative"):
        create(folder, labels)


def test_fingerprint(folder: Path) -> None:
    """The fingerprint covers data, vocabulary, length and padding as it did when models/references.json was written."""
    import hashlib

    sums = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("dev.tsv", "tokenizer.json")]
    assert create(folder).fingerprint == fingerprint(sums[0], sums[1], {"task": "sst2", "max_length": 128, "pad_id": 0})


def test_built_in_set(tmp_path: Path) -> None:
    """The built-in set has at least 200 different sentences, 45 to 55 percent of them positive, and is never called comparable."""
    data = glue.read(sst2.DATASET, sst2.BUILT_IN)
    assert len(set(data.first)) == len(data.first) >= 200
    assert 0.45 <= sum(data.labels) / len(data.labels) <= 0.55
    tiny_tokenizers.wordpiece(tmp_path)
    task = sst2.create(TaskOptions(None, tmp_path, None))
    assert (task.data_name, task.comparable, task.metric) == ("built-in sample set", False, "accuracy")
    assert task.latency_bound_ns == 100_000_000


@pytest.mark.data
@pytest.mark.model
def test_official_set(official_data: Path, bert_tokenizer: Path) -> None:
    """Sentences of the official dev set have 4 to 55 tokens; a model that names its outputs the other way round is judged the other way."""
    task, swapped = (sst2.create(TaskOptions(official_data, bert_tokenizer, None, labels)) for labels in ((), ("POSITIVE", "NEGATIVE")))
    assert isinstance(task, ClassificationTask)
    assert (task.samples.lengths.min(), task.samples.lengths.max()) == (4, 55)
    right = {sample: logits(1 - label, label) for sample, label in enumerate(task.dataset.labels)}
    assert (task.score(right)["accuracy"], swapped.score(right)["accuracy"]) == (100.0, 0.0)
