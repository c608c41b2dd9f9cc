"""The damaged backend that end-to-end tests use does the damage it is named for, and only after the calls it is told to spare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.core import Backend, BackendOptions, Batch, Model
from harness.plugins import load
from tests.tiny_models import tiny_model

FILE = str(Path(__file__).resolve().parents[1] / "faulty" / "damaged.py")
SPARED = 2


@pytest.fixture(scope="module", params=["question-answering", "sequence-classification"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture
def spared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_FAULT_AFTER", str(SPARED))


def damaged(fault: str, model: Model) -> Backend:
    backend: Backend = load("backends", FILE).create(BackendOptions(precision=fault, device="cpu"))
    backend.load(model)
    return backend


def batch(size: int = 200) -> Batch:
    ids = np.random.default_rng(0).integers(5, 100, (size, 8))
    return Batch(ids, np.ones_like(ids), np.zeros_like(ids), np.full(size, 8), np.arange(size))


def answers(backend: Backend) -> dict[str, np.ndarray]:
    return {name: values.copy() for name, values in backend.predict(batch()).items()}


def test_right_until_then(spared: None, model: Model) -> None:
    """The spared calls are answered rightly: warm-up sees nothing."""
    backend = damaged("swap-labels", model)
    first, second, third = (answers(backend) for _ in range(3))
    for name in first:
        assert np.array_equal(first[name], second[name])
        assert not np.array_equal(first[name], third[name])


@pytest.mark.parametrize("fault", ["swap-labels", "shift-spans"])
def test_share_of_samples(spared: None, model: Model, fault: str) -> None:
    """About one sample in five is damaged, always the same ones."""
    backend = damaged(fault, model)
    right, _, wrong, again = (answers(backend) for _ in range(4))
    for name in right:
        rows = (right[name] != wrong[name]).any(axis=1)
        assert 0.15 < rows.mean() < 0.25
        assert np.array_equal(wrong[name], again[name])


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("nan", lambda right, wrong: np.isnan(wrong).sum() == 1),
        ("inf", lambda right, wrong: np.isinf(wrong).sum() == 1),
        ("shape", lambda right, wrong: wrong.shape == (right.shape[0], right.shape[1] + 1)),
        ("short", lambda right, wrong: wrong.shape == (right.shape[0] - 1, right.shape[1])),
    ],
)
def test_not_answers(spared: None, model: Model, fault: str, holds: object) -> None:
    """NaN, Inf, a wrong shape and a missing row look as named."""
    backend = damaged(fault, model)
    right, _, wrong = (answers(backend) for _ in range(3))
    assert all(holds(right[name], wrong[name]) for name in right)  # type: ignore[operator]


def test_raises(spared: None, model: Model) -> None:
    """`raise` raises from then on, `raise-once` goes on afterwards."""
    for fault, afterwards in (("raise", False), ("raise-once", True)):
        backend = damaged(fault, model)
        answers(backend), answers(backend)
        with pytest.raises(RuntimeError, match="on purpose"):
            answers(backend)
        if afterwards:
            assert answers(backend)
        else:
            with pytest.raises(RuntimeError, match="on purpose"):
                answers(backend)
