"""The pages of a history in a browser: drawn, silent, linked to each other and to nothing else; and `assay history` as it is typed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from harness import cli, store
from harness.errors import ExitCode
from harness.history.database import History
from harness.history.site import build
from reports import html
from tests import histories
from tests.end_to_end.test_page import BROWSER, FLAGS

RATES = [100.0, 101.0, 99.0, 100.5, 100.0, 99.5, 101.0, 92.0, 91.0, 92.5, 91.5, 92.0, 91.0, 92.4]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series, one with a step and a note in markup, and a run that is no result."""
    folder = tmp_path_factory.mktemp("history")
    with History(folder / "h.db") as history:
        key = histories.record(history, RATES)
        history.record(histories.run(20, 90.0, exit_code=5))
        history.record(histories.run(21, 150.0, conditions={"cpu": {"model": "<b>Xeon</b>", "usable_cores": 8}}))
        history.accept(key, "r0007", "</script><script>alert(1)</script>")
    assert cli.main(["history", "--db", str(folder / "h.db"), "--site", str(folder / "site")]) == ExitCode.OK
    return folder / "site"


def dom(page: str, profile: Path) -> tuple[str, list[str]]:
    """The page as a browser made it, and what it logged."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_run_without_what_a_page_shows_is_left_out(tmp_path: Path) -> None:
    """A run of an older Assay has no page, all others do, and the reason is told."""
    with History(tmp_path / "h.db") as history:
        histories.record(history, RATES[:2])
        history.record(histories.run(9, 100.0, conditions={"warm_up": {"calls": 3}}))
        built = build(history, tmp_path / "site", html, None)
    assert built.left_out == ["r0009: its run.json lacks what a page shows (KeyError: 'unsettled')"]
    assert sorted(page.name for page in (tmp_path / "site" / "runs").iterdir()) == ["r0000.html", "r0001.html"]


def test_every_link_leads_into_the_folder(site: Path) -> None:
    """No page asks for anything outside, and no address is dead; plotly.js is there once."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 2 + 2 + 16
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"url\(|@import", text)
        for address in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text):
            assert not re.match(r"[a-z]+:|//", address), (page, address)
            assert (page.parent / address.partition("#")[0]).is_file(), (page, address)
    assert [file.name for file in site.rglob("*.js")] == ["plotly.min.js"]
    assert max(page.stat().st_size for page in pages) < 300_000


def test_no_text_becomes_markup(site: Path) -> None:
    """Names and notes are text on every page."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text, page
        assert "<b>Xeon" not in text, page


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_trend_is_drawn_in_a_browser(site: Path, tmp_path: Path) -> None:
    """Every figure of a series is drawn by the plotly.js beside the page, and nothing is logged as an error."""
    page = max((site / "series").iterdir(), key=lambda file: file.stat().st_size)
    text, logged = dom(page.as_uri(), tmp_path)
    figures = re.findall(r'<div class="figure[^"]*" id="(\w+)"', text)
    assert figures[0] == "trend_completed_samples_per_second"
    assert text.count('class="plot-container') == len(figures)
    assert logged == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_any_two_runs_are_compared_in_a_browser(site: Path, tmp_path: Path) -> None:
    """The address names them; the ratio of the same machine is given, that of two machines refused with the reason."""
    text, logged = dom((site / "compare.html").as_uri() + "#a=r0000&b=r0007", tmp_path / "same")
    assert '<div class="headline long" id="headline">−8.0 % completed samples per second</div>' in text
    assert "worse: beyond noise" in text
    other, more = dom((site / "compare.html").as_uri() + "#a=r0000&b=r0021", tmp_path / "other")
    assert "No ratios: they differ in machine." in other
    assert "machine.cpu.model: AMD EPYC → &lt;b&gt;Xeon&lt;/b&gt;" in other
    assert logged == more == []


def test_a_choice_without_runs_has_a_page() -> None:
    """An empty history is no error."""
    assert "<script" in html.render_choice({"series": {}, "conditions": {}, "runs": []})


# ------------------------------------------------------------------------------------------------------------------------- typed


def test_import_show_export_prune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From result folders to a table, a page, an export and a dry run of pruning, in the working directory's history."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSAY_HISTORY", raising=False)
    for number in range(3):
        made = histories.run(number)
        store.open_folder(tmp_path / "results", made.run_id).write_run(made)
    assert cli.main(["history", "--import", "results", "--branch", "main"]) == ExitCode.OK
    assert capsys.readouterr().out == "3 runs recorded in assay-history.db, 0 there already\n"
    assert cli.main(["history"]) == ExitCode.OK
    assert "squad · server · pytorch:fp32" in capsys.readouterr().out
    assert cli.main(["history", "squad", "--format", "json"]) == ExitCode.OK
    assert [row["run_id"] for row in json.loads(capsys.readouterr().out)["runs"]] == ["r0000", "r0001", "r0002"]
    assert cli.main(["history", "squad", "--plot", "trend.html", "--export", "x.csv"]) == ExitCode.OK
    assert (tmp_path / "trend.html").stat().st_size > 1_000_000
    capsys.readouterr()
    assert cli.main(["history", "--prune", "1", "--keep", "1"]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[-1] == "2 runs would go; nothing was changed, --yes prunes"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plot", "x.html"], "--plot needs a series"),
        (["squad", "--site", "x"], "--site is of all series"),
        (["--yes"], "--yes goes with --prune"),
        (["--branch", "main"], "--branch goes with --import"),
        (["squad", "--metric", "speed"], "has no figure speed"),
        (["squad", "--format", "pdf"], "there is no report pdf"),
        (["nonsense"], "there is no series nonsense"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with a cure, and nothing is changed."""
    with History(tmp_path / "h.db") as history:
        histories.record(history, [1.0])
    assert cli.main(["history", "--db", str(tmp_path / "h.db"), *words]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert message in said
    assert "cure: " in said
