"""What does a pronoun stand for, on WNLI (GLUE): accuracy.

The official dev.tsv (71 pairs) is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with
nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"

BUILT_IN = Path(__file__).parent / "samples" / "wnli.tsv"
DATASET = glue.Dataset(
    title="WNLI dev",
    folder="WNLI",
    rows=71,
    sha256="cba00490596dd14be8cf53b4f53bb744abe3a7b89f81ab210528d80225338ed5",
    first="sentence1",
    second="sentence2",
    labels={"0": 0, "1": 1},
)
FILES = DATASET.files
KIND = Kind(name="wnli", classes=("not_entailment", "entailment"), metric="accuracy", scorer=glue.counting("accuracy"))


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, WNLI/dev.tsv or glue/WNLI/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
