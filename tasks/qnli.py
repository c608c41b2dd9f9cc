"""Does a sentence answer the question, on QNLI (GLUE): accuracy.

The official dev.tsv (5,463 pairs, second version) is recognised by its checksum. Without data the built-in sample set is asked; its scores
compare with nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"

BUILT_IN = Path(__file__).parent / "samples" / "qnli.tsv"
DATASET = glue.Dataset(
    title="QNLI dev",
    folder="QNLI",
    rows=5_463,
    sha256="763e95932dd3578251de71582e06829015f9c3815a518c751dc537219b159de4",
    first="question",
    second="sentence",
    labels={"entailment": 0, "not_entailment": 1},
)
FILES = DATASET.files
KIND = Kind(name="qnli", classes=("entailment", "not_entailment"), metric="accuracy", scorer=glue.counting("accuracy"))


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, QNLI/dev.tsv or glue/QNLI/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
