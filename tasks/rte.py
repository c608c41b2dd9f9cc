"""Does one text entail the other, on RTE (GLUE): accuracy.

The official dev.tsv (277 pairs) is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with
nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"

BUILT_IN = Path(__file__).parent / "samples" / "rte.tsv"
DATASET = glue.Dataset(
    title="RTE dev",
    folder="RTE",
    rows=277,
    sha256="80230dfa1347282e7b532b06a1004a76a710087541189bf874223ddf0e3819fb",
    first="sentence1",
    second="sentence2",
    labels={"entailment": 0, "not_entailment": 1},
)
FILES = DATASET.files
KIND = Kind(name="rte", classes=("entailment", "not_entailment"), metric="accuracy", scorer=glue.counting("accuracy"))


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, RTE/dev.tsv or glue/RTE/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
