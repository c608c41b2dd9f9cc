"""Model and task that a configuration means, ready in memory: what `run`, `prepare` and `--plan` share."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from harness import models, plugins
from harness.checkpoint import Head
from harness.config import RunConfig
from harness.core import Model, Task, TaskOptions
from harness.downloads import Say
from harness.errors import UsageError


def features_folder(cache: Path) -> Path:
    """Where tokenised data is kept."""
    return cache / "features"


def find_model(config: RunConfig, *, cache: Path, say: Say = models.to_stderr, offline: bool | None = None) -> Model:
    """The model of `--model`, else the task's embedded default, verified on disk; fetched if need be, unless `offline` (default: as
    configured). Raises MissingError and DataError."""
    info = plugins.find("tasks", config.task, "--task")
    return models.resolve(
        config.model or info.default_model,
        head_of(info),
        cache=cache,
        offline=config.offline if offline is None else offline,
        allow_pickle=config.allow_pickle,
        say=say,
    )


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
    )
    task: Task = plugins.load("tasks", config.task).create(options)
    return task
