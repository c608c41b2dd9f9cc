"""The task `squad2` on small made-up files: no-answer scores, the threshold, and what it shares with `squad`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tokenizers

from harness.core import Answer, TaskOptions
from harness.datafiles import read_squad
from harness.errors import BackendError, DataError, RunError
from harness.squad.answers import null_score
from harness.squad.no_answer_task import NO_ANSWER, Squad2Task
from tasks import squad, squad2

CONTEXT = "The Rhine flows north through Cologne, past old bridges."


def document(repeat: int = 1) -> dict[str, Any]:
    """q1 has an answer, q2 has none; `repeat` makes the context longer."""
    context = "bridge " * (repeat - 1) + CONTEXT
    answers = [{"text": "The Rhine", "answer_start": context.index("The Rhine")}]
    qas = [
        {"id": "q1", "question": "Which river flows north?", "answers": answers, "is_impossible": False},
        {"id": "q2", "question": "Which river flows south?", "answers": [], "is_impossible": True, "plausible_answers": answers},
    ]
    return {"version": "v2.0", "data": [{"title": "Rivers", "paragraphs": [{"context": context, "qas": qas}]}]}


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "rivers.json"
    path.write_text(json.dumps(content, indent=1))
    return path


def create(folder: Path, content: dict[str, Any], max_length: int | None = None, cache: Path | None = None) -> Squad2Task:
    tiny_tokenizers.wordpiece(folder)
    return squad2.create(TaskOptions(write(folder, content), folder, cache, max_length=max_length))


@pytest.fixture
def task(tmp_path: Path) -> Squad2Task:
    return create(tmp_path, document())


def answer(task: Squad2Task, sample: int, null: float, span: tuple[int, int] | None = None, score: float = 4.0) -> Answer:
    """Logits whose [CLS] sums to `null` and whose `span` sums to `score`; all else is low."""
    start, end = (np.full(task.samples.lengths[sample], -20.0, np.float32) for _ in range(2))
    start[0], end[0] = null / 4, 3 * null / 4
    if span is not None:
        start[span[0]], end[span[1]] = score / 2, score / 2
    return {"start_logits": start, "end_logits": end}


def rhine(task: Squad2Task, sample: int) -> tuple[int, int]:
    """Positions of "The Rhine": the first two tokens of the short context."""
    first = int(task._arrays["first"][sample])
    return first, first + 1


def test_null_score_is_the_sum_at_the_first_token() -> None:
    """Start and end logit of [CLS], summed in double precision."""
    half = np.array([60000.0, 1.0], np.float16)
    assert null_score(half, half) == 120000.0
    assert null_score(np.array([1.5, 9.0], np.float32), np.array([-4.0, 9.0], np.float32)) == -2.5


@pytest.mark.parametrize(("null", "text"), [(3.9, "The Rhine"), (4.0, "The Rhine"), (4.1, "")])
def test_threshold_is_zero(task: Squad2Task, null: float, text: str) -> None:
    """The best span is the answer until the null score exceeds its score; a tie is answered."""
    given = {0: answer(task, 0, null, rhine(task, 0))}
    assert task.predictions(given) == {"q1": text}
    (found, score), (decided,) = task.candidates(given)["q1"], [task.decide(0, given[0])]
    assert (found, score) == ("The Rhine", pytest.approx(null - 4.0, abs=1e-6))
    assert decided == (rhine(task, 0) if text else NO_ANSWER)


def test_scores(task: Squad2Task) -> None:
    """A right answer and a right silence score 100; the best threshold is the score of the question that has to be answered."""
    given = {0: answer(task, 0, -2.0, rhine(task, 0)), 1: answer(task, 1, 7.0, rhine(task, 1))}
    assert task.score(given) == {
        "exact_match": 100.0,
        "f1": 100.0,
        "examples": 2.0,
        "exact_match_has_answer": 100.0,
        "f1_has_answer": 100.0,
        "examples_has_answer": 1.0,
        "exact_match_no_answer": 100.0,
        "f1_no_answer": 100.0,
        "examples_no_answer": 1.0,
        "best_exact_match": 100.0,
        "best_exact_match_threshold": -6.0,
        "best_f1": 100.0,
        "best_f1_threshold": -6.0,
    }


def test_best_threshold_is_found_above_zero_too(task: Squad2Task) -> None:
    """Texts before the threshold are what the best threshold is found over: one of 2.0 would answer q1 and not q2; the score keeps 0.0."""
    given = {0: answer(task, 0, 6.0, rhine(task, 0)), 1: answer(task, 1, 9.0, rhine(task, 1))}
    scores = task.score(given)
    assert (scores["f1"], scores["f1_has_answer"], scores["best_f1"], scores["best_f1_threshold"]) == (50.0, 0.0, 100.0, 2.0)


def test_points_and_correct_are_of_the_same_questions(task: Squad2Task) -> None:
    """One entry for each question, in their order; the mean of the points is F1, and correct is an exact match after the threshold."""
    first = int(task._arrays["first"][0])
    given = {1: answer(task, 1, 9.0, rhine(task, 1)), 0: answer(task, 0, 0.0, (first + 1, first + 3))}
    assert task.predictions(given) == {"q1": "Rhine flows", "q2": ""}
    assert task.points(given).tolist() == pytest.approx([200 / 3, 100.0])
    assert task.correct(given).tolist() == [False, True]
    assert task.score(given)["f1"] == pytest.approx(task.points(given).mean())


def test_answered_tells_texts_apart(task: Squad2Task) -> None:
    """Equal numbers are equal texts: silence is silence for both questions, an answer is another number."""
    quiet = {sample: answer(task, sample, 9.0, rhine(task, sample)) for sample in (0, 1)}
    loud = {**quiet, 0: answer(task, 0, 0.0, rhine(task, 0))}
    assert len(set(task.answered(quiet).tolist())) == 1
    assert (task.answered(loud) != task.answered(quiet)).tolist() == [True, False]


def test_null_score_is_the_lowest_of_the_windows(tmp_path: Path) -> None:
    """Over several windows the lowest null score and the best span count, wherever they are; a missing window leaves the question out."""
    task = create(tmp_path, document(repeat=60), max_length=40)
    windows = np.flatnonzero(task._arrays["question"] == 0).tolist()
    assert len(windows) > 2
    given = {window: answer(task, window, 50.0) for window in windows}
    last = windows[-1]
    end = int(task._arrays["first"][last] + task._arrays["size"][last]) - 1
    given[last] = answer(task, last, 50.0, (end, end), score=6.0)
    given[windows[1]] = answer(task, windows[1], 3.5)
    text, score = task.candidates(given)["q1"]
    assert (text, score) == (".", pytest.approx(-2.5))
    del given[windows[0]]
    assert task.candidates(given) == {}
    with pytest.raises(RunError, match="nothing to score"):
        task.score(given)


def test_no_valid_pair(task: Squad2Task) -> None:
    """Where no pair is valid the span is the references' "empty" of score 0, and the decision of the window is None."""
    falling = np.arange(task.samples.lengths[0], dtype=np.float32)
    given = {0: {"start_logits": falling, "end_logits": 20 - falling}}
    assert task.decide(0, given[0]) is None
    assert task.candidates(given) == {"q1": ("empty", 20.0)}
    assert task.predictions(given) == {"q1": ""}


def test_infinite_logits_are_an_error(task: Squad2Task) -> None:
    """A no-answer score that is no number is refused, not sorted."""
    given = {0: answer(task, 0, -np.inf, rhine(task, 0))}
    with pytest.raises(BackendError, match="sample 0 give the no-answer score -inf"):
        task.score(given)


def test_same_features_as_squad(tmp_path: Path) -> None:
    """A file in which every question has an answer gives the same windows in both tasks, under another fingerprint."""
    content = document()
    content["data"][0]["paragraphs"][0]["qas"].pop()
    second = create(tmp_path, content)
    first = squad.create(TaskOptions(tmp_path / "rivers.json", tmp_path, None))
    for name, array in first._arrays.items():
        np.testing.assert_array_equal(array, second._arrays[name])
    assert first.fingerprint != second.fingerprint
    assert (first.name, second.name, second.metric) == ("squad", "squad2", "f1")


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """Titles, plausible answers and layout change no fingerprint; a question, an answer or the context does."""
    plain = create(tmp_path, document(), cache=tmp_path / "cache")
    other = document()
    other["data"][0]["title"] = "Streams"
    del other["data"][0]["paragraphs"][0]["qas"][1]["plausible_answers"]
    same = create(tmp_path, other, cache=tmp_path / "cache")
    assert same.fingerprint == plain.fingerprint
    assert same.cache_note.startswith("read from")
    changed = document()
    changed["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["text"] = "The Rhin"
    assert create(tmp_path, changed).fingerprint != plain.fingerprint
    assert (same.data_name, same.comparable) == ("rivers.json", False)


def test_subset_is_whole_questions(tmp_path: Path) -> None:
    """All windows of one question."""
    task = create(tmp_path, document(repeat=60), max_length=40)
    assert len(set(task._arrays["question"][task.subset(1, seed=3)])) == 1
    assert task.subset(9, seed=3).tolist() == list(range(len(task.samples)))


# ------------------------------------------------------------------------------------------------------------------------- data


def test_squad_wants_an_answer_to_each_question(tmp_path: Path) -> None:
    """A file of v2.0 is refused by v1.1, with the place and the cure."""
    with pytest.raises(DataError, match=r"qas\[1\].answers is empty") as caught:
        read_squad(write(tmp_path, document()))
    assert "SQuAD v2.0" in caught.value.cure
    assert read_squad(tmp_path / "rivers.json", unanswerable=True).truths == {"q1": ("The Rhine",), "q2": ()}


@pytest.mark.parametrize(
    ("place", "says"), [(0, "is true, and the question has answers"), (1, "is false, and the question has no answers")]
)
def test_is_impossible_agrees_with_the_answers(tmp_path: Path, place: int, says: str) -> None:
    """A question that is said to have no answer and has one, or the other way round, is refused with line and path."""
    content = document()
    qas = content["data"][0]["paragraphs"][0]["qas"]
    qas[place]["is_impossible"] = not qas[place]["is_impossible"]
    with pytest.raises(DataError, match=rf"rivers\.json:\d+:\d+: data\[0\]\.paragraphs\[0\]\.qas\[{place}\]\.is_impossible {says}"):
        read_squad(write(tmp_path, content), unanswerable=True)
    del qas[place]["is_impossible"]
    assert len(read_squad(write(tmp_path, content), unanswerable=True).questions) == 2


@pytest.mark.skipif(not squad2.BUILT_IN.is_file(), reason="no built-in sample set of squad2")
def test_built_in_set(tmp_path: Path) -> None:
    """At least 100 questions with and without an answer, right answers where they say, and no name that an official set could have."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = squad2.create(TaskOptions(None, tmp_path, None))
    answers = [len(question.answers) for question in task.dataset.questions]
    assert len(answers) >= 100
    assert 0.3 * len(answers) <= answers.count(0) <= 0.7 * len(answers)
    assert task.dataset.misplaced == 0
    assert (task.data_name, task.comparable) == ("built-in sample set", False)
