"""A user's own checks from YAML: commands and runs, and what is wrong in the file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from harness.config import load
from harness.errors import MissingError, UsageError
from harness.progress import Silent
from harness.qualifying import own_checks
from harness.qualifying.check import Check, Context, Finding


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def says(tmp_path: Path, output: str, more: str = "") -> Check:
    """A check whose command prints `output`."""
    script = tmp_path / "say.py"
    script.write_text(f"print({output!r})")
    text = f"checks:\n  - name: disk\n    command: [{sys.executable}, {script}]\n{more}"
    return own_checks.read(written(tmp_path, text))[0]


def measured(check: Check, tmp_path: Path) -> Finding:
    config = load({"backend": "null", "task": "sst2", "telemetry": 0, "progress": "none"})
    found = check.run(Context("quick", config, tmp_path, Silent(), time.monotonic() + 60))
    assert isinstance(found, Finding)
    return found


def lines(*more: str) -> str:
    return "".join(f"    {line}\n" for line in more)


def test_a_number_in_the_output_is_held_against_what_is_expected(tmp_path: Path) -> None:
    """The group of the expression is the figure; 10 % below 2000 may be 1800 and no less."""
    more = lines("metric: 'read ([0-9.]+) MB/s'", "unit: MB/s", "expected: 2000", "tolerance: 10%", "code: DISK_SLOW", "next_step: swap it")
    found = measured(says(tmp_path, "read 1790.5 MB/s", more), tmp_path)
    assert (found.outcome, found.code, found.measured, found.expected, found.tolerance) == ("FAIL", "DISK_SLOW", 1790.5, 2000, 200.0)
    assert found.margin == pytest.approx(-9.5 / 2000)
    assert (found.unit, found.next_step, found.n) == ("MB/s", "swap it", 1)
    assert measured(says(tmp_path, "read 1800 MB/s", more), tmp_path).outcome == "PASS"


def test_a_path_finds_a_number_in_json(tmp_path: Path) -> None:
    """Words with dots are a path; without `expected` the baseline is to judge."""
    found = measured(says(tmp_path, '{"disks": [{"ms": 4.5}]}', lines("metric: disks.0.ms", "better: lower", "repeat: 2")), tmp_path)
    assert (found.measured, found.expected, found.better, found.n) == (4.5, None, "lower", 2)
    assert found.details["values"] == [4.5, 4.5]


def test_a_command_without_a_metric_has_only_to_end_well(tmp_path: Path) -> None:
    """Exit code 0 passes."""
    found = measured(says(tmp_path, "fine"), tmp_path)
    assert (found.outcome, found.measured) == ("PASS", None)


@pytest.mark.parametrize("output", ["nothing here", "value=nan", "value=many"])
def test_output_without_a_number_is_an_error(tmp_path: Path, output: str) -> None:
    """What was found instead is told; it never passes."""
    with pytest.raises(RuntimeError, match="no number for"):
        measured(says(tmp_path, output, lines("metric: 'value=(\\w+)'")), tmp_path)


def test_a_command_that_fails_hangs_or_is_missing_is_an_error(tmp_path: Path) -> None:
    """Its exit code and last words, its time, or its name are in the message."""

    def of(words: list[str], *more: str) -> Check:
        listed = ", ".join(f"'{word}'" for word in words)
        return own_checks.read(written(tmp_path, f"checks:\n  - name: x\n    command: [{listed}]\n{lines(*more)}"))[0]

    with pytest.raises(RuntimeError, match="exit code 3: no disk"):
        measured(of([sys.executable, "-c", 'import sys; print("no disk", file=sys.stderr); sys.exit(3)']), tmp_path)
    with pytest.raises(RuntimeError, match=r"took longer than 0\.2 s"):
        measured(of([sys.executable, "-c", "import time; time.sleep(30)"], "timeout: 0.2"), tmp_path)
    with pytest.raises(MissingError, match="no-such-program cannot be run"):
        measured(of(["no-such-program"]), tmp_path)


def test_a_run_of_assay_gives_its_figure(tmp_path: Path) -> None:
    """Settings of `assay run` over those of the qualification; the figure is that of the stored run."""
    run = "{scenario: offline, backend: 'null:1ms', duration: 0.1, min-queries: 1}"
    text = f"checks:\n  - name: quick_null\n    run: {run}\n    metric: throughput\n"
    found = measured(own_checks.read(written(tmp_path, text))[0], tmp_path)
    assert found.unit == "samples/s"
    assert found.measured is not None
    assert found.measured > 100
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1


GOOD = "checks:\n  - name: disk\n    command: [true]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "my.yaml:1: no list of checks"),
        ("checks: {}", "my.yaml:1: no list"),
        ("\nchecks: [3]", "my.yaml:2: 3 is no mapping"),
        ("check:\n  - name: x", "my.yaml:1: check is not `checks`"),
        ("checks:\n  - name: x\n", "my.yaml:2: check 1: needs either command or run"),
        (GOOD.replace("[true]", "['true']") + "  - name: disk\n    command: ['true']\n", "my.yaml:4: check 2: two checks are called disk"),
        ("checks:\n  - name: x\n    command: ['a']\n    colour: red\n", "colour: Extra inputs are not permitted"),
        ("checks:\n  - name: x y\n    command: ['a']\n", "check 1: name: "),
        ("checks:\n  - name: x\n    command: ['a']\n    code: low\n", "check 1: code: "),
        ("checks:\n  - name: x\n    command: ['a']\n    tolerance: much\n", "tolerance: is neither a number"),
        ("checks:\n  - name: x\n    command: ['a']\n    expected: lots\n", "check 1: expected: "),
        ("checks:\n  - name: x\n    command: ['a']\n    levels: [fast]\n", "there is no level fast"),
        ("checks:\n  - name: x\n    command: ['a']\n    metric: '(a)(b)'\n", "2 groups"),
        ("checks:\n  - name: x\n    command: ['a']\n    metric: '(a'\n", "no regular expression"),
        ("checks:\n  - name: x\n    run: {durationn: 3}\n    metric: throughput\n", "there is no setting durationn"),
        ("checks:\n  - name: x\n    run: {duration: 3}\n    metric: speed\n", "a run has throughput, latency_p50"),
        ("checks: [", "my.yaml:1: not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    """Nothing is measured before the whole file is right."""
    import re

    with pytest.raises(UsageError, match=re.escape(said)):
        own_checks.read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    """The flag is named."""
    with pytest.raises(MissingError, match=r"--checks: .* cannot be read"):
        own_checks.read(tmp_path / "none.yaml")
