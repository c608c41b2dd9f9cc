"""SQuAD v1.1 dev against known answers: feature checksums, a published score, and the reference's rules written out."""

from __future__ import annotations

import collections
import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import summary
from harness.batching import CPU_TOKENS, Policy
from harness.core import Answer, Limits, TaskOptions, Traffic
from harness.testing import simulate
from tasks import squad

pytestmark = [pytest.mark.data, pytest.mark.model]


@pytest.fixture(scope="module")
def task(official_data: Path, bert_tokenizer: Path) -> squad.SquadTask:
    made = squad.create(TaskOptions(official_data / "squad", bert_tokenizer, None))
    assert isinstance(made, squad.SquadTask)
    return made


def checksum(task: squad.SquadTask, flat: Any) -> str:
    """sha256 of a ragged array, padded with 0 to 384 columns of little-endian int64."""
    padded = np.zeros((len(task.samples), 384), "<i8")
    padded[np.arange(384) < task.samples.lengths[:, None]] = flat
    return hashlib.sha256(padded.tobytes()).hexdigest()


def test_features_are_those_of_the_mlperf_reference(task: squad.SquadTask) -> None:
    """10,833 windows with the ids, masks and segments of the MLPerf reference implementation, bit for bit."""
    assert len(task.samples) == 10_833
    assert checksum(task, task.samples.input_ids) == "f609d67b7861d608c2ba727120129456be5363e25db68706f8c19f7d3509da80"
    assert checksum(task, 1) == "ea96d8ca05e59b378b569fc528ac07df25978a7525c111673ab22b8476bb8fc1"
    assert checksum(task, task.samples.token_type_ids) == "6bab439e3cba91aadc74029e9376e26641f20dccc4b3a3d08fae2671fa6da15b"


def test_windows_per_question(task: squad.SquadTask) -> None:
    """Questions by number of windows, as counted from the reference."""
    windows = np.bincount(task._arrays["question"])
    assert dict(collections.Counter(windows.tolist())) == {1: 10_387, 2: 127, 3: 36, 4: 16, 5: 4}


def test_what_it_is(task: squad.SquadTask) -> None:
    """The official file is recognised, and all its answers stand where it says."""
    assert (task.data_name, task.comparable, task.dataset.misplaced) == ("SQuAD v1.1 dev", True, 0)
    assert (task.samples.pad_id, task.samples.max_length, task.latency_bound_ns) == (0, 384, 130_000_000)


def test_offline_computes_hardly_any_padding(task: squad.SquadTask) -> None:
    """With the defaults on a CPU 1.93 % of all tokens computed over one pass are padding, without a limit of tokens 2.07 %; MLPerf's way,
    everything padded to 384, has 53.5 %."""
    traffic = Traffic(np.zeros(10_833, np.int64), np.arange(10_833, dtype=np.int32), np.zeros(10_833, np.int64), Limits(0, 1))
    shares = []
    for policy in (Policy(max_tokens=CPU_TOKENS), Policy(), Policy("fixed")):
        columns = simulate(traffic, policy, len, lengths=task.samples.lengths, max_length=384)
        shares.append(summary.throughput(columns, task.samples, policy)["padding_share"])
    assert shares == pytest.approx([0.0193, 0.0207, 0.5352], abs=0.00005)


def test_published_score(task: squad.SquadTask, official_data: Path) -> None:
    """The public predictions of the logistic regression baseline score EM 40.1419 and F1 50.9815 over all 10,570 questions."""
    predictions = json.loads((official_data / "squad" / "predictions-logistic.json").read_text())
    scores = squad.score_predictions(task.dataset, predictions)
    assert {name: round(value, 4) for name, value in scores.items()} == {"exact_match": 40.1419, "f1": 50.9815, "examples": 10_570}


def test_missing_predictions_count_zero(task: squad.SquadTask) -> None:
    """One right answer out of 10,570 scores 100 / 10,570."""
    question = task.dataset.questions[77]
    scores = squad.score_predictions(task.dataset, {question.id: question.answers[0]})
    assert scores["f1"] == scores["exact_match"] == pytest.approx(100 / 10_570)


# ------------------------------------------------------------------------------------- the reference's rules, written out again


def basic_tokens(text: str) -> list[str]:
    """BasicTokenizer of the original BERT, uncased."""

    def apart(character: str) -> bool:
        code = ord(character)
        ascii_symbol = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
        return ascii_symbol or unicodedata.category(character).startswith("P")

    def chinese(character: str) -> bool:
        ranges = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
        return any(low <= ord(character) <= high for low, high in ranges)

    clean = "".join(
        " " if character in " \t\n\r" or unicodedata.category(character) == "Zs" else character
        for character in text
        if character in "\t\n\r" or not (character in "\0\ufffd" or unicodedata.category(character).startswith("C"))
    )
    clean = "".join(f" {character} " if chinese(character) else character for character in clean)
    plain = "".join(character for character in unicodedata.normalize("NFD", clean.lower()) if unicodedata.category(character) != "Mn")
    return "".join(f" {character} " if apart(character) else character for character in plain).split()


def final_text(pred_text: str, orig_text: str) -> str:
    """get_final_text of run_squad.py."""

    def strip_spaces(text: str) -> tuple[str, dict[int, int]]:
        places = [place for place, character in enumerate(text) if character != " "]
        return "".join(text[place] for place in places), dict(enumerate(places))

    tok_text = " ".join(basic_tokens(orig_text))
    start = tok_text.find(pred_text)
    if start == -1:
        return orig_text
    end = start + len(pred_text) - 1
    orig_ns_text, orig_ns_to_s = strip_spaces(orig_text)
    tok_ns_text, tok_ns_to_s = strip_spaces(tok_text)
    if len(orig_ns_text) != len(tok_ns_text):
        return orig_text
    tok_s_to_ns = {place: number for number, place in tok_ns_to_s.items()}
    if start not in tok_s_to_ns or end not in tok_s_to_ns:
        return orig_text
    return orig_text[orig_ns_to_s[tok_s_to_ns[start]] : orig_ns_to_s[tok_s_to_ns[end]] + 1]


def reference_answer(task: squad.SquadTask, number: int, answers: dict[int, Answer]) -> str:
    """write_predictions of run_squad.py for one question, from the input ids alone: windows are found by their [SEP], owners by tokenising
    word by word again, maximum context by comparing all windows."""
    tokenizer = task._vocabulary.tokenizer
    words = task.dataset.contexts[task.dataset.questions[number].context].replace("\u202f", " ").split(" ")
    words = [word for part in words for word in part.replace("\t", " ").replace("\r", " ").replace("\n", " ").split(" ") if word]
    owners = [owner for owner, word in enumerate(words) for _ in tokenizer.encode(word, add_special_tokens=False).ids]
    windows = []
    start = 0
    for sample in np.flatnonzero(task._arrays["question"] == number).tolist():
        cut = slice(*task.samples.offsets[sample : sample + 2])
        ids = task.samples.input_ids[cut].tolist()
        first = ids.index(102) + 1
        size = len(ids) - first - 1
        windows.append((sample, ids, first, start, size))
        start += min(size, 128)

    def is_max_context(number: int, position: int) -> bool:
        best = max(
            (
                (min(position - s, s + size - 1 - position) + 0.01 * size, -n)
                for n, (_, _, _, s, size) in enumerate(windows)
                if s <= position < s + size
            )
        )
        return -best[1] == number

    pairs = []
    for place, (sample, ids, first, start, size) in enumerate(windows):
        logits = [answers[sample][name].tolist() for name in ("start_logits", "end_logits")]
        ranked = [sorted(range(len(ids)), key=lambda i: -values[i])[:20] for values in logits]
        for s in ranked[0]:
            if not first <= s < first + size or not is_max_context(place, s - first + start):
                continue
            for e in ranked[1]:
                if s <= e < first + size and e - s < 30:
                    pairs.append((logits[0][s] + logits[1][e], ids[s : e + 1], owners[s - first + start], owners[e - first + start]))
    if not pairs:
        return "empty"
    _, ids, low, high = sorted(pairs, key=lambda pair: pair[0], reverse=True)[0]
    text = " ".join(tokenizer.id_to_token(i) for i in ids).replace(" ##", "").replace("##", "")
    return final_text(" ".join(text.split()), " ".join(words[low : high + 1]))


@pytest.mark.parametrize("decimals", [6, 0])
def test_answers_are_those_of_the_reference_rules(task: squad.SquadTask, decimals: int) -> None:
    """For random logits, and for rounded ones full of ties, the texts are those of the rules written out, for every question with more
    than one window and a thousand others."""
    rng = np.random.default_rng(7)
    windows = np.bincount(task._arrays["question"])
    chosen = np.union1d(np.flatnonzero(windows > 1), rng.choice(len(windows), 1000, replace=False))
    answers: dict[int, Answer] = {}
    for sample in np.flatnonzero(np.isin(task._arrays["question"], chosen)).tolist():
        shape = (2, int(task.samples.lengths[sample]))
        start, end = rng.normal(size=shape).round(decimals).astype(np.float32)
        answers[sample] = {"start_logits": start, "end_logits": end}
    expected = {task.dataset.questions[number].id: reference_answer(task, number, answers) for number in chosen.tolist()}
    assert task.predictions(answers) == expected
    assert task.score(answers)["examples"] == len(chosen)


def test_right_spans_score_high(task: squad.SquadTask) -> None:
    """Logits that point at the tokens of the first right answer, in each window that has them, score F1 99.75: what is lost are answers of
    more than 30 tokens and those that begin or end inside a token."""
    arrays = task._arrays
    raw = json.loads(task.dataset.path.read_bytes())
    starts = [qa["answers"][0]["answer_start"] for article in raw["data"] for part in article["paragraphs"] for qa in part["qas"]]
    encodings = task._vocabulary.tokenizer.encode_batch(list(task.dataset.contexts), add_special_tokens=False)
    offsets = [np.array(encoding.offsets) for encoding in encodings]
    answers: dict[int, Answer] = {}
    for sample, number in enumerate(arrays["question"].tolist()):
        question = task.dataset.questions[number]
        low, high = starts[number], starts[number] + len(question.answers[0])
        begin = arrays["start"][sample]
        spans = offsets[question.context][begin : begin + arrays["size"][sample]]
        inside = np.flatnonzero((spans[:, 1] > low) & (spans[:, 0] < high))
        answers[sample] = {name: np.zeros(task.samples.lengths[sample], np.float32) for name in ("start_logits", "end_logits")}
        if len(inside) and spans[inside[0], 0] <= low and spans[inside[-1], 1] >= high:
            answers[sample]["start_logits"][inside[0] + arrays["first"][sample]] = 5
            answers[sample]["end_logits"][inside[-1] + arrays["first"][sample]] = 5
    assert task.score(answers)["f1"] == pytest.approx(99.75, abs=0.01)
