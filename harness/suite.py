"""Several tasks in one command: `--task glue` runs every task of GLUE that has data and a model, and puts them into one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import glue, units
from harness.config import RunConfig
from harness.core import Run
from harness.errors import AssayError, ExitCode, MissingError, UsageError
from harness.session import Finished

SUITES: Mapping[str, tuple[str, ...]] = {"glue": tuple(name for parts in glue.COUNTED for name in parts)}
"""Tasks of each suite, by the name that stands for `--task`."""

SCHEMA = 1
"""Version of the suite's file. 1: first."""

_WORST_FIRST = (ExitCode.INTERRUPTED, ExitCode.FAILED, ExitCode.ACCURACY, ExitCode.INVALID)


@dataclass(frozen=True, slots=True)
class Entry:
    """One task of a suite: its run, or why there is none (`missing`, and what would cure it)."""

    task: str
    finished: Finished | None
    missing: str = ""
    cure: str = ""

    @property
    def run(self) -> Run | None:
        return self.finished.run if self.finished else None


@dataclass(frozen=True, slots=True)
class Suite:
    """All tasks of a suite, in its order. `score`: the GLUE score over those that have one, None if none has."""

    name: str
    entries: tuple[Entry, ...]
    score: float | None
    unscored: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The gravest of the runs; 3 where nothing could run."""
        codes = {entry.run.exit_code for entry in self.entries if entry.run is not None}
        if not codes:
            return int(ExitCode.MISSING)
        return next((int(code) for code in _WORST_FIRST if code in codes), max(codes))


def run(config: RunConfig, measure: Callable[[RunConfig], Finished], say: Callable[[str], None]) -> Suite:
    """Run each task of the suite `config.task`; `measure` runs one, `say` is told what comes next. A task without data or model is listed,
    not an error. `{task}` in `--model` stands for the task's name. Raises AssayError for what would stop every task."""
    if config.model is not None and "{task}" not in config.model:
        raise UsageError(f"--model {config.model}: one model cannot do all tasks of {config.task}", "write {task} where its name goes")
    entries = []
    for task in SUITES[config.task]:
        say(task)
        entries.append(_entry(config, task, measure))
        if entries[-1].run is not None and entries[-1].run.exit_code == ExitCode.INTERRUPTED:
            break
    return _scored(config.task, entries)


def _entry(config: RunConfig, task: str, measure: Callable[[RunConfig], Finished]) -> Entry:
    model = config.model.replace("{task}", task) if config.model is not None else None
    try:
        return Entry(task, measure(config.model_copy(update={"task": task, "model": model})))
    except (MissingError, UsageError) as error:
        return Entry(task, None, str(error), error.cure)
    except AssayError as error:
        raise type(error)(f"{task}: {error}", error.cure) from error


def _scored(name: str, entries: Sequence[Entry]) -> Suite:
    scores = {entry.task: entry.run.accuracy["scores"] for entry in entries if entry.run is not None and entry.run.accuracy}
    if not scores:
        return Suite(name, tuple(entries), None, SUITES[name])
    score, unscored = glue.glue_score(scores)
    return Suite(name, tuple(entries), score, unscored)


# ----------------------------------------------------------------------------------------------------------------------- what is shown

_HEADINGS = ("task", "result", "accuracy", "of the FP32 reference", "examples", "speed")


def text(suite: Suite) -> str:
    """One table, the score, and what is missing."""
    rows = [_HEADINGS, *(_row(entry) for entry in suite.entries if entry.run is not None)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows] if len(rows) > 1 else []
    ran = sum(entry.run is not None for entry in suite.entries)
    if suite.score is not None:
        whole = f"{ran} of {len(SUITES[suite.name])} tasks, not comparable with a full score" if suite.unscored else f"all {ran} tasks"
        lines += ["", f"{suite.name} score {units.score(suite.score)} over {whole}"]
    absent = (entry for entry in suite.entries if entry.run is None)
    lines += [f"no {entry.task}: {entry.missing}" + (f" ({entry.cure})" if entry.cure else "") for entry in absent]
    return "\n".join(lines)


def _row(entry: Entry) -> tuple[str, ...]:
    run = entry.run
    assert run is not None
    accuracy, metric = run.accuracy or {}, run.verdict.get("metric")
    shown = " / ".join(f"{name} {units.score(value)}" for name, value in _metrics(accuracy))
    share = f"{accuracy['value'] / accuracy['reference']:.1%}" if accuracy.get("reference") else "-"
    speed = units.quantity(metric["value"], metric["unit"]) if metric else "-"
    return entry.task, _word(run), shown or "not checked", share, str(accuracy.get("samples", "-")), speed


def _metrics(accuracy: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The primary metric first, then the others that GLUE counts."""
    scores = {name: value for name, value in (accuracy.get("scores") or {}).items() if name not in ("examples", "glue")}
    return sorted(scores.items(), key=lambda item: item[0] != accuracy["metric"])


def _word(run: Run) -> str:
    words = {ExitCode.OK: "VALID", ExitCode.INVALID: "INVALID", ExitCode.ACCURACY: "ACCURACY MISSED", ExitCode.INTERRUPTED: "INCOMPLETE"}
    return words.get(ExitCode(run.exit_code), "FAILED")


def as_json(suite: Suite) -> str:
    """The suite for programs: score, tasks with their run folders, what is missing."""
    tasks = {
        entry.task: {
            "run": entry.finished.folder.name if entry.finished else None,
            "exit_code": entry.run.exit_code if entry.run else None,
            "scores": dict((entry.run.accuracy or {}).get("scores", {})) if entry.run else {},
            "missing": entry.missing or None,
        }
        for entry in suite.entries
    }
    content = {"schema": SCHEMA, "suite": suite.name, "score": suite.score, "unscored": list(suite.unscored), "tasks": tasks}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def save(suite: Suite, out: Path, name: str) -> Path:
    """The file `name`.json below `out`. Raises MissingError where it cannot be written."""
    file = out / f"{name}.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(as_json(suite), encoding="utf-8")
    except OSError as error:
        raise MissingError(f"{file} cannot be written: {error.strerror}", "give a folder that can be written with --out") from error
    return file
