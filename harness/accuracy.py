"""The accuracy gate: the score of the run that was timed, held against the FP32 reference on the same samples.

Where every sample was issued, the score comes from the timed run's own answers. Otherwise the same loaded backend answers every sample
once more, and a seeded selection of the timed answers must agree with that pass (the idea of MLPerf's TEST01).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import Accuracy, Answer, Columns, Int64, Limits, Model, Reason, Task, Traffic
from harness.stats import bootstrap_interval

AGREEMENT_SAMPLE = 256
"""Timed answers that are compared with the accuracy pass (all of them if there are fewer)."""

AGREEMENT_SHARE = 0.99
"""Share of them that must agree: a decision may tip where two logits nearly tie and the batch was another."""

AGREEMENT_TOLERANCE = 0.05
"""Answers whose largest difference is within this share of the range of the pass's values agree even if the decision tipped: BF16 in
another batch differs by about 0.01."""

REFERENCE_BACKEND = "pytorch:fp32"

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "references.json"

REFERENCE_FORMAT = 1

INTERVAL_SEED = 1
"""Any constant: the same answers give the same interval."""


@dataclass(frozen=True, slots=True)
class Reference:
    """FP32 scores of a model on a selection of samples, and how they were made."""

    scores: Mapping[str, float]
    made: str


def passing_traffic(indices: Int64) -> Traffic:
    """Every one of these samples once, all at once."""
    return Traffic(
        query=np.zeros(len(indices), np.int64),
        sample=indices.astype(np.int32),
        due_ns=np.zeros(len(indices), np.int64),
        limits=Limits(0, 1),
    )


def by_sample(columns: Columns, answers: Mapping[int, Answer]) -> dict[int, Answer]:
    """The first answer to each sample. Answers of rows that were marked as errors are not among them."""
    served = columns.served
    first: dict[int, Answer] = {}
    for row in sorted(answers):
        if row < len(served) and served[row]:
            first.setdefault(int(columns.sample[row]), answers[row])
    return first


def covers(answers: Mapping[int, Answer], indices: Int64) -> bool:
    """Every one of these samples has an answer."""
    return len(answers) >= len(indices) and all(index in answers for index in indices.tolist())


def agreement(
    task: Task, columns: Columns, timed: Mapping[int, Answer], passed: Mapping[int, Answer], seed: int
) -> tuple[dict[str, Any], Reason | None]:
    """Compare a seeded selection of timed answers (by row) with the accuracy pass (by sample); the counts, and a Reason if
    they disagree."""
    served = columns.served
    rows = [row for row in sorted(timed) if row < len(served) and served[row] and int(columns.sample[row]) in passed]
    picked = np.random.default_rng(seed).permutation(rows)[:AGREEMENT_SAMPLE].tolist()
    different = [row for row in picked if not _agree(task, int(columns.sample[row]), timed[row], passed[int(columns.sample[row])])]
    found = {"compared": len(picked), "different": len(different)}
    if len(different) <= (1 - AGREEMENT_SHARE) * len(picked):
        return found, None
    rows_text = ", ".join(map(str, sorted(different)[:5]))
    return found, Reason(
        "agreement",
        f"{len(different)} of {len(picked)} answers of the timed run differ from the accuracy pass (rows {rows_text} ...)",
        "the backend answers differently when it is timed: look at batching, state between calls and races between workers",
    )


def _agree(task: Task, sample: int, timed: Answer, passed: Answer) -> bool:
    if task.decide(sample, timed) == task.decide(sample, passed):
        return True
    return all(
        float(np.abs(timed[name] - passed[name]).max()) <= AGREEMENT_TOLERANCE * max(float(np.ptp(passed[name])), 1e-6) for name in passed
    )


def judge(
    task: Task,
    answers: Mapping[int, Answer],
    indices: Int64,
    reference: Reference | None,
    share: float,
    source: str,
    found: Mapping[str, Any] | None = None,
) -> Accuracy:
    """Score the answers to `indices` and hold the primary metric against `share` of the reference."""
    given = {index: answers[index] for index in indices.tolist() if index in answers}
    scores = task.score(given)
    points = task.points(given)
    value = scores[task.metric]
    base = reference.scores[task.metric] if reference is not None else None
    target = base * share if base is not None else None
    return Accuracy(
        metric=task.metric,
        value=value,
        reference=base,
        target=target,
        passed=None if target is None else value >= target,
        source=source,
        samples=int(scores.get("examples", len(indices))),
        scores=scores,
        interval=bootstrap_interval(points, np.mean, INTERVAL_SEED) if len(points) else None,
        limited=len(indices) < len(task.samples),
        agreement=found,
    )


# -------------------------------------------------------------------------------------------------------------------- reference


def reference_key(model: Model, task: Task, indices: Int64) -> str:
    """What a reference score belongs to: model, task, data and the selection of samples."""
    digest = hashlib.sha256(np.ascontiguousarray(indices, np.int64).tobytes()).hexdigest()
    return hashlib.sha256(f"{REFERENCE_FORMAT} {model.sha256} {task.name} {task.fingerprint} {digest}".encode()).hexdigest()[:32]


def reference_for(model: Model, task: Task, indices: Int64, cache: Path | None, compute: Callable[[], Mapping[str, float]]) -> Reference:
    """The shipped or stored reference, or a computed one, which is then stored. A damaged or unwritable store only costs the
    computation."""
    key = reference_key(model, task, indices)
    file = cache / "references" / f"{key}.json" if cache is not None else None
    stored = _shipped(key) or (_read(file, task.metric) if file is not None else None)
    if stored is not None:
        return stored
    reference = Reference(dict(compute()), f"{REFERENCE_BACKEND}, {len(indices):,} samples")
    if file is not None:
        _write(file, reference)
    return reference


def _shipped(key: str) -> Reference | None:
    """Reference scores that come with the program, for the embedded models on the built-in and the official data."""
    shipped = json.loads(SHIPPED.read_text()).get(key) if SHIPPED.is_file() else None
    return None if shipped is None else Reference(shipped["scores"], shipped["made"])


def _read(file: Path, metric: str) -> Reference | None:
    try:
        stored = json.loads(file.read_text())
        scores = {str(name): float(value) for name, value in stored["scores"].items()}
        return Reference(scores, str(stored["made"])) if np.isfinite(scores[metric]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(file: Path, reference: Reference) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as handle:
            json.dump({"scores": reference.scores, "made": reference.made}, handle)
        Path(handle.name).replace(file)
    except OSError:
        return  # the score is in the run; only the next run has to compute it again
