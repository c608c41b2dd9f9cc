"""Question answering on SQuAD v1.1: exact match and F1 of the answer's text.

The official dev-v1.1.json is recognised by its checksum. Without data the built-in sample set is asked; its scores compare with nothing
published. Features, answers and scores follow the MLPerf reference for BERT; see `harness/squad/task.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import metrics
from harness.core import TaskOptions
from harness.datafiles import SquadData, find_file, read_squad
from harness.predictions import Scorer, SquadScorer
from harness.squad.task import SquadTask, make

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "question-answering"
DEFAULT_MODEL = "minilm-squad"

BUILT_IN = Path(__file__).parent / "samples" / "squad.json"
FILES = ("dev-v1.1.json", "squad/dev-v1.1.json")
OFFICIAL = {"95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9": "SQuAD v1.1 dev"}


def create(options: TaskOptions) -> SquadTask:
    """The task on `options.data`: a folder with dev-v1.1.json or squad/dev-v1.1.json, or a .json file; None is the built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for a maximum length that leaves no room.
    """
    data = _read(options.data)
    return make(SquadTask, data, options, data_name=_name(data), comparable=data.sha256 in OFFICIAL)


def scorer(data: Path | None) -> Scorer:
    """Scores predictions made elsewhere, on the same data as `create`."""
    read = _read(data)
    return SquadScorer(read, data_name=_name(read), comparable=read.sha256 in OFFICIAL)


def score_predictions(dataset: SquadData, predictions: Mapping[str, Any]) -> dict[str, float]:
    """`exact_match`, `f1` and `examples` of texts by question id, over all questions of `dataset`; a missing one counts 0."""
    return metrics.score_squad(dataset.truths, predictions)


def _read(data: Path | None) -> SquadData:
    return read_squad(BUILT_IN if data is None else find_file(data, FILES))


def _name(data: SquadData) -> str:
    return OFFICIAL.get(data.sha256, "built-in sample set" if data.path == BUILT_IN else data.path.name)
