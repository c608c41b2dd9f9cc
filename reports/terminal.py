"""Verdict card for the terminal: as wide as the screen, without colour where there is none."""

from __future__ import annotations

import os
import shutil
import sys
from io import StringIO
from typing import TYPE_CHECKING

from harness import card
from harness.core import Columns, Reason, Run

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

REQUIRES: tuple[str, ...] = ("rich",)
EXTENSION = "txt"

MOST_COLUMNS = 110
LEAST_COLUMNS = 40

_COLOUR = {card.VALID: "green", card.INVALID: "red", card.MISSED: "red", card.FAILED: "red", card.INCOMPLETE: "yellow"}


def render(run: Run, columns: Columns | None = None, *, width: int | None = None, colour: bool | None = None) -> str:
    """The card, ending in a newline. `width` in characters (default: the terminal's); `colour` default: on a terminal, unless NO_COLOR."""
    del columns
    from rich.panel import Panel

    made = card.make(run)
    console = _console(width or shutil.get_terminal_size().columns, _wants_colour() if colour is None else colour)
    console.print(Panel(_body(made), title=_word(made), title_align="left", border_style=_COLOUR[made.word], padding=(0, 1)))
    lines = console.file.getvalue().splitlines() if isinstance(console.file, StringIO) else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _console(width: int, colour: bool) -> Console:
    from rich.console import Console

    return Console(
        file=StringIO(),
        width=max(LEAST_COLUMNS, min(width, MOST_COLUMNS)),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )


def _word(made: card.Card) -> Text:
    from rich.text import Text

    return Text(f" {made.word} ", style=f"bold {_COLOUR[made.word]}")


def _body(made: card.Card) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(made.title), _headline(made), Text(" · ".join(made.marks), style="dim"), Text()]
    if made.reasons:
        parts += [_reason(reason) for reason in made.reasons] + [Text()]
    parts.append(_rows([*made.rows, *((f"latency {name}", text) for name, text in made.latencies)]))
    if made.warnings:
        parts += [Text(), *(Text(f"warning: {warning}", style="yellow") for warning in made.warnings)]
    parts += [Text(), Text(made.machine, style="dim")] if made.machine else []
    parts += [Text(f"files: {', '.join(made.files)}", style="dim")] if made.files else []
    return Group(*parts)


def _headline(made: card.Card) -> Text:
    from rich.text import Text

    if made.headline is None:
        return Text("nothing was measured", style="bold")
    number = f"~~{made.headline.text}~~ below its accuracy target, not a result" if made.headline.struck else made.headline.text
    return Text.assemble(f"{made.headline.name}: ", (number, "bold" if made.counts else "bold red"), f" ({made.headline.note})")


def _reason(reason: Reason) -> Text:
    from rich.text import Text

    cure = f"\n    cure: {card.one_line(reason.cure)}" if reason.cure else ""
    return Text.assemble((f"  {card.one_line(reason.text)}", "red"), cure)


def _rows(pairs: list[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(Text(name, style="dim"), Text(text))
    return table
