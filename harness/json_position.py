"""Where a value stands in a JSON text. The parser of the standard library forgets it; an error message needs it."""

from __future__ import annotations

import json
from collections.abc import Sequence

_decoder = json.JSONDecoder()


def position_of(text: str, path: Sequence[str | int]) -> tuple[int, int]:
    """Line and column, both from 1, at which the value at `path` begins; of the nearest parent where it is absent.

    `text` must be valid JSON. Values beside the path are decoded and thrown away, so this costs about as much as parsing the file.
    """
    position = _skip_space(text, 0)
    for step in path:
        child = _child(text, position, step)
        if child is None:
            break
        position = child
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _child(text: str, position: int, step: str | int) -> int | None:
    """Where the member `step` of the object or array at `position` begins, None if there is no such member."""
    opening = text[position]
    if opening not in "{[":
        return None
    position = _skip_space(text, position + 1)
    number = 0
    while text[position] not in "}]":
        key: str | int = number
        if opening == "{":
            key, position = _decoder.raw_decode(text, position)
            position = _skip_space(text, _skip_space(text, position) + 1)
        if key == step:
            return position
        _, position = _decoder.raw_decode(text, position)
        position = _skip_space(text, position)
        if text[position] == ",":
            position = _skip_space(text, position + 1)
        number += 1
    return None


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] in tuple(" \t\r\n"):
        position += 1
    return position
