"""Which column of a user's own file is what: as named, or recognised by its name. Pure.

Names are compared without regard to capitals, and a space or `-` counts as `_`. What is not certain is an error that lists the columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from harness.errors import UsageError
from harness.suggest import closest

Role = Literal["text", "pair", "label", "question", "context", "answer", "start", "id"]
Form = Literal["sentences", "spans"]

SPANS: tuple[Role, ...] = ("question", "context", "answer", "start")
SENTENCES: tuple[Role, ...] = ("text", "pair", "label")

PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("#1_string", "#2_string"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "passage"),
    ("query", "passage"),
)
"""First and second text, as GLUE and collections like it name them."""

SINGLES = ("sentence", "text")
NAMES: Mapping[Role, tuple[str, ...]] = {
    "label": ("label", "labels", "gold_label", "class", "target", "score", "similarity", "quality"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph"),
    "answer": ("answers", "answer", "answer_text"),
    "start": ("answer_start", "answer_starts"),
    "id": ("id",),
}
"""Names by which a column is recognised."""

Roles = Mapping[Role, str]


def recognise(
    columns: Sequence[str], named: Roles, form: Form | None, origins: Mapping[str, str], where: str
) -> tuple[Form, dict[Role, str]]:
    """What is asked (a label of sentences, or spans) and the column of each role.

    `named` are columns by role, as the user says; `origins` is where each was said (by role), `where` the file. Raises UsageError for a
    column that is not there, for roles that do not go together, and for what could be read in two ways.
    """
    finder = _Finder(columns, named, origins, where)
    finder.check(form)
    found: dict[Role, str] = {}
    form = form or finder.form()
    if form == "spans":
        for role in ("question", "context", "answer"):
            found[role] = finder.one(role, found)
        optional: tuple[Role, ...] = ("start", "id")
    else:
        found |= finder.texts()
        found["label"] = finder.one("label", found)
        optional = ("id",)
    for role in optional:
        if column := finder.maybe(role, found):
            found[role] = column
    return form, found


def key(name: str) -> str:
    """A column name as it is compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


class _Finder:
    def __init__(self, columns: Sequence[str], named: Roles, origins: Mapping[str, str], where: str) -> None:
        self.columns, self.named, self.origins, self.where = columns, named, origins, where
        self.listing = f"Its columns: {', '.join(map(repr, columns))}."

    def error(self, what: str, cure: str) -> UsageError:
        return UsageError(f"{self.where}: {what}", f"{cure} {self.listing}")

    def check(self, form: Form | None) -> None:
        """Columns that were named are there, each for one role, and roles of one form."""
        for role, column in self.named.items():
            if column not in self.columns:
                near = closest(column, self.columns)
                raise UsageError(
                    f"{self.origins.get(role, role)}: {self.where} has no column {column!r}",
                    (f"Did you mean {near!r}? " if near else "") + self.listing,
                )
        for role, column in self.named.items():
            twice = [other for other in self.named if other != role and self.named[other] == column]
            if twice:
                raise self.error(f"{column!r} is named both as {role} and as {twice[0]}", "Name two columns.")
        cure = "Name text, pair and label for classification and regression, or question, context and answer for question answering."
        if self.says(SPANS) and self.says(SENTENCES):
            raise self.error(f"{self.says(SPANS)[0]} and {self.says(SENTENCES)[0]} columns are named together", cure)
        if foreign := self.says(SENTENCES if form == "spans" else SPANS if form == "sentences" else ()):
            raise self.error(f"column {self.named[foreign[0]]!r} is named as {foreign[0]}, and kind or metric ask for something else", cure)
        if "pair" in self.named and "text" not in self.named:
            raise self.error("a pair column is named, but no text column", "Name both texts.")

    def says(self, roles: Iterable[Role]) -> list[Role]:
        return [role for role in roles if role in self.named]

    def form(self) -> Form:
        """Spans or sentences: as the named roles say, else as the names of the columns say."""
        if self.says(SPANS):
            return "spans"
        if self.says(SENTENCES):
            return "sentences"
        spans = all(self.candidates(role) for role in ("question", "context", "answer"))
        sentences = bool(self.candidates("label") and self.text_candidates())
        if spans and sentences:
            raise self.error(
                "answers and labels: is a span asked for, or a label?",
                "Name the answer column or the label column (--answer-column, --label-column, or `columns` of the YAML file).",
            )
        if spans == sentences:
            raise self.error(
                "its columns are not recognised",
                "The first line must name them: text (or two texts) and label, or question, context and answers; or name them with "
                "--text-column, --pair-column, --label-column, --question-column, --context-column, --answer-column.",
            )
        return "spans" if spans else "sentences"

    def candidates(self, role: Role, taken: Iterable[str] = ()) -> list[str]:
        return [column for column in self.columns if key(column) in NAMES[role] and column not in taken]

    def one(self, role: Role, found: Roles) -> str:
        """The column of a role that there must be."""
        column = self.maybe(role, found)
        if column is None:
            raise self.error(f"no {role} column is recognised", f"Name it: {_how(role)}.")
        return column

    def maybe(self, role: Role, found: Roles) -> str | None:
        if role in self.named:
            return self.named[role]
        candidates = self.candidates(role, {*found.values(), *self.named.values()})
        if len(candidates) > 1:
            raise self.error(f"the {role} column could be {' or '.join(map(repr, candidates))}", f"Name it: {_how(role)}.")
        return candidates[0] if candidates else None

    def texts(self) -> dict[Role, str]:
        """Columns of one text or two."""
        if "text" in self.named:
            return {role: self.named[role] for role in self.says(("text", "pair"))}
        candidates = self.text_candidates()
        if len(candidates) > 1:
            shown = " or ".join(" with ".join(map(repr, candidate)) for candidate in candidates)
            raise self.error(f"the text could be {shown}", f"Name it: {_how('text')}, and {_how('pair')} for a second text.")
        if not candidates:
            raise self.error("no text column is recognised", f"Name it: {_how('text')}, and {_how('pair')} for a second text.")
        return dict(zip(("text", "pair"), candidates[0], strict=False))

    def text_candidates(self) -> list[tuple[str, ...]]:
        """Pairs of columns, and single columns that are in no pair."""
        free = [column for column in self.columns if column not in self.named.values()]
        found: list[tuple[str, ...]] = [
            (first, second) for names in PAIRS for first in free for second in free if (key(first), key(second)) == names
        ]
        paired = {column for pair in found for column in pair}
        return found + [(column,) for column in free if key(column) in SINGLES and column not in paired]


def _how(role: Role) -> str:
    """Flag and key with which a column is named."""
    return (
        f"`{role}` under `columns` of a YAML file"
        if role in ("start", "id")
        else f"--{role}-column, or `{role}` under `columns` of a YAML file"
    )
