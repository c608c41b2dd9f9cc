"""Texts and labels of a user's own file, as examples for a model with its own names for the labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from harness.classification import Examples
from harness.errors import UsageError
from harness.own.data import Own, ids, number_of

_GENERIC = re.compile(r"(?:LABEL_)?(\d{1,5})", re.IGNORECASE)
"""A label that is the number of a model's output: 1, LABEL_1."""

_MAP = "Map the labels of the data to those of the model: --labels {labels}, or `labels` of a YAML file."


def examples(own: Own, model_labels: Sequence[str]) -> tuple[Examples, tuple[str, ...]]:
    """Texts with the numbers of their classes (or their values), and the names of the classes: those of a model with these labels.

    A model without label names has its outputs' numbers, up to the highest that data or mapping name. Classes are empty for regression.
    Raises UsageError for a label that is none of the model's, DataError for a row without text or label and for a value that is no number.
    """
    table, roles = own.table, own.roles
    rows = range(len(table.rows))
    said = [table.text(row, roles["label"]).strip() for row in rows]
    classes: tuple[str, ...] = ()
    if own.kind == "regression":
        labels = tuple(_value(own, row, text) for row, text in enumerate(said))
    else:
        classes, numbers = _classes(own, said, model_labels)
        labels = tuple(float(numbers[text]) for text in said)
    made = Examples(
        path=table.path,
        sha256=own.sha256(classes=classes),
        first=tuple(table.text(row, roles["text"]) for row in rows),
        second=tuple(table.text(row, roles["pair"]) for row in rows) if "pair" in roles else (),
        labels=labels,
        ids=tuple(ids(own)),
    )
    return made, classes


def _value(own: Own, row: int, text: str) -> float:
    value = number_of(text)
    if value is None:
        raise own.table.error(row, f"{own.roles['label']!r} is {text!r}, which is no number", "Correct it, or set kind to classification.")
    return value


def label_counts(own: Own) -> dict[str, int]:
    """Rows by label of the data, in order of appearance."""
    return dict(Counter(own.table.text(row, own.roles["label"]).strip() for row in range(len(own.table.rows))))


def _classes(own: Own, said: Sequence[str], model_labels: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, and the class of each label of the data."""
    mapping = own.settings.labels
    targets = {label: mapping.get(label, label) for label in dict.fromkeys(said)}
    names = tuple(model_labels) or _outputs([*targets.values(), *mapping.values()])
    if len(names) < 2:
        raise UsageError(
            f"{own.table.path}: {own.roles['label']!r} has a single class for this model",
            "Use a model that classifies, or set kind to regression.",
        )
    numbers = {}
    for label, target in targets.items():
        number = class_of(target, names, numbered=label in mapping or not model_labels)
        if number is None:
            raise _unknown(own, said.index(label), label, target, names if model_labels else ())
        numbers[label] = number
    return names, numbers


def _outputs(targets: Sequence[str]) -> tuple[str, ...]:
    """Numbers of the outputs of a model without names, from 0 to the highest that is named, at least two."""
    highest = max((int(match[1]) for target in targets if (match := _GENERIC.fullmatch(target))), default=0)
    return tuple(map(str, range(max(highest, 1) + 1)))


def class_of(target: str, names: Sequence[str], *, numbered: bool) -> int | None:
    """Class by its name, capitals aside where that is clear; by its number if `numbered`."""
    if target in names:
        return names.index(target)
    near = [number for number, name in enumerate(names) if name.casefold() == target.casefold()]
    if len(near) == 1:
        return near[0]
    match = _GENERIC.fullmatch(target) if numbered else None
    return int(match[1]) if match and int(match[1]) < len(names) else None


def _unknown(own: Own, row: int, label: str, target: str, names: Sequence[str]) -> UsageError:
    where = f"{own.table.path}:{own.table.lines[row]}"
    shown = repr(label) if label == target else f"{label!r} (mapped to {target!r})"
    cure = _MAP.format(labels=",".join(f"{other}=..." for other in list(label_counts(own))[:10]))
    if names:
        return UsageError(f"{where}: label {shown} is none of the model's labels: {', '.join(map(repr, names))}", cure)
    return UsageError(
        f"{where}: the model's labels have no names, and label {shown} is no number of an output", f"{cure} Outputs are 0, 1 ..."
    )
