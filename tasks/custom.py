"""Your own data: a .csv, .tsv or .jsonl file, or a .yaml file that names one.

`--task pairs.csv` and `--task my.yaml` come here. What is asked depends on the file, so head and default model are what `about` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core import Task, TaskOptions
from harness.errors import UsageError
from harness.own import task as own_task

REQUIRES: tuple[str, ...] = ("tokenizers", "yaml")
SUFFIXES: tuple[str, ...] = (".yaml", ".yml", ".csv", ".tsv", ".jsonl")


def about(source: Path, settings: Mapping[str, Any], data: Path | None) -> tuple[str, str]:
    """Head of the model that this file needs, and the default model, "" for none. Raises UsageError, MissingError and DataError."""
    return own_task.about(source, settings, data)


def create(options: TaskOptions) -> Task:
    """The task on `options.source`, read as `options.settings` say. Raises UsageError, MissingError and DataError."""
    if options.source is None:
        raise UsageError("custom is asked with a file of your own", f"Name it: --task FILE, one of *{', *'.join(SUFFIXES)}.")
    return own_task.make(options.source, options.settings, options)
