"""Question answering on SQuAD v2.0: exact match and F1, and half of the questions have no answer.

The official dev set is recognised by the sha256 of dev-v2.0.json, or by one over what asking and scoring need (ids, questions, contexts,
answers), so that a file without `plausible_answers` is the official set, too. Without data the built-in sample set is asked; its scores
compare with nothing published. The default model was trained on v1.1 alone, so it answers nearly every question. See
`harness/squad/no_answer_task.py`.
"""

from __future__ import annotations

from pathlib import Path

from harness.core import TaskOptions
from harness.datafiles import SquadData, find_file, read_squad
from harness.predictions import Scorer, SquadScorer
from harness.squad.no_answer_task import Squad2Task
from harness.squad.task import make

REQUIRES: tuple[str, ...] = ("tokenizers",)
HEAD = "question-answering"
DEFAULT_MODEL = "minilm-squad"

BUILT_IN = Path(__file__).parent / "samples" / "squad2.json"
FILES = ("dev-v2.0.json", "squad/dev-v2.0.json", "squad2/dev-v2.0.json")
OFFICIAL_FILE = "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8"
OFFICIAL_CONTENT = "6283d44dfc31e5875bcd428121fed711fe6c1b819e8d62136de895960464c12d"
"""`SquadData.content_sha256` of the 11,873 questions, 5,945 of them without an answer."""


def create(options: TaskOptions) -> Squad2Task:
    """The task on `options.data`: a folder with dev-v2.0.json, squad/dev-v2.0.json or squad2/dev-v2.0.json, or a .json file; None is the
    built-in set.

    Raises MissingError and DataError for data and tokenizer, UsageError for a maximum length that leaves no room.
    """
    data = _read(options.data)
    return make(Squad2Task, data, options, data_name=_name(data), comparable=_is_official(data), data_key=data.content_sha256)


def scorer(data: Path | None) -> Scorer:
    """Scores predictions made elsewhere, on the same data as `create`."""
    read = _read(data)
    return SquadScorer(read, data_name=_name(read), comparable=_is_official(read), no_answers=True)


def _read(data: Path | None) -> SquadData:
    return read_squad(BUILT_IN if data is None else find_file(data, FILES), unanswerable=True)


def _is_official(data: SquadData) -> bool:
    return data.sha256 == OFFICIAL_FILE or data.content_sha256 == OFFICIAL_CONTENT


def _name(data: SquadData) -> str:
    if _is_official(data):
        return "SQuAD v2.0 dev"
    return "built-in sample set" if data.path == BUILT_IN else data.path.name
