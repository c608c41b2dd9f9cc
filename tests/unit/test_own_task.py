"""Tasks on a user's own files: what is asked, how answers are judged, and how such a task is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tokenizers
from tokenizers import Tokenizer

from harness import plugins
from harness.classification import ClassificationTask
from harness.core import Answer, TaskOptions
from harness.errors import MissingError, RunError, UsageError
from harness.own import task as own_task
from harness.own.task import OwnSpans

PAIRS = "sentence1,sentence2,label\nit is good,good film,yes\nit is bad,the old bridge,no\nbad river,the river is bad,yes\n"
NAMES = ("different", "same")
SAME = "no=different,yes=same"


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def options(folder: Path, labels: tuple[str, ...] = (), data: Path | None = None, max_length: int | None = None) -> TaskOptions:
    return TaskOptions(data, folder, None, labels, max_length)


def logits(*values: float) -> Answer:
    return {"logits": np.array(values, np.float32)}


def row(task: Any, sample: int) -> list[int]:
    begin, end = task.samples.offsets[sample : sample + 2]
    return [int(number) for number in task.samples.input_ids[begin:end]]


# ------------------------------------------------------------------------------------------------------------------------- labels


def test_pairs_are_asked_and_judged(tmp_path: Path) -> None:
    """Pairs are encoded as the tokenizer does it; scores are over the classes of the model, the metric is the chosen one."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    task = own_task.make(put(tmp_path, "pairs.csv", PAIRS), {"labels": SAME, "metric": "f1"}, options(tmp_path, NAMES))
    assert isinstance(task, ClassificationTask)
    assert (task.name, task.metric, task.comparable, task.latency_bound_ns) == ("pairs", "f1", False, 100_000_000)
    assert task.data_name == "pairs.csv (classification: sentence1 + sentence2 -> label)"
    assert row(task, 1) == tokenizer.encode("it is bad", "the old bridge").ids
    answers = {0: logits(0, 1), 1: logits(0, 1), 2: logits(1, 0)}
    assert task.score(answers) == pytest.approx({"accuracy": 100 / 3, "f1": 50.0, "matthews": -50.0, "examples": 3.0})
    assert task.correct(answers).tolist() == [True, False, False]


def test_the_positive_class(tmp_path: Path) -> None:
    """F1 is that of the model's second label, or of the class that is named as the data or the model calls it."""
    tiny_tokenizers.wordpiece(tmp_path)
    path = put(tmp_path, "pairs.csv", PAIRS)
    answers = {sample: logits(0, 1) for sample in range(3)}
    assert own_task.make(path, {"labels": SAME}, options(tmp_path, NAMES)).score(answers)["f1"] == pytest.approx(80.0)
    scores = {
        name: own_task.make(path, {"labels": SAME, "positive": name}, options(tmp_path, NAMES)).score(answers)["f1"]
        for name in ("no", "different", "yes", "same")
    }
    assert scores == pytest.approx({"no": 0.0, "different": 0.0, "yes": 80.0, "same": 80.0})
    with pytest.raises(UsageError, match="--positive: 'maybe' is none of the classes: 'different', 'same'"):
        own_task.make(path, {"labels": SAME, "positive": "maybe"}, options(tmp_path, NAMES))


def test_three_classes_have_the_mean_f1(tmp_path: Path) -> None:
    """With more than two classes and none named, F1 is the mean over the classes."""
    tiny_tokenizers.wordpiece(tmp_path)
    path = put(tmp_path, "moods.jsonl", "".join(f'{{"text": "film", "label": {number}}}\n' for number in (0, 1, 2)))
    task = own_task.make(path, {}, options(tmp_path))
    answers = {0: logits(1, 0, 0), 1: logits(0, 1, 0), 2: logits(0, 1, 0)}
    assert task.score(answers)["f1"] == pytest.approx((100 + 200 / 3 + 0) / 3)


def test_values_are_predicted(tmp_path: Path) -> None:
    """Regression has one output, Pearson unless Spearman is chosen, and no right and wrong."""
    tiny_tokenizers.wordpiece(tmp_path)
    path = put(tmp_path, "near.tsv", "sentence1\tsentence2\tscore\na\tb\t0.5\na\tc\t1\na\td\t3\n")
    task = own_task.make(path, {}, options(tmp_path, ("similarity",)))
    answers = {0: logits(1), 1: logits(2), 2: logits(9)}
    assert (task.metric, task.outputs[0].width) == ("pearson", 1)
    assert task.score(answers)["spearman"] == pytest.approx(100.0)
    assert len(task.correct(answers)) == 0
    assert own_task.make(path, {"metric": "spearman"}, options(tmp_path)).metric == "spearman"
    with pytest.raises(UsageError, match="the model has 2 labels"):
        own_task.make(path, {}, options(tmp_path, NAMES))


def test_a_yaml_file_sets_length_and_bound(tmp_path: Path) -> None:
    """Inputs are cut to the length it says, or to what the model takes; the bound is the server's."""
    tiny_tokenizers.wordpiece(tmp_path)
    put(tmp_path, "long.csv", f"text,label\n{'film ' * 200},0\ngood,1\n")
    yaml = put(tmp_path, "my.yaml", "data: long.csv\nmax_length: 160\nlatency_bound: 20ms\nname: films\n")
    task = own_task.make(yaml, {}, options(tmp_path))
    assert (task.name, task.latency_bound_ns) == ("films", 20_000_000)
    assert task.samples.lengths.tolist() == [160, 3]
    assert own_task.make(yaml, {}, options(tmp_path, max_length=40)).samples.lengths.tolist() == [40, 3]
    assert own_task.make(tmp_path / "long.csv", {}, options(tmp_path)).samples.lengths.tolist() == [128, 3]


def test_the_fingerprint_covers_what_is_asked(tmp_path: Path) -> None:
    """Other data, columns, labels, metric, length or vocabulary: another fingerprint. The same: the same."""
    tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / "bpe").mkdir()
    tiny_tokenizers.byte_bpe(tmp_path / "bpe")
    path = put(tmp_path, "pairs.csv", PAIRS)
    flags = {"labels": SAME}

    def key(flags: dict[str, Any], options: TaskOptions) -> str:
        return own_task.make(path, flags, options).fingerprint

    keys = [
        key(flags, options(tmp_path, NAMES)),
        key({"labels": "no=same,yes=different"}, options(tmp_path, NAMES)),
        key(flags | {"metric": "f1"}, options(tmp_path, NAMES)),
        key(flags | {"text_column": "sentence2", "pair_column": "sentence1"}, options(tmp_path, NAMES)),
        key(flags, options(tmp_path, NAMES, max_length=16)),
        key(flags, options(tmp_path / "bpe", NAMES)),
    ]
    assert key(flags, options(tmp_path, NAMES)) == keys[0]
    put(tmp_path, "pairs.csv", PAIRS + "a,b,no\n")
    keys.append(key(flags, options(tmp_path, NAMES)))
    assert len(set(keys)) == 7


# ------------------------------------------------------------------------------------------------------------------------ Chinese


REVIEWS = "评论;标签\n这部电影很好看;好\n这部电影很差，不好看！;差\n"
CAPITAL = "北京是中华人民共和国的首都，位于华北平原北部。长江流经武汉和上海！"
CITIES = [
    ("首都是什么", CAPITAL, "北京"),
    ("长江流经什么", CAPITAL, "武汉和上海"),
    ("北京位于什么", CAPITAL, "华北平原北部"),
]


def test_chinese_sentences(tmp_path: Path) -> None:
    """Column names, labels and texts may be Chinese; each Han character is a token of the vocabulary."""
    tokenizer = tiny_tokenizers.chinese(tmp_path)
    path = put(tmp_path, "电影.csv", "\ufeff" + REVIEWS)
    flags = {"text_column": "评论", "label_column": "标签", "labels": "好=positive,差=negative"}
    task = own_task.make(path, flags, options(tmp_path, ("negative", "positive")))
    assert (task.name, task.data_name) == ("电影", "电影.csv (classification: 评论 -> 标签)")
    assert row(task, 0) == tokenizer.encode("这部电影很好看").ids
    assert len(row(task, 0)) == 9
    assert 1 not in row(task, 0) + row(task, 1)
    assert task.score({0: logits(0, 1), 1: logits(1, 0)})["accuracy"] == 100.0


def spans(tmp_path: Path, rows: list[tuple[str, str, str]], **flags: str) -> OwnSpans:
    lines = [
        json.dumps({"question": question, "context": context, "answers": [answer]}, ensure_ascii=False)
        for question, context, answer in rows
    ]
    task = own_task.make(put(tmp_path, "questions.jsonl", "\n".join(lines)), flags, options(tmp_path))
    assert isinstance(task, OwnSpans)
    return task


def silent(task: OwnSpans) -> dict[int, Answer]:
    return {
        sample: {output.name: np.zeros(length, np.float32) for output in task.outputs}
        for sample, length in enumerate(task.samples.lengths.tolist())
    }


def pointing(task: OwnSpans, tokenizer: Tokenizer, rows: list[tuple[str, str, str]]) -> dict[int, Answer]:
    """Answers that point at the tokens of each right answer, in windows that hold the whole context."""
    answers = silent(task)
    for sample, (question, context, answer) in enumerate(rows):
        pair = tokenizer.encode(question, context)
        begin = context.index(answer)
        inside = [
            token
            for token, ((first, last), owner) in enumerate(zip(pair.offsets, pair.sequence_ids, strict=True))
            if owner == 1 and begin <= last - len(context[first:last].lstrip()) < last <= begin + len(answer)
        ]
        answers[sample]["start_logits"][inside[0]] = answers[sample]["end_logits"][inside[-1]] = 5
    return answers


def test_chinese_answers_are_cut_by_character(tmp_path: Path) -> None:
    """A Chinese context is one word of SQuAD; the answer is the characters of its tokens, not that word, and scores 100."""
    tokenizer = tiny_tokenizers.chinese(tmp_path)
    task = spans(tmp_path, CITIES)
    answers = pointing(task, tokenizer, CITIES)
    assert task.predictions(answers) == {"0": "北京", "1": "武汉和上海", "2": "华北平原北部"}
    assert task.score(answers) == {"exact_match": 100.0, "f1": 100.0, "examples": 3.0}
    assert task.data_name == "questions.jsonl (question-answering: question + context -> answers)"
    assert (task.metric, task.comparable, task.latency_bound_ns) == ("f1", False, 130_000_000)


def test_characters_that_the_vocabulary_lacks(tmp_path: Path) -> None:
    """A character that is unknown to the vocabulary, a full-width digit and a capital leave the answer exact."""
    tokenizer = tiny_tokenizers.chinese(tmp_path)
    rows = [("什么", "长江流经重慶和Ａb，不是北京", "重慶和Ａb")]
    task = spans(tmp_path, rows)
    assert task.predictions(pointing(task, tokenizer, rows)) == {"0": "重慶和Ａb"}


def test_part_of_a_chinese_answer_counts(tmp_path: Path) -> None:
    """F1 counts Han characters as words: two of three characters right, none too many, is 80; exact match is 0."""
    tokenizer = tiny_tokenizers.chinese(tmp_path)
    task = spans(tmp_path, [("什么", CAPITAL, "北京是")])
    answers = pointing(task, tokenizer, [("什么", CAPITAL, "北京")])
    assert task.score(answers) == {"exact_match": 0.0, "f1": pytest.approx(80.0), "examples": 1.0}
    assert task.points(answers).tolist() == [pytest.approx(80.0)]
    assert task.correct(answers).tolist() == [False]
    exact = spans(tmp_path, [("什么", CAPITAL, "北京是")], metric="exact_match")
    assert (exact.metric, exact.points(answers).tolist()) == ("exact_match", [0.0])


def test_a_long_chinese_context_has_windows(tmp_path: Path) -> None:
    """Contexts longer than an input are asked in overlapping windows, and an answer at the very end is found."""
    tokenizer = tiny_tokenizers.chinese(tmp_path)
    context = "长江流经上海。" * 100 + "北京是首都"
    task = spans(tmp_path, [("什么", context, "首都")])
    assert len(task.samples) > 3
    assert task.samples.lengths.max() == 384
    answers = silent(task)
    last = len(task.samples) - 1
    end = int(task.samples.lengths[last]) - 2
    answers[last]["start_logits"][end - 1] = answers[last]["end_logits"][end] = 5
    assert task.predictions(answers) == {"0": "首都"}
    assert tokenizer.encode("首都").ids[1:-1] == row(task, last)[end - 1 : end + 1]
    with pytest.raises(RunError, match="nothing to score"):
        task.score({0: answers[0]})


@pytest.mark.parametrize("family", ["wordpiece", "byte_bpe", "unigram"])
def test_english_answers(tmp_path: Path, family: str) -> None:
    """Spans are exact for each family of tokenizers."""
    tokenizer = tiny_tokenizers.FAMILIES[family](tmp_path)
    rows = [("Which river flows north?", "The Rhine flows north through Cologne, past old bridges.", "The Rhine")]
    task = spans(tmp_path, rows)
    assert row(task, 0) == tokenizer.encode(*rows[0][:2]).ids
    assert task.predictions(pointing(task, tokenizer, rows)) == {"0": "The Rhine"}


# -------------------------------------------------------------------------------------------------------------------- how found


def test_a_data_file_is_a_task(tmp_path: Path) -> None:
    """A file with an ending that a task reads is found as that task, with the file as its source."""
    path = put(tmp_path, "my.CSV", PAIRS)
    info = plugins.find("tasks", str(path), "--task")
    assert (info.name, info.source, info.head) == ("custom", path, "")
    assert plugins.load("tasks", str(path)).about(path, {"labels": SAME}, None) == ("sequence-classification", "")
    with pytest.raises(MissingError, match=r"--task: .*gone\.csv is not there"):
        plugins.find("tasks", str(tmp_path / "gone.csv"), "--task")


def test_custom_alone_is_no_task(tmp_path: Path) -> None:
    """The task without a file is refused with what it reads; an ending that nothing reads is refused likewise."""
    with pytest.raises(UsageError, match="--task: custom needs a file") as caught:
        plugins.find("tasks", "custom", "--task")
    assert "*.yaml, *.yml, *.csv, *.tsv, *.jsonl" in caught.value.cure
    with pytest.raises(UsageError, match=r"there is no task data\.parquet") as caught:
        plugins.find("tasks", "data.parquet", "--task")
    assert "or a file of your own: *.yaml" in caught.value.cure
    with pytest.raises(UsageError, match=r"there is no backend my\.csv"):
        plugins.find("backends", str(put(tmp_path, "my.csv", PAIRS)).rpartition("/")[2])


def test_head_and_default_model_depend_on_the_file(tmp_path: Path) -> None:
    """Questions on contexts need a question-answering head and have a default model; labels have none."""
    asked = put(tmp_path, "asked.jsonl", json.dumps({"question": "a", "context": "b", "answers": "b"}))
    assert own_task.about(asked, {}) == ("question-answering", "minilm-squad")
    assert own_task.about(put(tmp_path, "pairs.csv", PAIRS), {}) == ("sequence-classification", "")


def test_the_plugin_makes_the_task(tmp_path: Path) -> None:
    """tasks/custom.py takes file and settings from its options, and wants a file."""
    tiny_tokenizers.wordpiece(tmp_path)
    path = put(tmp_path, "pairs.csv", PAIRS)
    create = plugins.load("tasks", str(path)).create
    task = create(TaskOptions(None, tmp_path, None, NAMES, source=path, settings={"labels": SAME}))
    assert (task.name, len(task.samples)) == ("pairs", 3)
    with pytest.raises(UsageError, match="custom is asked with a file of your own"):
        create(TaskOptions(None, tmp_path, None))
