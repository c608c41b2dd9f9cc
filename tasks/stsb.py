"""Similarity of two sentences from 0 to 5, on STS-B (GLUE): Pearson's and Spearman's correlation.

The official dev.tsv (1,500 pairs) is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with
nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"
DEFAULT_MODEL = "minilm-stsb"

BUILT_IN = Path(__file__).parent / "samples" / "stsb.tsv"
DATASET = glue.Dataset(
    title="STS-B dev",
    folder="STS-B",
    rows=1_500,
    sha256="fe7dc0632a5033562f3cadff991f6e8d9b9b6311861660e78c3c82eb7db67f59",
    first="sentence1",
    second="sentence2",
    label="score",
    low=0.0,
    high=5.0,
)
FILES = DATASET.files
KIND = Kind(name="stsb", classes=(), metric="pearson", scorer=glue.counting("pearson", "spearman"))


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, STS-B/dev.tsv or glue/STS-B/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
