"""Every format of a document: nothing in a name is markup, code or a command to a terminal, and nothing is said by colour alone."""

from __future__ import annotations

import csv as standard
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import csv_text
from harness.document import Cell, Column, Document, Drawing, Folded, Table
from reports import csv, html, markdown, terminal

EVIL = "</script><script>alert(1)</script> | **bold** [x](javascript:alert(1)) `code` \x1b[31mred\x1b[0m\nsecond line & =1+1"


def document(text: str, href: str = "") -> Document:
    """A document that says `text` wherever a text can be."""
    table = Table(
        "table", text, [Column("a" + text), Column("b")], [[Cell(text, text), Cell(text, None, text, struck=True, href=href)]], text
    )
    drawing = Drawing("drawing", text, text, [{"type": "scatter", "name": text, "x": [1], "y": [2]}], {})
    return Document(
        kind="x",
        title=text,
        word=text,
        tone="bad",
        headline=text,
        note=text,
        marks=(text,),
        machine=text,
        sentences=(text,),
        warnings=(text,),
        parts=[table, drawing],
        folded=[Folded(text, {text: text})],
        footer=text,
    )


class Page(HTMLParser):
    """Elements and what is said outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


def test_names_are_text_on_a_page() -> None:
    """A hostile name makes the same elements as a plain one, and stays inside the JSON it is embedded in."""
    evil, plain = (Page(html.render_document(document(text), script="x.js")) for text in (EVIL, "plain"))
    assert evil.tags == plain.tags
    text = html.render_document(document(EVIL), script="x.js")
    (embedded,) = re.findall(r'<script type="application/json" id="drawings">(.*?)</script>', text, re.DOTALL)
    assert json.loads(embedded)[0]["traces"][0]["name"] == EVIL


@pytest.mark.parametrize("href", ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://[bad"])
def test_links_lead_to_pages_only(href: str) -> None:
    """Relative and web addresses are links; what would run something, or read a file, is none."""
    assert Page(html.render_document(document("x", href), script="x.js")).links == []
    assert "](<" not in markdown.render_document(document("x", href))
    assert Page(html.render_document(document("x", "runs/a b.html"), script="x.js")).links == ["runs/a b.html"]
    assert "[~~x~~](<runs/a b.html>)" in markdown.render_document(document("x", "runs/a b.html"))


def test_names_are_text_in_markdown() -> None:
    """Rows keep their number of cells; no element, link, emphasis or code is left unescaped."""
    text = markdown.render_document(document(EVIL))
    (row,) = [line for line in text.splitlines() if line.startswith("| \\<")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    outside = re.sub(r"```json.*?```|<summary>.*?</summary>", "", text, flags=re.DOTALL).replace("<br>", "")  # there it is no Markdown
    assert not re.findall(r"(?<!\\)<(?!/?details>)", outside)
    assert "](javascript" not in outside.replace("\\](", "")
    assert "**bold**" not in outside


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# x", "\\# x"),
        ("1. x", "1\\. x"),
        ("- x", "\\- x"),
        ("---", "\\---"),
        ("a_b _c_", "a_b \\_c\\_"),
        ("1.93x [1.89, 1.97]", "1.93x [1.89, 1.97]"),
        ("a~~b~~", "a\\~\\~b\\~\\~"),
    ],
)
def test_markdown_escapes_what_it_must(text: str, shown: str) -> None:
    """And nothing more: figures, intervals and names with underscores stay readable in the raw text."""
    assert f"\n- {shown}\n" in markdown.render_document(replace(document("x"), sentences=(text,)))


def test_a_terminal_obeys_no_name() -> None:
    """No escape sequence of a name reaches the screen, at any width, and a line is one line."""
    for width in (40, 80, 180):
        text = terminal.render_document(document(EVIL), width=width, colour=False)
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= width


def test_struck_out_is_said_in_words() -> None:
    """Without colour and without lines through letters, what is no result can be told."""
    text = terminal.render_document(document("x"), width=80, colour=False)
    assert "~~x~~" in text
    assert "~~ ~~ is struck out: no result" in text
    assert csv.render_document(document("x")).splitlines()[-1].endswith("b")


def test_colour_is_only_added() -> None:
    """Without its escape sequences a coloured text is the plain one."""
    coloured = terminal.render_document(document("x"), width=80, colour=True)
    assert "\x1b[" in coloured
    plain = re.sub(r" *$", "", re.sub(r"\x1b\[[\d;]*m", "", coloured), flags=re.MULTILINE)
    assert plain == terminal.render_document(document("x"), width=80, colour=False)


# ------------------------------------------------------------------------------------------------------------------------------ CSV


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2), min_size=1))
def test_csv_is_read_back_as_it_was(rows: list[list[str]]) -> None:
    """Any text, with commas, quotes and line ends, survives; a would-be formula is read with an apostrophe before it."""
    table = Table("t", "t", [Column("a"), Column("b", "ns")], [[Cell("shown", value) for value in row] for row in rows])
    read = list(standard.reader(io.StringIO(csv_text.table(table), newline="")))
    wanted = [[f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value for value in row] for row in rows]
    assert read == [["a", "b (ns)"], *wanted]


def test_csv_keeps_values_not_words() -> None:
    """Figures unrounded, yes and no, empty where there is none; figures of a note in columns of their own."""
    cells = [Cell("1.0", 1.0000001), Cell("-"), Cell("x", True), Cell("2 (1 to 3)", 2, "1 to 3", more={"low": 1, "high": 3})]
    text = csv_text.table(Table("t", "t", [Column(name) for name in "abcd"], [cells]))
    assert text == "a,b,c,d,low,high\r\n1.0000001,,yes,2,1,3\r\n"


def test_several_tables_are_told_apart() -> None:
    """Each behind a record that is its title, an empty line between them; one alone has no title."""
    one = Table("one", "First, of two", [Column("a")], [[Cell("1", 1)]])
    made = replace(document("x"), parts=[one, replace(one, name="two", title="Second")])
    assert csv.render_document(made) == '"First, of two"\r\na\r\n1\r\n\r\nSecond\r\na\r\n1\r\n'
    assert csv.render_document(replace(made, parts=[one])) == "a\r\n1\r\n"
    assert csv_text.named(made) == {"one": "a\r\n1\r\n", "two": "a\r\n1\r\n"}
