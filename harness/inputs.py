"""Model and task that a configuration means, ready in memory: what `run`, `prepare` and `--plan` share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from harness import models, plugins
from harness.calibration import CalibratedFromFile
from harness.checkpoint import Head
from harness.config import OWN, RunConfig, flag
from harness.core import Calibrated, Calibration, Model, Task, TaskOptions
from harness.datafiles import find_file
from harness.errors import MissingError, UsageError
from harness.hub import Say


def features_folder(cache: Path) -> Path:
    """Where tokenised data is kept."""
    return cache / "features"


def check(config: RunConfig) -> None:
    """Refuse what is wrong with task, model name or data at first sight, before anything large is read, fetched or imported.

    Looks at names and at what the folders hold; `find_model` and `make_task` read the rest. Raises UsageError, MissingError and DataError.
    """
    info = find_task(config)
    if name := config.model or info.default_model:
        models.check_name(name, head_of(info))
    files = getattr(plugins.load("tasks", config.task), "FILES", ())
    if config.data is not None and info.source is None and files:
        find_file(config.data, files)


def find_model(config: RunConfig, *, cache: Path, say: Say = models.to_stderr, offline: bool | None = None) -> Model:
    """The model of `--model`, else the task's embedded default, verified on disk; fetched if need be, unless `offline` (default: as
    configured). Raises MissingError and DataError, and UsageError where neither there is."""
    info = find_task(config)
    if not (config.model or info.default_model):
        raise UsageError(
            f"--task {config.task}: there is no default model for it",
            "name one with --model, or make one with `assay finetune`",
        )
    return models.resolve(
        config.model or info.default_model,
        head_of(info),
        cache=cache,
        offline=config.offline if offline is None else offline,
        allow_pickle=config.allow_pickle,
        say=say,
    )


def find_task(config: RunConfig) -> plugins.PluginInfo:
    """The task, with head and default model as the user's own file makes them. Raises UsageError, MissingError and DataError."""
    info = plugins.find("tasks", config.task, "--task")
    given = _own_settings(config)
    if info.source is None:
        if given:
            raise UsageError(f"{flag(next(iter(given)))}: only a file of your own takes it", "name the file with --task, or leave it out")
        return info
    head, default_model = plugins.load("tasks", config.task).about(info.source, given, config.data)
    return replace(info, head=head, default_model=default_model)


def _own_settings(config: RunConfig) -> dict[str, Any]:
    return {name: value for name in OWN if (value := getattr(config, name)) is not None}


def head_of(task: plugins.PluginInfo) -> Head:
    """The head a task's model needs. Raises UsageError for a task file that names none there is."""
    for head in get_args(Head):
        if head == task.head:
            return cast(Head, head)
    raise UsageError(f"{task.file}: HEAD is {task.head!r}", f"make it one of {', '.join(get_args(Head))}")


def make_task(config: RunConfig, model: Model, *, cache: Path | None) -> Task:
    """The task on the configured data, tokenised for this model; features are kept in `cache`. Raises MissingError and DataError."""
    options = TaskOptions(
        data=config.data,
        tokenizer=model.folder,
        cache=features_folder(cache) if cache is not None else None,
        labels=models.labels(model),
        max_length=models.max_positions(model),
        source=plugins.find("tasks", config.task, "--task").source,
        settings=_own_settings(config),
    )
    task: Task = plugins.load("tasks", config.task).create(options)
    return task


CALIBRATION_SEED = 20_241_121
"""Draws the calibration samples. Any constant would do."""


def calibration_for(config: RunConfig, task: Task, precision: str, calibrated: tuple[str, ...]) -> Calibration | None:
    """Samples for a backend with these `calibrated` precisions: what one of them needs; what another INT8 precision is checked with, which
    does without where there is none. Raises MissingError where samples are needed and the task has none, or the user named a file."""
    if precision in calibrated:
        return calibration(config, task)
    if not reads_calibration(precision, calibrated):
        return None
    try:
        return calibration(config, task)
    except MissingError:
        if config.calibration is not None:
            raise
        return None


def reads_calibration(precision: str, calibrated: tuple[str, ...]) -> bool:
    """Whether a precision has a use for calibration samples, where its backend has these `calibrated` ones."""
    return precision in calibrated or (bool(calibrated) and precision.startswith("int8"))


def calibration(config: RunConfig, task: Task) -> Calibration:
    """Samples to calibrate with, never scored ones. Raises MissingError where the task has none."""
    if not isinstance(task, Calibrated):
        raise MissingError(
            f"--task {config.task} has no samples to calibrate {config.backend} with", "use a precision that needs none, such as fp32"
        )
    if config.calibration is None:
        return task.calibration(config.calibration_samples, CALIBRATION_SEED)
    if not isinstance(task, CalibratedFromFile):
        raise UsageError(f"--calibration: --task {config.task} reads no calibration file", "leave it out")
    return task.calibration_from(config.calibration, config.calibration_samples, CALIBRATION_SEED)
