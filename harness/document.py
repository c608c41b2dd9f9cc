"""What a report says before it is laid out: words, tables and figures that the terminal, Markdown, HTML and CSV show alike. Pure data.

Whatever has something to report that is no single run (a comparison, a sweep, several runs, a history, a qualification) makes a `Document`;
the plugins of `reports/` lay it out by their `render_document`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

Tone = Literal["plain", "good", "bad", "doubtful"]
"""How a word is meant. It is always said in words as well: colour alone says nothing on paper, or to everybody."""


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column. `unit` is that of `Cell.value`, for files that programs read; texts carry their own."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a table. `value`: what `text` says, as it is stored; None where there is none. `struck`: it is no result; `note`:
    further words, shown smaller, such as an interval. `more`: the figures of those words for files that programs read, by the name of a
    column of their own, with its unit."""

    text: str
    value: float | int | str | bool | None = None
    note: str = ""
    tone: Tone = "plain"
    struck: bool = False
    href: str = ""
    more: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)

    @property
    def link(self) -> str:
        """`href` where it is a relative or a web address; empty for one that would run something."""
        try:
            return self.href if urlsplit(self.href).scheme in ("", "http", "https") else ""
        except ValueError:
            return ""


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: each as long as `columns`. `name` is a word for files. `detail`: for who wants to know more; left out on a screen, closed in
    Markdown. `records`: what files that programs read have in place of the cells, (rows,) by heading, where the cells are a selection."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    detail: bool = False
    records: Sequence[Mapping[str, float | int | str | bool | None]] = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as data of plotly.js, JSON values only. `name` is a word for files, `caption` says what can be read from it."""

    name: str
    title: str
    caption: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Folded:
    """What few will want to see: shown closed where a page can do so, left out on a screen. `value`: JSON."""

    title: str
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    kind       what it is of: comparison, sweep, runs, history, qualification ...
    word       the verdict in a word or two, and `tone` how it is meant
    headline   the one thing to take away; `note` qualifies it
    marks      short words beside it
    machine    where and of what state of the project it was measured, in one line
    sentences  what is to be said first, most important first
    parts      tables and figures in the order they are read
    record     the stored JSON that all of it was made from; `--format json` gives it
    """

    kind: str
    title: str
    word: str
    tone: Tone
    headline: str
    note: str = ""
    marks: Sequence[str] = ()
    machine: str = ""
    sentences: Sequence[str] = ()
    warnings: Sequence[str] = ()
    parts: Sequence[Table | Drawing] = ()
    folded: Sequence[Folded] = ()
    footer: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
