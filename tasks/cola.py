"""Grammatical or not, on CoLA (GLUE): Matthews' correlation.

The official dev.tsv (1,043 sentences, no header) is recognised by its checksum. Without data the built-in sample set is asked; its scores
compare with nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"
DEFAULT_MODEL = "minilm-cola"

BUILT_IN = Path(__file__).parent / "samples" / "cola.tsv"
DATASET = glue.Dataset(
    title="CoLA dev",
    folder="CoLA",
    rows=1_043,
    sha256="8c013e21dc39957cac37378d87bebe225b694a0d5fe13eded66c2856628833fd",
    first="sentence",
    labels={"0": 0, "1": 1},
    columns=("source", "label", "star", "sentence"),
)
FILES = DATASET.files
KIND = Kind(
    name="cola",
    classes=("unacceptable", "acceptable"),
    metric="matthews",
    scorer=glue.counting("matthews", beside=("accuracy",)),
    aliases={"not_acceptable": "unacceptable", "ungrammatical": "unacceptable", "grammatical": "acceptable"},
)


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, CoLA/dev.tsv or glue/CoLA/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
