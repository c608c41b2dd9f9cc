"""The page of a run in a browser: drawn, silent, and on its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import session
from harness.config import load
from reports import html
from tests import example_runs

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    done = session.run(load({"backend": "null:1ms", "scenario": "server", "duration": 2.0, "target_qps": 300.0, "out": str(out)}))
    return done.folder / "report.html"


def test_the_page_asks_for_nothing(page: Path) -> None:
    """No element loads anything: no source, stylesheet or image from elsewhere; under 6 MB."""
    text = page.read_text(encoding="utf-8")
    outside = text[: text.index("<script>")] + text[text.rindex("<script>") :]  # plotly.js itself names addresses that it never asks
    assert not re.findall(r'(?:src|href)\s*=\s*"[^"]*"|url\(|@import', outside)
    assert len(text.encode()) < 6e6


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_every_figure_is_drawn_in_a_browser(page: Path, tmp_path: Path) -> None:
    """Headless Chromium draws every figure and logs no error of the page."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    figures = re.findall(r'<div class="figure[^"]*" id="(\w+)"', done.stdout)
    assert figures == ["spectrum", "split", "timeline", "batches"]
    assert done.stdout.count('class="plot-container') == len(figures)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_text_cannot_break_out() -> None:
    """Names and messages are text, whatever is in them."""
    evil = "</script><script>alert(1)</script>"
    run = example_runs.changed(example_runs.VALID, warnings=[evil], config={"task": evil})
    text = html.render(run)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize("name", ["VALID", "INVALID", "ACCURACY_MISSED", "INTERRUPTED", "NULL", "FAILED", "MINIMAL"])
def test_a_page_without_a_ledger(name: str) -> None:
    """Verdict and figures in words, and no script at all."""
    text = html.render(getattr(example_runs, name))
    assert "<script" not in text
    assert text.count("<h1>") == 1
    assert ('class="headline struck"' in text) == (name == "ACCURACY_MISSED")
