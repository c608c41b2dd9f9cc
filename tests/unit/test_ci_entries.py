"""The list of checks of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.ci.entries import of_flags, percent, read
from harness.errors import MissingError, UsageError

LISTED = """
common:
  task: sst2
checks:
  - name: offline
    backend: mine.py
    gate: 5%
  - backend: mine.py
    scenario: single-stream
    max-batch: 8
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "assay-ci.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_entries_have_names_settings_and_gates(tmp_path: Path) -> None:
    """What is common holds for all; a name of its own, or backend, scenario and task."""
    first, second = read(written(tmp_path, LISTED), {}, None)
    assert (first.name, first.gate, first.settings) == ("offline", 0.05, {"task": "sst2", "backend": "mine.py"})
    assert (second.name, second.gate) == ("mine.py single-stream sst2", None)
    assert second.settings == {"task": "sst2", "backend": "mine.py", "scenario": "single-stream", "max_batch": 8}


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    """The example of docs/ci.md."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
    text = page.partition("```yml\n")[2].partition("```")[0]
    assert [(entry.name, entry.gate) for entry in read(written(tmp_path, text), {}, None)] == [("offline", None), ("latency", 0.05)]


def test_flags_win(tmp_path: Path) -> None:
    """Over the file, in every entry; so does `--gate`."""
    first, _ = read(written(tmp_path, LISTED), {"task": "cola"}, 0.1)
    assert (first.settings["task"], first.gate) == ("cola", 0.1)
    (only,) = of_flags({"backend": "null:2ms", "scenario": "server"}, None)
    assert (only.name, only.where("task")) == ("null:2ms server squad", "--task")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checks: []", "assay-ci.yaml:1: no list of checks"),
        ("common: {task: sst2}", "assay-ci.yaml:1: no list of checks"),
        ("cheks: [{}]", "assay-ci.yaml:1: cheks is neither common nor checks"),
        ("checks: [3]", "check 1 is no mapping of settings"),
        ("checks:\n  - {backennd: x}", "check 1: there is no setting backennd"),
        ("checks:\n  - {task: glue}", "check 1: task: glue is several tasks"),
        ("checks:\n  - {gate: 0}", "check 1: gate: 0 is no percentage"),
        ("checks:\n  - {name: a}\n  - {name: a}", "check 1: two checks are called a"),
        ("- 1", "not a mapping of settings"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    """File, line and which check."""
    with pytest.raises(UsageError, match=message):
        read(written(tmp_path, text), {}, None)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    """Exit code 3, not a check of nothing."""
    with pytest.raises(MissingError):
        read(tmp_path / "none.yaml", {}, None)


def test_percentages() -> None:
    """With or without the sign; no share by mistake, no words."""
    assert percent("5%", "gate") == percent(5, "gate") == percent("5", "gate") == 0.05
    for wrong in ("five", 0, -3, 100, True, None):
        with pytest.raises(UsageError, match="is no percentage"):
            percent(wrong, "gate")
