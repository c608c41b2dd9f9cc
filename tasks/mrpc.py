"""Paraphrase or not, on MRPC (GLUE): accuracy, and F1 of the paraphrases.

The official dev.tsv (408 pairs, with a byte-order mark) is recognised by its checksum. Without data the built-in sample set is asked; its
scores compare with nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"
DEFAULT_MODEL = "minilm-mrpc"

BUILT_IN = Path(__file__).parent / "samples" / "mrpc.tsv"
DATASET = glue.Dataset(
    title="MRPC dev",
    folder="MRPC",
    rows=408,
    sha256="81c8a1a9e1dfe461dd2c1a4f98f43fe18bece44d2bf9e3d0b245b88e5aa5eaf7",
    first="#1 String",
    second="#2 String",
    label="Quality",
    labels={"0": 0, "1": 1},
)
FILES = DATASET.files
KIND = Kind(
    name="mrpc",
    classes=("not_equivalent", "equivalent"),
    metric="accuracy",
    scorer=glue.counting("accuracy", "f1"),
    aliases={"not_paraphrase": "not_equivalent", "paraphrase": "equivalent"},
)


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, MRPC/dev.tsv or glue/MRPC/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
