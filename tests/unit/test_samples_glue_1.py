"""The built-in sets of CoLA, MRPC, STS-B, QQP and MNLI: official layouts, balanced labels, no sentence of the official files."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "tasks" / "samples"
BOM = b"\xef\xbb\xbf"
NLI = (
    *("index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"),
    *("sentence1", "sentence2", "label1", "label2", "label3", "label4", "label5", "gold_label"),
)
STSB = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score")
NLI_CLASSES = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class Layout:
    """Columns of a set (empty: no header), which hold text, which the label, the classes (empty: a score), and allowed words per text."""

    header: tuple[str, ...]
    columns: int
    texts: tuple[int, ...]
    label: int
    classes: tuple[str, ...]
    words: tuple[int, int]


LAYOUTS = {
    "cola": Layout((), 4, (3,), 1, ("0", "1"), (3, 30)),
    "mrpc": Layout(("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"), 5, (3, 4), 0, ("0", "1"), (8, 35)),
    "stsb": Layout(STSB, 10, (7, 8), 9, (), (3, 30)),
    "qqp": Layout(("id", "qid1", "qid2", "question1", "question2", "is_duplicate"), 6, (3, 4), 5, ("0", "1"), (3, 30)),
    "mnli": Layout(NLI, 16, (8, 9), 15, NLI_CLASSES, (4, 40)),
    "mnli-mm": Layout(NLI, 16, (8, 9), 15, NLI_CLASSES, (4, 40)),
}
EVERY_SET = pytest.mark.parametrize("name", sorted(LAYOUTS))


def rows(name: str) -> list[list[str]]:
    """Fields of each example, without header and byte-order mark."""
    lines = (SAMPLES / f"{name}.tsv").read_bytes().decode("utf-8-sig").split("\n")
    return [line.split("\t") for line in lines[bool(LAYOUTS[name].header) : -1]]


def texts(name: str) -> list[tuple[str, ...]]:
    """The one or two texts of each example."""
    return [tuple(row[column] for column in LAYOUTS[name].texts) for row in rows(name)]


def labels(name: str) -> list[str]:
    return [row[LAYOUTS[name].label] for row in rows(name)]


def plain(text: str) -> str:
    """Letters and digits of a text in lower case: spacing, case and punctuation do not make a sentence another one."""
    return "".join(character for character in text.lower() if character.isalnum())


@EVERY_SET
def test_layout_is_that_of_the_official_dev_file(name: str) -> None:
    """UTF-8, LF ends, the official header, as many fields in every row as the header has, and a byte-order mark in MRPC alone."""
    data, layout = (SAMPLES / f"{name}.tsv").read_bytes(), LAYOUTS[name]
    assert data.startswith(BOM) == (name == "mrpc")
    assert data.endswith(b"\n")
    assert b"\r" not in data
    if layout.header:
        assert data.removeprefix(BOM).decode("utf-8").split("\n")[0].split("\t") == list(layout.header)
    assert {len(row) for row in rows(name)} == {layout.columns}
    assert all(field == field.strip() for row in rows(name) for field in row)


@EVERY_SET
def test_size_and_lengths(name: str) -> None:
    """120 to 130 examples, every text within the bounds of its set, and the longest text at least 1.5 times as long as the median one."""
    counts = sorted(len(text.split()) for pair in texts(name) for text in pair)
    low, high = LAYOUTS[name].words
    assert 120 <= len(rows(name)) <= 130
    assert low <= counts[0] <= counts[-1] <= high
    assert counts[-1] >= 1.5 * counts[len(counts) // 2]


@EVERY_SET
def test_no_example_twice(name: str) -> None:
    """No example occurs twice, in either order; no text is repeated but the premises of MNLI, which have three hypotheses each."""
    pairs = [frozenset(map(plain, pair)) for pair in texts(name)]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == len(LAYOUTS[name].texts) for pair in pairs)  # the two texts of a pair differ
    times = collections.Counter(plain(text) for pair in texts(name) for text in pair)
    assert set(times.values()) == ({1, 3} if name.startswith("mnli") else {1})


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"stsb"}))
def test_labels_are_balanced(name: str) -> None:
    """Every class of the task occurs, no other, and none less than 0.9 times as often as another."""
    counts = collections.Counter(labels(name))
    assert set(counts) == set(LAYOUTS[name].classes)
    assert min(counts.values()) >= 0.9 * max(counts.values())


def test_first_half_is_balanced_too() -> None:
    """A run on the first 60 examples meets every class at least 15 times: the rows are mixed."""
    for name in sorted(set(LAYOUTS) - {"stsb"}):
        counts = collections.Counter(labels(name)[:60])
        assert min(counts[label] for label in LAYOUTS[name].classes) >= 15, name


def test_scores_are_spread_evenly() -> None:
    """STS-B scores lie in [0, 5] with three decimals, at least 20 in every unit interval and at least 20 different values."""
    scores = labels("stsb")
    values = [float(score) for score in scores]
    assert [f"{value:.3f}" for value in values] == scores
    assert 0.0 == min(values) < max(values) == 5.0
    assert min(sum(low == min(int(value), 4) for value in values) for low in range(5)) >= 20
    assert len(set(values)) >= 20


def test_cola_stars() -> None:
    """A star stands before the unacceptable sentences and no others, as in the official file."""
    assert all(star == ("*" if label == "0" else "") for _, label, star, _ in rows("cola"))


def test_numbers_of_rows_and_texts() -> None:
    """Rows are numbered from 0; ids of MRPC strings and QQP questions are used once; an MNLI pair is named after prompt and label."""
    for name in ("stsb", "qqp", "mnli", "mnli-mm"):
        assert [row[0] for row in rows(name)] == [str(number) for number in range(len(rows(name)))], name
    for name in ("mrpc", "qqp"):
        ids = [number for row in rows(name) for number in row[1:3]]
        assert len(set(ids)) == len(ids), name
    for row in [*rows("mnli"), *rows("mnli-mm")]:
        assert (row[2], row[10]) == (row[1] + row[15][0], row[15])


def test_every_premise_has_one_hypothesis_of_each_label() -> None:
    """Each prompt number of MNLI stands for one premise and one genre and has each label once, and the two sets share no genre."""
    genres = {}
    for name in ("mnli", "mnli-mm"):
        found = collections.defaultdict(list)
        for row in rows(name):
            found[row[1], row[3], row[8]].append(row[15])
        assert len({number for number, _, _ in found}) == len(found) == 40
        assert all(sorted(group) == sorted(NLI_CLASSES) for group in found.values())
        genres[name] = {genre for _, genre, _ in found}
    assert len(genres["mnli"]) >= 5
    assert len(genres["mnli-mm"]) >= 5
    assert not genres["mnli"] & genres["mnli-mm"]


@pytest.mark.data
@EVERY_SET
def test_no_sentence_of_the_official_files(name: str, official_data: Path) -> None:
    """No text of ours is a field of an official GLUE file, whatever the case, spacing and punctuation."""
    files = sorted((official_data / "glue").glob("*/*.tsv"))
    if not files:
        pytest.skip(f"no GLUE files in {official_data}")
    ours = {plain(text) for pair in texts(name) for text in pair}
    found = [
        (file.parent.name, field)
        for file in files
        for line in file.read_text(encoding="utf-8-sig").split("\n")
        for field in line.split("\t")
        if plain(field) in ours
    ]
    assert found == []
