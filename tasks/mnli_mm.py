"""Entailment, neutral or contradiction, on the mismatched set of MNLI (GLUE): accuracy.

The official dev_mismatched.tsv has 9,832 pairs; its checksum is not known here, so no file is called comparable. Without data the built-in
sample set is asked; its scores compare with nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"

BUILT_IN = Path(__file__).parent / "samples" / "mnli-mm.tsv"
DATASET = glue.Dataset(
    title="MNLI dev mismatched",
    folder="MNLI",
    file="dev_mismatched.tsv",
    rows=9_832,
    first="sentence1",
    second="sentence2",
    label="gold_label",
    labels=glue.MNLI_LABELS,
)
FILES = DATASET.files
KIND = glue.mnli("mnli-mm")


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev_mismatched.tsv, in it, MNLI or glue/MNLI, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
