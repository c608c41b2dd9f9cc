"""The page of a run in a browser: drawn, silent, and on its own."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from harness import session
from harness.config import load
from harness.steady import Steady
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


FIGURES = ["spectrum", "split", "timeline", "steady", "machine", "batches", "padding"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    done = session.run(load({"backend": "null:1ms", "scenario": "server", "duration": 2.0, "target_qps": 300.0, "out": str(out)}))
    facts = {
        "throughput": {"by_length": [{"length": 8, "calls": 1, "samples": 1, "real_tokens": 5, "padded_tokens": 8}]},
        "telemetry": {
            "at_s": [0.0, 1.0],
            "columns": {"cpu_mhz": {"unit": "MHz", "values": [3000, None]}, "cpu_celsius": {"unit": "°C", "values": [50, 60]}},
            "throttled": [{"from_s": 0.5, "to_s": 1.0, "what": "cpu", "reason": "thermal"}],
        },
    }
    file = out / "report.html"
    file.write_text(html.render(example_runs.changed(done.run, **facts), done.columns), encoding="utf-8")
    return file


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
    assert figures == FIGURES
    assert done.stdout.count('class="plot-container') == len(figures)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_the_points_of_a_figure_can_be_saved(page: Path, tmp_path: Path) -> None:
    """A press on the button saves a CSV with a row for each point of the figure, the bound's name with its comma quoted."""
    assert BROWSER is not None
    press = """<script>
      const keep = text => { document.documentElement.dataset.saved = JSON.stringify(text); };
      URL.createObjectURL = blob => { blob.text().then(keep); return "#"; };
      window.addEventListener("load", () => document.querySelector('button[data-figure="spectrum"]').click());
    </script></body>"""
    pressed = tmp_path / "pressed.html"
    pressed.write_text(page.read_text(encoding="utf-8").replace("</body>", press), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", pressed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'data-saved="([^"]*)"', done.stdout)
    assert told is not None
    rows = list(csv.reader(io.StringIO(json.loads(unescape(told[1])))))
    drawn = json.loads(re.search(r'id="drawings">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])  # type: ignore[index]
    traces = next(each["traces"] for each in drawn if each["name"] == "spectrum")
    assert rows[0] == ["series", "x", "y", "text"]
    assert len(rows) - 1 == sum(len(trace["x"]) for trace in traces)
    assert {row[0] for row in rows[1:]} == {trace["name"] for trace in traces if trace["x"]}
    assert any(row[0] == "bound, p99: 130 ms, above the figure" for row in rows)


def test_an_unstable_run_says_why_on_its_first_screen() -> None:
    """Beside the verdict, not in the green of a plain VALID."""
    steady = Steady("rate", 0.0, 0.0, 0.0, -0.2, 0.001, 0.0, (0.5,), (1.0,)).record()
    text = html.render(example_runs.changed(example_runs.VALID, steady=steady))
    header = text[text.index("<header") : text.index("</header>")]
    assert '<div class="word doubtful">VALID · UNSTABLE</div>' in header
    assert "UNSTABLE: the rate fell by 20.0% of its median from begin to end" in header


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
