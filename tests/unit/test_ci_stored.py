"""Stored runs against each other and against their history: by the spread of the series, and never beyond what it says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness import store
from harness.ci import stored
from harness.ci.accepting import accept, changes_of
from harness.ci.places import Place
from harness.ci.stored import slowdown
from harness.errors import ExitCode, UsageError
from harness.history.database import History
from tests.histories import record, run, sha

LEVEL = [100.0, 101.0, 99.0, 100.5, 99.5, 100.0, 100.2, 99.8]


def test_the_interval_is_that_of_one_further_run() -> None:
    """t of 7 degrees (2.3646) times s sqrt(1 + 1/8) around the level; sqrt(2) against one run."""
    logs = [math.log(value) for value in LEVEL]
    mean = sum(logs) / 8
    deviation = math.sqrt(sum((each - mean) ** 2 for each in logs) / 7)
    low, middle, high = slowdown(LEVEL, 110.0, None, latency=True)
    assert middle == pytest.approx(110 / math.exp(mean) - 1)
    assert math.log1p(high) - math.log1p(middle) == pytest.approx(2.364624 * deviation * math.sqrt(1.125))
    assert math.log1p(middle) - math.log1p(low) == pytest.approx(2.364624 * deviation * math.sqrt(1.125))
    _, single, wide = slowdown(LEVEL, 110.0, 100.0, latency=True)
    assert single == pytest.approx(0.10)
    assert math.log1p(wide) - math.log1p(single) == pytest.approx(2.364624 * deviation * math.sqrt(2))


def test_fewer_samples_a_second_are_slower() -> None:
    """90 of 100 samples a second take 11 % more time each."""
    _, middle, _ = slowdown([100.0] * 6, 90.0, None, latency=False)
    assert middle == pytest.approx(1 / 0.9 - 1)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Eight runs around 100 samples a second."""
    file = tmp_path / "history.db"
    with History(file) as opened:
        record(opened, LEVEL)
    return file


def kept(folder: Path, number: int, value: float) -> Place:
    made = run(number, value)
    store.open_folder(folder, made.run_id).write_run(made)
    return Place("stored", f"run {made.run_id}", stored=folder / made.run_id)


HISTORY = Place("history", "the history")


@pytest.mark.parametrize(("value", "verdict", "code"), [(90.0, "regression", 7), (100.0, "unchanged", 0), (110.0, "improvement", 0)])
def test_a_run_against_the_history(tmp_path: Path, history: Path, value: float, verdict: str, code: int) -> None:
    """Red, green and better, by the spread of eight runs; said to be weaker evidence."""
    found = stored.check(HISTORY, kept(tmp_path, 20, value), history, None)
    assert (found.checks[0].verdict, found.exit_code) == (verdict, code)
    assert found.base == "the last 8 runs of the history"
    assert "weaker evidence" in found.warnings[0]


def test_a_run_against_another(tmp_path: Path, history: Path) -> None:
    """By the same spread; without a history it is skipped, and nothing was measured."""
    base, head = kept(tmp_path, 20, 100.0), kept(tmp_path, 21, 90.0)
    found = stored.check(base, head, history, None)
    assert (found.checks[0].verdict, found.checks[0].base_value, found.checks[0].head_value) == ("regression", 100.0, 90.0)
    unknown = stored.check(base, head, tmp_path / "none.db", None)
    assert (unknown.checks[0].verdict, unknown.exit_code) == ("skipped", ExitCode.NOTHING_MEASURED)
    assert not (tmp_path / "none.db").exists()


def test_the_history_can_only_be_the_base(tmp_path: Path, history: Path) -> None:
    """Usage."""
    with pytest.raises(UsageError, match="can only be the base"):
        stored.check(HISTORY, HISTORY, history, None)


def test_runs_of_different_series_are_refused(tmp_path: Path, history: Path) -> None:
    """With what differs."""
    other = run(30, 100.0, config=dict(run(30).config) | {"scenario": "multi-stream"})
    store.open_folder(tmp_path, other.run_id).write_run(other)
    base = Place("stored", "run other", stored=tmp_path / other.run_id)
    with pytest.raises(UsageError, match=r"are of different series: .*scenario: .* → .*"):
        stored.check(base, kept(tmp_path, 21, 90.0), history, None)


def test_a_run_that_is_no_result_keeps_its_code(tmp_path: Path, history: Path) -> None:
    """INVALID is neither green nor a regression."""
    bad = run(31, 100.0, exit_code=5)
    store.open_folder(tmp_path, bad.run_id).write_run(bad)
    found = stored.check(HISTORY, Place("stored", "run bad", stored=tmp_path / bad.run_id), history, None)
    assert (found.checks[0].verdict, found.exit_code) == ("error", ExitCode.INVALID)


def test_a_change_is_accepted_by_series_or_commit(tmp_path: Path) -> None:
    """The note is stored with the run that begins the new level; a change that is not there is refused."""
    pytest.importorskip("otava", reason="Apache Otava finds the change points")
    with History(tmp_path / "changes.db") as opened:
        key = record(opened, [*LEVEL, *LEVEL, *(value * 0.9 for value in LEVEL)])
        ((change, _),) = changes_of(opened, key)
        assert (change.index, change.first_bad, change.worse) == (16, sha(16), True)
        with pytest.raises(UsageError, match="has no change at 99999"):
            accept(opened, key, "99999", "why")
        with pytest.raises(UsageError, match="--note is empty"):
            accept(opened, key, None, " ")
        (line,) = accept(opened, sha(16)[:10], None, "a larger model")
        assert line.startswith(f"accepted in {key}: completed_samples_per_second worse by 10.0% after ")
        assert changes_of(opened, key)[0][0].accepted == "a larger model"
        accept(opened, key, None, "again")
        assert [each.note for each in opened.accepted(key)] == ["again"]


def test_a_change_of_another_figure_is_accepted_by_its_name(tmp_path: Path) -> None:
    """p99 became worse while the headline did not: the note is of p99 alone, and a figure that there is not is refused."""
    pytest.importorskip("otava", reason="Apache Otava finds the change points")
    with History(tmp_path / "changes.db") as opened:
        for number, value in enumerate([*LEVEL, *LEVEL, *(value * 1.1 for value in LEVEL)]):
            made = run(number)
            key = opened.record(run(number, latency_ns=dict(made.latency_ns) | {"p99": 1e6 * value}))
        assert changes_of(opened, key) == []
        with pytest.raises(UsageError, match=f"{key} has no change: none were found"):
            accept(opened, key, None, "why")
        with pytest.raises(UsageError, match="has no figure latency_p98"):
            accept(opened, key, None, "why", "latency_p98")
        with pytest.raises(UsageError, match=r"there is no series 99999, and no change came with such a commit"):
            accept(opened, "99999", None, "why", "latency_p99")
        (line,) = accept(opened, sha(16)[:10], None, "a larger model", "latency_p99")
        assert line.startswith(f"accepted in {key}: latency_p99 worse by 10.0% after ")
        assert changes_of(opened, key, "latency_p99")[0][0].accepted == "a larger model"
        assert [(each.metric, each.note) for each in opened.accepted(key)] == [("latency_p99", "a larger model")]
