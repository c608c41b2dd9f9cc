"""Samples that fix the ranges of quantised models: where a task finds them, and that none of them is ever scored.

Training data lies beside the scored file, under the name that GLUE and SQuAD give it. The built-in sample sets have none, so they borrow
texts from each other. What is scored is left out by its text, not by an id: two files may hold one text under two names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness import units
from harness.answers import draw
from harness.core import Calibration, IntArray, Samples
from harness.datafiles import Question, SquadData, decode, read_bytes
from harness.errors import MissingError, UsageError

SAMPLE_SETS = Path(__file__).resolve().parent.parent / "tasks" / "samples"
"""The folder of the built-in sample sets."""

LEAST = 8
"""Fewer samples fix no range worth having."""

SENTENCES = {"cola.tsv": 3, "sst2.tsv": 0}
PAIRS = {"mrpc.tsv": 3, "stsb.tsv": 7, "qqp.tsv": 3, "mnli.tsv": 8, "mnli-mm.tsv": 8, "qnli.tsv": 1, "rte.tsv": 1, "wnli.tsv": 1}
"""Column of the (first) text in each built-in set, from 0; the second text of a pair stands behind it."""

PARAGRAPH = 8
"""Sentences of qnli.tsv that make a context."""

USE_ANOTHER = "Give --calibration FILE, or use a precision that needs no samples, such as fp32 or onnxruntime:int8."

Text = TypeVar("Text", bound=tuple[str, ...])


@runtime_checkable
class CalibratedFromFile(Protocol):
    """What a task may add: samples from the file that `--calibration` names."""

    def calibration_from(self, file: Path, count: int, seed: int) -> Calibration:
        """At most `count` of the samples that `file` holds or lists. Raises MissingError, DataError and UsageError."""
        ...


# ------------------------------------------------------------------------------------------------------------------------- texts


def spelled(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts without regard to capitals and spacing: two that are equal now are one text."""
    return tuple(" ".join(text.casefold().split()) for text in texts)


def never_scored(candidates: Sequence[Text], scored: Iterable[Text], where: str) -> list[int]:
    """Numbers of the candidates whose texts are not scored, each text once. Raises MissingError where fewer than LEAST are left."""
    seen = {spelled(texts) for texts in scored}
    kept = []
    for number, texts in enumerate(candidates):
        key = spelled(texts)
        if key not in seen:
            seen.add(key)
            kept.append(number)
    if len(kept) < LEAST:
        raise too_few(len(kept), where)
    return kept


def too_few(found: int, where: str) -> MissingError:
    return MissingError(f"{where}: {units.plural(found, 'text')} not scored, calibration needs {LEAST}", USE_ANOTHER)


def drawn(candidates: Sequence[int], count: int, seed: int) -> list[int]:
    """`count` of the candidates, in their order."""
    return [candidates[number] for number in draw(count, len(candidates), seed)]


def training_file(scored: Path, names: Sequence[str]) -> Path:
    """The first of `names` beside the scored file. Raises MissingError that names all that was tried."""
    for name in names:
        if (path := scored.with_name(name)).is_file() and path != scored:
            return path
    raise MissingError(f"{scored.parent}: no {' and no '.join(names)} to calibrate with", USE_ANOTHER)


# ----------------------------------------------------------------------------------------------------------------- built-in sets


def is_built_in(path: Path) -> bool:
    return path.parent == SAMPLE_SETS


def borrowed_texts(scored: Path, pairs: bool) -> list[tuple[str, ...]]:
    """Sentences, or pairs of texts, of the other built-in sets."""
    columns = PAIRS if pairs else SENTENCES
    return [texts for name, column in columns.items() if name != scored.name for texts in _column(name, column, 2 if pairs else 1)]


def _column(name: str, column: int, width: int) -> list[tuple[str, ...]]:
    path = SAMPLE_SETS / name
    lines = decode(read_bytes(path), path).splitlines()
    rows = lines if name == "cola.tsv" else lines[1:]  # the layout of CoLA has no header
    return [tuple(row.split("\t")[column : column + width]) for row in rows]


def borrowed_questions() -> SquadData:
    """Questions of the built-in QNLI set, each on a paragraph of PARAGRAPH of its sentences, the question's own among them."""
    pairs = _column("qnli.tsv", PAIRS["qnli.tsv"], 2)
    contexts: list[str] = []
    questions: list[Question] = []
    for start in range(0, len(pairs), PARAGRAPH):
        group = pairs[start : start + PARAGRAPH]
        questions += [Question(f"qnli-{start + row}", pair[0], len(contexts), ()) for row, pair in enumerate(group)]
        contexts.append(" ".join(pair[1] for pair in group))
    return SquadData(SAMPLE_SETS / "qnli.tsv", "", tuple(contexts), tuple(questions), 0)


# --------------------------------------------------------------------------------------------------------------- questions, lists


def some_questions(data: SquadData, numbers: Sequence[int]) -> SquadData:
    """These questions alone, with the contexts they need."""
    asked = [data.questions[number] for number in numbers]
    contexts = sorted({question.context for question in asked})
    place = {context: number for number, context in enumerate(contexts)}
    moved = tuple(Question(question.id, question.text, place[question.context], question.answers) for question in asked)
    return SquadData(data.path, data.sha256, tuple(data.contexts[context] for context in contexts), moved, 0)


def read_list(file: Path) -> list[str]:
    """Entries of a list, one a line, in order. Raises MissingError and DataError for a file that cannot be read."""
    return [line.strip() for line in decode(read_bytes(file), file).splitlines() if line.strip()]


def listed(file: Path, entries: Sequence[str], windows_of: Callable[[str], Sequence[int]], windows: int) -> list[int]:
    """Samples that a list names: by number of the sample where every entry is one (MLPerf's bert_calibration_features.txt), else by
    question (bert_calibration_qas_ids.txt), which stands for all its windows. Raises UsageError for an entry that is neither."""
    if all(entry.isdecimal() and int(entry) < windows for entry in entries):
        return sorted({int(entry) for entry in entries})
    found: set[int] = set()
    for line, entry in enumerate(entries, 1):
        numbers = windows_of(entry)
        if not len(numbers):
            raise UsageError(
                f"--calibration: {file}:{line}: {entry!r} is no question of the data, nor is each entry a number below {windows}",
                "List ids of questions, or numbers of samples, one a line.",
            )
        found.update(map(int, numbers))
    return sorted(found)


# ----------------------------------------------------------------------------------------------------------------------- samples


def some(samples: Samples, kept: Sequence[int] | IntArray) -> Samples:
    """These samples alone."""
    parts = [slice(int(samples.offsets[sample]), int(samples.offsets[sample + 1])) for sample in kept]

    def of(array: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([array[part] for part in parts])

    offsets = np.cumsum([0, *(part.stop - part.start for part in parts)], dtype=np.int64)
    return Samples(of(samples.input_ids), of(samples.token_type_ids), offsets, samples.pad_id, samples.max_length)


def of_samples(samples: Samples, source: str) -> Calibration:
    """The samples with what identifies them: sha256 over their tokens, segments and lengths."""
    content = (samples.input_ids, samples.token_type_ids, samples.offsets)
    return Calibration(samples, source, hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in content)).hexdigest())
