"""Pages of comparisons and of several runs in a browser: drawn, silent, without a network, and as wide as the screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import csv_text
from harness.comparing.document import document
from harness.document import Document, Drawing
from harness.reporting import several
from reports import html
from tests import browser, example_documents

PAGES = {"comparison": document(example_documents.COMPARISON), "runs": several.document(example_documents.entries(), across_machines=True)}


def drawings(made: Document) -> list[Drawing]:
    return [part for part in made.parts if isinstance(part, Drawing)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    if browser.BROWSER is None:
        pytest.skip("no Chromium here")
    with browser.chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in PAGES}
    for name, file in made.items():
        file.write_text(html.render_document(PAGES[name]), encoding="utf-8")
    return made


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_drawn_and_silent(name: str, width: int, dark: bool, files: dict[str, Path], chromium: browser.Browser) -> None:
    """Every figure is drawn, nothing but the page is asked for, nothing is said on the console, and nothing is wider than a desk or a
    phone."""
    assert files[name].stat().st_size < 6e6
    page = chromium.open(files[name], width, dark=dark)
    shown = page.value('[...document.querySelectorAll(".figure")].map(each => each.id)')
    assert shown == [each.name for each in drawings(PAGES[name])]
    assert page.asked == [files[name].as_uri()]
    assert page.said == []
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("Math.max(...[...document.querySelectorAll('.main-svg')].map(each => each.getBoundingClientRect().right))") <= width
    assert page.value('getComputedStyle(document.body).backgroundColor == "rgb(255, 255, 255)"') is not dark


def test_tables_and_figures_are_saved_as_csv(files: dict[str, Path], chromium: browser.Browser) -> None:
    """A table as the CSV report has it; a figure as its points, with both ends of an interval."""
    made = PAGES["comparison"]
    saved = chromium.open(files["comparison"]).saved()
    assert {name: text for name, text in saved.items() if name in csv_text.named(made)} == csv_text.named(made)
    lines = saved["ratios"].split("\r\n")
    assert lines[0] == "series,x,y,below,above,text"
    assert lines[1].split(",")[0] == "samples/s"
    assert len(lines) == 2 + sum(len(trace["x"]) for trace in drawings(made)[0].traces)


def test_paper_is_white(files: dict[str, Path], chromium: browser.Browser) -> None:
    """Printed from a dark screen, ink is dark, also in figures, and what is folded or pressed is left out."""
    page = chromium.open(files["comparison"], dark=True)
    page.value("dispatchEvent(new Event('beforeprint'))")
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.value('getComputedStyle(document.querySelector(".figure text")).fill') == "rgb(28, 33, 40)"
    page.value("dispatchEvent(new Event('afterprint'))")
    assert page.value("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


def test_a_page_without_figures_has_no_plotly() -> None:
    """The 4.8 MB are there only where something is drawn."""
    made = PAGES["comparison"]
    assert len(html.render_document(replace(made, parts=[each for each in made.parts if not isinstance(each, Drawing)]))) < 50_000
