"""One suite for every task: each file of tasks/ is picked up by its name and held to the contract of harness.core.Task.

A check is a function of a `Case`. Each is run on every task, and on tests/faulty/wrong_task.py, which must fail it.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from harness import glue
from harness.core import Answer, TaskOptions
from harness.datafiles import read_squad
from harness.errors import BackendError, RunError
from harness.plugins import describe, load

ROOT = Path(__file__).resolve().parents[2]
INFOS = {info.name: info for info in describe("tasks") if info.file and info.file.parent == ROOT / "tasks"}
WRONG = str(ROOT / "tests" / "faulty" / "wrong_task.py")
PAD, UNKNOWN, CLS, SEP = range(4)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
OFFICIAL_QUESTIONS = {"squad": 10_570, "squad2": 11_873}
ARTICLES = ("a", "an", "the")
SAMPLE = 40
"""Examples of a part."""

OWN_FILE = "text,pair,label\n" + "".join(f"Ada met Bo {n} times.,Bo met Ada {n} times.,{'yes' if n % 3 else 'no'}\n" for n in range(60))
OWN_LABELS = ("yes", "no")


@dataclass(frozen=True)
class Case:
    """A task on its built-in set. `labels` are the names of the model's outputs: the classes, the last one first."""

    name: str
    module: ModuleType
    folder: Path
    task: Any
    labels: tuple[str, ...]

    def again(self, **changes: Any) -> Any:
        """The same task, made once more."""
        return made(self.name, self.module, self.folder, self.labels, **changes)

    @property
    def classifies(self) -> bool:
        return bool(self.task.head == "sequence-classification")

    @property
    def examples(self) -> int:
        return len(self.task.dataset.labels if self.classifies else self.task.dataset.questions)


def made(name: str, module: ModuleType, folder: Path, labels: Sequence[str], **changes: Any) -> Any:
    given: dict[str, Any] = {"data": None, "tokenizer": folder, "cache": None, "labels": labels, **changes}
    if not hasattr(module, "BUILT_IN"):  # asks a file of its own
        (folder / "own.csv").write_text(OWN_FILE)
        given |= {"source": folder / "own.csv", "settings": {}}
    return module.create(TaskOptions(**given))


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WordPiece that knows every word of the built-in sets: a word is a token."""
    texts = []
    for path in sorted((ROOT / "tasks" / "samples").iterdir()):
        text = path.read_text(encoding="utf-8")
        texts.append(json.dumps(json.loads(text), ensure_ascii=False).replace("\\n", " ") if path.suffix == ".json" else text)
    normalizer, cutter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = {word for text in [*texts, OWN_FILE] for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(text))}
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *sorted(words)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, cutter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def case_of(name: str, folder: Path) -> Case:
    module = load("tasks", name) if name == WRONG else importlib.import_module(INFOS[name].module or "")
    if hasattr(module, "BUILT_IN") and not module.BUILT_IN.is_file():
        pytest.skip(f"the built-in set {module.BUILT_IN.name} is not there")
    if not hasattr(module, "BUILT_IN") and "source" not in {field.name for field in fields(TaskOptions)}:
        pytest.skip("a file of one's own cannot be asked yet")
    kind = getattr(module, "KIND", None)
    labels = tuple(reversed(kind.classes)) if kind else () if hasattr(module, "BUILT_IN") else OWN_LABELS
    return Case(name, module, folder, made(name, module, folder, labels), labels)


@pytest.fixture(scope="module", params=INFOS)
def case(request: pytest.FixtureRequest, tokenizer_folder: Path) -> Case:
    return case_of(request.param, tokenizer_folder)


# --------------------------------------------------------------------------------------------------------------------- answers


def answers_to(case: Case, right: bool) -> dict[int, Answer]:
    """Answers to every sample that are all right, or all wrong."""
    return _classes(case, right) if case.classifies else _spans(case, right)


def _classes(case: Case, right: bool) -> dict[int, Answer]:
    """Logits for the label, or for the class after it; values, or their mirror image."""
    kind, labels = case.task.kind, case.task.dataset.labels
    if not kind.classes:
        return {number: {"logits": np.array([value if right else -value], np.float32)} for number, value in enumerate(labels)}
    names = [kind.classes[(int(label) + (not right)) % len(kind.classes)] for label in labels]
    return {number: {"logits": np.array([name == label for label in case.labels], np.float32)} for number, name in enumerate(names)}


def _spans(case: Case, right: bool) -> dict[int, Answer]:
    """Logits that point at the tokens of the first right answer, in each window that has them (at [CLS] where there is none); or at a word
    that stands in no right answer."""
    tokenizer = Tokenizer.from_file(str(case.folder / "tokenizer.json"))
    given: dict[int, Answer] = {}
    for sample, number in enumerate(case.task._arrays["question"].tolist()):
        ids, segments = row(case.task, sample)
        truths = case.task.dataset.questions[number].answers
        wanted = tokenizer.encode(truths[0], add_special_tokens=False).ids if truths else []
        place = _find(ids, segments, wanted) if right else _other_word(ids, segments, truths, tokenizer)
        start, end = (np.zeros(len(ids), np.float32) for _ in range(2))
        if place is not None:
            start[place], end[place + (len(wanted) - 1 if right and wanted else 0)] = 9, 9
        given[sample] = {"start_logits": start, "end_logits": end}
    return given


def _find(ids: list[int], segments: list[int], wanted: list[int]) -> int | None:
    """Where `wanted` begins in the context, None where it does not stand there; 0 for no tokens."""
    if not wanted:
        return 0
    starts = range(segments.index(1), len(ids) - len(wanted))
    return next((place for place in starts if ids[place : place + len(wanted)] == wanted), None)


def _other_word(ids: list[int], segments: list[int], truths: Sequence[str], tokenizer: Tokenizer) -> int:
    taken = {*ARTICLES, *(word for truth in truths for word in tokenizer.encode(truth).tokens)}
    words = ((place, tokenizer.id_to_token(ids[place])) for place in range(segments.index(1), len(ids) - 1))
    return next(place for place, word in words if word.isalpha() and word not in taken)


def row(task: Any, sample: int) -> tuple[list[int], list[int]]:
    """Ids and segments of a sample."""
    begin, end = task.samples.offsets[sample : sample + 2]
    return task.samples.input_ids[begin:end].tolist(), task.samples.token_type_ids[begin:end].tolist()


# ---------------------------------------------------------------------------------------------------------------------- checks


def says_what_it_is(case: Case) -> None:
    """Name, head and outputs fit together and are what the file states; the built-in set is named so and compares with nothing."""
    task = case.task
    assert task.head == (getattr(case.module, "HEAD", "") or task.head)
    names = {"question-answering": [("start_logits", True), ("end_logits", True)], "sequence-classification": [("logits", False)]}
    assert [(output.name, output.per_token) for output in task.outputs] == names[task.head]
    assert task.name == case.name or not hasattr(case.module, "BUILT_IN")
    assert task.latency_bound_ns > 0
    assert not task.comparable
    assert task.data_name == "built-in sample set" if hasattr(case.module, "BUILT_IN") else "own.csv" in task.data_name


def samples_have_their_types(case: Case) -> None:
    """int32 ids, int8 segments, int64 offsets that ascend from 0 to the end; no sample is empty or longer than it may be."""
    samples = case.task.samples
    assert [array.dtype.name for array in (samples.input_ids, samples.token_type_ids, samples.offsets)] == ["int32", "int8", "int64"]
    assert len(samples.input_ids) == len(samples.token_type_ids) == samples.offsets[-1]
    assert samples.offsets[0] == 0
    assert samples.lengths.min() >= 3
    assert samples.lengths.max() <= samples.max_length <= 512
    assert samples.pad_id == PAD
    assert len(samples) >= case.examples >= SAMPLE


def special_tokens_are_those_of_the_tokenizer(case: Case) -> None:
    """[CLS] first, [SEP] last and between two texts, segments 0 and 1; texts of a classifier as transformers' tokenizer makes them, and
    all words known."""
    from transformers import PreTrainedTokenizerFast

    for sample in range(len(case.task.samples)):
        ids, segments = row(case.task, sample)
        cuts = [place for place, token in enumerate(ids) if token == SEP]
        assert ids[0] == CLS
        assert ids[-1] == SEP
        assert CLS not in ids[1:]
        assert len(cuts) in (1, 2)
        assert segments == [0] * (cuts[0] + 1) + [1] * (len(ids) - cuts[0] - 1)
        assert not {PAD, UNKNOWN} & set(ids)
    if case.classifies:
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
        reference = PreTrainedTokenizerFast(tokenizer_file=str(case.folder / "tokenizer.json"), **names)
        data = case.task.dataset
        texts = [list(data.first)] + ([list(data.second)] if data.second else [])
        expected = reference(*texts, truncation=True, max_length=case.task.samples.max_length, padding=False)["input_ids"]
        assert [row(case.task, sample)[0] for sample in range(len(expected))] == expected


def shorter_models_are_served(case: Case) -> None:
    """A model that takes 64 tokens is given no longer ones, and the fingerprint changes with the questions that are asked."""
    short = case.again(max_length=64)
    assert short.samples.max_length == 64
    assert short.samples.lengths.max() <= 64
    assert short.fingerprint != case.task.fingerprint
    assert case.again().fingerprint == case.task.fingerprint


def perfect_answers_score_100(case: Case) -> None:
    """Right answers score 100 points, by the names of the model's outputs and not by their order."""
    scores = case.task.score(answers_to(case, right=True))
    assert scores[case.task.metric] == pytest.approx(100)
    assert scores["examples"] == case.examples


def wrong_answers_score_low(case: Case) -> None:
    """Wrong answers score 10 points at most."""
    assert case.task.score(answers_to(case, right=False))[case.task.metric] <= 10


def points_and_correct_agree_with_the_score(case: Case) -> None:
    """On half right and half wrong answers, in any order: one point and one verdict for each example in ascending order (or none for a
    metric that has none), and the mean of the points is the metric."""
    task, right, wrong = case.task, answers_to(case, right=True), answers_to(case, right=False)
    half = set(task.subset(case.examples // 2, 3).tolist())
    mixed = {sample: right[sample] if sample in half else wrong[sample] for sample in reversed(range(len(task.samples)))}
    scores, points, correct = task.score(mixed), task.points(mixed), task.correct(mixed)
    assert len(points) in (0, scores["examples"])
    assert len(correct) in (0, scores["examples"])
    assert correct.dtype == np.bool_
    if len(points):
        assert points.mean() == pytest.approx(scores[task.metric])
        assert set(points[correct].tolist()) == {100.0}
    if len(correct):
        assert correct.mean() == pytest.approx(len(half_examples(case, half)) / case.examples)
        assert np.flatnonzero(correct).tolist() == half_examples(case, half)


def half_examples(case: Case, samples: set[int]) -> list[int]:
    """Numbers of the examples that these samples belong to."""
    return sorted(samples if case.classifies else {int(case.task._arrays["question"][sample]) for sample in samples})


def decisions_are_stable(case: Case) -> None:
    """The same answer stands for the same decision, in any order of asking; right and wrong answers stand for different ones."""
    right, wrong = answers_to(case, right=True), answers_to(case, right=False)
    chosen = case.task.subset(SAMPLE, 1).tolist()
    first = [case.task.decide(sample, right[sample]) for sample in chosen]
    second = [case.task.decide(sample, dict(right[sample])) for sample in reversed(chosen)]
    assert first == second[::-1]
    assert [case.task.decide(sample, wrong[sample]) for sample in chosen] != first


def broken_answers_are_refused(case: Case) -> None:
    """An answer that lacks an output, has another width, or holds NaN raises BackendError; no answers at all raise RunError."""
    given = dict(answers_to(case, right=True))
    name = case.task.outputs[0].name
    values = given[0][name]
    for broken in ({}, {**given[0], name: np.append(values, values)}, {**given[0], name: np.full_like(values, np.nan)}):
        with pytest.raises(BackendError):
            case.task.score(given | {0: broken})
    with pytest.raises(RunError):
        case.task.score({})


def subsets_are_deterministic(case: Case) -> None:
    """A subset is distinct samples, ascending; whole examples, as many as asked for; the same for a seed, and part of a larger one."""
    task = case.task
    chosen = task.subset(SAMPLE, 7).tolist()
    assert chosen == task.subset(SAMPLE, 7).tolist() == sorted(set(chosen))
    assert chosen != task.subset(SAMPLE, 8).tolist()
    assert set(chosen) <= set(task.subset(SAMPLE + 5, 7).tolist())
    assert task.subset(10 * case.examples, 7).tolist() == list(range(len(task.samples)))
    right = answers_to(case, right=True)
    assert task.score({sample: right[sample] for sample in chosen})["examples"] == SAMPLE


def official_set_is_recognised(case: Case) -> None:
    """Where the official file is at hand, it has the rows that the task states, and its checksum if one is stated."""
    folder = Path(os.environ.get("ASSAY_DATA") or ROOT.parent / "shared" / "data")
    files = case.module.DATASET.files if hasattr(case.module, "DATASET") else getattr(case.module, "FILES", ())
    path = next((folder / file for file in files if (folder / file).is_file()), None)
    if path is None:
        pytest.skip(f"no official file for {case.name} in {folder}")
    if hasattr(case.module, "DATASET"):
        read = glue.read(case.module.DATASET, path)
        assert len(read.labels) == case.module.DATASET.rows
        assert glue.is_official(case.module.DATASET, read)
    else:
        assert len(read_squad(path, unanswerable=case.name == "squad2").questions) == OFFICIAL_QUESTIONS[case.name]


def imports_no_other_plugin(case: Case) -> None:
    """The file imports no other task, backend, scenario or report."""
    text = Path(case.module.__file__ or "").read_text(encoding="utf-8")
    for kind in ("backends", "tasks", "scenarios", "reports"):
        assert f"from {kind}" not in text
        assert f"import {kind}" not in text


CHECKS: tuple[Callable[[Case], None], ...] = (
    says_what_it_is,
    samples_have_their_types,
    special_tokens_are_those_of_the_tokenizer,
    shorter_models_are_served,
    perfect_answers_score_100,
    wrong_answers_score_low,
    points_and_correct_agree_with_the_score,
    decisions_are_stable,
    broken_answers_are_refused,
    subsets_are_deterministic,
    official_set_is_recognised,
    imports_no_other_plugin,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_task(case: Case, check: Callable[[Case], None]) -> None:
    """The task keeps this part of the contract."""
    check(case)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_wrong_task_is_caught(check: Callable[[Case], None], tokenizer_folder: Path) -> None:
    """A task that is wrong on purpose fails each check."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(case_of(WRONG, tokenizer_folder))


@pytest.mark.parametrize("name", INFOS)
def test_file_says_what_it_is(name: str) -> None:
    """A task's file has a one-line summary and literals that can be read without importing it."""
    info = INFOS[name]
    assert not info.problem
    assert 10 < len(info.summary) < 140
    assert "tokenizers" in info.requires
    assert info.head in ("question-answering", "sequence-classification") or info.suffixes


def test_suite_sees_the_tasks() -> None:
    """The suite is not empty by accident: every task of GLUE and both of SQuAD are in it."""
    assert {name for parts in glue.COUNTED for name in parts} | {"squad", "squad2"} <= set(INFOS)
