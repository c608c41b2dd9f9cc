"""A history: what is recorded, in which order it is given back, and what is asked of it quickly."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.core import Columns, Status
from harness.errors import DataError, MissingError, UsageError
from harness.history import connection
from harness.history.database import History
from harness.history.recording import utc
from harness.history.run_figures import figures
from tests import histories
from tests.example_runs import ACCURACY_MISSED, FAILED, INTERRUPTED, INVALID, VALID


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "h.db") as opened:
        yield opened


def test_a_run_comes_back_as_it_was_recorded(history: History) -> None:
    """run.json is kept whole; the curves of telemetry are not."""
    given = histories.run(
        1, telemetry={"interval_s": 1.0, "columns": {"cpu_mhz": {}}, "at_s": [1.0], "summary": {"cpu_mhz": {"mean": 1.0}}}
    )
    history.record(given)
    kept = history.run("r0001")
    assert kept.telemetry == {"interval_s": 1.0, "summary": {"cpu_mhz": {"mean": 1.0}}}
    assert kept.verdict == given.verdict
    assert kept.latency_ns == given.latency_ns


def test_a_run_is_recorded_once(history: History) -> None:
    """Recorded again, it changes nothing, not even with other figures."""
    key = history.record(histories.run(1, 100.0))
    assert history.record(histories.run(1, 50.0)) == key
    assert [point.value for point in history.points(key)] == [100.0]
    assert [(each.runs, each.points) for each in history.series()] == [(1, 1)]


@pytest.mark.parametrize(
    "bad", [INVALID, ACCURACY_MISSED, FAILED, INTERRUPTED], ids=["INVALID", "ACCURACY_MISSED", "FAILED", "INTERRUPTED"]
)
def test_what_is_no_result_is_no_point(history: History, bad: object) -> None:
    """A run that is INVALID, missed its accuracy, failed or was interrupted is kept, says why, and is no point."""
    key = history.record(bad)  # type: ignore[arg-type]
    assert history.points(key) == []
    (row,) = history.rows(key)
    assert row.why
    assert row.exit_code == bad.exit_code  # type: ignore[attr-defined]


def test_points_are_in_the_order_of_commits(history: History) -> None:
    """A commit that was measured later than its successors stands where it was made."""
    key = history.record(histories.run(1, 1.0, day=10), committed_utc=histories.at(1))
    history.record(histories.run(3, 3.0, day=11), committed_utc=histories.at(3))
    history.record(histories.run(2, 2.0, day=12), committed_utc="2026-03-03T14:00:00+02:00")  # day 2 in another zone
    history.record(histories.run(4, 2.5, day=13, conditions={"git": {"commit": histories.sha(2), "dirty": False}}))  # known from before
    assert [point.value for point in history.points(key)] == [1.0, 2.0, 2.5, 3.0]
    assert [point.value for point in history.points(key, last=2)] == [2.5, 3.0]


def test_the_last_good_run(history: History) -> None:
    """The newest point, of a commit or branch where one is asked for; never a run that is no result."""
    key = history.record(histories.run(1, 1.0), branch="main")
    history.record(histories.run(2, 2.0), branch="feature")
    history.record(histories.run(3, 3.0, exit_code=5), branch="main")
    assert [found.value for found in (history.last_good(key), history.last_good(key, branch="main")) if found] == [2.0, 1.0]
    assert history.last_good(key, commit=histories.sha(1)).value == 1.0  # type: ignore[union-attr]
    assert history.last_good(key, commit=histories.sha(3)) is None


def test_figures_have_units_directions_and_intervals() -> None:
    """The headline is marked; with the ledger a latency has the interval of its order statistics."""
    rows = np.arange(1000)
    zeros = np.zeros(1000, dtype=np.int64)
    columns = Columns(
        query=rows,
        sample=rows,
        due_ns=zeros,
        taken_ns=zeros,
        done_ns=(rows + 1) * 1_000_000,
        batch=rows,
        worker=zeros,
        status=np.full(1000, Status.DONE, dtype=np.int8),
        end_ns=10**9,
    )
    found = {each.name: each for each in figures(VALID, columns)}
    assert [name for name, each in found.items() if each.headline] == ["completed_samples_per_second"]
    assert (found["latency_p99"].unit, found["latency_p99"].better) == ("ns", "lower")
    assert (found["latency_p50"].low, found["latency_p50"].high) == (469e6, 532e6)
    assert (found["accuracy_f1"].low, found["accuracy_f1"].n) == (84.9, 240)
    assert figures(VALID)[0].low is None


def test_an_accepted_change_is_kept(history: History) -> None:
    """It names the run, its commit, the headline figure and the note; said again, the note is replaced."""
    key = histories.record(history, [100.0, 90.0])
    history.accept(key, "r0001", "slower and right")
    history.accept(key, "r0001", "slower, and right")
    (found,) = history.accepted(key)
    assert (found.metric, found.commit, found.note) == ("completed_samples_per_second", histories.sha(1), "slower, and right")


def test_a_change_of_another_series_is_not_accepted(history: History) -> None:
    """The run must be in the series that was named."""
    key = histories.record(history, [100.0])
    with pytest.raises(UsageError, match="r0009 is no run of series"):
        history.accept(key, "r0009", "")


def test_a_series_is_found_by_key_or_words(history: History) -> None:
    """The beginning of a key, or words of subject and machine that fit no other."""
    key = history.record(histories.run(1))
    other = history.record(histories.run(2, conditions={"cpu": {"model": "Xeon", "usable_cores": 8}}))
    assert history.find(key[:6]).key == key
    assert history.find("squad xeon").key == other
    with pytest.raises(UsageError, match="may be any of 2 series"):
        history.find("squad")
    with pytest.raises(UsageError, match="there is no series nonsense"):
        history.find("nonsense")


def test_no_question_reads_a_whole_table(history: History) -> None:
    """Every query that `history` and `ci check` ask goes through an index; only the list of series is read whole."""
    key = histories.record(history, [100.0, 101.0])
    asked: list[str] = []
    history.connection.set_trace_callback(asked.append)
    history.series()
    history.rows(key)
    history.points(key, last=30)
    history.points(key, branch="main")
    history.last_good(key, commit=histories.sha(1))
    history.metrics(key)
    history.knows("r0001")
    history.run("r0001")
    history.connection.set_trace_callback(None)
    assert len(asked) > 8
    for query in asked:
        plan = [row[3] for row in history.connection.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert not [step for step in plan if "SCAN" in step and "SCAN series" not in step and "SCAN sizes" not in step], (query, plan)
        assert not [step for step in plan if "TEMP B-TREE" in step and "ORDER BY headline" not in query], (query, plan)


@pytest.mark.parametrize(
    ("text", "same"), [("2026-03-01T12:00:00", "2026-03-01T12:00:00+00:00"), ("2026-03-01T12:00:00-05:00", "2026-03-01T17:00:00+00:00")]
)
def test_times_are_kept_in_utc(text: str, same: str) -> None:
    """Texts sort as times do."""
    assert utc(text) == same


def test_a_time_that_is_none_is_refused() -> None:
    """The error says how to write one."""
    with pytest.raises(UsageError, match="yesterday is no time"):
        utc("yesterday")


# ----------------------------------------------------------------------------------------------------------------------- the file


def test_a_history_that_is_not_there(tmp_path: Path) -> None:
    """Reading makes no file."""
    with pytest.raises(MissingError, match="there is no history"):
        History(tmp_path / "none.db", make=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is refused, and stays as it is."""
    file = tmp_path / "notes.db"
    file.write_text("shopping list " * 100)
    with pytest.raises(DataError, match="no intact history"):
        History(file)
    assert file.read_text() == "shopping list " * 100


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The error names the file and the flag."""
    with pytest.raises(MissingError, match=r"no/h\.db cannot be opened or written"):
        History(tmp_path / "no" / "h.db")


def test_a_writer_that_never_ends(tmp_path: Path) -> None:
    """Whoever waits in vain is told so, and nothing is recorded by half."""
    with History(tmp_path / "h.db") as one, History(tmp_path / "h.db", busy_s=0.05) as two:
        one.connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(MissingError, match="being written by another process"):
            two.record(histories.run(1))
        one.connection.execute("ROLLBACK")
        two.record(histories.run(1))
        assert one.knows("r0001")


def test_a_failing_write_leaves_nothing(history: History) -> None:
    """An error inside a transaction takes all of it back."""
    with pytest.raises(MissingError, match="UNIQUE constraint"), history.writing() as writing:
        writing.executemany("INSERT INTO series VALUES (?, 's', '{}')", [("k",), ("k",)])
    assert history.series() == []
    assert not history.connection.in_transaction


def test_a_history_in_a_place_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read; writing is an error of SQLite in words."""
    with History(tmp_path / "h.db") as history:
        key = histories.record(history, [1.0, 2.0])
    monkeypatch.setattr(connection, "read_only", lambda file: True)
    with History(tmp_path / "h.db", make=False) as history:
        assert [point.value for point in history.points(key)] == [1.0, 2.0]
        with pytest.raises(MissingError, match="cannot be opened or written: attempt to write a readonly database"):
            history.record(histories.run(7))
    assert [file.name for file in tmp_path.iterdir()] == ["h.db"]


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False), ("overlay", False)])
def test_network_file_systems_are_known(tmp_path: Path, kind: str, refused: bool) -> None:
    """The nearest mount decides."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} {kind} rw 0 0\n")
    assert bool(connection.network_file_system(tmp_path / "h.db", mounts)) is refused


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written there."""
    monkeypatch.setattr(connection, "network_file_system", lambda file: "nfs")
    with pytest.raises(MissingError, match=r"network file system \(nfs\)"):
        History(tmp_path / "h.db")
    assert list(tmp_path.iterdir()) == []


def test_where_the_history_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--db` first, then the environment, then the working directory."""
    monkeypatch.delenv(connection.VARIABLE, raising=False)
    assert connection.find_file(None) == Path("assay-history.db")
    monkeypatch.setenv(connection.VARIABLE, "/somewhere/h.db")
    assert connection.find_file(None) == Path("/somewhere/h.db")
    assert connection.find_file(Path("x.db")) == Path("x.db")


def test_what_is_acknowledged_is_on_the_disk(history: History) -> None:
    """The log is ahead of the file and flushed at each commit."""
    assert history.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert history.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert sqlite3.connect(history.file).execute("PRAGMA integrity_check").fetchone() == ("ok",)
