"""`report`: which results are meant, in which format, and where it goes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from harness import cli, store
from harness.core import Run
from harness.errors import DataError
from harness.reporting import stored as stored_results
from tests import example_documents, example_runs


def stored(folder: Path, run: Run = example_runs.VALID) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(store.to_json(run), encoding="utf-8")
    return folder


def compared(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(store.as_json(example_documents.COMPARISON), encoding="utf-8")
    return folder


def report(*words: object) -> int:
    return cli.main(["report", *map(str, words)])


def test_a_folder_a_file_and_a_folder_of_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All name the same runs; one that is named twice is shown once."""
    first, second = stored(tmp_path / "all" / "a"), stored(tmp_path / "all" / "b", example_runs.changed(example_runs.VALID, run_id="r2"))
    (tmp_path / "all" / "unfinished").mkdir()
    shown = []
    for words in ([tmp_path / "all"], [first, second / "run.json"], [tmp_path / "all", first]):
        assert report(*words, "--format", "csv") == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]
    assert len(shown[0].splitlines()) == 3


def test_the_newest_of_any_kind_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders begin with their time."""
    stored(tmp_path / "20260101T000000Z-run")
    compared(tmp_path / "20260102T000000Z-compare")
    assert report("--out", tmp_path) == 0
    assert "pytorch:amp: 19.2 samples/s" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["terminal", "markdown", "html", "csv", "json"])
def test_every_format_of_a_run_a_comparison_and_both(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same three requests in each format, all of them something to read."""
    run, comparison = stored(tmp_path / "run"), compared(tmp_path / "comparison")
    for words in ([run], [comparison], [run, comparison]):
        assert report(*words, "--format", name) == 0
        assert len(capsys.readouterr().out) > 200


def test_json_gives_back_what_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One record as it is; several with the folders they are from."""
    run, comparison = stored(tmp_path / "run"), compared(tmp_path / "comparison")
    assert report(comparison, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((comparison / "comparison.json").read_text())
    assert report(run, comparison, "--format", "json") == 0
    several = json.loads(capsys.readouterr().out)["results"]
    assert [each["folder"] for each in several] == [str(run), str(comparison)]
    assert several[0]["record"] == json.loads((run / "run.json").read_text())


def test_csv_in_a_folder_is_a_file_for_each_table(tmp_path: Path) -> None:
    """In any other format the folder gets one report; a run's CSV is one table anyhow."""
    comparison, out = compared(tmp_path / "comparison"), tmp_path / "out"
    out.mkdir()
    assert report(comparison, "--format", "csv", "--to", out) == 0
    assert sorted(file.name for file in out.iterdir()) == ["accuracy.csv", "matrix.csv", "systems.csv"]
    assert (out / "matrix.csv").read_bytes().startswith(b"candidate,samples/s")
    assert report(comparison, "--format", "markdown", "--to", out) == 0
    assert (out / "report.md").read_text().startswith("# DECIDED")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "is no comparison"),
        ('{"schema": 99}', "schema 99, this Assay reads 1 and 2"),
        ('{"schema": 2}', "does not have what a comparison has"),
        (None, "so nothing finished there"),
    ],
)
def test_a_bad_folder_is_named(content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Among good ones too, and nothing is shown."""
    good, bad = stored(tmp_path / "good"), tmp_path / "bad"
    bad.mkdir()
    if content is not None:
        (bad / "comparison.json").write_text(content)
    assert report(good, bad) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert str(bad) in shown.err
    assert message in shown.err


def test_what_is_no_result_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not there, and a file that is something else."""
    assert report(tmp_path / "nowhere") == 3
    assert "nowhere is not there" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("x")
    assert report(tmp_path / "notes.txt") == 3
    assert "notes.txt is no stored result" in capsys.readouterr().err


def test_a_format_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with what comes closest."""
    assert report(stored(tmp_path / "run"), "--format", "htm") == 2
    assert "html" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3 with the name of the file."""
    assert report(stored(tmp_path / "run"), "--to", tmp_path / "no" / "where.txt") == 3
    assert "where.txt cannot be written" in capsys.readouterr().err


def test_every_kind_of_result_has_its_document() -> None:
    """The modules that are imported by name are there, and it is known which versions they read."""
    assert stored_results.DOCUMENTS.keys() == stored_results.SCHEMAS.keys()
    assert all(callable(importlib.import_module(module).document) for module in stored_results.DOCUMENTS.values())


EXAMPLES = sorted(file.parent for file in (Path(__file__).resolve().parents[2] / "docs" / "examples").glob("*/*.json"))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_examples_can_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stored example is one that this version shows, and names no path of the machine it was made on."""
    assert report(folder, "--format", "markdown") == 0
    assert len(capsys.readouterr().out) > 200
    (record,) = folder.glob("*.json")
    assert '"/' not in record.read_text(encoding="utf-8")


def test_a_record_that_lacks_what_is_shown_is_named_with_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run.json of another version, or edited: its name and the key, no internal error."""
    conditions = dict(example_runs.VALID.conditions) | {"git": {"dirty": True}}
    folder = stored(tmp_path / "run", example_runs.changed(example_runs.VALID, conditions=conditions))
    assert report(folder) == DataError.exit_code
    said = capsys.readouterr().err
    assert f"{folder / 'run.json'} lacks commit, which a report shows" in said
