"""The audits through the program: sound backends pass, one that keeps answers and one that answers otherwise when timed are caught."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import audit, cli, store
from harness.errors import ExitCode, MissingError
from harness.mlperf import test01
from tests.tiny_models import WORDS, write_model

SLEEPING = str(Path(__file__).resolve().parents[1] / "faulty" / "caching.py")
SENTENCES = 24


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a small classifier and sentences of its own words, in Assay's form of SST-2."""
    folder = tmp_path_factory.mktemp("tiny")
    write_model(folder / "model", "BertForSequenceClassification", num_labels=2)
    generator = np.random.default_rng(0)
    lines = [f"{' '.join(generator.choice(WORDS[5:], 6 + row % 5))}\t{row % 2}" for row in range(SENTENCES)]
    (folder / "dev.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    return {"task": "sst2", "model": str(folder / "model"), "data": str(folder)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path_factory.getbasetemp() / "audit-cache"))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 ms a row: a busy machine is seldom 10 % of it late at the 90th percentile of one run and not of the other."""
    monkeypatch.setenv("ASSAY_ROW_MS", "40")


def program(verb: str, *words: str, **settings: Any) -> int:
    """The exit code of `assay VERB WORDS --SETTING VALUE ...`."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return cli.main([verb, *words, *flags])


def found(out: Path, name: str) -> dict[str, Any]:
    """audit.json of the one folder below `out` that has one."""
    (file,) = out.glob(f"*{name}*/audit.json")
    stored: dict[str, Any] = json.loads(file.read_text())
    assert stored["schema"] == audit.SCHEMA
    return stored


# ------------------------------------------------------------------------------------------------------------------------ caching


def test_a_sound_backend_passes_the_caching_test(tmp_path: Path, tiny: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """4 ms a row whatever is asked: exit code 0, both ratios about 1, settled numbers in audit.json."""
    code = program("audit", "caching", backend=f"{SLEEPING}:sound", max_batch=4, duration=2, out=tmp_path, progress="none", **tiny)
    shown = capsys.readouterr()
    assert code == ExitCode.OK, shown
    stored = found(tmp_path, "caching")
    assert (stored["audit"], stored["passed"], [each["rows"] for each in stored["results"]]) == ("caching", True, [1, 4])
    assert all(0.8 < each["ratio"] < 1.25 for each in stored["results"])
    assert "caching test passed" in shown.out
    assert "audit in" in shown.out


@pytest.mark.parametrize(("variant", "alone", "batched"), [("cache", True, True), ("coalesce", False, True)])
def test_kept_answers_are_caught(
    tmp_path: Path, tiny: Mapping[str, str], capsys: pytest.CaptureFixture[str], variant: str, alone: bool, batched: bool
) -> None:
    """A dictionary on input bytes, and equal rows of a batch computed once: exit code 5, the second only in the batches."""
    code = program("audit", "caching", backend=f"{SLEEPING}:{variant}", max_batch=4, duration=2, out=tmp_path, progress="none", **tiny)
    assert code == ExitCode.INVALID
    stored = found(tmp_path, "caching")
    assert stored["passed"] is False
    assert [each["suspected"] for each in stored["results"]] == [alone, batched]
    assert stored["results"][1]["low"] > 2
    assert "answers are kept" in capsys.readouterr().out


def test_a_real_model_passes_the_caching_test(tmp_path: Path, tiny: Mapping[str, str]) -> None:
    """PyTorch keeps nothing: not suspected. (Its calls take microseconds here, so nothing is said of the ratio itself.)"""
    code = program("audit", "caching", backend="pytorch:fp32", max_batch=8, duration=2, threads=1, out=tmp_path, progress="none", **tiny)
    assert code == ExitCode.OK
    assert found(tmp_path, "caching")["described"]["runtime"] == "pytorch"


@pytest.mark.parametrize("which", ["caching", "test01"])
def test_there_is_nothing_to_audit_in_null(tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str) -> None:
    """A backend that looks at nothing: exit code 2, and no folder is left behind."""
    assert program("audit", which, backend="null", out=tmp_path, progress="none") == ExitCode.USAGE
    assert "--backend null looks at nothing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------------------- TEST01


def test_test01_makes_its_submission_run_and_passes(
    tmp_path: Path, tiny: Mapping[str, str], slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline, sleeping backend: equal bytes, about the same rate, the kit's files in the TEST01 run's folder, exit code 0."""
    settings = {"backend": f"{SLEEPING}:sound", "scenario": "offline", "duration": 1, "min_queries": 60, "max_batch": 4}
    code = program("audit", "test01", "--no-accuracy", out=tmp_path, progress="none", name="mine", **settings, **tiny)
    shown = capsys.readouterr()
    assert code == ExitCode.OK, shown
    stored = found(tmp_path, "mine-test01")
    comparison = stored["accuracy"]["comparison"]
    assert comparison["identical"] is True
    assert comparison["accuracy_records"] >= SENTENCES
    assert comparison["records"] >= 60
    assert stored["performance"]["passed"] is True
    (folder,) = tmp_path.glob("*mine-test01*")
    assert (folder / "verify_accuracy.txt").read_text().splitlines()[-1] == "TEST PASS"
    assert (folder / "verify_performance.txt").read_text().splitlines()[-1] == "TEST PASS"
    assert (folder / "baseline_accuracy.txt").read_text() == (folder / "compliance_accuracy.txt").read_text()
    run = store.read_run(folder)
    assert (run.config["accuracy_log_seed"], run.config["accuracy_log_target"]) == (test01.SEED, test01.TARGET)
    assert (run.config["mode"], run.run_id) == ("performance", stored["run"])
    assert store.read_run(tmp_path / stored["submission_run"]).config["mode"] == "submission"
    assert "TEST01 passed" in shown.out


def test_test01_of_a_stored_submission_run(tmp_path: Path, tiny: Mapping[str, str], slow: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Its configuration is taken from the run, and one run is made; other settings beside it are an error."""
    settings = {"backend": f"{SLEEPING}:sound", "scenario": "single-stream", "duration": 1, "min_queries": 64}
    made = {"out": tmp_path / "made", "progress": "none"}
    assert program("run", "--no-accuracy", mode="submission", **made, **settings, **tiny) == ExitCode.OK
    (folder,) = (tmp_path / "made").iterdir()
    assert program("audit", "test01", str(folder), out=tmp_path / "audits", progress="none") == ExitCode.OK
    stored = found(tmp_path / "audits", "test01")
    assert stored["submission_run"] == stored["accuracy_run"] == folder.name
    assert len(list((tmp_path / "audits").iterdir())) == 1
    assert program("audit", "test01", str(folder), backend="pytorch:fp32", out=tmp_path) == ExitCode.USAGE
    assert "--backend: TEST01 of a stored run takes its settings from that run" in capsys.readouterr().err


def test_answers_that_change_when_timed_are_caught(
    tmp_path: Path, tiny: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The backend was sound when its accuracy and performance runs were made; in TEST01's it goes wrong after 40 calls: exit code 5."""
    settings = {"backend": f"{SLEEPING}:forgetful", "scenario": "single-stream", "duration": 0.5, "min_queries": 64, **tiny}
    monkeypatch.setenv("ASSAY_FAULT_AFTER", "1000000")
    for mode in ("accuracy", "performance"):
        assert program("run", "--no-accuracy", mode=mode, out=tmp_path / mode, progress="none", **settings) == ExitCode.OK
    (accuracy,), (performance,) = (list((tmp_path / name).iterdir()) for name in ("accuracy", "performance"))
    monkeypatch.setenv("ASSAY_FAULT_AFTER", "40")
    assert program("audit", "test01", str(accuracy), str(performance), out=tmp_path / "audits", progress="none") == ExitCode.INVALID
    stored = found(tmp_path / "audits", "test01")
    assert (stored["accuracy_run"], stored["submission_run"]) == (accuracy.name, performance.name)
    assert stored["accuracy"]["passed"] is False
    assert 0 < stored["accuracy"]["comparison"]["different"] < stored["accuracy"]["comparison"]["records"]
    (folder,) = (tmp_path / "audits").iterdir()
    assert (folder / "verify_accuracy.txt").read_text().splitlines()[-1] == "TEST FAIL"
    assert "state kept between calls" in capsys.readouterr().out


def test_a_run_of_the_wrong_mode_is_refused(tmp_path: Path, tiny: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A performance run has no answers of all samples; a folder without a run is missing."""
    settings = {"backend": f"{SLEEPING}:sound", "scenario": "single-stream", "duration": 0.2, "min_queries": 1}
    assert program("run", "--no-accuracy", out=tmp_path / "made", progress="none", **settings, **tiny) == ExitCode.OK
    (folder,) = (tmp_path / "made").iterdir()
    assert program("audit", "test01", str(folder)) == ExitCode.USAGE
    assert "is a run of mode performance" in capsys.readouterr().err
    assert program("audit", "test01", str(tmp_path / "nothing")) == ExitCode.MISSING
    with pytest.raises(MissingError, match=r"mlperf_log_accuracy\.json cannot be read"):
        audit.read_accuracy_log(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_stored_run_that_cannot_be_held_against_is_refused(
    tmp_path: Path, tiny: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Data that changed since: exit code 3; a submission run that was INVALID: its exit code and its reason, and nothing is measured."""
    settings = {"backend": f"{SLEEPING}:sound", "scenario": "single-stream", "duration": 0.2, "min_queries": 1}
    assert program("run", "--no-accuracy", mode="submission", out=tmp_path, progress="none", **settings, **tiny) == ExitCode.OK
    (file,) = tmp_path.glob("*/run.json")
    good = json.loads(file.read_text())
    data = {**good["conditions"]["data"], "fingerprint": "of other data"}
    file.write_text(json.dumps({**good, "conditions": {**good["conditions"], "data": data}}))
    assert program("audit", "test01", str(file.parent), progress="none") == ExitCode.MISSING
    assert "the stored run is of another system: data of other data, now" in capsys.readouterr().err
    reasons = [{"code": "min_duration", "text": "ran too short", "cure": "raise --duration"}]
    file.write_text(json.dumps({**good, "exit_code": 5, "verdict": {**good["verdict"], "valid": False, "reasons": reasons}}))
    assert program("audit", "test01", str(file), progress="none") == ExitCode.INVALID
    shown = capsys.readouterr().out
    assert "ran too short" in shown
    assert "raise --duration" in shown
    assert len(list(tmp_path.iterdir())) == 1
