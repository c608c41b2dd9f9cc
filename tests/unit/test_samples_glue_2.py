"""The built-in sample sets of QNLI, RTE, WNLI and SQuAD v2.0: official layouts, balanced, and not a sentence of the official files."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "tasks" / "samples"
ENTAILMENT = ("entailment", "not_entailment")
HEADERS = {
    "qnli": ("index", "question", "sentence", "label"),
    "rte": ("index", "sentence1", "sentence2", "label"),
    "wnli": ("index", "sentence1", "sentence2", "label"),
}
CLASSES = {"qnli": ENTAILMENT, "rte": ENTAILMENT, "wnli": ("0", "1")}
SIZES = {"qnli": 124, "rte": 120, "wnli": 120}
EVERY_SET = pytest.mark.parametrize("name", sorted(HEADERS))


def rows(name: str) -> list[list[str]]:
    """Fields of each example, without header."""
    lines = (SAMPLES / f"{name}.tsv").read_bytes().decode("utf-8").split("\n")
    return [line.split("\t") for line in lines[1:-1]]


def texts(name: str) -> list[tuple[str, str]]:
    """The two texts of each example."""
    return [(row[1], row[2]) for row in rows(name)]


def plain(text: str) -> str:
    """Letters and digits of a text in lower case: spacing, case and punctuation do not make a sentence another one."""
    return "".join(character for character in text.lower() if character.isalnum())


def squad_paragraphs(path: Path) -> list[dict[str, Any]]:
    """Paragraphs of all articles of a SQuAD file, in file order."""
    return [paragraph for article in json.loads(path.read_text(encoding="utf-8"))["data"] for paragraph in article["paragraphs"]]


def questions() -> list[tuple[str, dict[str, Any]]]:
    """(context, question) of the built-in SQuAD v2.0 set."""
    return [(paragraph["context"], qa) for paragraph in squad_paragraphs(SAMPLES / "squad2.json") for qa in paragraph["qas"]]


def sentences(paragraph: dict[str, Any]) -> Iterator[str]:
    """Sentences of a context, and its questions."""
    yield from re.split(r"(?<=[.!?])\s+", paragraph["context"])
    for qa in paragraph["qas"]:
        yield qa["question"]


# ------------------------------------------------------------------------------------------------------------------------ GLUE


@EVERY_SET
def test_layout_is_that_of_the_official_dev_file(name: str) -> None:
    """UTF-8 without a byte-order mark, LF ends, the official header, four fields a row, rows numbered from 0, no quotes, no loose space."""
    data = (SAMPLES / f"{name}.tsv").read_bytes()
    assert data.endswith(b"\n")
    assert b"\r" not in data
    assert b'"' not in data
    assert tuple(data.decode("utf-8").split("\n")[0].split("\t")) == HEADERS[name]
    assert {len(row) for row in rows(name)} == {4}
    assert [row[0] for row in rows(name)] == [str(number) for number in range(len(rows(name)))]
    assert all(field == field.strip() != "" for row in rows(name) for field in row)


@EVERY_SET
def test_size_and_balance(name: str) -> None:
    """As many examples as stated, half of them of each class; the first 60 hold each class 25 to 35 times: the rows are mixed."""
    labels = [row[3] for row in rows(name)]
    assert collections.Counter(labels) == dict.fromkeys(CLASSES[name], SIZES[name] // 2)
    assert all(25 <= labels[:60].count(label) <= 35 for label in CLASSES[name])


@EVERY_SET
def test_texts(name: str) -> None:
    """No text is used twice, every one has 3 to 50 words, ends like a sentence and, where it is a QNLI question, with a question mark."""
    pairs = texts(name)
    times = collections.Counter(plain(text) for pair in pairs for text in pair)
    assert [text for text, count in times.items() if count > 1] == []
    assert all(3 <= len(text.split()) <= 50 for pair in pairs for text in pair)
    assert all(first.endswith("?" if name == "qnli" else ".") and second.endswith(".") for first, second in pairs)


def test_qnli_sentences_are_on_the_topic_of_the_question() -> None:
    """In both classes of QNLI at least 3 in 4 sentences share a word of five or more letters with the question."""
    for label in ENTAILMENT:
        pairs = [(row[1], row[2]) for row in rows("qnli") if row[3] == label]
        shared = [set(re.findall(r"\w{5,}", a.lower())) & set(re.findall(r"\w{5,}", b.lower())) for a, b in pairs]
        assert sum(map(bool, shared)) >= 0.75 * len(pairs), label


# ------------------------------------------------------------------------------------------------------------------- SQuAD v2.0


def test_squad2_size() -> None:
    """145 questions with unique ids and texts, 73 of them unanswerable, on 18 contexts of 80 to 200 words, each with both kinds."""
    document = json.loads((SAMPLES / "squad2.json").read_text(encoding="utf-8"))
    paragraphs = squad_paragraphs(SAMPLES / "squad2.json")
    asked = [qa for _, qa in questions()]
    assert document["version"] == "v2.0"
    assert len({article["title"] for article in document["data"]}) == len({paragraph["context"] for paragraph in paragraphs}) == 18
    assert len(asked) == len({qa["id"] for qa in asked}) == len({qa["question"] for qa in asked}) == 145
    assert sum(qa["is_impossible"] for qa in asked) == 73
    assert all(80 <= len(paragraph["context"].split()) <= 200 for paragraph in paragraphs)
    assert all({qa["is_impossible"] for qa in paragraph["qas"]} == {False, True} for paragraph in paragraphs)


def test_squad2_answers_stand_where_they_say() -> None:
    """Exactly the answerable questions have answers, each one is found at its offset between word boundaries, and none is given twice."""
    for context, qa in questions():
        found = [answer["text"] for answer in qa["answers"]]
        assert bool(found) is not qa["is_impossible"], qa["question"]
        assert len(set(found)) == len(found), qa["question"]
        for answer in qa["answers"]:
            start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
            assert context[start:end] == answer["text"] == answer["text"].strip() != "", qa["question"]
            assert not re.match(r"\w\w", context[max(0, start - 1) : start + 1]) or start == 0, qa["question"]
            assert not re.match(r"\w\w", context[end - 1 : end + 1]), qa["question"]


def test_squad2_unanswerable_questions_are_on_topic() -> None:
    """Each unanswerable question shares a word of four or more letters with its context, so that there is something to be misled by."""
    for context, qa in questions():
        words = set(re.findall(r"\w{4,}", qa["question"].lower())) - {"what", "which", "when", "where", "many", "much", "does"}
        assert words & set(re.findall(r"\w{4,}", context.lower())), qa["question"]


# -------------------------------------------------------------------------------------------------------------- the official files


def own_sentences() -> set[str]:
    """Every text of the four sets, plain; contexts sentence by sentence."""
    glue = {plain(text) for name in HEADERS for pair in texts(name) for text in pair}
    return glue | {plain(text) for paragraph in squad_paragraphs(SAMPLES / "squad2.json") for text in sentences(paragraph)}


@pytest.mark.data
def test_no_sentence_of_the_official_glue_files(official_data: Path) -> None:
    """No sentence of ours is a field of an official GLUE file, whatever the case, spacing and punctuation."""
    files = sorted((official_data / "glue").glob("*/*.tsv"))
    if not files:
        pytest.skip(f"no GLUE files in {official_data}")
    ours = own_sentences()
    fields = ((file, field) for file in files for line in file.read_text(encoding="utf-8-sig").split("\n") for field in line.split("\t"))
    assert [(file.parent.name, field) for file, field in fields if plain(field) in ours] == []


@pytest.mark.data
@pytest.mark.parametrize("file", ["dev-v1.1.json", "dev-v2.0.json"])
def test_no_sentence_of_the_official_squad_files(file: str, official_data: Path) -> None:
    """No sentence of ours is a question, or a sentence of a context, of an official SQuAD development set."""
    path = official_data / "squad" / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    ours = own_sentences()
    assert [text for paragraph in squad_paragraphs(path) for text in sentences(paragraph) if plain(text) in ours] == []
