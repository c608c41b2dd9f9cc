"""What a user's own file asks: kind and columns, found out by `read`. `own_labels` and `own_questions` take the rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.own.columns import Role, recognise
from harness.own.settings import METRICS, Kind, Settings
from harness.own.table import Table, read_table


@dataclass(frozen=True, slots=True)
class Own:
    """A file that was read, and what is asked of it. `roles` are its columns by role."""

    settings: Settings
    table: Table
    kind: Kind
    roles: Mapping[Role, str]

    @property
    def described(self) -> str:
        """What people call it, with what was recognised: "pairs.csv (classification: first + second -> same)"."""
        texts = [self.roles[role] for role in ("text", "pair", "question", "context") if role in self.roles]
        asked = self.roles["answer" if self.kind == "question-answering" else "label"]
        return f"{self.table.path.name} ({self.kind}: {' + '.join(texts)} -> {asked})"

    @property
    def metric(self) -> str:
        """The chosen metric, else the first of its kind: accuracy, Pearson, F1."""
        return self.settings.metric or {"classification": "accuracy", "regression": "pearson", "question-answering": "f1"}[self.kind]

    def sha256(self, **further: Any) -> str:
        """Over the file and whatever chose from it: kind, columns, labels, metric."""
        settings = self.settings
        chosen = {"kind": self.kind, "columns": dict(self.roles), "labels": dict(settings.labels), "positive": settings.positive}
        what = {"data": self.table.sha256, "metric": self.metric, **chosen, **further}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def read(settings: Settings) -> Own:
    """The file of `settings`, its columns recognised.

    Raises UsageError for what is not certain, MissingError and DataError for the file.
    """
    table = read_table(settings.data)
    form, roles = recognise(table.columns, settings.columns, settings.form, settings.origins, str(settings.data))
    kind = settings.kind or ("question-answering" if form == "spans" else _sentence_kind(settings, table, roles["label"]))
    return Own(settings, table, kind, roles)


def _sentence_kind(settings: Settings, table: Table, column: str) -> Kind:
    """Classification or regression: as the metric or a mapping of labels says, else regression if all labels are numbers and one of them
    is not whole."""
    if settings.metric:
        return "regression" if "regression" in METRICS[settings.metric] else "classification"
    if settings.labels or settings.positive:
        return "classification"
    values = [number_of(table.text(row, column)) for row in range(len(table.rows))]
    return "regression" if None not in values and any(value and value % 1 for value in values) else "classification"


def number_of(text: str) -> float | None:
    """A finite number, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def ids(own: Own) -> Iterator[str]:
    """Ids of the rows: those of the id column, else their numbers from 0. Raises DataError for one that is used twice."""
    seen: dict[str, int] = {}
    for row, line in enumerate(own.table.lines):
        name = own.table.text(row, own.roles["id"]).strip() if "id" in own.roles else str(row)
        if name in seen:
            cure = "Make ids unique, or give the column another name than id."
            raise own.table.error(row, f"id {name!r} is used twice (first in line {seen[name]})", cure)
        seen[name] = line
        yield name
