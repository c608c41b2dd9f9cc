"""Do two questions ask the same, on QQP (GLUE): accuracy, and F1 of the duplicates.

The official dev.tsv has 40,430 pairs; its checksum is not known here, so no file is called comparable. Without data the built-in sample
set is asked; its scores compare with nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"

BUILT_IN = Path(__file__).parent / "samples" / "qqp.tsv"
DATASET = glue.Dataset(
    title="QQP dev",
    folder="QQP",
    rows=40_430,
    first="question1",
    second="question2",
    label="is_duplicate",
    labels={"0": 0, "1": 1},
    lenient=True,
)
FILES = DATASET.files
KIND = Kind(
    name="qqp",
    classes=("not_duplicate", "duplicate"),
    metric="accuracy",
    scorer=glue.counting("accuracy", "f1"),
    aliases={"not_equivalent": "not_duplicate", "equivalent": "duplicate"},
)


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, QQP/dev.tsv or glue/QQP/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
