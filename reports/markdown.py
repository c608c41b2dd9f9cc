"""Verdict card as Markdown: report.md of the result folder."""

from __future__ import annotations

from collections.abc import Iterable

from harness import card
from harness.core import Columns, Run

REQUIRES: tuple[str, ...] = ()
EXTENSION = "md"


def render(run: Run, columns: Columns | None = None) -> str:
    """The report, ending in a newline."""
    del columns
    made = card.make(run)
    blocks = [
        f"# {made.word}: {made.title}",
        _headline(made),
        " · ".join(f"*{mark}*" for mark in made.marks),
        _reasons(made),
        _table(("what", "figure"), made.rows),
        _table(("latency", "figure"), made.latencies),
        "\n".join(f"- warning: {card.one_line(warning)}" for warning in made.warnings),
        card.one_line(made.machine),
        f"run {run.run_id}, started {run.started_utc}; files: " + ", ".join(f"`{file}`" for file in made.files) if made.files else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _headline(made: card.Card) -> str:
    if made.headline is None:
        return "**nothing was measured**"
    number = f"~~{made.headline.text}~~ below its accuracy target, not a result" if made.headline.struck else f"**{made.headline.text}**"
    return f"{made.headline.name}: {number} ({made.headline.note})"


def _reasons(made: card.Card) -> str:
    return "\n".join(
        f"- {card.one_line(reason.text)}" + (f"; cure: {card.one_line(reason.cure)}" if reason.cure else "") for reason in made.reasons
    )


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {_cell(name)} | {_cell(text)} |" for name, text in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


def _cell(text: str) -> str:
    return card.one_line(text).replace("|", "\\|")
