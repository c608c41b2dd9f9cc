"""Reference scores: the FP32 score of a model on a selection of samples with what became of each example, and how it was made.

They come with the program (`models/references.json`), from the cache folder, or from a pass, which is then kept there. One format for
both places; whatever is damaged only costs another pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import conditions
from harness.core import Int64, Model, Task
from harness.paired import Outcomes

BACKEND = "pytorch:fp32"
"""What a reference is made with."""

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "references.json"

FORMAT = 2
"""Of one reference. 1: scores, and one line on how they were made (`made`). 2: `examples`, `made` by name, `sha256` over the rest."""

_KEY_FORMAT = 1
_LIBRARIES = ("assay", "torch", "transformers", "tokenizers", "numpy")
_MEAN_TOLERANCE = 1e-6

Source = Literal["given", "shipped", "cached", "computed"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Scores in points by metric. `made`: how, when and where, plain JSON values; `outcomes`: None where only the scores are known."""

    scores: Mapping[str, float]
    source: Source
    made: Mapping[str, Any] = field(default_factory=dict)
    outcomes: Outcomes | None = None

    @property
    def told(self) -> str:
        """Where it is from and how it was made, in one line."""
        return "given by --reference-score" if self.source == "given" else f"{self.source}: {_how(self.made)}"


def _how(made: Mapping[str, Any]) -> str:
    if "note" in made:
        return str(made["note"])
    versions = made.get("versions") or {}
    torch = f"torch {versions['torch']}" if "torch" in versions else None
    parts = [
        made.get("backend"),
        f"{made['samples']:,} samples" if "samples" in made else None,
        torch,
        made.get("machine"),
        made.get("date"),
    ]
    return ", ".join(str(part) for part in parts if part) or "not known how"


def given(metric: str, value: float) -> Reference:
    """A score of the primary metric that was given by hand."""
    return Reference({metric: value}, "given")


def made_here(samples: int, described: Mapping[str, Any]) -> dict[str, Any]:
    """How a reference is made on this machine, today. `described`: what the backend says it is."""
    cpu, versions = conditions.cpu(), conditions.libraries()
    return {
        "backend": BACKEND,
        "samples": samples,
        "date": datetime.now(UTC).date().isoformat(),
        "device": described.get("device"),
        "machine": described.get("device_name") or cpu["model"],
        "cores": cpu["usable_cores"],
        "versions": {name: versions[name] for name in _LIBRARIES if name in versions},
    }


def key(model: Model, task: Task, indices: Int64) -> str:
    """What a reference belongs to: weights and configuration of the model, the task with its data, vocabulary and settings, and the
    selection of samples. 32 hexadecimal digits."""
    digest = hashlib.sha256(np.ascontiguousarray(indices, np.int64).tobytes()).hexdigest()
    return hashlib.sha256(f"{_KEY_FORMAT} {model.sha256} {task.name} {task.fingerprint} {digest}".encode()).hexdigest()[:32]


def find(model: Model, task: Task, indices: Int64, cache: Path | None, compute: Callable[[], Reference]) -> Reference:
    """The shipped reference, the cached one, or what `compute` gives, which is then cached. A damaged or unwritable store only costs
    the computation."""
    name = key(model, task, indices)
    file = cache / "references" / f"{name}.json" if cache is not None else None
    found = _shipped(name, task.metric) or (_cached(file, task.metric) if file is not None else None)
    if found is not None:
        return found
    reference = compute()
    if file is not None and all(np.isfinite(value) for value in reference.scores.values()):
        _write(file, record(reference, model, task))
    return reference


def record(reference: Reference, model: Model, task: Task) -> dict[str, Any]:
    """A reference as it is stored, plain JSON values. Raises ValueError for a figure that is not finite."""
    content = {
        "format": FORMAT,
        "model": model.name,
        "task": task.name,
        "data": task.data_name,
        "scores": dict(reference.scores),
        "made": dict(reference.made),
        "examples": _packed(reference.outcomes),
    }
    return {**content, "sha256": _checksum(content)}


def parse(content: Mapping[str, Any], metric: str, source: Source) -> Reference:
    """The reverse of `record`. Raises ValueError, KeyError, TypeError or AttributeError for what cannot be trusted."""
    scores = {str(name): float(value) for name, value in content["scores"].items()}
    if not np.isfinite(scores[metric]):
        raise ValueError(f"{metric} is {scores[metric]}")
    if content.get("format", 1) == 1:
        return Reference(scores, source, {"note": str(content["made"])})
    if content["format"] != FORMAT or content["sha256"] != _checksum({name: content[name] for name in content if name != "sha256"}):
        raise ValueError("another format, or not what was written")
    outcomes = None if content["examples"] is None else _unpacked(content["examples"])
    if outcomes is not None:
        _check(outcomes, scores, metric)
    return Reference(scores, source, dict(content["made"]), outcomes)


def _check(outcomes: Outcomes, scores: Mapping[str, float], metric: str) -> None:
    count = int(scores.get("examples", len(outcomes)))
    if any(len(values) not in (0, count) for values in (outcomes.points, outcomes.correct, outcomes.answered)):
        raise ValueError(f"not {count} examples")
    if len(outcomes.points) and abs(float(outcomes.points.mean()) - scores[metric]) > _MEAN_TOLERANCE:
        raise ValueError("the points are of another score")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _packed(outcomes: Outcomes | None) -> dict[str, Any] | None:
    """Lists of numbers, whole ones without a point, and a text of 0 and 1."""
    if outcomes is None:
        return None
    right = "".join("1" if each else "0" for each in outcomes.correct.tolist())
    return {"points": _numbers(outcomes.points), "correct": right, "answered": _numbers(outcomes.answered)}


def _numbers(values: NDArray[np.float64]) -> list[float]:
    return [int(value) if value.is_integer() else value for value in values.tolist()]


def _unpacked(examples: Mapping[str, Any]) -> Outcomes:
    if set(examples["correct"]) - {"0", "1"}:
        raise ValueError("correct is not a text of 0 and 1")
    return Outcomes(
        points=np.array(examples["points"], np.float64),
        correct=np.array([each == "1" for each in examples["correct"]], np.bool_),
        answered=np.array(examples["answered"], np.float64),
    )


def _shipped(name: str, metric: str) -> Reference | None:
    """A reference that comes with the program, for the embedded models on the built-in and the official data."""
    return _read(SHIPPED, metric, "shipped", name)


def _cached(file: Path, metric: str) -> Reference | None:
    """A reference of an earlier run; one of format 1 could not be told from a damaged one, and knows no examples."""
    found = _read(file, metric, "cached")
    return None if found is None or "note" in found.made else found


def _read(file: Path, metric: str, source: Source, name: str | None = None) -> Reference | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return parse(content if name is None else content[name], metric, source)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.stem}-", dir=file.parent)
    except OSError:
        return  # the score is in the run; only the next run has to compute it again
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(content, handle, allow_nan=False)
        Path(temporary).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()


def update(file: Path, references: Mapping[str, Mapping[str, Any]]) -> None:
    """Put records by key into a file of shipped references. Records of the same model, task and data under another key are dropped: they
    belong to other weights or features. Raises OSError, and ValueError for a file that is no JSON."""
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    replaced = {part for each in references.values() for part in (_about(each), ("", *_about(each)[1:]))}  # format 1 names no task
    merged = {name: each for name, each in kept.items() if _about(each) not in replaced} | dict(references)
    ordered = sorted(merged.items(), key=lambda item: (item[1]["model"], item[1]["data"], item[0]))
    partial = file.with_suffix(".partial")
    partial.write_text("{\n" + ",\n".join(f"{json.dumps(name)}: {_entry(each)}" for name, each in ordered) + "\n}\n", encoding="utf-8")
    partial.replace(file)


def _about(content: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(content.get("task", "")), str(content["model"]), str(content["data"])


def _entry(content: Mapping[str, Any]) -> str:
    """One line for each part, so that a change is a change of few lines."""
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in content.items()) + "\n}"
