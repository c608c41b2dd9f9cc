"""Verdict cards and documents for the terminal: as wide as the screen, without colour where there is none."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from harness import card, intervals, limits
from harness.core import Columns, Reason, Run
from harness.document import Cell, Document, Drawing
from harness.document import Table as Made

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
    from rich.panel import Panel

    made, interval = card.make(run), intervals.headline(run, columns)
    console = _console(width or shutil.get_terminal_size().columns, _wants_colour() if colour is None else colour)
    body = _body(made, interval.words if interval is not None else "", limits.sentences(run, columns))
    console.print(Panel(body, title=_word(made), title_align="left", border_style=_COLOUR[made.word], padding=(0, 1)))
    return _printed(console)


def _printed(console: Console) -> str:
    lines = console.file.getvalue().splitlines() if isinstance(console.file, StringIO) else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _console(width: int, colour: bool, most: int = MOST_COLUMNS) -> Console:
    from rich.console import Console

    return Console(
        file=StringIO(),
        width=max(LEAST_COLUMNS, min(width, most)),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )


def _word(made: card.Card) -> Text:
    from rich.text import Text

    return Text(f" {made.words} ", style=f"bold {_COLOUR[made.word]}")


def _body(made: card.Card, interval: str, limiting: Sequence[str]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(made.title), _headline(made, interval), Text(" · ".join(made.marks), style="dim"), Text()]
    if made.reasons:
        parts += [_reason(reason) for reason in made.reasons] + [Text()]
    parts.append(_rows([*made.rows, *((f"latency {name}", text) for name, text in made.latencies)]))
    if limiting:
        parts += [Text(), *(Text(f"limit: {line}") for line in limiting)]
    if made.warnings:
        parts += [Text(), *(Text(f"warning: {warning}", style="yellow") for warning in made.warnings)]
    parts += [Text(), Text(made.machine, style="dim")] if made.machine else []
    parts += [Text(f"files: {', '.join(made.files)}", style="dim")] if made.files else []
    return Group(*parts)


def _headline(made: card.Card, interval: str) -> Text:
    from rich.text import Text

    if made.headline is None:
        return Text("nothing was measured", style="bold")
    number = f"~~{made.headline.text}~~ below its accuracy target, not a result" if made.headline.struck else made.headline.text
    notes = "; ".join(each for each in (made.headline.note, interval) if each)
    return Text.assemble(f"{made.headline.name}: ", (number, "bold" if made.counts else "bold red"), f" ({notes})")


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


# --------------------------------------------------------------------------------------------------------------------- documents

MOST_DOCUMENT_COLUMNS = 180
WRAPPED = ((30, 42), (18, 24))
"""Where notes and texts of a table are wrapped, and where if that is still wider than the screen; no word is cut."""

_TONES = {"plain": "", "good": "green", "bad": "red", "doubtful": "yellow"}


def render_document(document: Document, *, width: int | None = None, colour: bool | None = None) -> str:
    """The report of anything that is no single run, ending in a newline. Figures and what is folded are on the page only. A table wider
    than the screen is shown as a list of its rows."""
    from rich.panel import Panel
    from rich.text import Text

    columns = max(LEAST_COLUMNS, min(width or shutil.get_terminal_size().columns, MOST_DOCUMENT_COLUMNS))
    console = _console(columns, _wants_colour() if colour is None else colour, most=MOST_DOCUMENT_COLUMNS)
    style = _TONES[document.tone]
    heading = Text(f" {_line(document.word)} ", style=f"bold {style}".strip())
    console.print(Panel(_first(document), title=heading, title_align="left", border_style=style or "none", padding=(0, 1)))
    for line in document.sentences:
        console.print(Text(_line(line)))
    for part in document.parts:
        if isinstance(part, Made) and not part.detail:
            console.print(_laid_out(part, columns))
    for line in document.warnings:
        console.print(Text(f"warning: {_line(line)}", style="yellow"))
    for line in (_drawn(document), document.machine, document.footer):
        if line:
            console.print(Text(_line(line), style="dim"))
    return _printed(console)


def _first(document: Document) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    headline = Text(_line(document.headline), style="bold")
    note = [Text(_line(document.note))] if document.note else []
    marks = [Text(" · ".join(map(_line, document.marks)), style="dim")] if document.marks else []
    return Group(Text(_line(document.title)), headline, *note, *marks)


def _drawn(document: Document) -> str:
    titles = [part.title for part in document.parts if isinstance(part, Drawing) or part.detail]
    return f"more on the page (--format html): {', '.join(titles)}" if titles else ""


def _laid_out(made: Made, columns: int) -> RenderableType:
    """A table, or where it does not fit, each row as a list."""
    from rich.console import Group
    from rich.text import Text

    laid = (_grid(made, columns, note, text) for note, text in WRAPPED)
    body = next((grid for grid in laid if grid is not None), None) or _listed(made)
    struck = any(cell.struck for row in made.rows for cell in row)
    below = [made.caption] * bool(made.caption) + ["~~ ~~ is struck out: no result"] * struck
    return Group(Text(), Text(_line(made.title), style="bold"), body, *(Text(_line(line), style="dim") for line in below), Text())


def _lines(cell: Cell, note: int, text: int) -> list[str]:
    """Words of a cell, those of its note below."""
    return [*(_wrapped(_plain(cell), text) or [""]), *_wrapped(_line(cell.note), note)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _line(text: str) -> str:
    """One line without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in card.one_line(text))


def _plain(cell: Cell) -> str:
    text = _line(cell.text)
    return f"~~{text}~~" if cell.struck and text else text


def _width(lines: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, lines), default=0)


def _grid(made: Made, columns: int, note: int, text: int) -> Table | None:
    """The table with its words wrapped there; None where it is wider than `columns`."""
    from rich.table import Table
    from rich.text import Text

    heads = [_wrapped(_line(column.name), text) or [""] for column in made.columns]
    cells = [[_lines(cell, note, text) for cell in row] for row in made.rows]
    widths = [max(_width(lines) for lines in [head, *(row[place] for row in cells)]) for place, head in enumerate(heads)]
    if sum(widths) + 2 * (len(widths) - 1) > columns:
        return None
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head, right in zip(heads, _numeric(made), strict=True):
        table.add_column(Text("\n".join(head)), justify="right" if right else "left", no_wrap=True)
    for row, lines in zip(made.rows, cells, strict=True):
        table.add_row(*(Text("\n".join(each), style=_TONES[cell.tone]) for cell, each in zip(row, lines, strict=True)))
    return table


def _numeric(made: Made) -> Iterator[bool]:
    """Which columns are of figures alone: these end below each other."""
    for place in range(len(made.columns)):
        column = [row[place] for row in made.rows]
        numbers = [isinstance(cell.value, int | float) and not cell.note for cell in column if cell.text not in ("", "-")]
        yield bool(numbers) and all(numbers)


def _listed(made: Made) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for row in made.rows:
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=4, overflow="fold")
        table.add_column(overflow="fold")
        for column, cell in list(zip(made.columns, row, strict=True))[1:]:
            note = f" ({_line(cell.note)})" if cell.note else ""
            table.add_row(Text(f"  {_line(column.name)}", style="dim"), Text(f"{_plain(cell)}{note}", style=_TONES[cell.tone]))
        parts += [Text(_plain(row[0]) + (f" ({_line(row[0].note)})" if row[0].note else ""), style="bold"), table]
    return Group(*parts)
