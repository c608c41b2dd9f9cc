"""Files of predictions made elsewhere: what is in them, and which of it belongs to the data.

SQuAD: a JSON object, question id to text (what evaluate-v1.1.py and evaluate-v2.0.py read), and for v2.0, if there is one, a second from
id to no-answer score. Classes and values: a tsv file with the columns `index` and `prediction`, as the GLUE server takes them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.datafiles import decode, read_bytes, read_tsv
from harness.errors import DataError
from harness.units import plural

NAMED = 5
"""Ids that an error names; the others are counted."""

COLUMNS = ("index", "prediction")


# ------------------------------------------------------------------------------------------------------------------------ files


def read_texts(path: Path) -> list[tuple[str, str]]:
    """Ids and texts of a JSON object, in the order of the file, repeated ids too. Raises MissingError and DataError."""
    pairs = _read_object(path)
    for name, text in pairs:
        if not isinstance(text, str):
            raise DataError(f"{path}: the prediction of {name!r} is {_shown(text)}, not a text", 'Give a string; "" says: no answer.')
    return pairs


def read_no_answer(path: Path) -> list[tuple[str, float]]:
    """Ids and finite numbers of a JSON object, in the order of the file, repeated ids too. Raises MissingError and DataError."""
    pairs = _read_object(path)
    for name, score in pairs:
        if not isinstance(score, float) or not math.isfinite(score):
            raise DataError(f"{path}: the no-answer score of {name!r} is {_shown(score)}", "Give a finite number.")
    return pairs


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its keys: a dict would keep the last of those that are equal, and say nothing."""


def _read_object(path: Path) -> _Pairs:
    text = decode(read_bytes(path), path)
    try:
        read = json.loads(text, object_pairs_hook=_Pairs, parse_int=float)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: is not JSON ({error.msg})", _OBJECT) from error
    except RecursionError as error:
        raise DataError(f"{path}: nested too deeply", _OBJECT) from error
    if not isinstance(read, _Pairs):
        raise DataError(f"{path}: is {_shown(read)}, not an object", _OBJECT)
    return read


_OBJECT = 'Predictions are one JSON object: {"question id": "text", ...}.'


def _shown(value: Any) -> str:
    if isinstance(value, _Pairs | list):
        return "an object" if isinstance(value, _Pairs) else "an array"
    return json.dumps(value)[:40]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a tsv file of predictions; `line` counts from 1."""

    line: int
    index: str
    prediction: str


def read_labels(path: Path) -> list[Row]:
    """Rows of a tsv file with the columns `index` and `prediction` (others are passed over), in the order of the file.

    Raises MissingError, and DataError for a header without them and a row with another number of columns.
    """
    text = decode(read_bytes(path), path)
    header = text.split("\n", 1)[0].removesuffix("\r").split("\t")
    if not set(COLUMNS) <= set(header):
        shown = ", ".join(map(repr, header))[:80]
        raise DataError(f"{path}:1: the header does not name index and prediction: {shown}", "The first line is index, a tab, prediction.")
    return [Row(line, index.strip(), prediction.strip()) for line, (index, prediction) in read_tsv(text, path, COLUMNS)]


# -------------------------------------------------------------------------------------------------------------------------- ids


ONE_EACH = "Give one prediction for each example, and name the data that they were made for."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Split(Generic[T]):
    """Values by the ids that are in the data, the ids that are not, and how many were read."""

    known: dict[str, T]
    unknown: tuple[str, ...]
    read: int


def split_ids(pairs: Sequence[tuple[str, T]], known: Collection[str], path: Path, data_name: str) -> Split[T]:
    """What of `pairs` belongs to the ids `known`. Raises DataError, with the first ids and how many there are, for ids that stand there
    twice, and where not one is known."""
    counts = Counter(name for name, _ in pairs)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataError(f"{path}: {listed(twice)} given more than once", "Give one prediction for each example.")
    belong = set(known)
    unknown = tuple(name for name in counts if name not in belong)
    if len(unknown) == len(pairs):
        what = f"{listed(unknown)}, none of them in" if unknown else "holds no prediction for"
        raise DataError(f"{path}: {what} {data_name}", ONE_EACH)
    return Split({name: value for name, value in pairs if name in belong}, unknown, len(pairs))


def listed(names: Sequence[str]) -> str:
    """ "7 ids ('a', 'b', 'c', 'd', 'e' ...)"."""
    first = ", ".join(repr(name[:60]) for name in names[:NAMED])
    return f"{plural(len(names), 'id')} ({first}{' ...' if len(names) > NAMED else ''})"
