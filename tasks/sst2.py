"""Sentiment of sentences on SST-2 (GLUE): accuracy, negative against positive.

The official dev.tsv (872 sentences) is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with
nothing published.
"""

from __future__ import annotations

from pathlib import Path

from harness import glue
from harness.classification import Kind
from harness.core import Task, TaskOptions

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "sequence-classification"
DEFAULT_MODEL = "minilm-sst2"

BUILT_IN = Path(__file__).parent / "samples" / "sst2.tsv"
DATASET = glue.Dataset(
    title="SST-2 dev",
    folder="SST-2",
    rows=872,
    sha256="54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0",
    first="sentence",
    labels={"0": 0, "1": 1},
)
FILES = DATASET.files
KIND = Kind(
    name="sst2",
    classes=("negative", "positive"),
    metric="accuracy",
    scorer=glue.counting("accuracy"),
    aliases={"neg": "negative", "pos": "positive"},
)


def create(options: TaskOptions) -> Task:
    """The task on `options.data`: a folder with dev.tsv, SST-2/dev.tsv or glue/SST-2/dev.tsv, or a .tsv file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for label names that cannot be understood.
    """
    return glue.create(KIND, DATASET, BUILT_IN, options)
