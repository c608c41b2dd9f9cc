"""No backend's memory grows with the queries it answers or the models it has closed.

The reference implementation's grew with its queries (mlcommons/inference #1673).

ASSAY_BACKEND_CALLS sets the calls of each backend; `make test-long` makes 100,000.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.core import Backend, Batch, Model
from harness.models import resolve
from tests import backend_cases as cases
from tests.backend_cases import PLAIN, QA, Case
from tests.tiny_models import POSITIONS, write_model

CALLS = int(os.environ.get("ASSAY_BACKEND_CALLS", "1500"))
LOADS = 6
LIMIT = 8e6
"""Bytes by which memory may grow, whatever the number of calls: allocators were seen to move it by up to 3 MB. Answers that are kept are
8 KB a call, 12 MB after 1,500 calls; a model of `large` that is kept is 8 MB a load."""

MODELS = [case for case in PLAIN if case.name != "null"]
FIRST = [next(case for case in MODELS if case.name == name) for name in dict.fromkeys(case.name for case in MODELS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """As little arithmetic as there can be, so that thousands of calls take seconds."""
    return opened_folder(tmp_path_factory.mktemp("small"), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """8 MB of weights that every call reads."""
    return opened_folder(tmp_path_factory.mktemp("large"), hidden_size=128, num_hidden_layers=1, intermediate_size=8192)


def opened_folder(folder: Path, **settings: int) -> Model:
    return resolve(str(write_model(folder / "model", **settings)), QA, cache=folder / "cache")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


def growth(step: Callable[[int], Any], count: int, warm: int) -> float:
    """Bytes that this process grows by in `count` steps, after `warm` of them."""
    for number in range(warm):
        step(number)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for number in range(count):
        step(number)
    gc.collect()
    return float(psutil.Process().memory_info().rss - before)


def batches() -> list[Batch]:
    """A few dozen shapes of 1 to 32 rows, so that what a runtime keeps for each shape is there after the first round."""
    rng = np.random.default_rng(0)
    return [cases.batch_of(rng.integers(0, POSITIONS, rng.integers(1, 33)).tolist()) for _ in range(30)]


def calling(backend: Backend) -> Callable[[int], Any]:
    asked = batches()
    return lambda number: backend.predict(asked[number % len(asked)])


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_memory_does_not_grow_with_queries(case: Case, model: Model, cache: Path) -> None:
    """After a first round over all shapes, memory stays where it is."""
    backend = cases.opened(case, model, cache)
    assert growth(calling(backend), CALLS, warm=150) < LIMIT
    backend.close()


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_close_releases_the_model(case: Case, large: Model, cache: Path) -> None:
    """Loading, answering and closing again and again needs no more memory than doing it a few times."""
    assert growth(lambda _: used(case, large, cache).close(), LOADS, warm=3) < 3 * LIMIT


def used(case: Case, model: Model, cache: Path) -> Backend:
    backend = cases.opened(case, model, cache)
    backend.predict(cases.batch_of([5]))
    return backend


def test_a_leak_is_found(model: Model, cache: Path) -> None:
    """A backend whose answers are all kept does not pass."""
    kept: list[Any] = []
    call = calling(cases.opened(Case("pytorch", "fp32"), model, cache))
    assert growth(lambda number: kept.append([values.copy() for values in call(number).values()]), 1500, warm=150) > LIMIT


def test_a_model_that_stays_is_found(large: Model, cache: Path) -> None:
    """Models that are loaded and kept do not pass."""
    kept: list[Backend] = []
    assert growth(lambda _: kept.append(used(Case("pytorch", "fp32"), large, cache)), LOADS, warm=3) > 3 * LIMIT
