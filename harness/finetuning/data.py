"""What `finetune` trains on and is scored on: the files of a task, read and tokenised by the task itself, with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from harness import calibration, plugins
from harness.checkpoint import Head
from harness.classification import ClassificationTask
from harness.core import Task, TaskOptions
from harness.errors import DataError, MissingError, UsageError
from harness.finetuning import spans as finetune_spans
from harness.finetuning.loop import TrainingSet
from harness.glue import Dataset
from harness.own import data as own_data
from harness.own import labels as own_labels
from harness.own import task as own_task
from harness.own.settings import read_settings
from harness.own.table import FORMATS
from harness.squad import windows as squad_windows
from harness.squad.task import SquadTask
from harness.tokenization import load_vocabulary

VALUE = "value"
"""Name of the one output of a model that predicts a value."""

OWN = (".yaml", ".yml", *FORMATS)
"""Endings by which `--task` is a file of one's own."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is trained on and scored: a task by name (`module`) with its files, or a file of one's own that `--task` named (`own`).

    dev    of a task by name; None where the folder has none
    flags  how one's own file is to be read, see `own_settings.read_settings`
    """

    name: str
    train: Path
    dev: Path | None = None
    module: ModuleType | None = None
    own: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)

    def own_train(self) -> tuple[Path, Path | None]:
        """Source and data, as `own_task.make` and `own_settings.read_settings` take them, of the training file: a YAML file that says how
        to read it, or itself."""
        assert self.own is not None
        return (self.train, None) if self.own.suffix.lower() in FORMATS else (self.own, self.train)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`data` to train on. `labels` name the model's outputs (none for spans, one for a value); `key` changes with data, tokenizer and
    settings; `left_out` counts questions whose answer is not where the file says."""

    data: TrainingSet
    head: Head
    labels: tuple[str, ...]
    key: str
    data_name: str
    max_length: int
    left_out: int = 0


def find(task: str, data: Path, flags: Mapping[str, Any]) -> Source:
    """Training file and dev file of `task` in the folder `data` (or `data` itself, the training file).

    A task by name: as GLUE and SQuAD call them. A file of one's own: `task` is the dev file or the YAML file that names it, `data` the
    training file. Raises UsageError and MissingError.
    """
    if Path(task).suffix.lower() in OWN:
        return _own_source(Path(task), data, flags)
    module = plugins.load("tasks", task)
    dev, train = _file_names(module)
    found = data if data.is_file() else _first(data, train)
    if found is None:
        raise MissingError(
            f"{data}: holds none of {', '.join(train)}", "--data wants a folder with the task's training file, or that file."
        )
    beside = found.parent if data.is_file() else data
    return Source(plugins.find("tasks", task).name, found, _first(beside, dev), module)


def _own_source(task: Path, data: Path, flags: Mapping[str, Any]) -> Source:
    if not task.is_file():
        raise MissingError(f"--task: {task}: no such file", "Name a task (`assay list tasks`), or a file of your own.")
    if not data.is_file():
        endings = ", ".join(f"*{ending}" for ending in FORMATS)
        raise UsageError(f"--data: {data} is not a file", f"For {task.name} give the file to train on: {endings}.")
    return Source(task.stem, data, own=task, flags=flags)


def _file_names(module: ModuleType) -> tuple[list[str], list[str]]:
    """Paths of dev and training file below a data folder. Raises UsageError for a task that does not say where its dev file is."""
    dataset = getattr(module, "DATASET", None)
    if isinstance(dataset, Dataset):
        return list(dataset.files), [str(Path(name).with_name("train.tsv").as_posix()) for name in dataset.files]
    dev = [str(name) for name in getattr(module, "FILES", ())]
    if not dev:
        raise UsageError(f"task {module.__name__} names no files, so its training file is not known", "Train with a file of your own.")
    return dev, [name.replace("dev", "train", 1).replace(".json", part) for name in dev for part in (".json", ".partial.json")]


def _first(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


# ---------------------------------------------------------------------------------------------------------------------- training


def prepare(source: Source, tokenizer: Path, max_length: int | None) -> Prepared:
    """The training file, tokenised with the tokenizer in the folder `tokenizer`. Raises UsageError, MissingError and DataError."""
    options = TaskOptions(data=source.train, tokenizer=tokenizer, cache=None, max_length=max_length)
    options = replace(options, labels=_classes(source))
    if source.module is not None:
        task = cast(Task, source.module.create(options))
    else:
        file, data = source.own_train()
        task = own_task.make(file, source.flags, replace(options, data=data))
    if isinstance(task, SquadTask):
        return _spans(source, task, tokenizer)
    if not isinstance(task, ClassificationTask):
        raise UsageError(f"task {source.name} is neither classification nor questions on contexts", "Train with a file of your own.")
    kind: Any = np.int64 if task.kind.classes else np.float32
    labelled = TrainingSet(task.samples, np.array(task.dataset.labels, kind))
    absent = set(range(len(task.kind.classes))) - set(map(int, task.dataset.labels)) if task.kind.classes else set()
    if absent:
        names = ", ".join(repr(task.kind.classes[number]) for number in sorted(absent))
        raise DataError(f"{source.train}: no row has the label {names}", "A class without examples cannot be learned: add some.")
    name = source.train.name
    return Prepared(labelled, "sequence-classification", task.kind.classes or (VALUE,), task.fingerprint, name, task.samples.max_length)


def _classes(source: Source) -> tuple[str, ...]:
    """Names of the classes to train, in the order of the model's outputs; empty where values or spans are asked for."""
    if source.module is not None:
        return tuple(getattr(getattr(source.module, "KIND", None), "classes", ()))
    file, data = source.own_train()
    own = own_data.read(read_settings(file, source.flags, data))
    if own.kind != "classification":
        return ()
    names = {own.settings.labels.get(label, label) for label in own_labels.label_counts(own)}
    if len(names) < 2:
        raise DataError(f"{source.train}: every row has the label {min(names)!r}", "Give at least two classes to tell apart.")
    return tuple(sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))


def _spans(source: Source, task: SquadTask, tokenizer: Path) -> Prepared:
    vocabulary = load_vocabulary(tokenizer)
    if source.module is None:  # as own_task has it: answers are cut by character
        vocabulary = replace(vocabulary, wordpiece=False)
    length = task.samples.max_length
    arrays = squad_windows.build(task.dataset, vocabulary, length)
    starts = finetune_spans.squad_starts(source.train) if source.module else finetune_spans.first_places(task.dataset)
    targets, kept = finetune_spans.targets(task.dataset, starts, arrays, vocabulary)
    if not len(kept):
        raise DataError(f"{source.train}: no answer stands in its context", "Give answers as they are written in the context.")
    left_out = len(task.dataset.questions) - len(np.unique(arrays["question"][kept]))
    data = TrainingSet(calibration.some(task.samples, kept), targets[kept])
    return Prepared(data, "question-answering", (), task.fingerprint, source.train.name, length, left_out)


# ------------------------------------------------------------------------------------------------------------------------- score


def dev_task(source: Source, tokenizer: Path, labels: tuple[str, ...], max_length: int) -> Task | None:
    """The task on the dev file, None where there is none. Raises UsageError, MissingError and DataError."""
    named = labels if len(labels) > 1 else ()
    options = TaskOptions(data=source.dev, tokenizer=tokenizer, cache=None, labels=named, max_length=max_length)
    if source.own is not None:
        return own_task.make(source.own, source.flags, options)
    return cast(Task, source.module.create(options)) if source.module is not None and source.dev is not None else None


def lines(prepared: Prepared) -> Iterator[str]:
    """What was read, for people."""
    samples = prepared.data.samples
    outputs = (
        ", ".join(prepared.labels) if len(prepared.labels) > 1 else ("one value" if prepared.labels else "start and end of the answer")
    )
    yield f"training on {prepared.data_name}: {len(samples):,} samples, {len(samples.input_ids):,} tokens; outputs: {outputs}"
    if prepared.left_out:
        yield f"{prepared.left_out:,} questions are left out: their answer does not stand in the context where the file says"
