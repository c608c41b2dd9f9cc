"""Readable reports, held against files that were read by people; with ASSAY_WRITE_GOLDEN=1 in the environment they are written anew."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness import card
from harness.core import Run
from harness.early_stopping import required
from reports import markdown, terminal
from tests import example_runs

FOLDER = Path(__file__).parent / "reports"
RUNS = {
    "valid": example_runs.VALID,
    "invalid": example_runs.INVALID,
    "accuracy_missed": example_runs.ACCURACY_MISSED,
    "interrupted": example_runs.INTERRUPTED,
    "null": example_runs.NULL,
    "failed": example_runs.FAILED,
}


def agree(name: str, text: str) -> None:
    file = FOLDER / name
    if os.environ.get("ASSAY_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RUNS)
def test_the_terminal_card_is_as_recorded(name: str) -> None:
    """The card at 100 columns without colour equals its golden file."""
    agree(f"{name}.txt", terminal.render(RUNS[name], width=100, colour=False))


@pytest.mark.parametrize("name", RUNS)
def test_the_markdown_report_is_as_recorded(name: str) -> None:
    """report.md equals its golden file."""
    agree(f"{name}.md", markdown.render(RUNS[name]))


@pytest.mark.parametrize("width", [40, 60, 100, 300])
@pytest.mark.parametrize("name", RUNS)
def test_the_card_keeps_to_its_width(name: str, width: int) -> None:
    """No line is wider than the terminal, nor than 110 columns."""
    lines = terminal.render(RUNS[name], width=width, colour=False).splitlines()
    assert max(map(len, lines)) <= min(width, terminal.MOST_COLUMNS)


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape codes appear when asked for, and never with NO_COLOR or without a terminal."""
    assert "\x1b[" in terminal.render(example_runs.VALID, colour=True)
    assert "\x1b[" not in terminal.render(example_runs.VALID)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in terminal.render(example_runs.VALID)


@pytest.mark.parametrize("render", [lambda run: terminal.render(run, width=100, colour=False), markdown.render])
def test_a_number_below_its_accuracy_target_is_struck_out(render: object) -> None:
    """The headline of a run that missed its accuracy is struck out and called no result."""
    assert callable(render)
    text = render(example_runs.ACCURACY_MISSED)
    assert "~~61.2 samples/s~~" in text
    assert "ACCURACY MISSED" in text
    assert "VALID" not in text.replace("INVALID", "")


@pytest.mark.parametrize("n", [1, 63, 64, 661, 662, 6636])
def test_a_percentile_is_never_bare_below_its_floor(n: int) -> None:
    """Each percentile says how many queries it needs until early stopping's floor is reached."""
    run = example_runs.changed(example_runs.VALID, counts={"queries": n, "samples": n})
    told = dict(card.make(run).latencies)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        more = required(1, share) - n
        assert told[name].endswith("to be certain") == (more > 0)
        assert (f"needs {more:,} more" in told[name]) == (more > 0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"exit_code": 0, "complete": True}, card.VALID),
        ({"exit_code": 0, "complete": False}, card.INVALID),
        ({"exit_code": 4}, card.FAILED),
        ({"exit_code": 5}, card.INVALID),
        ({"exit_code": 6}, card.MISSED),
        ({"exit_code": 130}, card.INCOMPLETE),
    ],
)
def test_only_a_complete_run_with_exit_code_0_is_called_valid(change: dict[str, object], word: str) -> None:
    """The word follows from the exit code, and the number counts only when it is VALID."""
    made = card.make(replace(example_runs.VALID, **change))  # type: ignore[arg-type]
    assert made.word == word
    assert made.counts == (word == card.VALID)


@pytest.mark.parametrize(
    ("run", "marks"),
    [
        (example_runs.VALID, ("quick run", "built-in sample set, not comparable")),
        (example_runs.ACCURACY_MISSED, ()),
        (example_runs.NULL, ("quick run", "no model: measures the harness")),
        (example_runs.changed(example_runs.ACCURACY_MISSED, accuracy=None), ("accuracy not checked",)),
        (example_runs.changed(example_runs.ACCURACY_MISSED, accuracy={"limited": True}), ("accuracy on 240 examples only",)),
    ],
)
def test_what_qualifies_a_run_is_marked(run: Run, marks: tuple[str, ...]) -> None:
    """Quick rules, sample data, missing or limited accuracy; and every run is unverified."""
    assert card.make(run).marks == (*marks, card.UNVERIFIED)


def test_where_one_query_holds_all_samples_they_are_counted() -> None:
    """Offline has one query; its percentiles need samples."""
    run = example_runs.changed(example_runs.NULL, counts={"queries": 1, "samples": 107})
    assert dict(card.make(run).latencies)["p95"] == "81.0 ms, needs 23 more samples to be certain"
