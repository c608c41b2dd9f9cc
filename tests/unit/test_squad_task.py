"""The task `squad` on small made-up files, for tokenizers of three families."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tokenizers
from tokenizers import Tokenizer

from harness.core import Answer, TaskOptions
from harness.errors import BackendError, DataError, MissingError, RunError, UsageError
from tasks import squad

CONTEXTS = ["The Rhine flows north through Cologne, past old bridges.", "It rises in the Swiss Alps (near Andermatt)!"]
QUESTIONS = [
    ("q1", "Which river flows north?", 0, "The Rhine"),
    ("q2", " What does it pass?", 0, "old bridges"),
    ("q3", "Where?", 1, "Andermatt"),
]


def document(contexts: list[str], questions: list[tuple[str, str, int, str]]) -> dict[str, Any]:
    return {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": context,
                        "qas": [
                            {"id": name, "question": text, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
                            for name, text, owner, answer in questions
                            if owner == number
                        ],
                    }
                    for number, context in enumerate(contexts)
                ]
            }
        ]
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rivers.json"
    path.write_text(json.dumps(document(CONTEXTS, QUESTIONS)))
    return path


def create(data: Path | None, folder: Path, max_length: int | None = None, cache: Path | None = None) -> squad.SquadTask:
    task = squad.create(TaskOptions(data, folder, cache, max_length=max_length))
    assert isinstance(task, squad.SquadTask)
    return task


def silent(task: squad.SquadTask, sample: int) -> Answer:
    return {output.name: np.zeros(task.samples.lengths[sample], np.float32) for output in task.outputs}


def pointing(task: squad.SquadTask, sample: int, start: int, end: int) -> Answer:
    answer = silent(task, sample)
    answer["start_logits"][start] = answer["end_logits"][end] = 5
    return answer


def row(task: squad.SquadTask, sample: int) -> tuple[list[int], list[int]]:
    cut = slice(*task.samples.offsets[sample : sample + 2])
    return task.samples.input_ids[cut].tolist(), task.samples.token_type_ids[cut].tolist()


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
def test_short_inputs_are_the_pair_of_the_tokenizer(tmp_path: Path, data: Path, family: str) -> None:
    """A question whose context fits is encoded exactly as the tokenizer encodes the pair, special tokens and segments included."""
    tokenizer = tiny_tokenizers.FAMILIES[family](tmp_path)
    task = create(data, tmp_path)
    assert len(task.samples) == 3
    for sample, (_, question, context, _) in enumerate(QUESTIONS):
        pair = tokenizer.encode(question.lstrip(), CONTEXTS[context])
        assert row(task, sample) == (pair.ids, pair.type_ids)


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
@pytest.mark.parametrize("filler", [0, 400])
def test_every_answer_can_be_said(tmp_path: Path, data: Path, family: str, filler: int) -> None:
    """Logits that point at the tokens of the right answer score 100, in one window and in several."""
    tokenizer = tiny_tokenizers.FAMILIES[family](tmp_path)
    contexts = ["bridge " * filler + context + " north" * filler for context in CONTEXTS]
    data.write_text(json.dumps(document(contexts, QUESTIONS)))
    task = create(data, tmp_path)
    assert task.samples.lengths.max() <= 384
    assert len(task.samples) == 3 if not filler else len(task.samples) > 9
    answers = {sample: silent(task, sample) for sample in range(len(task.samples))}
    for name, _, context, truth in QUESTIONS:
        sample, start, end = locate(task, tokenizer, name, contexts[context], truth)
        answers[sample] = pointing(task, sample, start, end)
        assert task.decide(sample, answers[sample]) == (start, end)
    assert task.predictions(answers) == {name: truth for name, _, _, truth in QUESTIONS}
    assert task.score(answers) == {"exact_match": 100.0, "f1": 100.0, "examples": 3.0}


def locate(task: squad.SquadTask, tokenizer: Tokenizer, name: str, context: str, truth: str) -> tuple[int, int, int]:
    """Sample and positions of the tokens of `truth`, in the first window that has all of them with maximum context at the start."""
    begin, end = context.index(truth), context.index(truth) + len(truth)
    encoding = tokenizer.encode(context, add_special_tokens=False)
    spans = [(last - len(context[first:last].lstrip()), last) for first, last in encoding.offsets]
    tokens = [number for number, (first, last) in enumerate(spans) if begin <= first < last <= end]
    arrays = task._arrays
    (wanted,) = [number for number, question in enumerate(task.dataset.questions) if question.id == name]
    for sample in np.flatnonzero(arrays["question"] == wanted).tolist():
        shift = int(arrays["first"][sample] - arrays["start"][sample])
        inside = arrays["start"][sample] <= tokens[0] and tokens[-1] < arrays["start"][sample] + arrays["size"][sample]
        if inside and arrays["max_context"][task.samples.offsets[sample] + tokens[0] + shift]:
            return sample, tokens[0] + shift, tokens[-1] + shift
    raise AssertionError("the answer is in no window")


def test_answers_are_cut_to_what_the_tokens_say(tmp_path: Path, data: Path) -> None:
    """A WordPiece answer is projected back into its words: punctuation that was not chosen falls away, case returns."""
    tokenizer = tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path)
    tokens = [tokenizer.id_to_token(token) for token in row(task, 2)[0]]
    start, end = tokens.index("("), tokens.index(")")
    answers = {2: pointing(task, 2, start + 1, end - 1)}
    assert task.predictions(answers) == {"q3": "near Andermatt"}
    answers = {2: pointing(task, 2, start, end)}
    assert task.predictions(answers) == {"q3": "(near Andermatt)"}


def test_no_valid_pair_is_the_answer_empty(tmp_path: Path, data: Path) -> None:
    """Where no pair is valid the decision is None and the text is the reference's literal "empty"."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path)
    length = int(task.samples.lengths[2])
    falling = np.arange(length, dtype=np.float32)
    answer = {"start_logits": falling, "end_logits": -falling}
    assert length > 40
    assert task.decide(2, answer) is None
    assert task.predictions({2: answer}) == {"q3": "empty"}
    assert task.score({2: answer}) == {"exact_match": 0.0, "f1": 0.0, "examples": 1.0}


def test_only_complete_questions_count(tmp_path: Path, data: Path) -> None:
    """A question with a window that was not answered is left out of the score; no complete question is an error."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path, 40)
    windows = np.flatnonzero(task._arrays["question"] == 0).tolist()
    assert len(windows) > 1
    answers = {sample: silent(task, sample) for sample in range(len(task.samples))}
    assert task.score(answers)["examples"] == 3
    del answers[windows[-1]]
    assert task.score(answers)["examples"] == 2
    assert "q1" not in task.predictions(answers)
    with pytest.raises(RunError, match="nothing to score"):
        task.score({windows[0]: answers[windows[0]]})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda answer: answer.pop("end_logits"), "has no end_logits"),
        (lambda answer: answer.update(start_logits=answer["start_logits"][:-1]), "expected floating point of shape"),
        (lambda answer: answer.update(start_logits=answer["start_logits"].astype(int)), "is int64 of shape"),
        (lambda answer: answer["start_logits"].__setitem__(3, np.nan), "start_logits of sample 0 holds NaN"),
    ],
)
def test_what_is_no_answer_is_an_error(tmp_path: Path, data: Path, damage: Callable[[Any], object], says: str) -> None:
    """An answer without an output, of another shape or type, or with NaN is refused with the number of the sample."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path)
    answer = dict(silent(task, 0))
    damage(answer)
    with pytest.raises(BackendError, match=says):
        task.decide(0, answer)
    with pytest.raises(BackendError, match=says):
        task.score({0: answer})


def test_subset_is_whole_questions(tmp_path: Path, data: Path) -> None:
    """A subset has all windows of as many questions as asked for, depends on the seed, grows with the count, and ends at all of them."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path, 40)
    question = task._arrays["question"]
    some = task.subset(2, seed=1)
    assert len(set(question[some])) == 2
    assert some.tolist() == np.flatnonzero(np.isin(question, question[some])).tolist()
    assert set(task.subset(1, seed=1)) < set(some)
    assert task.subset(2, seed=1).tolist() == some.tolist()
    assert len({tuple(task.subset(1, seed=seed)) for seed in range(20)}) == 3
    assert task.subset(99, seed=1).tolist() == list(range(len(task.samples)))
    with pytest.raises(UsageError):
        task.subset(0, seed=1)


def test_question_is_cut_at_64_tokens(tmp_path: Path) -> None:
    """Of a longer question only the first 64 tokens are asked."""
    tiny_tokenizers.wordpiece(tmp_path)
    path = tmp_path / "long.json"
    path.write_text(json.dumps(document(["old bridge"], [("q", "rhine " * 80, 0, "old")])))
    ids, _ = row(create(path, tmp_path), 0)
    assert len(ids) == 1 + 64 + 1 + 2 + 1


def test_no_room_for_the_context(tmp_path: Path, data: Path) -> None:
    """A model that takes too few tokens is an error that names the question."""
    tiny_tokenizers.wordpiece(tmp_path)
    with pytest.raises(UsageError, match="a maximum length of 10 tokens leaves no room"):
        create(data, tmp_path, 10)


def test_context_without_tokens(tmp_path: Path) -> None:
    """A context of which the tokenizer leaves nothing is an error, not a question that is never asked."""
    tiny_tokenizers.wordpiece(tmp_path)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(document(["old bridge", "\u200b"], [("a", "what", 0, "old"), ("b", "what", 1, "\u200b")])))
    with pytest.raises(DataError, match="context 1 gives no tokens"):
        create(path, tmp_path)


def test_folders(tmp_path: Path, data: Path) -> None:
    """dev-v1.1.json is found in the folder and in its squad/; what is not official compares with nothing."""
    tiny_tokenizers.wordpiece(tmp_path)
    (tmp_path / "squad").mkdir()
    data.rename(tmp_path / "squad" / "dev-v1.1.json")
    for folder in (tmp_path, tmp_path / "squad"):
        task = create(folder, tmp_path)
        assert (task.data_name, task.comparable, len(task.samples)) == ("dev-v1.1.json", False, 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match=r"holds none of dev-v1\.1\.json, squad/dev-v1\.1\.json"):
        create(tmp_path / "empty", tmp_path)


def test_fingerprint_and_cache(tmp_path: Path, data: Path) -> None:
    """Equal data, vocabulary and settings give one fingerprint and one cache file; a change of any of them another."""
    tiny_tokenizers.wordpiece(tmp_path)
    cache = tmp_path / "cache"
    first, second = create(data, tmp_path, cache=cache), create(data, tmp_path, cache=cache)
    assert (first.cache_note, second.cache_note[:9]) == ("built", "read from")
    assert first.fingerprint == second.fingerprint
    for name, array in first._arrays.items():
        np.testing.assert_array_equal(array, second._arrays[name])
    shorter = create(data, tmp_path, 60, cache)
    tiny_tokenizers.byte_bpe(tmp_path)
    other_vocabulary = create(data, tmp_path, cache=cache)
    data.write_text(json.dumps(document(CONTEXTS, QUESTIONS[:2])))
    other_data = create(data, tmp_path, cache=cache)
    assert len({task.fingerprint for task in (first, shorter, other_vocabulary, other_data)}) == 4
    assert len(list(cache.iterdir())) == 4


def test_task_survives_pickling(tmp_path: Path, data: Path) -> None:
    """A task sent to another process answers the same."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path)
    answers = {sample: pointing(task, sample, 20, 22) for sample in range(3)}
    assert pickle.loads(pickle.dumps(task)).predictions(answers) == task.predictions(answers)


def test_score_predictions_counts_missing_questions(tmp_path: Path, data: Path) -> None:
    """Texts by question id are scored over all questions."""
    tiny_tokenizers.wordpiece(tmp_path)
    task = create(data, tmp_path)
    assert squad.score_predictions(task.dataset, {"q1": "Rhine"}) == pytest.approx({"exact_match": 100 / 3, "f1": 100 / 3, "examples": 3})
