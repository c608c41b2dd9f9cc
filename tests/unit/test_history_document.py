"""What is said of a history: series, trends, changes, events, and where one series took over from another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.document import Drawing, Table
from harness.history import document, site, trend
from harness.history.database import History
from harness.history.records import Accepted, Point
from harness.history.spread import band, spread
from tests import histories


@dataclass(frozen=True)
class Step:
    """A change as whatever finds them may describe it."""

    index: int
    before: float = 100.0
    after: float = 90.0
    share: float = -0.1
    worse: bool = True
    accepted: str | None = None
    text: str = "worse by 10.0%"


def steps(points: Sequence[Point], accepted: Sequence[Accepted]) -> list[Step]:
    """A step at the fourth point of the headline."""
    if not points or not points[0].figure.headline or len(points) < 4:
        return []
    return [Step(3, accepted=next((each.note for each in accepted if each.run_id == points[3].row.run_id), None))]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "h.db") as opened:
        yield opened


def shown(history: History, key: str) -> trend.Trend:
    return trend.trend(history, history.find(key), site.drawn(history.metrics(key)), steps)


def table(made: document.Document, name: str) -> Table:
    return next(part for part in made.parts if isinstance(part, Table) and part.name == name)


def texts(made: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in made.rows]


def test_an_open_change_is_the_verdict(history: History) -> None:
    """Worse is said, marked in the figure and in the table, with the commit it begins at."""
    key = histories.record(history, [100.0, 101.0, 100.0, 90.0, 91.0])
    made = document.page(shown(history, key))
    assert (made.word, made.tone, made.headline) == ("BECAME WORSE", "bad", "91.0 samples/s")
    assert made.sentences == ["completed samples per second: worse by 10.0%"]
    row = texts(table(made, "changes"))[0]
    assert row == [
        "completed_samples_per_second".replace("_", " "),
        histories.sha(3)[:10],
        "100 samples/s",
        "90.0 samples/s",
        "-10.0%",
        "no",
    ]
    drawn = next(part for part in made.parts if isinstance(part, Drawing))
    assert [trace["x"] for trace in drawn.traces if trace["name"] == "change for the worse"] == [[4]]
    assert [trace["y"][0] for trace in drawn.traces if trace["name"] == "level"] == [pytest.approx(301 / 3), 90.5]


def test_an_accepted_change_is_no_verdict(history: History) -> None:
    """Its note is in the table, and it is drawn as accepted."""
    key = histories.record(history, [100.0, 101.0, 100.0, 90.0, 91.0])
    history.accept(key, "r0003", "slower and right")
    made = document.page(shown(history, key))
    assert (made.word, made.tone) == ("NO OPEN CHANGE", "plain")
    assert texts(table(made, "changes"))[0][-1] == "slower and right"


def test_an_accepted_change_that_is_not_found_is_still_shown(history: History) -> None:
    """What somebody decided is never dropped."""
    key = histories.record(history, [100.0, 101.0])
    history.accept(key, "r0001", "noise, I think")
    assert texts(table(document.page(shown(history, key)), "changes"))[0][-1] == "noise, I think"


def test_what_was_not_looked_for_is_said(history: History) -> None:
    """Without a finder there is no word about changes but that."""
    key = histories.record(history, [100.0, 101.0])
    made = document.page(trend.trend(history, history.find(key), ["completed_samples_per_second"], None))
    assert made.word == "HISTORY"
    assert made.warnings == [document.NOT_SEARCHED]


def test_runs_that_do_not_count_are_listed_with_the_reason(history: History) -> None:
    """Newest first; such a run has no figure in the table and no place in the curve."""
    key = histories.record(history, [100.0])
    history.record(histories.run(1, 500.0, exit_code=6))
    made = document.page(shown(history, key))
    assert [row[3:] for row in texts(table(made, "runs"))] == [["–", "accuracy below its target"], ["100 samples/s", "counts"]]
    assert made.headline == "100 samples/s"


def test_an_upgrade_is_an_event(history: History) -> None:
    """What was other than before stands beside the run; another host alone is none."""
    for number, (version, host) in enumerate([("2.13", "a"), ("2.13", "b"), ("2.14", "b")]):
        key = history.record(histories.run(number, conditions={"libraries": {"torch": version}, "hostname": host}))
    assert texts(table(document.page(shown(history, key)), "events")) == [["r0002", "2026-03-03 12:00", "libraries.torch: 2.13 → 2.14"]]


def test_a_series_that_took_over(history: History) -> None:
    """Both say so, with what changed; so does the table of all."""
    old = histories.record(history, [100.0, 101.0])
    model = {"name": "minilm-squad", "sha256": "cd" * 32}
    new = history.record(histories.run(5, 120.0, model=model))
    assert document.page(shown(history, old)).sentences[-1].startswith(f"It ended; series {new} took over: model.sha256: ")
    assert document.page(shown(history, new)).sentences[-1].startswith(f"This series took over from {old}: model.sha256: ")
    made = document.overview([trend.latest(history, each) for each in history.series()], "h.db")
    assert made.headline == "2 series"
    assert made.sentences[0].startswith(f"squad · server · pytorch:fp32: series {old} ended on 2026-03-02 and {new} began")


def test_machines_that_run_beside_each_other_take_over_from_none(history: History) -> None:
    """Series that overlap in time are neighbours, not successors."""
    histories.record(history, [100.0, 101.0, 102.0])
    xeon = {"cpu": {"model": "Xeon", "usable_cores": 8}}
    for number, day in ((8, 0.5), (9, 1.5)):
        history.record(histories.run(number, day=day, conditions=xeon))
    assert trend.successions(history.series()) == []


def test_an_empty_history_has_a_page(history: History) -> None:
    """Nothing recorded is no error."""
    assert document.overview([], "h.db").headline == "0 series"


def test_a_series_without_a_point_has_a_page(history: History) -> None:
    """It says so instead of a figure."""
    key = history.record(histories.run(1, exit_code=5))
    assert document.page(shown(history, key)).headline == "no valid run"


# ------------------------------------------------------------------------------------------------------------------------- spread


def test_the_spread_of_alternating_values() -> None:
    """Neighbours that differ by 2 % each time: |ln 1.02| times 1.4826 over the root of 2."""
    assert spread([100.0, 102.0] * 5) == pytest.approx(1.4826 * math.log(1.02) / math.sqrt(2))


def test_a_step_is_no_noise() -> None:
    """One jump among many equal values leaves the spread at 0."""
    assert spread([100.0] * 6 + [50.0] * 6) == 0.0


def test_few_values_have_no_spread() -> None:
    """Nothing is said of three, nor of values that have no logarithm."""
    assert spread([1.0, 2.0, 1.0]) is None
    assert spread([1.0, 0.0, 1.0, 1.0]) is None
    assert band([1.0]) is None


@given(st.lists(st.floats(1e-3, 1e6), min_size=4, max_size=30), st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(values: list[float], factor: float) -> None:
    """The spread is a share."""
    assert spread([value * factor for value in values]) == pytest.approx(spread(values), abs=1e-9)
