"""`assay qualify` as a user meets it: learning, accepting, rejecting, going on, and what does not go together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.cli import main
from harness.errors import ExitCode
from harness.qualifying import levels
from harness.qualifying.check import Context, Finding
from tests.qualifications import check, fact, figure

SPEED = "ASSAY_TEST_SPEED"


def _speed(context: Context) -> Finding:
    if os.environ[SPEED] == "interrupt":
        raise KeyboardInterrupt
    return figure("speed", float(os.environ[SPEED]))


@pytest.fixture(autouse=True)
def _two_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A level of a timer and a figure that the environment says."""
    monkeypatch.setattr(levels, "known", lambda: (check("timer", levels=("quick", "long")), check("speed", _speed, seconds=5)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SPEED, "100")


def qualify(*words: str) -> int:
    quiet = ("--backend", "null", "--task", "sst2", "--telemetry", "0", "--progress", "none", "--level", "quick")
    return main(["qualify", *(() if "--resume" in words or "--from" in words else quiet), *words])


def learn(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    for value in values:
        monkeypatch.setenv(SPEED, str(value))
        assert qualify("--learn", "base.json") == ExitCode.OK


def newest() -> Path:
    return max(Path("results").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def test_a_machine_is_accepted_or_rejected_by_a_learned_baseline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three measurements make a baseline; one like them is accepted (0), one 10 % slower rejected (8) with the check's reason code, and
    page, report, JSON and JUnit are there."""
    learn(monkeypatch, 100.0, 100.2, 99.8)
    assert "3 measurements" in capsys.readouterr().out
    monkeypatch.setenv(SPEED, "100.1")
    assert qualify("--baseline", "base.json") == ExitCode.OK
    assert "ACCEPTED" in capsys.readouterr().out
    monkeypatch.setenv(SPEED, "90")
    assert qualify("--baseline", "base.json") == ExitCode.QUALIFICATION
    out = capsys.readouterr().out
    assert "FAIL THROUGHPUT_LOW (speed)" in out
    folder = newest()
    assert {file.name for file in folder.iterdir()} == {"qualification.json", "report.md", "report.html", "junit.xml"}
    record = json.loads((folder / "qualification.json").read_text())
    assert (record["verdict"], record["baseline"]["measurements"]) == ("REJECTED", 3)
    failures = ET.parse(folder / "junit.xml").findall(".//failure")
    assert [each.get("type") for each in failures] == ["THROUGHPUT_LOW"]
    assert record["sha256"] in (folder / "report.html").read_text()


def test_the_report_of_a_stored_qualification_is_its_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """`assay report` opens the folder; a figure changed by hand no longer has the hash that the certificate shows."""
    assert qualify() == ExitCode.OK
    capsys.readouterr()
    assert main(["report", str(newest())]) == ExitCode.OK
    assert "ACCEPTED" in capsys.readouterr().out
    assert main(["report", str(newest()), "--format", "junit"]) == ExitCode.OK
    assert '<testcase classname="assay.qualify.quick" name="speed"' in capsys.readouterr().out


def test_stored_qualifications_can_be_learned_later(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--from takes folders; the same folder twice is refused, and a changed one too."""
    for value in ("100", "101", "99"):
        monkeypatch.setenv(SPEED, value)
        assert qualify() == ExitCode.OK
    folders = [str(folder) for folder in Path("results").iterdir()]
    assert qualify("--learn", "base.json", "--from", *folders) == ExitCode.OK
    assert qualify("--learn", "base.json", "--from", folders[0]) == ExitCode.USAGE
    file = Path(folders[0]) / "qualification.json"
    file.write_text(file.read_text().replace('"level": "quick"', '"level": "long"'))
    assert qualify("--learn", "new.json", "--from", folders[0]) == ExitCode.MISSING
    assert "was changed since it was written" in capsys.readouterr().err
    assert not Path("new.json").exists()


def test_an_interrupted_qualification_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C: exit code 130, NOT QUALIFIED, and the line to go on with; resumed it is whole, and not again."""
    monkeypatch.setenv(SPEED, "interrupt")
    assert qualify() == ExitCode.INTERRUPTED
    assert "NOT QUALIFIED" in capsys.readouterr().out
    folder = newest()
    monkeypatch.setenv(SPEED, "100")
    assert qualify("--resume", str(folder)) == ExitCode.OK
    out = capsys.readouterr().out
    assert "interrupted 1 time" in out
    assert not (folder / "partial.json").exists()
    assert qualify("--resume", str(folder)) == ExitCode.MISSING


def test_a_skipped_required_check_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 9 and an error in JUnit."""
    monkeypatch.setattr(levels, "known", lambda: (check("ecc", lambda context: fact("ecc", "SKIP")),))
    assert qualify() == ExitCode.NOTHING_MEASURED
    assert len(ET.parse(newest() / "junit.xml").findall(".//error")) >= 1


def test_own_checks_run_beside_those_of_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Their code is the reason of the rejection."""
    Path("my.yaml").write_text("checks:\n  - name: door\n    command: ['false']\n    code: DOOR_OPEN\n")
    assert qualify("--checks", "my.yaml") == ExitCode.QUALIFICATION
    assert "(door): the check broke off" in capsys.readouterr().out


def test_the_plan_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Checks, seconds and sum; nothing is written."""
    assert qualify("--plan") == ExitCode.OK
    assert "2 checks, about 6 s" in capsys.readouterr().out
    assert not Path("results").exists()


def test_a_baseline_of_two_measurements_cannot_judge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is measured, with the number that lacks."""
    learn(monkeypatch, 100.0, 101.0)
    assert qualify("--baseline", "base.json") == ExitCode.USAGE
    assert "learned from 2 measurements; a spread needs 3" in capsys.readouterr().err


def test_a_baseline_of_something_else_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Other workers or another backend than were learned: named before anything is measured, exit code 2."""
    learn(monkeypatch, 100.0, 101.0, 99.0)
    before = len(list(Path("results").iterdir()))
    assert qualify("--baseline", "base.json", "--workers", "2") == ExitCode.USAGE
    assert "settings.workers: none → 2" in capsys.readouterr().err
    assert qualify("--learn", "base.json", "--backend", "null:1ms") == ExitCode.USAGE
    assert "backend: null → null:1ms" in capsys.readouterr().err
    assert len(list(Path("results").iterdir())) == before


def test_a_rejected_measurement_is_not_learned(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The file stays as it was, and the exit code says what the machine is."""
    learn(monkeypatch, 100.0)
    before = Path("base.json").read_bytes()
    monkeypatch.setattr(
        levels, "known", lambda: (check("speed", lambda context: figure("speed")), check("ecc", lambda c: fact("ecc", "FAIL")))
    )
    assert qualify("--learn", "base.json") == ExitCode.QUALIFICATION
    assert "not learned into base.json" in capsys.readouterr().out
    assert qualify("--learn", "base.json", "--from", str(newest())) == ExitCode.USAGE
    assert "ecc did not pass" in capsys.readouterr().err
    assert Path("base.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--level", "thorough"), "there is no level thorough"),
        (("--sign", "gpg"), "--sign without --learn"),
        (("--from", "x"), "--from without --learn"),
        (("--verify", "gpg"), "--verify without --baseline"),
        (("--baseline", "none.json"), "none.json cannot be read"),
        (("--checks", "none.yaml"), "none.yaml cannot be read"),
        (("--resume", "none"), "holds no partial.json"),
        (("--resume", "none", "--baseline", "b.json"), "with its own settings"),
        (("--max-celsius", "hot"), "hot is not a number above 0"),
        (("--levl", "quick"), "there is no flag --levl"),
        (("flet", "results"), "flet: not expected here"),
        (("fleet",), "DIR"),
        (("fleet", "x", "--lest", "3"), "there is no flag --lest"),
    ],
)
def test_wrong_input_is_named(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 or 3 with what was found, before anything is measured or written."""
    assert qualify(*words) in (ExitCode.USAGE, ExitCode.MISSING)
    assert said in capsys.readouterr().err
    assert not Path("results").exists()
