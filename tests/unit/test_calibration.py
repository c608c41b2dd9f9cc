"""Calibration samples: drawn from training data, tokenised as the task does it, and never scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers
from hypothesis import given
from hypothesis import strategies as st

from harness import bench, calibration, inputs, plugins
from harness.config import RunConfig, load
from harness.core import Calibrated, Samples, TaskOptions
from harness.datafiles import read_squad
from harness.errors import MissingError, UsageError
from harness.own.task import make as make_own

TASKS = ("squad", "squad2", "cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnli-mm", "qnli", "rte", "wnli")
SEED = 3


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizers.wordpiece(folder)
    return folder


def task(name: str, tokenizer: Path, data: Path | None = None):  # type: ignore[no-untyped-def]
    labels = ("entailment", "neutral", "contradiction") if name.startswith("mnli") else ()
    return plugins.load("tasks", name).create(TaskOptions(data=data, tokenizer=tokenizer, cache=None, labels=labels))


def rows(samples: Samples) -> list[tuple[int, ...]]:
    return [tuple(samples.input_ids[begin:end].tolist()) for begin, end in zip(samples.offsets, samples.offsets[1:], strict=False)]


def squad_file(path: Path, contexts: list[str], questions: int = 1) -> Path:
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": f"{path.stem}-{number}-{question}",
                    "question": f"Who {question}?",
                    "answers": [{"text": context[:3], "answer_start": 0}],
                }
                for question in range(questions)
            ],
        }
        for number, context in enumerate(contexts)
    ]
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    return path


def sst2_file(path: Path, sentences: list[str]) -> Path:
    path.write_text("sentence\tlabel\n" + "".join(f"{sentence}\t{number % 2}\n" for number, sentence in enumerate(sentences)))
    return path


# ------------------------------------------------------------------------------------------------------------------ built-in sets


@pytest.mark.parametrize("name", TASKS)
def test_built_in_sets_calibrate_with_texts_that_are_not_theirs(name: str, tokenizer: Path) -> None:
    """Every task has calibration samples without any data, none of which has the tokens of a scored sample, and a seed repeats them."""
    asked = task(name, tokenizer)
    scored = asked.samples
    assert isinstance(asked, Calibrated)
    found = asked.calibration(24, SEED)
    assert len(found.samples) == 24
    assert found.samples.max_length == scored.max_length
    assert not set(rows(found.samples)) & set(rows(scored))
    assert asked.calibration(24, SEED).fingerprint == found.fingerprint
    assert asked.calibration(24, SEED + 1).fingerprint != found.fingerprint
    assert "24 of " in found.source


def test_built_in_texts_are_apart_by_text(tokenizer: Path) -> None:
    """No sentence or pair that a built-in set borrows is one that it scores, whatever its capitals and spaces."""
    for name in TASKS[2:]:
        dataset = task(name, tokenizer).dataset
        texts = calibration.borrowed_texts(dataset.path, bool(dataset.second))
        columns = (dataset.first, dataset.second) if dataset.second else (dataset.first,)
        scored = {calibration.spelled(texts) for texts in zip(*columns, strict=True)}
        kept = calibration.never_scored(texts, scored, name)
        assert len(kept) > 100
        assert not {calibration.spelled(texts[number]) for number in kept} & scored


def test_borrowed_questions_stand_on_paragraphs(tokenizer: Path) -> None:
    """The questions for the built-in SQuAD sets come from the QNLI set, on contexts that hold the question's own sentence."""
    found = calibration.borrowed_questions()
    scored = {context for name in ("squad", "squad2") for context in task(name, tokenizer).dataset.contexts}
    assert len(found.questions) > 100
    assert not scored & set(found.contexts)
    assert len({len(context) > 300 for context in found.contexts[:-1]}) == 1


# ------------------------------------------------------------------------------------------------------------------ training data


def test_sentences_of_the_training_file(tmp_path: Path, tokenizer: Path) -> None:
    """Beside dev.tsv lies train.tsv: its sentences are drawn, once each, apart from those scored under other capitals and spaces."""
    sst2_file(tmp_path / "dev.tsv", ["the river", "an old bridge", "it is good"])
    sst2_file(tmp_path / "train.tsv", ["The  RIVER", *(f"bridge {number}" for number in range(12)), "bridge 3", "it is good"])
    found = task("sst2", tokenizer, tmp_path).calibration(100, SEED)
    assert len(found.samples) == 12
    assert found.source == "12 of train.tsv, drawn with seed 3"


def test_questions_of_the_training_file(tmp_path: Path, tokenizer: Path) -> None:
    """Questions are drawn whose context is not scored; the partial training file will do."""
    squad_file(tmp_path / "dev-v1.1.json", ["The Rhine flows north.", "It is an old bridge."])
    squad_file(tmp_path / "train-v1.1.partial.json", ["the rhine  FLOWS north.", *(f"Bridge {number} is old." for number in range(9))], 2)
    found = task("squad", tokenizer, tmp_path).calibration(500, SEED)
    assert len(found.samples) == 18
    assert found.source.startswith("18 of train-v1.1.partial.json")


def test_missing_training_data_says_what_was_looked_for(tmp_path: Path, tokenizer: Path) -> None:
    """Without a training file there is an error that names it, and a cure; with one that holds only scored texts, an error, too."""
    sst2_file(tmp_path / "dev.tsv", ["the river", "an old bridge"])
    asked = task("sst2", tokenizer, tmp_path)
    with pytest.raises(MissingError, match=r"no train\.tsv to calibrate with") as caught:
        asked.calibration(8, SEED)
    assert "--calibration FILE" in caught.value.cure
    sst2_file(tmp_path / "train.tsv", ["The river", "an OLD bridge"])
    with pytest.raises(MissingError, match=r"train\.tsv: 0 texts not scored, calibration needs 8"):
        asked.calibration(8, SEED)
    squad_file(tmp_path / "dev-v2.0.json", ["The Rhine flows north."])
    with pytest.raises(MissingError, match=r"no train-v2\.0\.json and no train-v2\.0\.partial\.json and no train-v1\.1\.json"):
        task("squad2", tokenizer, tmp_path).calibration(8, SEED)


# -------------------------------------------------------------------------------------------------------------------------- lists


def test_a_list_of_question_ids(tmp_path: Path, tokenizer: Path) -> None:
    """A list of ids, such as MLPerf's, gives all windows of those questions of the scored set, and the source says that they are scored."""
    asked = task("squad", tokenizer)
    windows = [asked._windows_of()(question.id) for question in asked.dataset.questions[:40]]
    file = tmp_path / "bert_calibration_qas_ids.txt"
    file.write_text("\n".join(question.id for question in reversed(asked.dataset.questions[:40])) + "\n\n")
    found = asked.calibration_from(file, 10_000, SEED)
    assert rows(found.samples) == [rows(asked.samples)[window] for part in windows for window in part]
    assert "they are scored as well" in found.source


def test_a_list_of_samples(tmp_path: Path, tokenizer: Path) -> None:
    """A list of numbers names samples, as MLPerf's list of features does; the count cuts it; fewer than 8 cannot calibrate."""
    asked = task("squad", tokenizer)
    file = tmp_path / "bert_calibration_features.txt"
    file.write_text("7\n3\n11\n3\n20\n21\n22\n23\n24\n25\n")
    named = (3, 7, 11, 20, 21, 22, 23, 24, 25)
    assert rows(asked.calibration_from(file, 10_000, SEED).samples) == [rows(asked.samples)[number] for number in named]
    assert rows(asked.calibration_from(file, 8, SEED).samples) == [rows(asked.samples)[number] for number in named[:8]]
    file.write_text("7\n3\n11\n3\n")
    with pytest.raises(MissingError, match="it lists 3 samples, calibration needs 8"):
        asked.calibration_from(file, 8, SEED)


def test_a_wrong_entry_of_a_list(tmp_path: Path, tokenizer: Path) -> None:
    """An entry that is no question and no sample is refused with its line."""
    file = tmp_path / "ids.txt"
    file.write_text("3\nnobody\n")
    with pytest.raises(UsageError, match=r"ids\.txt:1: '3' is no question"):
        task("squad", tokenizer).calibration_from(file, 8, SEED)


# ------------------------------------------------------------------------------------------------------------------------ own data


def test_own_texts_calibrate_from_a_named_file(tmp_path: Path, tokenizer: Path) -> None:
    """One's own data has no known training file; one that is named is read like the data, apart from what is scored."""
    own, more = tmp_path / "own.csv", tmp_path / "more.csv"
    own.write_text("text,label\n" + "".join(f"bridge {number},{number % 2}\n" for number in range(10)))
    more.write_text("text,label\n" + "".join(f"bridge {number},{number % 2}\n" for number in range(5, 25)))
    asked = make_own(own, {}, TaskOptions(data=None, tokenizer=tokenizer, cache=None, labels=("0", "1")))
    assert isinstance(asked, Calibrated)
    assert isinstance(asked, calibration.CalibratedFromFile)
    with pytest.raises(MissingError, match="no training data is known"):
        asked.calibration(8, SEED)
    assert len(asked.calibration_from(more, 100, SEED).samples) == 15


def test_own_questions_calibrate_from_a_named_file(tmp_path: Path, tokenizer: Path) -> None:
    """The same for questions on contexts."""
    own, more = tmp_path / "own.jsonl", tmp_path / "more.jsonl"
    for file, first in ((own, 0), (more, 5)):
        lines = [{"question": "Who?", "context": f"Bridge {n} is old.", "answer": "Bridge"} for n in range(first, first + 15 + first)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = make_own(own, {}, TaskOptions(data=None, tokenizer=tokenizer, cache=None))
    assert isinstance(asked, Calibrated)
    assert isinstance(asked, calibration.CalibratedFromFile)
    with pytest.raises(MissingError, match="no training data is known"):
        asked.calibration(8, SEED)
    assert "10 of more.jsonl" in asked.calibration_from(more, 100, SEED).source


# -------------------------------------------------------------------------------------------------------------------------- wiring


def test_which_precisions_get_samples(tmp_path: Path, tokenizer: Path) -> None:
    """A calibrated precision gets samples or an error; a dynamic one of the same backend gets them where there are some; others none."""
    config, calibrated = RunConfig(task="sst2", calibration_samples=8), ("int8-static",)
    built_in = task("sst2", tokenizer)
    for precision in ("int8-static", "int8"):
        found = inputs.calibration_for(config, built_in, precision, calibrated)
        assert found is not None
        assert len(found.samples) == 8
    assert inputs.calibration_for(config, built_in, "fp32", calibrated) is None
    assert inputs.calibration_for(config, built_in, "int8-dynamic", ()) is None
    sst2_file(tmp_path / "dev.tsv", ["the river", "an old bridge"])
    bare = task("sst2", tokenizer, tmp_path)
    assert inputs.calibration_for(config, bare, "int8", calibrated) is None
    with pytest.raises(MissingError, match=r"no train\.tsv"):
        inputs.calibration_for(config, bare, "int8-static", calibrated)


def test_the_named_file_is_used(tmp_path: Path, tokenizer: Path) -> None:
    """`--calibration FILE` takes the place of the training data, and a file that is not there is an error for every INT8 precision."""
    file = sst2_file(tmp_path / "more.tsv", [f"bridge {number}" for number in range(20)])
    config = RunConfig(task="sst2", calibration=file, calibration_samples=10)
    assert inputs.calibration(config, task("sst2", tokenizer)).source == f"10 of more.tsv, drawn with seed {inputs.CALIBRATION_SEED}"
    gone = RunConfig(task="sst2", calibration=tmp_path / "gone.tsv")
    with pytest.raises(MissingError, match=r"gone\.tsv"):
        inputs.calibration_for(gone, task("sst2", tokenizer), "int8", ("int8-static",))


# ------------------------------------------------------------------------------------------------------------------------- samples


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=9), st.data())
def test_some_samples_are_those_samples(tokens: list[list[int]], data: st.DataObject) -> None:
    """`some` gives the chosen samples in the order asked, and equal samples have equal fingerprints."""
    flat = np.array([token for row in tokens for token in row], np.int32)
    offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    samples = Samples(flat, np.zeros(len(flat), np.int8), offsets, 0, 4)
    kept = data.draw(st.lists(st.integers(0, len(tokens) - 1), min_size=1))
    found = calibration.some(samples, kept)
    assert rows(found) == [tuple(tokens[number]) for number in kept]
    again = calibration.of_samples(calibration.some(samples, kept), "again")
    assert again.fingerprint == calibration.of_samples(found, "first").fingerprint


@pytest.mark.data
def test_official_training_samples_share_no_context_with_the_dev_set(tmp_path: Path, official_data: Path, tokenizer: Path) -> None:
    """The partial SQuAD training file gives 128 windows, none with the tokens of a dev window (of the first article, which takes a second),
    and no context of it is one of the dev set."""
    dev = json.loads((official_data / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))
    (tmp_path / "dev-v1.1.json").write_text(json.dumps(dev | {"data": dev["data"][:1]}))
    (tmp_path / "train-v1.1.partial.json").symlink_to(official_data / "squad" / "train-v1.1.partial.json")
    asked = task("squad", tokenizer, tmp_path)
    found = asked.calibration(128, inputs.CALIBRATION_SEED)
    assert len(found.samples) == 128
    assert not set(rows(found.samples)) & set(rows(asked.samples))
    scored = {paragraph["context"] for article in dev["data"] for paragraph in article["paragraphs"]}
    assert not scored & set(read_squad(tmp_path / "train-v1.1.partial.json").contexts)


@pytest.mark.parametrize(("backend", "said"), [("pytorch:fp32", True), ("onnxruntime:int8", False), ("onnxruntime:int8-static", False)])
def test_a_calibration_file_that_nobody_reads_is_told(backend: str, said: bool, tmp_path: Path) -> None:
    """A run in FP32 warns that it was not read; INT8 is calibrated, or checked, with it."""
    file = tmp_path / "train.csv"
    file.write_text("text,label\nfine,positive\n")
    warnings = bench._without_use(load({"backend": backend, "task": "sst2", "calibration": str(file)}))
    assert [str(file) in each and "was not read" in each for each in warnings] == ([True] if said else [])
