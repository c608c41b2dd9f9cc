"""The data sets of GLUE (Wang et al. 2019): official files, how they are read, and the score over all tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.classification import ClassificationTask, Examples, Kind, make
from harness.core import TaskOptions
from harness.datafiles import decode, find_file, read_bytes
from harness.errors import DataError
from harness.metrics import Values, score

# ------------------------------------------------------------------------------------------------------------------------ files


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A development set of GLUE.

    title      what people call it
    folder     its folder in GLUE's archive
    file       its file there
    rows       examples of the official file
    sha256     of the official file; empty where it is not known here
    first      column of the text, or of the first text of each pair
    second     column of the second text; empty for single texts
    label      column of the label
    labels     spellings of the label, and the number of the class; empty where it is a value
    low, high  least and greatest value
    columns    names of all columns of a file that has no header
    lenient    rows with fewer columns than the header are left out and a text may be empty, as common readers of QQP have it
    """

    title: str
    folder: str
    file: str = "dev.tsv"
    rows: int
    sha256: str = ""
    first: str
    second: str = ""
    label: str = "label"
    labels: Mapping[str, int] = field(default_factory=dict)
    low: float = 0.0
    high: float = 0.0
    columns: tuple[str, ...] = ()
    lenient: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Where the file is looked for below the folder that is given: the task's own folder, GLUE's, or the one that holds glue/."""
        return (self.file, f"{self.folder}/{self.file}", f"glue/{self.folder}/{self.file}")


def read(dataset: Dataset, path: Path) -> Examples:
    """Examples of a file in the layout of `dataset`, in file order: its development set, its training set or a sample of your own.

    Quotes are ordinary characters, texts are kept as they are. `ids` are row numbers from 0, the index of GLUE's own files and of
    predictions for them. Raises MissingError where the file cannot be read and DataError, naming the line, for a missing column, a row
    with another number of columns than the header, an empty text, a label that is none, and a file without rows.
    """
    content = read_bytes(path)
    first, second, labels = [], [], []
    for line, cells in _rows(dataset, decode(content, path), path):
        for column in filter(None, (dataset.first, dataset.second)):
            if not (cells[column].strip() or dataset.lenient):
                raise DataError(f"{path}:{line}: the {column} is empty", "Remove the row or fill it in.")
        first.append(cells[dataset.first])
        second += [cells[dataset.second]] if dataset.second else []
        labels.append(_label(dataset, cells[dataset.label], f"{path}:{line}"))
    if not labels:
        raise DataError(f"{path}: has a header but no rows", "Get the file again; what is on disk is damaged or incomplete.")
    ids = tuple(str(row) for row in range(len(labels)))
    return Examples(path, hashlib.sha256(content).hexdigest(), tuple(first), tuple(second), tuple(labels), ids)


def _rows(dataset: Dataset, text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values by column, row by row."""
    lines = [line.removesuffix("\r").split("\t") for line in text.removesuffix("\n").split("\n")]
    columns, start = (dataset.columns, 1) if dataset.columns else (lines[0], 2)
    absent = [name for name in (dataset.first, dataset.second, dataset.label) if name and name not in columns]
    if absent:
        raise DataError(
            f"{path}:1: no column {' and '.join(map(repr, absent))}; the header names {', '.join(map(repr, columns))}",
            f"Use a train or dev file of {dataset.folder} (test files carry no labels), with its header line.",
        )
    for number, values in enumerate(lines[start - 1 :], start):
        if len(values) == len(columns):
            yield number, dict(zip(columns, values, strict=True))
        elif not (dataset.lenient and len(values) < len(columns)):
            layout = f"the layout of {dataset.folder} has" if dataset.columns else "the header has"
            raise DataError(f"{path}:{number}: {len(values)} columns, {layout} {len(columns)}", "Columns are separated by one tab.")


def _label(dataset: Dataset, text: str, where: str) -> float:
    if dataset.labels:
        if text in dataset.labels:
            return dataset.labels[text]
        known = " or ".join(dataset.labels)
        raise DataError(f"{where}: {dataset.label} {text!r} is not {known}", "Test files carry no labels; use a train or dev file.")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not dataset.low <= value <= dataset.high:
        said = f"{dataset.label} {text!r} is not a number from {dataset.low:g} to {dataset.high:g}"
        raise DataError(f"{where}: {said}", "Test files carry no scores; use a train or dev file.")
    return value


# ------------------------------------------------------------------------------------------------------------------------ tasks


def create(kind: Kind, dataset: Dataset, built_in: Path, options: TaskOptions) -> ClassificationTask:
    """The task on `options.data`: a folder that holds one of `dataset.files`, or a file; None is the sample set `built_in`.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    examples = read(dataset, built_in if options.data is None else find_file(options.data, dataset.files))
    data_name = "built-in sample set" if examples.path == built_in else name_of(dataset, examples)
    return make(
        kind,
        examples,
        options,
        data_name=data_name,
        comparable=is_official(dataset, examples),
        read=partial(read, dataset),
        beside=("train.tsv",),
    )


def is_official(dataset: Dataset, examples: Examples) -> bool:
    """Whether the file has the checksum of the official one."""
    return bool(dataset.sha256) and examples.sha256 == dataset.sha256


def name_of(dataset: Dataset, examples: Examples) -> str:
    """What people call the data: the title of the official file, by its checksum; of another, its name and how it differs."""
    rows, name = len(examples.labels), examples.path.name
    if is_official(dataset, examples):
        return dataset.title
    if name != dataset.file:
        return name
    if rows != dataset.rows:
        return f"{name} with {rows:,} rows ({dataset.title} has {dataset.rows:,})"
    return f"{name} with the {rows:,} rows of {dataset.title}, but not a checksum known here"


def counting(*counted: str, beside: Sequence[str] = ()) -> Callable[[Values, Values], dict[str, float]]:
    """Scorer of a task of GLUE: the metrics `counted`, `glue` (their mean: what the task adds to the score over all tasks), and others
    `beside` them. Names are those of `metrics.METRICS`."""
    return partial(_scores, counted, tuple(beside))


def _scores(counted: Sequence[str], beside: Sequence[str], labels: Values, predictions: Values) -> dict[str, float]:
    points = score((*counted, *beside), labels, predictions)
    return points | {"glue": sum(points[name] for name in counted) / len(counted)}


# ------------------------------------------------------------------------------------------------------------------------ score

MNLI_LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}
"""Classes of both sets of MNLI, by the label of the data."""


def mnli(name: str) -> Kind:
    """What both sets of MNLI are. GLUE's own code and later collections number the classes differently, so numbers say nothing."""
    aliases = {"entail": "entailment", "contradict": "contradiction"}
    return Kind(name=name, classes=tuple(MNLI_LABELS), metric="accuracy", scorer=counting("accuracy"), aliases=aliases, ordered=False)


COUNTED = (("cola",), ("sst2",), ("mrpc",), ("stsb",), ("qqp",), ("mnli", "mnli-mm"), ("qnli",), ("rte",), ("wnli",))
"""The nine tasks of the GLUE score. Matched and mismatched MNLI are one; WNLI counts; the diagnostic set AX does not (it is not in the mean
of the benchmark, and its labels are not public)."""


def glue_score(scores: Mapping[str, Mapping[str, float]]) -> tuple[float, tuple[str, ...]]:
    """The GLUE score in points over the tasks in `scores` (what `score` gave, by task), and the names of those that are missing.

    Macro-average, as in Wang et al. 2019, section 3: a task with two metrics adds their mean, each task counts alike. Of MNLI with one set
    missing the other counts alone. Raises ValueError where there is nothing to average and for a name that is no task of GLUE.
    """
    names = [name for parts in COUNTED for name in parts]
    if unknown := sorted(set(scores) - set(names)):
        raise ValueError(f"{', '.join(unknown)}: no task of GLUE")
    points = [[scores[name]["glue"] for name in parts if name in scores] for parts in COUNTED]
    means = [sum(values) / len(values) for values in points if values]
    if not means:
        raise ValueError("no task of GLUE has a score")
    return sum(means) / len(means), tuple(name for name in names if name not in scores)
