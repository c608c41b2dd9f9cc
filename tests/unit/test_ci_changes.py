"""Steps of a history: where, how large, how sure, between which commits, and whether somebody accepted them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from harness.ci.changes import Change, change_points, of_points
from harness.errors import MissingError
from harness.history.records import Accepted, Figure, Point, Row

pytest.importorskip("otava", reason="Apache Otava finds the change points")


def noisy(levels: list[float], spread: float = 0.01) -> list[float]:
    generator = np.random.default_rng(7)
    return [level * float(np.exp(generator.normal(0, spread))) for level in levels]


def points(values: list[float], better: str = "lower") -> list[Point]:
    made = []
    for number, value in enumerate(values):
        row = Row(f"run{number}", "key", "2026-01-01", "2026-01-01", f"commit{number:02}", "main", False, 0, "", "", "")
        made.append(Point(row, Figure("p90", value, "ns", better, headline=True)))  # type: ignore[arg-type]
    return made


def test_a_step_has_its_place_size_and_commits() -> None:
    """20 points at 100 and 10 at 105: one change, at the first of them, 5 % worse."""
    commits = [f"c{number}" for number in range(30)]
    (found,) = change_points(noisy([100.0] * 20 + [105.0] * 10), commits)
    assert (found.index, found.last_good, found.first_bad, found.worse) == (20, "c19", "c20", True)
    assert found.share == pytest.approx(0.05, abs=0.01)
    assert found.confidence > 0.9999
    assert found.text.startswith(f"worse by {found.share:.1%} after c19, up to c20 (p ")


def test_what_is_better_decides_what_is_worse() -> None:
    """The same step up is better for throughput."""
    (found,) = change_points(noisy([100.0] * 20 + [105.0] * 10), better="higher")
    assert not found.worse
    assert found.text.startswith("better by ")


def test_steps_of_levels_without_noise() -> None:
    """Simulated or rounded values have no spread at all; the step is certain, and nothing warns of a division."""
    (found,) = change_points([1.0] * 10 + [2.0] * 10)
    assert (found.index, found.share, found.p) == (10, 1.0, 0.0)
    assert change_points([1.0] * 20) == []


def test_a_burst_is_no_step() -> None:
    """One point far from its neighbours on both sides, and one at the end that nothing confirms yet."""
    values = noisy([100.0] * 30)
    values[15] *= 1.3
    assert change_points(values) == []
    values[29] *= 1.3
    assert change_points(values) == []
    assert [change.index for change in change_points([*values, values[29]])] == [29]


def test_a_burst_beside_a_step_widens_the_range_of_commits() -> None:
    """The point that was left out may be of either level: it lies in the range."""
    values = noisy([100.0] * 20 + [110.0] * 10, 0.002)
    values[10] *= 2
    (found,) = change_points(values, [str(number) for number in range(30)])
    assert (found.index, found.last_good, found.first_bad) == (20, "19", "20")


def test_small_steps_and_short_histories_say_nothing() -> None:
    """A step of 2 % is below what is reported; five points are too few."""
    assert change_points(noisy([100.0] * 20 + [102.0] * 20, 0.001)) == []
    assert change_points([1.0, 1.0, 1.0, 2.0, 2.0]) == []


def test_wrong_values_are_refused() -> None:
    """Zero, infinite and missing values have no logarithm; commits must be as many."""
    for value in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="values above 0"):
            change_points([1.0] * 10 + [value])
    with pytest.raises(ValueError, match="1 commits of 10 values"):
        change_points([1.0] * 10, ["a"])


def test_accepted_changes_carry_their_note() -> None:
    """By the run that begins the new level; others stay as they are."""
    history = points(noisy([100.0] * 20 + [110.0] * 10 + [130.0] * 10))
    taken = Accepted("key", "p90", "run20", "commit20", "a larger model", "2026-01-02")
    first, second = of_points(history, [taken])
    assert (first.accepted, second.accepted) == ("a larger model", None)
    assert first.text.endswith("; accepted: a larger model")
    assert of_points([]) == []


def test_without_otava_the_cure_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said, with how to install it without what it asks for."""
    monkeypatch.setitem(sys.modules, "otava", None)
    with pytest.raises(MissingError, match="Apache Otava, which cannot be imported") as refused:
        change_points([1.0] * 10)
    assert refused.value.cure == "pip install scipy && pip install --no-deps apache-otava==0.8.0"


def test_confidence_is_the_rest() -> None:
    """1 - p."""
    assert Change(0, 1.0, 2.0, 1.0, 0.25).confidence == 0.75
