"""Texts and pairs with a class or a value: tokens, labels of models, scores; on small made-up examples and three families of tokenizers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers
from tokenizers import Tokenizer

from harness import glue
from harness.classification import ClassificationTask, Examples, Kind, class_order, make
from harness.core import Answer, Answered, Rescored, Task, TaskOptions
from harness.errors import BackendError, RunError, UsageError

FIRST = ("The Rhine flows north.", "it is good " * 70, "Old bridge?", "a bad film " * 90, "What flows? " * 40)
SECOND = ("It flows!", "river", "Which river flows north past old bridges? " * 60, "the bridge " * 80, "north " * 41)
NLI = Kind("nli", ("entailment", "neutral", "contradiction"), "accuracy", glue.counting("accuracy"), {"entail": "entailment"}, False)
GRAMMAR = Kind("grammar", ("no", "yes"), "matthews", glue.counting("matthews", beside=("accuracy",)), {"not ok": "no"})
SIMILARITY = Kind("similarity", (), "pearson", glue.counting("pearson", "spearman"))


def examples(labels: Sequence[float], pairs: bool = True) -> Examples:
    count = len(labels)
    ids = tuple(map(str, range(count)))
    return Examples(Path("made.tsv"), "0" * 64, FIRST[:count], SECOND[:count] if pairs else (), tuple(labels), ids)


def create(
    folder: Path,
    kind: Kind = GRAMMAR,
    given: Examples | None = None,
    labels: Sequence[str] = (),
    max_length: int | None = None,
    cache: Path | None = None,
) -> ClassificationTask:
    if not (folder / "tokenizer.json").exists():
        tiny_tokenizers.wordpiece(folder)
    options = TaskOptions(None, folder, cache, labels, max_length)
    return make(kind, given or examples((0, 1, 1, 0, 1)), options, data_name="made", comparable=False)


def logits(*values: float) -> Answer:
    return {"logits": np.array(values, np.float32)}


# ----------------------------------------------------------------------------------------------------------------------- tokens


def transformers_tokenizer(folder: Path, family: str) -> Callable[..., dict[str, list[list[int]]]]:
    """The tokenizer of the folder as transformers opens it, with the names of its special tokens."""
    from transformers import PreTrainedTokenizerFast

    names = (
        {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        if family == "wordpiece"
        else {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    )
    made: Callable[..., dict[str, list[list[int]]]] = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)
    return made


@pytest.mark.parametrize("length", [128, 16, 5])
@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
def test_tokens_are_those_of_transformers(tmp_path: Path, family: str, pairs: bool, length: int) -> None:
    """Ids and segments equal tokenizer(first, second, truncation=True, max_length=...) of transformers, whichever text is longer, and with
    four special tokens as with three."""
    tiny_tokenizers.FAMILIES[family](tmp_path)
    given = examples((0, 1, 1, 0, 1), pairs)
    if length == 5 and pairs and family != "wordpiece":
        with pytest.raises(UsageError, match="5 tokens leaves no room for two texts"):
            create(tmp_path, given=given, max_length=length)
        return
    task = create(tmp_path, given=given, max_length=length)
    texts = [list(given.first)] + ([list(given.second)] if pairs else [])
    expected = transformers_tokenizer(tmp_path, family)(
        *texts, truncation=True, max_length=length, padding=False, return_token_type_ids=True
    )
    cuts = task.samples.offsets[1:-1]
    assert [row.tolist() for row in np.split(task.samples.input_ids, cuts)] == expected["input_ids"]
    assert [row.tolist() for row in np.split(task.samples.token_type_ids, cuts)] == expected["token_type_ids"]
    assert task.samples.lengths.max() == task.samples.max_length == length


def test_segments(tmp_path: Path) -> None:
    """The second text of a pair is segment 1 where the tokenizer has two, and 0 where it has one."""
    assert create(tmp_path).samples.token_type_ids[:13].tolist() == [0] * 8 + [1] * 5
    other = tmp_path / "roberta"
    other.mkdir()
    tiny_tokenizers.byte_bpe(other)
    assert not create(other).samples.token_type_ids.any()


def test_length(tmp_path: Path) -> None:
    """A model with fewer positions cuts sooner, one with more does not cut later, and one without room is refused."""
    assert create(tmp_path, max_length=32).samples.lengths.max() == 32
    assert create(tmp_path, max_length=512).samples.max_length == 128
    assert create(tmp_path, max_length=5).samples.max_length == 5
    with pytest.raises(UsageError, match="4 tokens leaves no room for two texts"):
        create(tmp_path, max_length=4)
    with pytest.raises(UsageError, match="2 tokens leaves no room for a text"):
        create(tmp_path, given=examples((0, 1), pairs=False), max_length=2)


def test_chunks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples tokenised two at a time are those tokenised at once."""
    whole = create(tmp_path).samples
    monkeypatch.setattr("harness.classification.CHUNK", 2)
    parts = create(tmp_path).samples
    assert whole.input_ids.tolist() == parts.input_ids.tolist()
    assert whole.offsets.tolist() == parts.offsets.tolist()


def test_cache(tmp_path: Path) -> None:
    """Features are kept and read again under a fingerprint that covers data, length and the kind's name; a damaged file is made anew."""
    first, second = create(tmp_path, cache=tmp_path / "cache"), create(tmp_path, cache=tmp_path / "cache")
    assert (first.cache_note, second.cache_note[:9]) == ("built", "read from")
    assert first.samples.input_ids.tolist() == second.samples.input_ids.tolist()
    assert first.fingerprint == second.fingerprint
    others = {
        create(tmp_path, max_length=64).fingerprint,
        create(tmp_path, SIMILARITY).fingerprint,
        create(tmp_path, given=Examples(Path("x"), "1" * 64, FIRST[:2], (), (0, 1), ("0", "1"))).fingerprint,
    }
    assert len(others - {first.fingerprint}) == 3
    file = next((tmp_path / "cache").iterdir())
    file.write_bytes(file.read_bytes()[:-9])
    third = create(tmp_path, cache=tmp_path / "cache")
    assert third.cache_note.startswith("rebuilt")
    assert third.samples.input_ids.tolist() == first.samples.input_ids.tolist()


def test_tokenizer_is_left_as_it_was(tmp_path: Path) -> None:
    """The saved tokenizer's own truncation does not matter: it is turned off before ours is set."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    expected = create(tmp_path).samples.input_ids.tolist()
    tokenizer.enable_truncation(9)
    tokenizer.enable_padding(length=40)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).truncation["max_length"] == 9
    assert create(tmp_path).samples.input_ids.tolist() == expected


# ----------------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("kind", "labels", "order"),
    [
        (NLI, ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (2, 1, 0)),
        (NLI, ("neutral", "Entail", " contradiction "), (1, 0, 2)),
        (GRAMMAR, (), (0, 1)),
        (GRAMMAR, ("LABEL_1", "LABEL_0"), (1, 0)),
        (GRAMMAR, ("1", "0"), (1, 0)),
        (GRAMMAR, ("Yes", "Not-OK"), (1, 0)),
        (SIMILARITY, (), ()),
        (SIMILARITY, ("similarity",), ()),
        (Kind("swap", ("1", "0"), "accuracy", glue.counting("accuracy")), ("0", "1"), (1, 0)),
        (Kind("chinese", ("好", "坏"), "accuracy", glue.counting("accuracy")), ("坏", "好"), (1, 0)),
    ],
)
def test_labels_of_the_model(kind: Kind, labels: tuple[str, ...], order: tuple[int, ...]) -> None:
    """Each output stands for what the model calls it, in any order and case; a class's own name outweighs its number."""
    assert class_order(kind, labels) == order


@pytest.mark.parametrize(
    ("kind", "labels", "says"),
    [
        (
            NLI,
            (),
            "the model has no label names, and its outputs do not say which is entailment, which is neutral and which is contradiction",
        ),
        (NLI, ("LABEL_0", "LABEL_1", "LABEL_2"), "'LABEL_0', 'LABEL_1', 'LABEL_2', do not say which is entailment"),
        (NLI, ("entailment", "not_entailment"), "do not say which is entailment"),
        (GRAMMAR, ("yes", "perhaps"), "do not say which is no and which is yes"),
        (GRAMMAR, ("yes", "yes"), "do not say which is no"),
        (GRAMMAR, ("yes", "no", "both"), "do not say which is no"),
        (GRAMMAR, ("LABEL_0",), "do not say which is no"),
        (SIMILARITY, ("negative", "positive"), "has 2 labels, similarity predicts one value"),
    ],
)
def test_labels_that_cannot_be_understood(tmp_path: Path, kind: Kind, labels: tuple[str, ...], says: str) -> None:
    """Labels that do not say which is which are an error with a cure, not a guess."""
    with pytest.raises(UsageError) as caught:
        create(tmp_path, kind, labels=labels)
    assert says in str(caught.value)
    assert caught.value.cure


# ----------------------------------------------------------------------------------------------------------------------- scores


def test_score_of_classes(tmp_path: Path) -> None:
    """Scores are over the answered examples, outputs in the model's order; what is no mean has no points."""
    task = create(tmp_path, labels=("yes", "no"))
    answers = {4: logits(3, 1), 0: logits(1, 2), 3: logits(2, 1)}  # yes, no, yes; labels yes, no, no
    assert task.score(answers) == pytest.approx({"matthews": 50.0, "accuracy": 200 / 3, "glue": 50.0, "examples": 3.0})
    assert task.correct(answers).tolist() == [True, False, True]
    assert (task.truths(answers).tolist(), task.answered(answers).tolist()) == ([0, 0, 1], [0, 1, 1])
    assert task.points(answers).tolist() == []
    assert task.decide(0, logits(1, 1)) == 1  # the first of equal logits, which this model calls yes
    assert task.metric_of(task.truths(answers), task.answered(answers)) == pytest.approx(50.0)


def test_points_are_in_the_order_of_the_examples(tmp_path: Path) -> None:
    """Points, correct, truths and answered go by ascending example number, whatever the order of the answers; the mean is the metric."""
    task = create(tmp_path, NLI, examples((2, 0, 1, 2)), labels=("neutral", "contradiction", "entailment"))
    answers = {3: logits(0, 9, 0), 0: logits(0, 1, 5), 2: logits(7, 1, 1)}
    assert task.answered(answers).tolist() == [0, 1, 2]
    assert task.points(answers).tolist() == [0, 100, 100]
    assert task.points(answers).mean() == pytest.approx(task.score(answers)["accuracy"])
    assert task.points(dict(reversed(answers.items()))).tolist() == [0, 100, 100]


def test_score_of_values(tmp_path: Path) -> None:
    """A value has no right and wrong; its decision is its first three digits, its score takes all of them."""
    task = create(tmp_path, SIMILARITY, examples((0.0, 2.5, 5.0)))
    answers = {0: logits(1.00049), 1: logits(1.00051), 2: logits(4)}
    assert [task.decide(sample, answer) for sample, answer in answers.items()] == [1.0, 1.0, 4.0]
    scores = task.score(answers)
    assert (scores["spearman"], scores["examples"]) == (pytest.approx(100), 3)
    assert scores["pearson"] == pytest.approx(86.6, abs=0.05)
    assert scores["glue"] == pytest.approx((scores["pearson"] + scores["spearman"]) / 2)
    assert len(task.correct(answers)) == len(task.points(answers)) == 0
    assert task.outputs[0].width == 1


def test_protocols(tmp_path: Path) -> None:
    """The task is a Task that can be scored again on resampled examples, and its samples can be sent to a worker."""
    task: Task = create(tmp_path)
    assert isinstance(task, Answered)
    assert isinstance(task, Rescored)
    assert len(pickle.loads(pickle.dumps(task.samples))) == 5
    assert json.dumps(task.decide(0, logits(0, 1))) == "1"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({}, "has no logits"),
        (logits(1, 2, 3), r"of shape \(3,\), expected floating point of shape \(2,\)"),
        (logits(np.nan, 1), "holds NaN"),
        ({"logits": np.array([1, 2])}, "int64"),
    ],
)
def test_what_is_no_answer_is_an_error(tmp_path: Path, answer: Answer, says: str) -> None:
    """An answer without logits, of another width or type, or with NaN is refused."""
    with pytest.raises(BackendError, match=says):
        create(tmp_path).score({0: answer})


def test_nothing_to_score(tmp_path: Path) -> None:
    """No answer gives no score."""
    with pytest.raises(RunError, match="nothing to score"):
        create(tmp_path).score({})


def test_subset(tmp_path: Path) -> None:
    """A subset is distinct examples, ascending, the same for the same seed, and all if there are no more."""
    task = create(tmp_path)
    chosen = task.subset(3, 5).tolist()
    assert chosen == sorted(set(chosen)) == task.subset(3, 5).tolist()
    assert len(chosen) == 3
    assert task.subset(9, 5).tolist() == [0, 1, 2, 3, 4]
