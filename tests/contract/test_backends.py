"""One suite for every backend: each file of backends/ is picked up by its name and held to the contract of harness.core.Backend."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import MissingError, UsageError
from harness.plugins import describe, load
from tests.tiny_models import HIDDEN, POSITIONS, VOCABULARY, tiny_model

ROOT = Path(__file__).resolve().parents[2]
INFOS = {info.name: info for info in describe("backends") if info.file and info.file.parent == ROOT / "backends"}
HEADS = ("question-answering", "sequence-classification")
OUTPUTS = {"question-answering": ("start_logits", "end_logits"), "sequence-classification": ("logits",)}
LABELS = 3
TOLERANCE = {"fp32": 1e-4}
LOOSE = 0.15  # of logits with a standard deviation of 1 to 1.7; BF16 through two layers was seen to differ by 0.05
CASES = [(name, precision) for name, info in INFOS.items() for precision in info.precisions if not precision.endswith("*")]


@pytest.fixture(scope="session", params=HEADS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(params=CASES, ids=lambda case: ":".join(case))
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    name, _ = request.param
    if missing := INFOS[name].missing:
        pytest.skip(f"{name} needs {', '.join(missing)}")
    return request.param


@pytest.fixture
def backend(case: tuple[str, str], model: Model) -> Iterator[Backend]:
    name, precision = case
    made = load("backends", name).create(BackendOptions(precision=precision, device="cpu", threads=1))
    try:
        made.load(model)
    except MissingError as error:
        pytest.skip(f"{error} {error.cure}")
    yield made
    made.close()


@pytest.fixture
def tolerance(case: tuple[str, str]) -> float:
    return TOLERANCE.get(case[1], LOOSE)


def batch_of(lengths: list[int], width: int, seed: int = 0) -> Batch:
    """Random samples of the given lengths, padded to `width`; a sample depends on its length and seed alone."""
    ids, types = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = np.random.default_rng([seed, length]).integers(5, VOCABULARY, length)
        types[row, length // 2 : length] = 1
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    return Batch(ids, mask, types, np.array(lengths), np.arange(len(lengths)))


def answers_of(backend: Backend, batch: Batch) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Outputs by row, padding cut off; copied, since a backend may reuse what it returns."""
    found = backend.predict(batch)
    return [
        {name: values[row, :length].copy() if "start" in name or "end" in name else values[row].copy() for name, values in found.items()}
        for row, length in enumerate(batch.lengths)
    ]


def assert_close(first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=tolerance, rtol=tolerance)


def needs_answers(backend: Backend) -> None:
    if not backend.answers:
        pytest.skip("this backend is no model: it gives no answers")


@pytest.mark.parametrize("name", INFOS)
def test_says_what_it_is(name: str) -> None:
    """A backend's file has a one-line summary, literal REQUIRES and PRECISIONS, and nothing that keeps it from being read."""
    info = INFOS[name]
    assert not info.problem
    assert 10 < len(info.summary) < 140
    assert info.precisions
    text = (ROOT / "backends" / f"{name.replace('-', '_')}.py").read_text()
    assert "REQUIRES" in text
    assert "def create(" in text


def test_constructor_does_no_work(case: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`create` only stores its options: it opens no file and needs no device, so it can be called before anything is checked."""
    name, precision = case
    module = load("backends", name)
    monkeypatch.setattr("builtins.open", lambda *a, **k: pytest.fail("create opened a file"))
    monkeypatch.setattr(Path, "open", lambda *a, **k: pytest.fail("create opened a file"))
    made = module.create(BackendOptions(precision=precision, device="cuda:99", threads=1))
    assert isinstance(made.needs_inputs, bool)
    assert isinstance(made.answers, bool)


@pytest.mark.parametrize(("size", "width"), [(1, 8), (1, POSITIONS), (3, 8), (3, 24), (3, POSITIONS)])
def test_shapes_and_types(backend: Backend, model: Model, size: int, width: int) -> None:
    """Outputs are float32 numpy arrays on the host: (batch, length) for spans, (batch, labels) for classes; all finite."""
    found = backend.predict(batch_of([width] * size, width))
    if not backend.answers:
        assert dict(found) == {}
        return
    assert set(found) == set(OUTPUTS[model.head])
    for values in found.values():
        assert type(values) is np.ndarray
        assert values.dtype == np.float32
        assert values.shape == (size, width if model.head == "question-answering" else LABELS)
        assert np.isfinite(values).all()


def test_same_alone_and_padded(backend: Backend, tolerance: float) -> None:
    """A sample has the same answer alone as in a padded batch with others."""
    needs_answers(backend)
    lengths = [8, 13, 40]
    together = answers_of(backend, batch_of(lengths, POSITIONS))
    for length, answer in zip(lengths, together, strict=True):
        assert_close(answer, answers_of(backend, batch_of([length], length))[0], tolerance)


def test_row_order_does_not_matter(backend: Backend, tolerance: float) -> None:
    """Rows in another order give the same answers in that order."""
    needs_answers(backend)
    forward = answers_of(backend, batch_of([9, 30, 17], 32))
    backward = answers_of(backend, batch_of([17, 30, 9], 32))
    for first, second in zip(forward, reversed(backward), strict=True):
        assert_close(first, second, tolerance)


def test_answers_depend_on_inputs(backend: Backend) -> None:
    """Other tokens and other segments give other answers: inputs are really read."""
    needs_answers(backend)
    batch = batch_of([20], 24)
    plain = answers_of(backend, batch)[0]
    swapped = Batch(batch.input_ids, batch.attention_mask, np.zeros_like(batch.token_type_ids), batch.lengths, batch.samples)
    for other in (answers_of(backend, batch_of([20], 24, seed=1))[0], answers_of(backend, swapped)[0]):
        assert max(np.abs(plain[name] - other[name]).max() for name in plain) > 0.05


def test_repeats_itself(backend: Backend) -> None:
    """The same batch twice gives the same bytes: dropout is off and nothing is left over from the last call."""
    needs_answers(backend)
    batch = batch_of([11, 24], 24)
    for first, second in zip(answers_of(backend, batch), answers_of(backend, batch), strict=True):
        assert_close(first, second, 0.0)


def test_agrees_with_transformers(backend: Backend, model: Model, tolerance: float) -> None:
    """Answers are those of transformers' own class in FP32."""
    needs_answers(backend)
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    auto = "AutoModelForQuestionAnswering" if model.head == "question-answering" else "AutoModelForSequenceClassification"
    reference = getattr(transformers, auto).from_pretrained(str(model.folder)).eval()
    batch = batch_of([9, 20], 24)
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.inference_mode():
        wanted = reference(**{name: torch.from_numpy(getattr(batch, name)) for name in names})
    for row, answer in enumerate(answers_of(backend, batch)):
        for name, values in answer.items():
            np.testing.assert_allclose(values, wanted[name][row].numpy()[: len(values)], atol=tolerance, rtol=tolerance)


def test_describes_what_runs(backend: Backend) -> None:
    """describe() is plain JSON, strict numbers only, and names runtime, precision and device."""
    said = backend.describe()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert {"runtime", "precision", "device"} <= said.keys()


def test_two_instances(case: tuple[str, str], model: Model, backend: Backend) -> None:
    """A second instance in the same process answers alike, and goes on answering when the first one is closed."""
    needs_answers(backend)
    name, precision = case
    second = load("backends", name).create(BackendOptions(precision=precision, device="cpu", threads=1, worker=1))
    second.load(model)
    batch = batch_of([12], 16)
    wanted = answers_of(second, batch)[0]
    assert_close(answers_of(backend, batch)[0], wanted, 1e-6)
    second.close()
    assert_close(answers_of(backend, batch)[0], wanted, 1e-6)


def test_unknown_precision(case: tuple[str, str], model: Model) -> None:
    """A precision that does not exist is a usage error from `create` or `load`, never something else that runs."""
    name, _ = case
    with pytest.raises(UsageError):
        load("backends", name).create(BackendOptions(precision="fp7", device="cpu")).load(model)


def test_needs_no_sibling() -> None:
    """No backend imports another one, or any task, scenario or report."""
    for info in INFOS.values():
        assert info.file is not None
        text = info.file.read_text()
        for kind in ("backends", "tasks", "scenarios", "reports"):
            assert f"from {kind}" not in text
            assert f"import {kind}" not in text


def test_suite_sees_the_backends() -> None:
    """The suite is not empty by accident, and its model is as small as it says."""
    assert {"null", "pytorch"} <= set(INFOS)
    assert INFOS["null"].precisions == importlib.import_module("backends.null").PRECISIONS
    assert HIDDEN == 32
