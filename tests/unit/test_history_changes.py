"""What changes a history from outside: import of folders, merge of two, prune; and export."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness import cli, store
from harness.core import Run
from harness.errors import DataError, ExitCode, MissingError, UsageError
from harness.history import schema
from harness.history.commit import Commit, checked_out
from harness.history.database import History
from harness.history.exporting import export
from harness.history.importing import import_folders
from harness.history.merging import merge
from harness.history.pruning import prune
from tests import histories
from tests.example_runs import MINIMAL, NULL


def stored(out: Path, number: int) -> Path:
    made = histories.run(number)
    folder = store.open_folder(out, made.run_id)
    folder.write_run(made)
    return folder.path


def filled(file: Path, numbers: range, **changes: float) -> Path:
    with History(file) as history:
        for number in numbers:
            history.record(histories.run(number, **changes))
    return file


# ------------------------------------------------------------------------------------------------------------------------- import


def test_folders_are_imported_once(tmp_path: Path) -> None:
    """A folder of folders, again and again: each run is recorded once, with the folder it is from."""
    for number in range(3):
        stored(tmp_path / "out", number)
    with History(tmp_path / "h.db") as history:
        assert len(import_folders(history, [tmp_path / "out"], branch="main").new) == 3
        again = import_folders(history, [tmp_path / "out", tmp_path / "out" / "r0001"])
        assert (len(again.new), len(again.known), again.failed) == (0, 3, [])
        (series,) = history.series()
        assert {row.branch for row in history.rows(series.key)} == {"main"}
        assert history.folder("r0002") == tmp_path / "out" / "r0002"


def test_a_run_of_an_older_assay_keeps_no_other_out(tmp_path: Path) -> None:
    """One whose run.json lacks parts inside is listed with what it lacks; nothing of it is recorded."""
    for number in (1, 2):
        stored(tmp_path / "out", number)
    file = tmp_path / "out" / "r0001" / "run.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    del record["verdict"]["metric"]["unit"]
    file.write_text(json.dumps(record), encoding="utf-8")
    with History(tmp_path / "h.db") as history:
        found = import_folders(history, [tmp_path / "out"])
        assert [folder.name for folder in found.new] == ["r0002"]
        assert [(folder.name, reason) for folder, reason in found.failed] == [
            ("r0001", "its run.json lacks what a history keeps (KeyError: 'unit')")
        ]
        assert not history.knows("r0001")
        assert history.series()[0].runs == 1


def test_a_damaged_folder_keeps_no_other_out(tmp_path: Path) -> None:
    """It is listed with its reason."""
    for number in range(3):
        stored(tmp_path, number)
    (tmp_path / "r0001" / store.RUN_FILE).write_text("{")
    with History(tmp_path / "h.db") as history:
        found = import_folders(history, [tmp_path])
        assert len(found.new) == 2
        ((folder, reason),) = found.failed
        assert folder.name == "r0001"
        assert "cannot be read" in reason


def test_a_run_without_a_time_is_listed_too(tmp_path: Path) -> None:
    """What can be read and not be placed keeps no other from being recorded."""
    stored(tmp_path, 1)
    made = histories.run(2, started_utc="yesterday")
    store.open_folder(tmp_path, made.run_id).write_run(made)
    with History(tmp_path / "h.db") as history:
        found = import_folders(history, [tmp_path])
    assert len(found.new) == 1
    assert [reason for _, reason in found.failed] == ["yesterday is no time"]


@pytest.mark.parametrize("odd", [MINIMAL, NULL, dataclasses.replace(MINIMAL, exit_code=99)], ids=["MINIMAL", "NULL", "unknown code"])
def test_a_run_that_says_little_is_recorded(tmp_path: Path, odd: Run) -> None:
    """Without conditions, model or headline; with an exit code of a later Assay."""
    with History(tmp_path / "h.db") as history:
        key = history.record(odd)
        assert history.find(key).runs == 1
        assert [row.exit_code for row in history.rows(key)] == [odd.exit_code]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    """Before anything is recorded."""
    (tmp_path / "empty").mkdir()
    good = stored(tmp_path, 1)
    with History(tmp_path / "h.db") as history:
        with pytest.raises(MissingError, match="empty holds no finished run"):
            import_folders(history, [good, tmp_path / "empty"])
        assert history.series() == []


@pytest.mark.parametrize("words", [["ci", "record"], ["history", "--import"]])
def test_no_history_is_begun_for_a_folder_without_runs(words: list[str], tmp_path: Path) -> None:
    """The mistake leaves no file behind that a later command would take for a history."""
    (tmp_path / "empty").mkdir()
    assert cli.main([*words, str(tmp_path / "empty"), "--db", str(tmp_path / "h.db")]) == ExitCode.MISSING
    assert not (tmp_path / "h.db").exists()


def test_runs_made_since_are_of_the_commit_that_is_checked_out(tmp_path: Path) -> None:
    """Older ones keep the commit they name themselves."""
    for number in (1, 5):
        stored(tmp_path / "out", number)
    here = Commit("ab" * 20, "2026-03-03T14:00:00+02:00", "main", True)
    with History(tmp_path / "h.db") as history:
        import_folders(history, [tmp_path / "out"], commit=here)
        old, new = history.rows(history.series()[0].key)
        assert (old.commit, old.at_utc, old.branch, old.dirty) == (histories.sha(1), histories.at(1), "", False)
        assert (new.commit, new.at_utc, new.branch, new.dirty) == (here.sha, histories.at(2), "main", True)


def test_what_is_checked_out(tmp_path: Path) -> None:
    """Commit, time, branch and whether files were changed; nothing outside a repository."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    assert checked_out(tmp_path) is None
    (tmp_path / "file").write_text("1")
    for words in (["init", "-q", "-b", "trunk"], ["add", "file"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    found = checked_out(tmp_path)
    assert found is not None
    assert (len(found.sha), found.branch, found.dirty) == (40, "trunk", False)
    (tmp_path / "file").write_text("2")
    assert checked_out(tmp_path) == dataclasses.replace(found, dirty=True)


# -------------------------------------------------------------------------------------------------------------------------- merge


def test_what_one_history_lacks_comes_from_the_other(tmp_path: Path) -> None:
    """Runs, figures, records and accepted changes; done again, nothing happens."""
    ours, theirs = filled(tmp_path / "a.db", range(3)), filled(tmp_path / "b.db", range(2, 6))
    with History(theirs) as history:
        (series,) = history.series()
        history.accept(series.key, "r0004", "known")
    before = theirs.read_bytes()
    with History(ours) as history:
        found = merge(history, theirs)
        assert (found.new, found.known, found.conflicts) == (3, 1, [])
        assert [point.row.run_id for point in history.points(series.key)] == [f"r{n:04d}" for n in range(6)]
        assert history.run("r0005").run_id == "r0005"
        assert len(history.figures("r0005")) == 8
        assert [each.note for each in history.accepted()] == ["known"]
        assert merge(history, theirs).new == 0
        assert history.series()[0].runs == 6
    assert theirs.read_bytes() == before


def test_conflicts_are_said_and_ours_is_kept(tmp_path: Path) -> None:
    """The same run with other figures, and the same change with another note."""
    ours, theirs = filled(tmp_path / "a.db", range(2)), filled(tmp_path / "b.db", range(2), rate=50.0)
    for file, note in ((ours, "wanted"), (theirs, "not wanted")):
        with History(file) as history:
            key = history.series()[0].key
            history.accept(key, "r0001", note)
    with History(ours) as history:
        found = merge(history, theirs)
        assert found.new == 0
        assert [line.split(":")[0] for line in found.conflicts] == ["r0000", "r0001", "r0001"]
        assert [point.value for point in history.points(key)] == [100.0, 100.0]
        assert history.accepted()[0].note == "wanted"


def test_a_history_with_itself_is_refused(tmp_path: Path) -> None:
    """By another spelling of its path, too."""
    with History(filled(tmp_path / "a.db", range(1))) as history, pytest.raises(UsageError, match="this history itself"):
        merge(history, tmp_path / "." / "a.db")


def test_a_newer_history_is_not_merged(tmp_path: Path) -> None:
    """The error names the other file, and this one still works."""
    other = filled(tmp_path / "b.db", range(1))
    with History(other) as history:
        history.connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with History(tmp_path / "a.db") as history:
        with pytest.raises(DataError, match=r"b\.db has version"):
            merge(history, other)
        history.record(histories.run(1))


# -------------------------------------------------------------------------------------------------------------------------- prune


def test_pruning_says_first_and_then_does(tmp_path: Path) -> None:
    """The newest points stay, and the run that begins an accepted change; without `really` all of them do."""
    with History(filled(tmp_path / "h.db", range(10))) as history:
        (series,) = history.series()
        history.record(histories.run(11, exit_code=5))
        history.accept(series.key, "r0003", "wanted")
        said = prune(history, days=0.5, keep=4)
        assert list(said.going) == ["r0000", "r0001", "r0002", "r0004", "r0005", "r0011"]
        assert list(said.accepted) == ["r0003"]
        assert history.series()[0].runs == 11
        assert prune(history, days=0.5, keep=4, really=True) == said
        assert [row.run_id for row in history.rows(series.key)] == ["r0003", "r0006", "r0007", "r0008", "r0009"]
        assert (history.series()[0].runs, history.series()[0].points) == (5, 5)
        assert next(history.asked("SELECT count(*) FROM records"))[0] == 5
        assert next(history.asked("SELECT count(DISTINCT run) FROM metrics"))[0] == 5


def test_young_runs_are_not_pruned(tmp_path: Path) -> None:
    """Age is that of the commit or the run, not of the recording."""
    with History(filled(tmp_path / "h.db", range(5))) as history:
        assert prune(history, days=100_000, keep=0).going == []


def test_accepted_changes_go_only_when_asked(tmp_path: Path) -> None:
    """With the runs, the acceptances of them."""
    with History(filled(tmp_path / "h.db", range(2))) as history:
        history.accept(history.series()[0].key, "r0000", "wanted")
        found = prune(history, days=0.5, keep=0, accepted_too=True, really=True)
        assert list(found.going) == ["r0000", "r0001"]
        assert history.accepted() == []


# ------------------------------------------------------------------------------------------------------------------------- export


def test_exports_hold_the_same_table(tmp_path: Path) -> None:
    """CSV, JSON and parquet: a row for each figure of each run."""
    with History(filled(tmp_path / "h.db", range(2))) as history:
        history.record(histories.run(2, exit_code=5), branch="=1+1")
        for ending in ("csv", "json", "parquet"):
            assert export(history, tmp_path / f"x.{ending}") == 24
    rows = json.loads((tmp_path / "x.json").read_text())
    assert rows == pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert (rows[0]["metric"], rows[0]["value"], rows[0]["unit"], rows[0]["headline"]) == (
        "completed_samples_per_second",
        100.0,
        "samples/s",
        True,
    )
    assert (rows[-1]["counts"], rows[-1]["why"], rows[-1]["branch"]) == (False, "INVALID", "=1+1")
    lines = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [float(line["value"]) for line in lines] == [row["value"] for row in rows]
    assert lines[-1]["branch"] == "'=1+1"  # no spreadsheet runs it


def test_an_export_of_another_kind_is_refused(tmp_path: Path) -> None:
    """The error lists the endings there are."""
    with History(filled(tmp_path / "h.db", range(1))) as history, pytest.raises(UsageError, match=r"\.csv, \.json, \.parquet"):
        export(history, tmp_path / "x.xlsx")
