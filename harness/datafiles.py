"""Reading data files: SQuAD JSON and GLUE tsv. An error names the file, the line and the cure, and ends with exit code 3."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, MissingError
from harness.json_position import position_of

_AGAIN = "Get the file again; what is on disk is damaged or incomplete."

# ------------------------------------------------------------------------------------------------------------------------ files


def find_file(data: Path, names: Sequence[str]) -> Path:
    """`data` itself if it is a file, else the first of `names` that is a file below it. Raises MissingError with all that was tried."""
    if data.is_file():
        return data
    for name in names:
        if (data / name).is_file():
            return data / name
    cure = f"--data wants a file, or a folder that holds {' or '.join(names)}; without --data the built-in sample set is used."
    if not data.is_dir():
        raise MissingError(f"{data}: no such file or folder", cure)
    raise MissingError(f"{data}: holds none of {', '.join(names)}", cure)


def read_bytes(path: Path) -> bytes:
    """Content of `path`. Raises MissingError where it cannot be read and DataError where it is empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror})", "Check that the file exists and that you may read it.") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty", _AGAIN)
    return content


def decode(content: bytes, path: Path) -> str:
    """`content` as text, without a byte-order mark. Raises DataError with the line of the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        if error.reason == "unexpected end of data":
            raise DataError(f"{path}:{line}: the file ends in the middle of a character", _AGAIN) from error
        raise DataError(f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8", "Save the file as UTF-8.") from error


# ------------------------------------------------------------------------------------------------------------------------ SQuAD


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `context` is an index into `SquadData.contexts`; `answers` are the right answers: at least one, or none where the
    context has no answer (SQuAD v2.0)."""

    id: str
    text: str
    context: int
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SquadData:
    """A SQuAD file. `sha256` is that of its bytes. `misplaced` counts right answers that do not stand in their context at `answer_start`
    (no error: only training needs the place)."""

    path: Path
    sha256: str
    contexts: tuple[str, ...]
    questions: tuple[Question, ...]
    misplaced: int

    @property
    def truths(self) -> dict[str, tuple[str, ...]]:
        """Right answers by question id."""
        return {question.id: question.answers for question in self.questions}

    @property
    def content_sha256(self) -> str:
        """sha256 over what asking and scoring need, as compact JSON: `[id, question, context, [answers]]` of each question, in file order.
        Titles, places of answers, `plausible_answers`, spaces between parts and escapes do not change it."""
        rows = [[question.id, question.text, self.contexts[question.context], question.answers] for question in self.questions]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def read_squad(path: Path, *, unanswerable: bool = False) -> SquadData:
    """Contexts and questions of a SQuAD JSON file, in file order: v1.1, or v2.0 if `unanswerable` questions are allowed.

    Raises DataError, naming line, column and JSON path, for text that is not JSON, a part that is missing or of the wrong type, a
    question without an answer (v2.0: one whose `is_impossible`, if it is there, says the opposite of its answers), an id used twice, an
    empty context, and a file without questions.
    """
    content = read_bytes(path)
    document = _Document(path, decode(content, path))
    contexts: list[str] = []
    questions: dict[str, Question] = {}
    misplaced = 0
    for where, paragraph in document.paragraphs():
        context = document.text(paragraph, "context", where)
        if not context.strip():
            raise document.error((*where, "context"), "is empty")
        for at, qa in document.items(paragraph, "qas", where):
            answers = [(document.text(a, "text", w), document.start(a, w)) for w, a in document.items(qa, "answers", at)]
            question = Question(document.text(qa, "id", at), document.text(qa, "question", at), len(contexts), tuple(a for a, _ in answers))
            if unanswerable:
                document.agree(qa, at)
            elif not answers:
                raise document.error((*at, "answers"), "is empty", "Questions without an answer belong to SQuAD v2.0; this wants v1.1.")
            if question.id in questions:
                raise document.error((*at, "id"), f"{question.id!r} is used twice")
            questions[question.id] = question
            misplaced += sum(start < 0 or not context.startswith(text, start) for text, start in answers)
        contexts.append(context)
    if not questions:
        raise DataError(f"{path}: has no questions", _AGAIN)
    return SquadData(path, hashlib.sha256(content).hexdigest(), tuple(contexts), tuple(questions.values()), misplaced)


Where = tuple[str | int, ...]


class _Document:
    """A parsed JSON file that knows where its parts stand in the text."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.source = path, text
        try:
            self.root = json.loads(text)
        except json.JSONDecodeError as error:
            how = "ends in the middle" if error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated") else "is not JSON"
            raise DataError(f"{path}:{error.lineno}:{error.colno}: the file {how} ({error.msg})", _AGAIN) from error
        except RecursionError as error:
            raise DataError(f"{path}: nested too deeply to be SQuAD", _AGAIN) from error

    def error(self, where: Where, what: str, cure: str = "The layout is that of the official dev-v1.1.json.") -> DataError:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where).lstrip(".") or "the file"
        line, column = position_of(self.source, where)
        return DataError(f"{self.path}:{line}:{column}: {name} {what}", cure)

    def paragraphs(self) -> Iterator[tuple[Where, dict[str, Any]]]:
        for at, article in self.items(self.checked(self.root, dict, ()), "data", ()):
            yield from self.items(article, "paragraphs", at)

    def items(self, node: dict[str, Any], key: str, where: Where) -> Iterator[tuple[Where, dict[str, Any]]]:
        """Objects of the array `node[key]`, each with its JSON path."""
        for number, item in enumerate(self.part(node, key, list, where)):
            at = (*where, key, number)
            yield at, self.checked(item, dict, at)

    def text(self, node: dict[str, Any], key: str, where: Where) -> str:
        text: str = self.part(node, key, str, where)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error((*where, key), f"holds half a surrogate pair at character {error.start}") from error
        return text

    def agree(self, qa: dict[str, Any], where: Where) -> None:
        """`is_impossible` of v2.0, where a question has it, is true just for those without answers."""
        if "is_impossible" in qa and self.part(qa, "is_impossible", bool, where) == bool(qa["answers"]):
            said, found = ("true", "has") if qa["answers"] else ("false", "has no")
            raise self.error((*where, "is_impossible"), f"is {said}, and the question {found} answers", "Correct the one that is wrong.")

    def start(self, node: dict[str, Any], where: Where) -> int:
        start: int = self.part(node, "answer_start", int, where)
        return start

    def part(self, node: dict[str, Any], key: str, kind: type, where: Where) -> Any:
        if key not in node:
            raise self.error(where, f"has no {key!r}")
        return self.checked(node[key], kind, (*where, key))

    def checked(self, value: Any, kind: type, where: Where) -> Any:
        if type(value) is not kind:
            raise self.error(where, f"is {_json_name(type(value))}, not {_json_name(kind)}")
        return value


def _json_name(kind: type) -> str:
    names = {dict: "an object", list: "an array", str: "a string", int: "a whole number", float: "a fraction", bool: "true or false"}
    return names.get(kind, "null")


# -------------------------------------------------------------------------------------------------------------------------- tsv


def read_tsv(text: str, path: Path, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line number and the values of `columns`, row by row. `path` is only named in errors."""
    lines = text.removesuffix("\n").split("\n")
    header = lines[0].removesuffix("\r").split("\t")
    absent = [name for name in columns if name not in header]
    if absent:
        raise DataError(
            f"{path}:1: no column {' and '.join(map(repr, absent))}; the header names {', '.join(map(repr, header))}",
            "Use the train or dev file of the task (test files carry no labels), with its header line.",
        )
    places = [header.index(name) for name in columns]
    for number, line in enumerate(lines[1:], start=2):
        values = line.removesuffix("\r").split("\t")
        if len(values) != len(header):
            raise DataError(f"{path}:{number}: {len(values)} columns, the header has {len(header)}", "Columns are separated by one tab.")
        yield number, tuple(values[place] for place in places)
