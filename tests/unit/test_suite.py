"""Several tasks in one command, on runs that were not made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import suite
from harness.config import RunConfig, load
from harness.core import Run
from harness.errors import ExitCode, MissingError, RunError, UsageError
from harness.session import Finished
from tests import example_runs

SCORES = {
    "cola": {"matthews": 20.0, "accuracy": 70.0, "glue": 20.0},
    "sst2": {"accuracy": 90.0, "glue": 90.0},
    "stsb": {"pearson": 80.0, "spearman": 84.0, "glue": 82.0},
}


def config(**settings: object) -> RunConfig:
    return load({"task": "glue", **settings}, origin=str)


def finished(task: str, exit_code: int = 0) -> Finished:
    scores = SCORES[task]
    metric = next(iter(scores))
    accuracy = {**(example_runs.VALID.accuracy or {}), "metric": metric, "value": scores[metric], "reference": 40.0, "scores": scores}
    run: Run = replace(example_runs.VALID, accuracy=accuracy, exit_code=exit_code)
    return Finished(run, None, Path(f"results/{task}"))


def measure(given: RunConfig) -> Finished:
    """What `session.run` would give where only three tasks have data and a model."""
    if given.task not in SCORES:
        raise MissingError(f"no {given.task} here", "get it")
    return finished(given.task)


def test_tasks_that_cannot_run_are_listed_and_the_others_averaged() -> None:
    """The GLUE score is the mean over tasks that ran; each of the others stands below the table with its cure."""
    said: list[str] = []
    ran = suite.run(config(), measure, said.append)
    assert said == list(suite.SUITES["glue"])
    assert ran.score == (20.0 + 90.0 + 82.0) / 3
    assert ran.exit_code == ExitCode.OK
    text = suite.text(ran).splitlines()
    assert [line.split()[0] for line in text[1:4]] == ["cola", "sst2", "stsb"]
    assert "50.0%" in text[1]
    assert text[5] == "glue score 64.000 over 3 of 10 tasks, not comparable with a full score"
    assert text[6] == "no mrpc: no mrpc here (get it)"
    assert len(text) == 6 + 7


def test_the_gravest_exit_code_counts() -> None:
    """Accuracy below its target outweighs INVALID; nothing that could run is something missing."""
    codes = {"cola": 5, "sst2": 6, "stsb": 0}
    ran = suite.run(config(), lambda given: finished(given.task, codes[given.task]) if given.task in codes else measure(given), str)
    assert ran.exit_code == ExitCode.ACCURACY
    assert suite.run(config(), lambda given: measure(given.model_copy(update={"task": "rte"})), str).exit_code == ExitCode.MISSING


def test_an_interrupt_ends_the_suite() -> None:
    """After a task that was interrupted no other is begun."""
    ran = suite.run(config(), lambda given: finished(given.task, 130), str)
    assert [entry.task for entry in ran.entries] == ["cola"]
    assert ran.exit_code == ExitCode.INTERRUPTED


def test_a_failure_that_is_no_lack_stops_the_suite() -> None:
    """What would stop every task is raised, with the task's name."""

    def broken(given: RunConfig) -> Finished:
        raise RunError("the backend is broken", "mend it")

    with pytest.raises(RunError, match="cola: the backend is broken"):
        suite.run(config(), broken, str)


def test_the_model_names_the_task() -> None:
    """`{task}` in --model is the task's name; one model for all tasks is refused."""
    asked: list[str | None] = []

    def note(given: RunConfig) -> Finished:
        asked.append(given.model)
        return measure(given)

    suite.run(config(model="bert-base-{task}"), note, str)
    assert asked[:2] == ["bert-base-cola", "bert-base-sst2"]
    with pytest.raises(UsageError, match="one model cannot do all tasks of glue"):
        suite.run(config(model="bert-base-cola"), note, str)


def test_the_suite_is_stored_for_programs(tmp_path: Path) -> None:
    """Score, exit codes, run folders and what is missing, as JSON."""
    file = suite.save(suite.run(config(), measure, str), tmp_path / "out", "now-glue")
    stored = json.loads(file.read_text())
    assert file.name == "now-glue.json"
    assert (stored["schema"], stored["suite"], stored["score"]) == (suite.SCHEMA, "glue", 64.0)
    assert stored["tasks"]["sst2"] == {"run": "sst2", "exit_code": 0, "scores": SCORES["sst2"], "missing": None}
    assert stored["tasks"]["rte"]["missing"] == "no rte here"
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="cannot be written"):
        suite.save(suite.run(config(), measure, str), tmp_path / "file", "now-glue")
