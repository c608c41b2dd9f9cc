"""The result folder: written whole or not at all, read back as it was."""

import errno
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import store
from harness.core import Columns, Status
from harness.errors import DataError, ExitCode, MissingError
from tests.example_runs import MINIMAL as RUN

COLUMNS = Columns(
    query=np.array([0, 1, 2], np.int64),
    sample=np.array([5, 0, 3], np.int32),
    due_ns=np.array([0, 10, 20], np.int64),
    taken_ns=np.array([1, 11, -1], np.int64),
    done_ns=np.array([7, 19, -1], np.int64),
    batch=np.array([0, 1, -1], np.int32),
    worker=np.array([0, 0, -1], np.int16),
    status=np.array([Status.DONE, Status.ERROR, Status.LOST], np.int8),
    end_ns=25,
)


def full_disk(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    """Run and ledger survive the folder, types included."""
    folder = store.open_folder(tmp_path / "results", "r1")
    folder.save(RUN, COLUMNS, {"report.md": "# VALID\n"})
    assert store.read_run(folder.path) == RUN
    assert store.read_run(folder.path / "run.json") == RUN
    read = store.read_columns(folder.path)
    assert read is not None
    for name in ("query", "sample", "due_ns", "taken_ns", "done_ns", "batch", "worker", "status"):
        before, after = getattr(COLUMNS, name), getattr(read, name)
        assert before.dtype == after.dtype
        assert before.tolist() == after.tolist()
    assert read.end_ns == 25
    assert sorted(file.name for file in folder.path.iterdir()) == ["queries.parquet", "report.md", "run.json"]


def test_json_is_strict() -> None:
    """NaN and infinity become null, numpy numbers plain ones, enums and paths their values; schema comes first."""
    odd = replace(
        RUN,
        throughput={"a": math.nan, "b": math.inf, "c": np.float32(1.5), "d": np.float64("nan")},
        counts={"n": np.int64(3)},
        telemetry={"array": np.arange(2), "path": Path("x/y"), "tuple": (1, True, None), "code": ExitCode.INVALID},
    )
    stored = json.loads(store.to_json(odd), parse_constant=pytest.fail)
    assert next(iter(stored)) == "schema"
    assert stored["throughput"] == {"a": None, "b": None, "c": 1.5, "d": None}
    assert stored["counts"] == {"n": 3}
    assert stored["telemetry"] == {"array": [0, 1], "path": "x/y", "tuple": [1, True, None], "code": 5}


def test_what_is_no_data_is_refused() -> None:
    """An object that JSON cannot hold is a bug, not a string."""
    with pytest.raises(TypeError, match=r"does not belong in run\.json"):
        store.to_json(replace(RUN, telemetry={"x": object()}))


def test_a_run_id_has_safe_characters_and_is_unique() -> None:
    """Time in UTC, the parts, no path and no colon, and something random."""
    moment = datetime(2026, 8, 21, 10, 11, 12, tzinfo=UTC)
    first, second = (store.make_run_id(moment, "server", "squad", "../my engine.py", "naïve: test/1", "") for _ in range(2))
    assert first.rpartition("-")[0] == "20260821T101112Z-server-squad-my-engine-na-ve-test-1"
    assert first != second


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path, place: str) -> None:
    """The error names --out and comes before anything is measured."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MissingError, match=r"^--out: .* cannot be written") as caught:
        store.open_folder(tmp_path / place, "r1")
    assert "--out" in caught.value.cure


def test_a_folder_that_takes_no_bytes_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is tried with a file; a full disk shows before the run."""
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(MissingError, match="No space left") as caught:
        store.open_folder(tmp_path, "r1")
    assert "free disk space" in caught.value.cure


def test_a_folder_where_nothing_was_measured_goes_away(tmp_path: Path) -> None:
    """discard removes an empty folder and leaves one with files."""
    empty, used = store.open_folder(tmp_path, "empty"), store.open_folder(tmp_path, "used")
    used.write_text("report.md", "x")
    for folder in (empty, used):
        folder.discard()
    assert [folder.name for folder in tmp_path.iterdir()] == ["used"]


@pytest.mark.parametrize("failing", ["queries.parquet", "report.md", "run.json"])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Whichever file cannot be written, the error carries the run, run.json is kept elsewhere, and the folder is not complete."""
    replace_file = Path.replace

    def fails(self: Path, target: Path) -> Path:
        if target.parent == folder.path and target.name == failing:
            full_disk()
        return replace_file(self, target)

    folder = store.open_folder(tmp_path, "r1")
    monkeypatch.setattr(Path, "replace", fails)
    monkeypatch.setattr(store.tempfile, "mkdtemp", lambda prefix: str(_made(tmp_path / "kept")))
    with pytest.raises(store.NotStored, match="No space left") as caught:
        folder.save(RUN, COLUMNS, {"report.md": "x"})
    error = caught.value
    assert str(folder.path / failing) in str(error)
    assert str(tmp_path / "kept" / "run.json") in str(error)
    assert "free disk space" in error.cure
    assert (error.run, error.columns, error.exit_code) == (RUN, COLUMNS, ExitCode.MISSING)
    assert error.kept is not None
    assert store.read_run(error.kept) == RUN
    assert not (folder.path / "run.json").exists()
    assert not list(folder.path.glob(".*"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_nowhere_to_write_still_tells_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no space anywhere the run is still in the error."""
    folder = store.open_folder(tmp_path, "r1")
    monkeypatch.setattr(store, "write_atomically", full_disk)
    with pytest.raises(store.NotStored) as caught:
        folder.save(RUN, None, {})
    assert (caught.value.run, caught.value.kept) == (RUN, None)


def test_a_run_without_ledger_has_no_columns(tmp_path: Path) -> None:
    """A run that failed before its first query stores no queries.parquet."""
    folder = store.open_folder(tmp_path, "r1")
    folder.save(RUN, None, {})
    assert store.read_columns(folder.path) is None


def stored(**changes: Any) -> str:
    values = json.loads(store.to_json(RUN)) | changes
    return json.dumps({key: value for key, value in values.items() if value != "absent"})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, MissingError, "did not finish"),
        ('{"schema": 1, "run_id"', DataError, "cannot be read"),
        ("[]", DataError, "is not a run"),
        (stored(schema=99), DataError, "has schema 99, this Assay reads 1"),
        (stored(verdict="absent"), DataError, "does not have the keys of a run: verdict"),
        (stored(colour="red"), DataError, "does not have the keys of a run: colour"),
    ],
)
def test_a_damaged_run_is_told(tmp_path: Path, text: str | None, error: type[Exception], message: str) -> None:
    """Absent, truncated, foreign, or of another schema: each has its message."""
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(error, match=message):
        store.read_run(tmp_path)


def test_a_damaged_ledger_is_told(tmp_path: Path) -> None:
    """queries.parquet that is no parquet is a DataError that names it."""
    (tmp_path / "queries.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"queries\.parquet cannot be read"):
        store.read_columns(tmp_path)


def test_the_newest_finished_run_is_found(tmp_path: Path) -> None:
    """By the time in its name, unfinished ones left out."""
    for name, finished in (("20260101T000000Z-a", True), ("20260102T000000Z-b", True), ("20260103T000000Z-c", False)):
        folder = store.open_folder(tmp_path, name)
        if finished:
            folder.write_run(RUN)
    assert store.latest(tmp_path).name == "20260102T000000Z-b"
    with pytest.raises(MissingError, match="no finished run"):
        store.latest(tmp_path / "20260103T000000Z-c")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("verdict", "yes", "verdict is 'yes'"),
        ("latency_ns", {"p50": "x"}, "latency_ns.p50.* is 'x'"),
        ("exit_code", None, "exit_code is None"),
    ],
)
def test_a_value_of_the_wrong_type_is_told(tmp_path: Path, key: str, value: object, message: str) -> None:
    """run.json may have been edited: the error names the key and what is there."""
    folder = store.open_folder(tmp_path, "r1")
    folder.write_run(RUN)
    stored = json.loads((folder.path / "run.json").read_text()) | {key: value}
    (folder.path / "run.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match=message):
        store.read_run(folder.path)
