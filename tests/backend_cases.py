"""What every backend is held to: all backends, precisions and options by name, small random models, and what transformers answers.

What cannot run on this machine skips with the backend's own message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Calibration, Model, Samples
from harness.errors import MissingError, UsageError
from harness.models import resolve
from harness.plugins import PluginInfo, describe, load
from tests.tiny_models import POSITIONS, VOCABULARY, write_model

ROOT = Path(__file__).resolve().parents[1]
INFOS = {info.name: info for info in describe("backends") if info.file and info.file.parent == ROOT / "backends"}
OUTPUTS = {"question-answering": ("start_logits", "end_logits"), "sequence-classification": ("logits",)}
MOST_ROWS = 32

QA, CLASSES = "question-answering", "sequence-classification"
MODELS = {"spans": (QA, 2), "two-classes": (CLASSES, 2), "three-classes": (CLASSES, 3), "value": (CLASSES, 1)}
"""Head and outputs of every kind of task there is."""

TOLERANCE = {"fp32": 1e-4, "tf32": 0.02, "bf16": 0.15, "fp16": 0.05, "int8": 1.0}
"""Largest difference from FP32, of logits with a standard deviation of 0.6 to 1.7. Two layers of random weights with standard deviation
0.3 multiply every rounding far more than a trained model's do: BF16 was seen to differ by 0.08, INT8 by 0.6; a row without its mask, its
positions or in another row's place differs by 2 and more."""

ALIKE = {"fp32": 0.9999999, "tf32": 0.9999, "bf16": 0.998, "fp16": 0.9998, "int8": 0.97}
"""Least correlation of all logits of a model with those of FP32: what keeps the wide tolerance of INT8 honest."""


@dataclass(frozen=True)
class Case:
    """A backend as it is written on the command line."""

    name: str
    precision: str
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}:{self.precision}" + "".join(f"+{option}" for option in self.options)

    @property
    def info(self) -> PluginInfo:
        return INFOS[self.name]

    @property
    def arithmetic(self) -> str:
        """The key of `TOLERANCE`: what the precision comes down to."""
        if self.precision == "amp":
            return "bf16"  # FP16 on a GPU, which is finer
        return next((kind for kind in TOLERANCE if kind in self.precision), "fp32")


def _cases() -> list[Case]:
    """Every precision without options, and every option with the first precision."""
    found = []
    for name, info in INFOS.items():
        precisions = [precision for precision in info.precisions if not precision.endswith("*")]
        found += [Case(name, precision) for precision in precisions]
        found += [Case(name, precisions[0], (option,)) for option in info.options]
    return found


CASES = _cases()
PLAIN = [case for case in CASES if not case.options]


def made(case: Case, cache: Path, device: str = "auto", worker: int = 0) -> Backend:
    """The backend, not loaded; one thread, so that suites side by side do not fight over cores. Skips where a library is missing."""
    if case.info.missing:
        pytest.skip(f"{case.name} needs {', '.join(case.info.missing)}")
    backend: Backend = load("backends", case.name).create(options(case, cache, device, worker))
    return backend


def options(case: Case, cache: Path, device: str = "auto", worker: int = 0) -> BackendOptions:
    calibration = Calibration(samples(), "random tokens", "0" * 64) if case.precision in case.info.calibrated else None
    return BackendOptions(case.precision, device, 1, worker, case.options, cache, calibration)


def opened(case: Case, model: Model, cache: Path, worker: int = 0) -> Backend:
    """The backend with a model in it. Skips, with its own message, what this machine cannot run."""
    backend = made(case, cache, worker=worker)
    try:
        backend.load(model)
    except (MissingError, UsageError) as error:  # UsageError: an option that this precision, device or family does not have
        backend.close()
        pytest.skip(f"{error} {error.cure}")
    return backend


def make_model(kind: str, folder: Path) -> Model:
    """A tiny model of one of `MODELS`."""
    head, outputs = MODELS[kind]
    if head == QA:
        write_model(folder / kind)
    else:
        write_model(folder / kind, "BertForSequenceClassification", num_labels=outputs)
    return resolve(str(folder / kind), head, cache=folder / "cache")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------- samples


@cache
def samples() -> Samples:
    """One sample of every length from 1 to the longest, of random tokens with two segments; sample i has i + 1 tokens."""
    lengths = np.arange(1, POSITIONS + 1)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, VOCABULARY, lengths.sum()).astype(np.int32)
    types = np.concatenate([np.arange(length) >= (length + 1) // 2 for length in lengths]).astype(np.int8)
    return Samples(ids, types, np.cumsum([0, *lengths]), 0, POSITIONS)


def batch_of(rows: list[int], width: int | None = None, filler: int = 0) -> Batch:
    """Samples `rows` in this order, padded with the token `filler` to `width` (None: to the longest)."""
    asked = samples()
    lengths = asked.lengths[rows]
    width = width or int(lengths.max())
    real = np.arange(width) < lengths[:, None]
    source = np.where(real, asked.offsets[rows][:, None] + np.arange(width), 0)
    ids = np.where(real, asked.input_ids[source], filler).astype(np.int64)
    types = np.where(real, asked.token_type_ids[source], 0).astype(np.int64)
    return Batch(ids, real.astype(np.int64), types, lengths, np.array(rows))


Rows = list[dict[str, NDArray[Any]]]


def answers(backend: Backend, batch: Batch) -> Rows:
    """Outputs by row, padding cut off; copied, since a backend may reuse what it returns."""
    found = backend.predict(batch)
    return [
        {name: values[row, :length].copy() if name != "logits" else values[row].copy() for name, values in found.items()}
        for row, length in enumerate(batch.lengths)
    ]


def transformers_answers(model: Model) -> Rows:
    """What transformers itself answers to `samples()`, in FP32, each sample alone and without padding."""
    import torch
    import transformers

    auto = transformers.AutoModelForQuestionAnswering if model.head == QA else transformers.AutoModelForSequenceClassification
    reference, found = auto.from_pretrained(str(model.folder)).eval(), []
    for row in range(len(samples())):
        batch = batch_of([row])
        with torch.inference_mode():
            given = {name: torch.from_numpy(getattr(batch, name)) for name in ("input_ids", "attention_mask", "token_type_ids")}
            told = reference(**given)
        found.append({name: told[name][0].numpy() for name in OUTPUTS[model.head]})
    return found


def assert_close(first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=tolerance, rtol=0)


def correlation(first: Rows, second: Rows) -> float:
    """Of all logits of both."""
    flat = [np.concatenate([row[name].ravel() for row in rows for name in sorted(row)]) for rows in (first, second)]
    return float(np.corrcoef(flat)[0, 1])
