"""The official dev sets of GLUE: what they hold, and tokens of every row against transformers' own tokenizer."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import glue
from harness.classification import ClassificationTask
from harness.core import Answer, TaskOptions
from harness.plugins import load

pytestmark = [pytest.mark.data, pytest.mark.model]

OFFICIAL = {
    "cola": (1_043, {1: 721, 0: 322}),
    "sst2": (872, {1: 444, 0: 428}),
    "mrpc": (408, {1: 279, 0: 129}),
    "stsb": (1_500, None),
    "mnli": (9_815, {0: 3_479, 1: 3_123, 2: 3_213}),
    "qnli": (5_463, {0: 2_702, 1: 2_761}),
    "rte": (277, {0: 146, 1: 131}),
    "wnli": (71, {0: 40, 1: 31}),
}
"""Rows of the dev sets in ../shared/data and how many have each class, as their SOURCE.txt counts them."""

COLUMNS = {
    "cola": (3, None, 1),
    "sst2": (0, None, 1),
    "mrpc": (3, 4, 0),
    "stsb": (7, 8, 9),
    "mnli": (1, 2, 3),
    "qnli": (1, 2, 3),
    "rte": (1, 2, 3),
    "wnli": (1, 2, 3),
}
"""Places of first text, second text and label, counted in the files."""


@pytest.fixture(scope="module", params=OFFICIAL)
def task(request: pytest.FixtureRequest, official_data: Path, bert_tokenizer: Path) -> ClassificationTask:
    module = load("tasks", request.param)
    if not any((official_data / file).is_file() for file in module.DATASET.files):
        pytest.skip(f"no official data for {request.param} in {official_data}")
    return module.create(TaskOptions(official_data, bert_tokenizer, None, module.KIND.classes))


def test_what_it_is(task: ClassificationTask) -> None:
    """The official file is recognised by its checksum, has the rows that the task states, and its classes are counted as they should be."""
    rows, classes = OFFICIAL[task.name]
    dataset = load("tasks", task.name).DATASET
    assert (task.data_name, task.comparable, len(task.samples), dataset.rows) == (dataset.title, True, rows, rows)
    if classes is not None:
        assert Counter(task.dataset.labels) == classes
    else:
        assert (min(task.dataset.labels), max(task.dataset.labels)) == (0.0, 5.0)


def test_rows_are_those_of_the_csv_module(task: ClassificationTask) -> None:
    """Texts and labels of every row are what Python's csv module reads without quoting, at places counted by hand."""
    with task.dataset.path.open(encoding="utf-8-sig", newline="\n") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = rows if task.name == "cola" else rows[1:]
    first, second, label = COLUMNS[task.name]
    assert task.dataset.first == tuple(row[first] for row in rows)
    assert task.dataset.second == (() if second is None else tuple(row[second] for row in rows))
    spelled = task.kind.classes if rows[0][label] in task.kind.classes else ("0", "1")
    expected = [spelled.index(row[label]) if task.kind.classes else float(row[label]) for row in rows]
    assert list(task.dataset.labels) == expected


def test_tokens_are_those_of_transformers(task: ClassificationTask, bert_tokenizer: Path) -> None:
    """Ids and segments of every row equal tokenizer(first, second, truncation=True, max_length=128) of transformers."""
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(str(bert_tokenizer), local_files_only=True)
    texts = [list(task.dataset.first)] + ([list(task.dataset.second)] if task.dataset.second else [])
    expected = fast(*texts, truncation=True, max_length=128, padding=False)
    cuts = task.samples.offsets[1:-1]
    assert [row.tolist() for row in np.split(task.samples.input_ids, cuts)] == expected["input_ids"]
    assert [row.tolist() for row in np.split(task.samples.token_type_ids, cuts)] == expected["token_type_ids"]


def test_perfect_answers(task: ClassificationTask) -> None:
    """Answers made from the labels score 100 in every metric, over all rows."""
    scores = task.score(answers(task, task.dataset.labels))
    rows = scores.pop("examples")
    assert rows == len(task.samples)
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0))


def test_majority(task: ClassificationTask) -> None:
    """The commonest class for every row scores its share, and no correlation; MRPC's known majority baseline is 68.4 and F1 81.2."""
    (common, count), *_ = Counter(task.dataset.labels).most_common(1)
    scores = task.score(answers(task, [common] * len(task.samples)))
    if task.kind.classes:
        assert scores["accuracy"] == pytest.approx(100 * count / len(task.samples))
    assert scores.get("matthews", 0.0) == scores.get("pearson", 0.0) == scores.get("spearman", 0.0) == 0.0
    if task.name == "mrpc":
        assert (round(scores["accuracy"], 1), round(scores["f1"], 1)) == (68.4, 81.2)


def test_training_sets_can_be_read(official_data: Path) -> None:
    """The official training files, which fine-tuning reads, have the rows that their SOURCE.txt counts."""
    rows = {"cola": 8_551, "sst2": 67_349, "mrpc": 3_668, "stsb": 5_749, "rte": 2_490, "wnli": 635}
    for name, count in rows.items():
        dataset = load("tasks", name).DATASET
        path = official_data / "glue" / dataset.folder / "train.tsv"
        if path.is_file():
            assert len(glue.read(dataset, path).labels) == count


def answers(task: ClassificationTask, predictions: Sequence[float]) -> dict[int, Answer]:
    """Logits that say these classes or values."""
    classes = len(task.kind.classes)
    return {
        number: {"logits": np.eye(classes, dtype=np.float32)[int(value)] if classes else np.array([value], np.float32)}
        for number, value in enumerate(predictions)
    }
