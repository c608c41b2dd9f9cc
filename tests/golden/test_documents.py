"""Documents in every format, held against files that were read by people; with ASSAY_WRITE_GOLDEN=1 they are written anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.comparing.document import document
from harness.document import Cell, Column, Document, Drawing, Folded, Table
from harness.reporting import several
from reports import csv, html, markdown, terminal
from tests import example_documents

FOLDER = Path(__file__).parent / "documents"

EVERYTHING = Document(
    kind="example",
    title="one of each",
    word="GOOD",
    tone="good",
    headline="12.3 samples/s",
    note="95 % interval 12.1 to 12.5",
    marks=("quick run", "unverified"),
    machine="AMD EPYC · 2 cores",
    sentences=("First things first.", "1. No list | no table *and* no emphasis."),
    warnings=("the machine was busy",),
    parts=[
        Table(
            "points",
            "Points",
            [Column("rate", "queries/s"), Column("p99", "ns"), Column("verdict")],
            [
                [
                    Cell("10.0", 10.0),
                    Cell("12.0 ms", 12_000_000, "[11.0, 13.0]", more={"p99 low (ns)": 11_000_000}),
                    Cell("met", tone="good"),
                ],
                [Cell("20.0", 20.0), Cell("-"), Cell("missed", tone="bad", struck=True, href="runs/20.html")],
            ],
            "Every row is a run.",
        ),
        Table("details", "Details", [Column("key"), Column("value")], [[Cell("seed"), Cell("7", 7)]], detail=True),
        Drawing(
            "curve", "Curve", "Read it from left to right.", [{"type": "scatter", "name": "p99", "x": [10], "y": [12]}], {"height": 300}
        ),
    ],
    folded=[Folded("Settings", {"seed": 7, "name": "a </pre> b"})],
    footer="example of 2026-08-21",
    record={"schema": 1},
)

DOCUMENTS = {
    "everything": EVERYTHING,
    "comparison": document(example_documents.COMPARISON),
    "runs": several.document(example_documents.entries()),
    "runs_across": several.document(example_documents.entries(), across_machines=True),
}
FORMATS: dict[str, Callable[[Document], str]] = {
    "md": markdown.render_document,
    "csv": csv.render_document,
    "txt": lambda made: terminal.render_document(made, width=100, colour=False),
    "narrow.txt": lambda made: terminal.render_document(made, width=60, colour=False),
    "html": lambda made: html.render_document(made, script="plotly.min.js"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("ending", FORMATS)
def test_documents_are_as_they_were(name: str, ending: str) -> None:
    """Word for word; trailing spaces and a last line without an end are nobody's wish."""
    file, text = FOLDER / f"{name}.{ending}", FORMATS[ending](DOCUMENTS[name])
    if os.environ.get("ASSAY_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    assert text == file.read_bytes().decode()
    assert text.endswith("\n")
