"""SQuAD v2.0 dev against known numbers, and the reference's rules for no answer written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.core import Answer, TaskOptions
from harness.datafiles import SquadData, read_squad
from harness.squad.no_answer_scores import Judged
from harness.squad.no_answer_task import Squad2Task
from tasks import squad2

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def file(official_data: Path) -> Path:
    path = official_data / "squad" / "dev-v2.0.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


@pytest.fixture(scope="module")
def data(file: Path) -> SquadData:
    return read_squad(file, unanswerable=True)


@pytest.fixture(scope="module")
def task(file: Path, bert_tokenizer: Path) -> Squad2Task:
    return squad2.create(TaskOptions(file.parent, bert_tokenizer, None))


def test_numbers_of_the_official_set(data: SquadData) -> None:
    """11,873 questions, 5,945 of them without an answer, on 1,204 paragraphs; each right answer stands where it says."""
    assert (len(data.questions), len(data.contexts), data.misplaced) == (11_873, 1_204, 0)
    assert sum(not question.answers for question in data.questions) == 5_945


def test_questions_with_an_answer_are_those_of_v1(data: SquadData, official_data: Path) -> None:
    """All 5,928 are in the official dev-v1.1.json, letter for letter, with the same context and answers."""
    old = read_squad(official_data / "squad" / "dev-v1.1.json")
    known = {question.id: (question.text, old.contexts[question.context], question.answers) for question in old.questions}
    found = {question.id: (question.text, data.contexts[question.context], question.answers) for question in data.questions}
    answered = {name: row for name, row in found.items() if row[2]}
    assert len(answered) == 5_928
    assert all(known[name] == row for name, row in answered.items())


def test_it_is_recognised_by_its_content(file: Path, tmp_path: Path) -> None:
    """The file is official under another layout and with parts that scoring does not need, and no longer once one answer differs."""
    document = json.loads(file.read_text())
    first = document["data"][0]["paragraphs"][0]["qas"][0]
    first["plausible_answers"] = []
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(document, indent=1))
    scorer = squad2.scorer(copy)
    assert (scorer.data_name, scorer.comparable) == ("SQuAD v2.0 dev", True)
    first["answers"][0]["text"] += "."
    copy.write_text(json.dumps(document))
    scorer = squad2.scorer(copy)
    assert (scorer.data_name, scorer.comparable) == ("copy.json", False)


def test_answering_nothing(data: SquadData) -> None:
    """No answer to any question scores 5,945 of 11,873."""
    scores = Judged(data.truths, dict.fromkeys(data.truths, ""), dict.fromkeys(data.truths, 0.0)).scores()
    assert scores["f1"] == scores["exact_match"] == scores["best_f1"] == pytest.approx(100 * 5_945 / 11_873)
    assert (scores["f1_has_answer"], scores["f1_no_answer"], scores["best_f1_threshold"]) == (0.0, 100.0, 0.0)


def test_first_right_answers(data: SquadData) -> None:
    """The first right answer to each question and silence elsewhere score 100."""
    said = {name: answers[0] if answers else "" for name, answers in data.truths.items()}
    scores = Judged(data.truths, said).scores()
    assert (scores["exact_match"], scores["f1"], scores["examples"]) == (100.0, 100.0, 11_873.0)


def test_known_predictions_come_out_of_the_command(
    official_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The public predictions of the logistic regression baseline on v1.1 score EM 40.1419 and F1 50.9815; 13 questions have none, and 28
    are for no question."""
    monkeypatch.setitem(cli.VERBS, "score", "predictions made elsewhere, scored against the data")
    file = official_data / "squad" / "predictions-logistic.json"
    assert cli.main(["score", "--task", "squad", "--data", str(official_data), "--predictions", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: round(value, 4) for name, value in found["scores"].items()} == {
        "exact_match": 40.1419,
        "f1": 50.9815,
        "examples": 10_570,
    }
    assert (found["data"], found["comparable"]) == ("SQuAD v1.1 dev", True)
    assert found["counts"] == {"predictions": 10_585, "missing": 13, "unknown": 28}


def test_right_labels_score_full_points_on_glue(
    official_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words of RTE's own file are predictions as the GLUE server takes them."""
    file = official_data / "glue" / "RTE" / "dev.tsv"
    if not file.is_file():
        pytest.skip(f"no {file}")
    monkeypatch.setitem(cli.VERBS, "score", "predictions made elsewhere, scored against the data")
    labels = [line.split("\t")[3] for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    rows = "".join(f"{number}\t{label}\n" for number, label in enumerate(labels))
    (tmp_path / "RTE.tsv").write_text("index\tprediction\n" + rows)
    assert cli.main(["score", "--task", "rte", "--data", str(official_data), "--predictions", str(tmp_path / "RTE.tsv")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["scores"]["accuracy"], found["scores"]["examples"], found["data"]) == (100.0, 277.0, "RTE dev")


# --------------------------------------------------------------------------------------------------------------------- the task


@pytest.mark.model
def test_windows(task: Squad2Task) -> None:
    """12,232 windows with the uncased BERT vocabulary, length 384 and stride 128, and what the task is called."""
    assert len(task.samples) == 12_232
    assert (task.name, task.data_name, task.comparable, task.dataset.misplaced) == ("squad2", "SQuAD v2.0 dev", True, 0)


@pytest.mark.model
@pytest.mark.parametrize("decimals", [6, 0])
def test_no_answer_scores_are_those_of_the_reference_rules(task: Squad2Task, decimals: int) -> None:
    """For random logits, and for rounded ones full of ties, score_null minus the best pair, from the lists of run_squad.py, for every
    question with more than one window and 200 others; above 0 the text is empty."""
    rng = np.random.default_rng(11)
    numbers = task._arrays["question"]
    windows = np.bincount(numbers)
    chosen = np.union1d(np.flatnonzero(windows > 1), rng.choice(len(windows), 200, replace=False))
    answers: dict[int, Answer] = {}
    for sample in np.flatnonzero(np.isin(numbers, chosen)).tolist():
        start, end = rng.normal(size=(2, int(task.samples.lengths[sample]))).round(decimals).astype(np.float32)
        start[0] += 3
        answers[sample] = {"start_logits": start, "end_logits": end}
    found, texts = task.candidates(answers), task.predictions(answers)
    assert len(found) == len(chosen)
    silent = 0
    for number in chosen.tolist():
        expected = reference_difference(task, np.flatnonzero(numbers == number).tolist(), answers)
        text, score = found[task.dataset.questions[number].id]
        assert score == expected
        assert texts[task.dataset.questions[number].id] == ("" if expected > 0.0 else text)
        silent += expected > 0.0
    assert 0 < silent < len(chosen)
    assert task.score(answers)["examples"] == len(task.points(answers)) == len(task.correct(answers)) == len(chosen)


def reference_difference(task: Squad2Task, samples: list[int], answers: dict[int, Answer]) -> float:
    """score_null - best_non_null_entry of write_predictions, over the windows of one question."""
    score_null = 1_000_000.0
    pairs: list[float] = []
    for sample in samples:
        start, end = ([float(value) for value in answers[sample][name]] for name in ("start_logits", "end_logits"))
        score_null = min(score_null, start[0] + end[0])
        begin = int(task.samples.offsets[sample])
        first, size = int(task._arrays["first"][sample]), int(task._arrays["size"][sample])
        best: list[Any] = [sorted(range(len(values)), key=values.__getitem__, reverse=True)[:20] for values in (start, end)]
        for low in best[0]:
            for high in best[1]:
                inside = first <= low <= high < first + size and high - low < 30
                if inside and task._arrays["max_context"][begin + low]:
                    pairs.append(start[low] + end[high])
    return score_null - max(pairs, default=0.0)
