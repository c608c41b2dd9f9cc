"""The task `sst2`: sentences, labels and accuracy, on small files and on the built-in set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers

from harness.core import Answer, TaskOptions
from harness.datafiles import read_sentences
from harness.errors import BackendError, DataError, MissingError, RunError, UsageError
from tasks import sst2

ROWS = [("the film is good ", 1), ("it is bad", 0), ("good !", 1), ("bad " * 200, 0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\n" + "".join(f"{sentence}\t{label}\n" for sentence, label in ROWS))
    return tmp_path


def create(folder: Path, data: Path | None = None, labels: tuple[str, ...] = (), max_length: int | None = None) -> sst2.Sst2Task:
    task = sst2.create(TaskOptions(data or folder, folder, None, labels, max_length))
    assert isinstance(task, sst2.Sst2Task)
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


def test_shorter_model(folder: Path) -> None:
    """A model with fewer positions cuts sooner."""
    task = create(folder, max_length=32)
    assert task.samples.lengths.max() == task.samples.max_length == 32
    with pytest.raises(UsageError, match="2 tokens leaves no room"):
        create(folder, max_length=2)


def test_score(folder: Path) -> None:
    """Accuracy is over the answered sentences alone."""
    task = create(folder)
    answers = {0: logits(-1, 1), 1: logits(0, 3), 3: logits(2, 1)}
    assert task.score(answers) == {"accuracy": pytest.approx(200 / 3), "examples": 3.0}
    assert [task.decide(sample, answer) for sample, answer in answers.items()] == [1, 1, 0]
    assert task.decide(0, logits(1, 1)) == 0
    with pytest.raises(RunError, match="nothing to score"):
        task.score({})


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
    assert sst2.classes_of(labels) == classes
    assert create(folder, labels=labels).decide(0, logits(9, 0)) == classes[0]


@pytest.mark.parametrize("labels", [("bad", "good"), ("negative", "neutral", "positive"), ("positive", "positive"), ("LABEL_0",)])
def test_labels_that_cannot_be_understood(folder: Path, labels: tuple[str, ...]) -> None:
    """Labels that do not say which is which are an error, not a guess."""
    with pytest.raises(UsageError, match="do not say which is negative"):
        create(folder, labels=labels)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({}, "has no logits"),
        (logits(1, 2, 3), r"of shape \(3,\), expected floating point of shape \(2,\)"),
        (logits(np.nan, 1), "holds NaN"),
    ],
)
def test_what_is_no_answer_is_an_error(folder: Path, answer: Answer, says: str) -> None:
    """An answer without logits, of another width, or with NaN is refused."""
    with pytest.raises(BackendError, match=says):
        create(folder).score({0: answer})


def test_subset(folder: Path) -> None:
    """A subset is distinct sentences, ascending, the same for the same seed."""
    task = create(folder)
    assert task.subset(3, 5).tolist() == sorted(set(task.subset(3, 5).tolist()))
    assert len(task.subset(3, 5)) == 3
    assert task.subset(9, 5).tolist() == [0, 1, 2, 3]


def test_folders(folder: Path) -> None:
    """dev.tsv is found in its folder and from the root of GLUE; other data compares with nothing; broken data is named."""
    inner = folder / "glue" / "SST-2"
    inner.mkdir(parents=True)
    (folder / "dev.tsv").rename(inner / "dev.tsv")
    for data in (folder, folder / "glue", inner, inner / "dev.tsv"):
        task = create(folder, data)
        assert (task.data_name, task.comparable, len(task.samples)) == ("dev.tsv", False, 4)
    (folder / "empty").mkdir()
    with pytest.raises(MissingError, match=r"holds none of dev\.tsv"):
        create(folder, folder / "empty")
    (inner / "dev.tsv").write_text("sentence\tlabel\nfine\n")
    with pytest.raises(DataError, match=r"dev\.tsv:2"):
        create(folder, inner)


def test_cache(folder: Path) -> None:
    """Features are kept and read again, under a fingerprint that covers the settings."""
    options = TaskOptions(folder, folder, folder / "cache")
    first, second = sst2.create(options), sst2.create(options)
    assert isinstance(first, sst2.Sst2Task)
    assert isinstance(second, sst2.Sst2Task)
    assert (first.cache_note, second.cache_note[:9]) == ("built", "read from")
    assert first.fingerprint == second.fingerprint != create(folder, max_length=64).fingerprint
    assert first.samples.input_ids.tolist() == second.samples.input_ids.tolist()


def test_built_in_set(tmp_path: Path) -> None:
    """The built-in set has at least 200 different sentences, 45 to 55 percent of them positive, and is never called comparable."""
    data = read_sentences(sst2.BUILT_IN)
    assert len(set(data.sentences)) == len(data.sentences) >= 200
    assert 0.45 <= sum(data.labels) / len(data.labels) <= 0.55
    tiny_tokenizers.wordpiece(tmp_path)
    task = sst2.create(TaskOptions(None, tmp_path, None))
    assert (task.data_name, task.comparable, task.metric) == ("built-in sample set", False, "accuracy")
    assert task.latency_bound_ns == 100_000_000


@pytest.mark.data
@pytest.mark.model
def test_official_set(official_data: Path, bert_tokenizer: Path) -> None:
    """The official dev set has 872 sentences and is recognised; with labels as logits its accuracy is 100, swapped it is 0."""
    task = sst2.create(TaskOptions(official_data, bert_tokenizer, None))
    assert isinstance(task, sst2.Sst2Task)
    assert (len(task.samples), task.data_name, task.comparable) == (872, "SST-2 dev", True)
    assert (task.samples.lengths.min(), task.samples.lengths.max()) == (4, 55)
    right = {sample: logits(1 - label, label) for sample, label in enumerate(task.dataset.labels)}
    assert task.score(right) == {"accuracy": 100.0, "examples": 872.0}
    swapped = sst2.create(TaskOptions(official_data, bert_tokenizer, None, ("POSITIVE", "NEGATIVE")))
    assert swapped.score(right)["accuracy"] == 0.0


@pytest.mark.data
@pytest.mark.model
def test_tokens_are_those_of_transformers(official_data: Path, bert_tokenizer: Path) -> None:
    """Ids and segments of every sentence equal tokenizer(sentence) of transformers."""
    from transformers import AutoTokenizer

    task = sst2.create(TaskOptions(official_data, bert_tokenizer, None))
    assert isinstance(task, sst2.Sst2Task)
    fast = AutoTokenizer.from_pretrained(str(bert_tokenizer), local_files_only=True)
    expected = fast(list(task.dataset.sentences), truncation=True, max_length=128, padding=False)
    rows = np.split(task.samples.input_ids, task.samples.offsets[1:-1])
    assert [row.tolist() for row in rows] == expected["input_ids"]
