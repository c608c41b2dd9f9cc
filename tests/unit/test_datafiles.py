"""Reading data files, and what is said about broken ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datafiles import find_file, read_squad
from harness.errors import DataError, ExitCode, MissingError
from harness.json_position import position_of

GOOD: dict[str, Any] = {
    "version": "1.1",
    "data": [
        {
            "title": "Rivers",
            "paragraphs": [
                {
                    "context": "The Rhine flows north.",
                    "qas": [
                        {"id": "q1", "question": "What flows?", "answers": [{"answer_start": 4, "text": "Rhine"}]},
                        {
                            "id": "q2",
                            "question": "Where to?",
                            "answers": [{"answer_start": 16, "text": "north"}, {"answer_start": 2, "text": "up"}],
                        },
                    ],
                },
            ],
        }
    ],
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "squad.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
    return path


def changed(change: Callable[[Any], object]) -> Any:
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def test_reads_squad(tmp_path: Path) -> None:
    """Contexts, questions, ids and right answers come in file order; an answer that is not where it says is counted, not refused."""
    data = read_squad(write(tmp_path, GOOD))
    assert data.contexts == ("The Rhine flows north.",)
    assert [(q.id, q.text, q.context, q.answers) for q in data.questions] == [
        ("q1", "What flows?", 0, ("Rhine",)),
        ("q2", "Where to?", 0, ("north", "up")),
    ]
    assert data.misplaced == 1
    assert data.truths["q2"] == ("north", "up")


def test_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    """A file with a byte-order mark reads the same."""
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert len(read_squad(path).questions) == 2


PARAGRAPH = "data[0].paragraphs[0]"


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        (lambda d: d.pop("data"), "1:1", "the file has no 'data'"),
        (lambda d: d.update(data={}), "3:10", "data is an object, not an array"),
        (lambda d: d["data"].append(None), "", "data[1] is null, not an object"),
        (lambda d: d["data"][0].pop("paragraphs"), "4:3", "data[0] has no 'paragraphs'"),
        (lambda d: d["data"][0]["paragraphs"][0].update(context=7), "8:17", f"{PARAGRAPH}.context is a whole number, not a string"),
        (lambda d: d["data"][0]["paragraphs"][0].update(context=" "), "8:17", f"{PARAGRAPH}.context is empty"),
        (lambda d: d["data"][0]["paragraphs"][0].update(qas="x"), "9:13", f"{PARAGRAPH}.qas is a string, not an array"),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][0].pop("answers"), "10:7", f"{PARAGRAPH}.qas[0] has no 'answers'"),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][0].update(answers=[]), "", f"{PARAGRAPH}.qas[0].answers is empty"),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][1].update(id="q1"), "", f"{PARAGRAPH}.qas[1].id 'q1' is used twice"),
        (
            lambda d: d["data"][0]["paragraphs"][0]["qas"][1]["answers"][1].update(answer_start=True),
            "",
            f"{PARAGRAPH}.qas[1].answers[1].answer_start is true or false, not a whole number",
        ),
        (
            lambda d: d["data"][0]["paragraphs"][0]["qas"][1]["answers"][1].update(text=1.5),
            "",
            f"{PARAGRAPH}.qas[1].answers[1].text is a fraction, not a string",
        ),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][0].update(question="\ud800?"), "", "holds half a surrogate pair at character 0"),
        (lambda d: d["data"][0]["paragraphs"][0].update(qas=[]), "", "has no questions"),
    ],
)
def test_wrong_structure(tmp_path: Path, change: Callable[[Any], object], place: str, says: str) -> None:
    """A wrong part is named with file, line, column and JSON path, has a cure and exit code 3."""
    path = write(tmp_path, changed(change))
    with pytest.raises(DataError) as caught:
        read_squad(path)
    assert str(caught.value).startswith(f"{path}:{place}")
    assert says in str(caught.value)
    assert caught.value.cure
    assert caught.value.exit_code == ExitCode.MISSING


@pytest.mark.parametrize(("root", "says"), [("[]", "the file is an array, not an object"), ("3", "the file is a whole number")])
def test_root_is_no_object(tmp_path: Path, root: str, says: str) -> None:
    """A file that is JSON but no object is named as such."""
    with pytest.raises(DataError, match=says):
        read_squad(write(tmp_path, root))


@given(st.integers(min_value=1, max_value=len(json.dumps(GOOD)) - 1))
def test_every_truncation_is_noticed(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    """A file cut anywhere is refused, with line and column."""
    path = tmp_path_factory.mktemp("cut") / "squad.json"
    path.write_text(json.dumps(GOOD)[:size])
    with pytest.raises(DataError, match=r"squad\.json:1:\d+: the file ends in the middle"):
        read_squad(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b'{\n "data": [,]}', ":2:11: the file is not JSON"),
        (b'{\n "data": "\xff"}', ":2: byte 0xff is not UTF-8"),
        ('{"data": "é'.encode()[:-1], ":1: the file ends in the middle of a character"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_not_json(tmp_path: Path, content: bytes, says: str) -> None:
    """What is no JSON text is refused with the place where it goes wrong."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_squad(path)
    assert says in str(caught.value)


def test_find_file(tmp_path: Path) -> None:
    """A file is taken as it is, a folder is searched in the order of the names."""
    (tmp_path / "squad").mkdir()
    inner = tmp_path / "squad" / "dev-v1.1.json"
    inner.write_text("{}")
    names = ("dev-v1.1.json", "squad/dev-v1.1.json")
    assert find_file(inner, names) == inner
    assert find_file(tmp_path, names) == inner
    assert find_file(tmp_path / "squad", names) == inner


def test_missing_files_are_named(tmp_path: Path) -> None:
    """What was looked for and where is said, with exit code 3."""
    with pytest.raises(MissingError, match=r"holds none of a\.json, b/a\.json") as caught:
        find_file(tmp_path, ("a.json", "b/a.json"))
    assert str(tmp_path) in str(caught.value)
    assert "a.json or b/a.json" in caught.value.cure
    with pytest.raises(MissingError, match="no such file or folder"):
        find_file(tmp_path / "nowhere", ("a.json",))
    with pytest.raises(MissingError, match="cannot be read"):
        read_squad(tmp_path / "absent.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from([None, 1]), st.data())
def test_position_points_at_the_value(value: Any, indent: int | None, data: st.DataObject) -> None:
    """Whatever the document, the text at the position of a path begins with the value found by that path."""
    text = json.dumps(value, indent=indent)
    path: list[str | int] = []
    node = value
    while isinstance(node, (list, dict)) and node:
        step = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        path.append(step)
        node = node[step]
    line, column = position_of(text, path)
    begin = sum(len(row) + 1 for row in text.split("\n")[: line - 1]) + column - 1
    assert json.JSONDecoder().raw_decode(text, begin)[0] == node
    assert position_of(text, [*path, "absent"]) == (line, column)
