"""Entailment, neutral or contradiction, on the matched set of MNLI (GLUE): accuracy.

Columns are found by the header, in the official file (16 columns) and in files with index, sentence1, sentence2 and gold_label alone. Such
a copy of the 9,815 official pairs is recognised by its checksum; that of the official file is not known here. Without data the built-in
sample set is asked; its scores compare with nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"

BUILT_IN = Path(__file__).parent / "samples" / "mnli.tsv"
DATASET = glue.Dataset(
    title="MNLI dev matched",
    folder="MNLI",
    file="dev_matched.tsv",
    rows=9_815,
    sha256="eec3baa181ad183bef2f3988aa99a3f8db2453c92c149f3e3493a4c262e8ad23",
    first="sentence1",
    second="sentence2",
    label="gold_label",
    labels=glue.MNLI_LABELS,
)
FILES = DATASET.files
KIND = glue.mnli("mnli")


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev_matched.tsv, in it, MNLI or glue/MNLI, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
