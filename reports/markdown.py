"""Verdict cards and documents as Markdown: report.md of the result folder, and comments on pull requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape

from harness import card, intervals, limits
from harness.core import Columns, Run
from harness.document import Cell, Document, Drawing, Folded, Table

REQUIRES: tuple[str, ...] = ()
EXTENSION = "md"

MOST_ROWS = 20
"""Of a table that is shown open: more are shown closed, so that a comment stays short."""

MOST_FOLDED = 12_000
"""Characters of what is folded: a comment may have 65,536 on GitHub."""

_MARKUP = re.compile(r"[\\`*<>|~&]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
_BLOCK = re.compile(r"^(?:([#+=-]+)(?=\s|$)|(\d+)(?=[.)](?:\s|$)))")
"""What is markup anywhere, and what begins a heading, a rule or a list where a line begins."""


def render(run: Run, columns: Columns | None = None) -> str:
    """The report, ending in a newline."""
    made, interval = card.make(run), intervals.headline(run, columns)
    blocks = [
        f"# {made.words}: {made.title}",
        _headline(made, interval.words if interval is not None else ""),
        " · ".join(f"*{mark}*" for mark in made.marks),
        _reasons(made),
        _table(("what", "figure"), made.rows),
        _table(("latency", "figure"), made.latencies),
        "\n".join(f"- limit: {line}" for line in limits.sentences(run, columns)),
        "\n".join(f"- warning: {card.one_line(warning)}" for warning in made.warnings),
        card.one_line(made.machine),
        f"run {run.run_id}, started {run.started_utc}; files: " + ", ".join(f"`{file}`" for file in made.files) if made.files else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _headline(made: card.Card, interval: str) -> str:
    if made.headline is None:
        return "**nothing was measured**"
    number = f"~~{made.headline.text}~~ below its accuracy target, not a result" if made.headline.struck else f"**{made.headline.text}**"
    notes = "; ".join(each for each in (made.headline.note, interval) if each)
    return f"{made.headline.name}: {number} ({notes})"


def _reasons(made: card.Card) -> str:
    return "\n".join(
        f"- {card.one_line(reason.text)}" + (f"; cure: {card.one_line(reason.cure)}" if reason.cure else "") for reason in made.reasons
    )


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {_cell(name)} | {_cell(text)} |" for name, text in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


def _cell(text: str) -> str:
    return card.one_line(text).replace("|", "\\|")


# --------------------------------------------------------------------------------------------------------------------- documents


def render_document(document: Document) -> str:
    """The report of anything that is no single run, ending in a newline. Figures are named only: Markdown has none."""
    drawings = [part.title for part in document.parts if isinstance(part, Drawing)]
    blocks = [
        f"# {_text(document.word)}: {_text(document.title)}",
        f"**{_text(document.headline)}**" + (f" ({_text(document.note)})" if document.note else ""),
        " · ".join(f"*{_text(mark)}*" for mark in document.marks),
        "\n".join(f"- {_text(line)}" for line in document.sentences),
        *(_shown(part) for part in document.parts if isinstance(part, Table)),
        "\n".join(f"- warning: {_text(line)}" for line in document.warnings),
        f"Figures on the page: {_text(', '.join(drawings))}." if drawings else "",
        *(_folded(each) for each in document.folded),
        _text(document.machine),
        _text(document.footer),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _shown(table: Table) -> str:
    """A table with its title above and its caption below; a long one closed."""
    head = [column.name for column in table.columns]
    lines = ["| " + " | ".join(map(_inline, head)) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(_entry, row)) + " |" for row in table.rows]
    text = "\n".join(lines) + (f"\n\n{_text(table.caption)}" if table.caption else "")
    return _closed(table.title, text) if table.detail or len(table.rows) > MOST_ROWS else f"## {_text(table.title)}\n\n{text}"


def _entry(cell: Cell) -> str:
    text = _inline(cell.text)
    text = f"~~{text}~~" if cell.struck and text else text
    text = f"[{text}](<{_address(cell.link)}>)" if cell.link else text
    return f"{text}<br>{_inline(cell.note)}" if cell.note else text


def _folded(each: Folded) -> str:
    text = json.dumps(each.value, indent=2, ensure_ascii=False, default=str)
    if len(text) > MOST_FOLDED:
        return f"{_text(each.title)}: too long for a comment, in the stored JSON"
    return _closed(each.title, f"```json\n{text}\n```")


def _closed(title: str, text: str) -> str:
    return f"<details><summary>{escape(card.one_line(title))}</summary>\n\n{text}\n\n</details>"


def _text(text: str) -> str:
    """One line in which nothing is markup: what would be read as such is escaped."""
    return _BLOCK.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\", _inline(text))


def _inline(text: str) -> str:
    """The same for what never begins a line, such as a cell."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", card.one_line(text))


def _address(link: str) -> str:
    return link.replace("\\", "%5C").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C").replace("\n", "")
