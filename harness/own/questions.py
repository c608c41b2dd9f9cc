"""Questions on contexts of a user's own file, in the structures of SQuAD."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from harness.datafiles import Question, SquadData
from harness.own.data import Own, ids
from harness.units import plural

_OFFSET = re.compile(r"\d{1,9}")


def questions(own: Own) -> SquadData:
    """Questions on contexts; rows with the same context share it. `misplaced` counts answers that do not stand in their context, or not
    at the offset that is given for them.

    Raises DataError, naming the line, for a row without question, context or answer, and for answers or offsets that cannot be read.
    """
    table, roles = own.table, own.roles
    contexts: dict[str, int] = {}
    found: list[Question] = []
    misplaced = 0
    for row, name in enumerate(ids(own)):
        context = table.text(row, roles["context"])
        answers, starts = _answers(own, row)
        misplaced += sum(not _stands(context, *pair) for pair in zip(answers, starts, strict=True))
        number = contexts.setdefault(context, len(contexts))
        found.append(Question(name, table.text(row, roles["question"]), number, tuple(answers)))
    return SquadData(table.path, own.sha256(), tuple(contexts), tuple(found), misplaced)


def described(own: Own, data: SquadData) -> str:
    """`Own.described`, with the number of answers that their contexts do not hold."""
    away = f"; {plural(data.misplaced, 'answer')} not in the context" if data.misplaced else ""
    return own.described.removesuffix(")") + away + ")"


def _stands(context: str, answer: str, start: int | None) -> bool:
    return answer in context if start is None else start >= 0 and context.startswith(answer, start)


def _answers(own: Own, row: int) -> tuple[list[str], Sequence[int | None]]:
    """Right answers of a row, and where each begins in the context if the file says so.

    Read are a text, a list of texts, {"text": ..., "answer_start": ...} with a text or a list in each, and a list of these; in CSV and
    TSV as JSON, where the cell reads as such.
    """
    table, column = own.table, own.roles["answer"]
    value = _json_cell(table.rows[row].get(column))
    parts = value if isinstance(value, list) else [value]
    answers: list[str] = []
    starts: list[int | None] = []
    for part in parts:
        texts, places = _answer(own, row, part)
        answers += texts
        starts += places
    if not answers:
        raise table.error(
            row, f"{column!r} holds no answer", "Give each question an answer from its context; questions without one: --task squad2."
        )
    if "start" in own.roles:
        starts = list(_starts(own, row, table.rows[row].get(own.roles["start"]), own.roles["start"], len(answers)))
    return answers, starts


def _answer(own: Own, row: int, part: Any) -> tuple[list[str], Sequence[int | None]]:
    """One text, or the texts of one {"text": ..., "answer_start": ...}."""
    column, places = own.roles["answer"], None
    if isinstance(part, dict) and "text" in part:
        part, places = part["text"], part.get("answer_start")
    texts = part if isinstance(part, list) else [part]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        cure = 'Write a text, a list of texts, or {"text": [...], "answer_start": [...]}.'
        raise own.table.error(row, f"{column!r} is empty or is no text", cure)
    for text in texts:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise own.table.error(row, f"{column!r} holds half a surrogate pair", "Write the character whole, or as a pair of \\u escapes.")
    return list(texts), _starts(own, row, places, "answer_start", len(texts)) if places is not None else [None] * len(texts)


def _starts(own: Own, row: int, value: Any, column: str, count: int) -> list[int]:
    """One offset in characters for each of `count` answers."""
    value = _json_cell(value)
    places = value if isinstance(value, list) else [value]
    numbers = [int(place) if isinstance(place, str) and _OFFSET.fullmatch(place.strip()) else place for place in places]
    if len(numbers) != count or any(type(number) is not int for number in numbers):
        what = f"{column!r} is not {'a whole number' if count == 1 else f'a list of {count} whole numbers'}"
        raise own.table.error(row, what, "Give one offset in characters, from 0, for each answer, or leave the column out.")
    return numbers


def _json_cell(value: Any) -> Any:
    """What a cell of CSV or TSV holds as JSON: a list of texts or numbers, or {"text": ...}; any other text is itself."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        item = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if isinstance(item, dict):
        return item if "text" in item else value
    plain = (
        isinstance(item, list) and item and all(type(part) in (str, int) or (isinstance(part, dict) and "text" in part) for part in item)
    )
    return item if plain else value
