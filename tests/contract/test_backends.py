"""One suite for every backend: each file of backends/ is picked up by its name, with every precision and option, and held to the contract
of harness.core.Backend: the answers of transformers in FP32, whatever the batch."""

from __future__ import annotations

import functools
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from harness.batching import Policy
from harness.core import Backend, BackendOptions, Batch, Limits, Model, Output, Traffic
from harness.crew import form
from harness.errors import AssayError, UsageError
from harness.plugins import load
from harness.responses import Keep
from harness.worker import Report, WorkerSpec
from tests import backend_cases as cases
from tests.backend_cases import ALIKE, CASES, INFOS, MODELS, MOST_ROWS, OUTPUTS, PLAIN, QA, ROOT, TOLERANCE, Case, answers, batch_of
from tests.tiny_models import HIDDEN, POSITIONS

KEYS = {"runtime", "version", "precision", "device", "device_name", "threads", "method", "matmul_dtype", "instructions", "attention"}
"""What `describe` of every backend with a model says, beside what only some have (nodes, file, export, quantisation ...)."""


@dataclass(frozen=True)
class Opened:
    """A loaded backend, the model in it, and what transformers answers with that model."""

    case: Case
    backend: Backend
    model: Model
    labels: int
    expected: cases.Rows
    cache: Path

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.case.arithmetic]

    def assert_expected(self, rows: list[int], batch: Batch) -> None:
        for row, answer in zip(rows, answers(self.backend, batch), strict=True):
            cases.assert_close(answer, self.expected[row], self.tolerance)


def kinds_of(case: Case) -> tuple[str, ...]:
    """Models that a case is asked with: the first precision with all, others with both heads, options (some compile for long) with one."""
    if case.options:
        return ("spans",)
    return tuple(MODELS) if case.precision == case.info.precisions[0] else ("spans", "three-classes")


PAIRS = [(case, kind) for case in CASES if case.name != "null" for kind in kinds_of(case)]
FIRST = [next(case for case in CASES if case.name == name) for name in INFOS if name != "null"]


def asked(pairs: list[tuple[Case, str]]) -> pytest.MarkDecorator:
    """Only these of `PAIRS`."""
    return pytest.mark.parametrize("loaded", pairs, ids=named, indirect=True)


def named(pair: tuple[Case, str]) -> str:
    return f"{pair[0]}-{pair[1]}"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, cases.Rows]]:
    """A model of each kind, and what transformers answers with it; made when first asked for."""

    @functools.cache
    def made(kind: str) -> tuple[Model, cases.Rows]:
        model = cases.make_model(kind, tmp_path_factory.mktemp("models"))
        return model, cases.transformers_answers(model)

    return made


@pytest.fixture(scope="session", params=PAIRS, ids=named)
def loaded(request: pytest.FixtureRequest, models: Callable[[str], tuple[Model, cases.Rows]], cache: Path) -> Iterator[Opened]:
    """A backend with a model."""
    case, kind = request.param
    model, expected = models(kind)
    backend = cases.opened(case, model, cache)
    yield Opened(case, backend, model, len(expected[0]["logits"]) if model.head != QA else 0, expected, cache)
    backend.close()


@pytest.fixture
def spans(models: Callable[[str], tuple[Model, cases.Rows]]) -> Model:
    return models("spans")[0]


# ------------------------------------------------------------------------------------------------------------------ the plugin


@pytest.mark.parametrize("name", INFOS)
def test_says_what_it_is(name: str) -> None:
    """A backend's file has a one-line summary, literal REQUIRES and PRECISIONS, and nothing that keeps it from being read."""
    info = INFOS[name]
    assert not info.problem
    assert 10 < len(info.summary) < 140
    assert info.precisions
    assert set(info.calibrated) <= set(info.precisions)
    text = (ROOT / "backends" / f"{name.replace('-', '_')}.py").read_text()
    assert "REQUIRES" in text
    assert "def create(" in text


@pytest.mark.parametrize("case", CASES, ids=str)
def test_constructor_does_no_work(case: Case, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`create` only stores its options: it opens no file and needs no device, so it can be called before anything is checked."""
    if case.info.missing:
        pytest.skip(f"{case.name} needs {', '.join(case.info.missing)}")
    module = load("backends", case.name)
    monkeypatch.setattr("builtins.open", lambda *a, **k: pytest.fail("create opened a file"))
    monkeypatch.setattr(Path, "open", lambda *a, **k: pytest.fail("create opened a file"))
    created = module.create(cases.options(case, cache, device="cuda:99"))
    assert isinstance(created.needs_inputs, bool)
    assert isinstance(created.answers, bool)


def test_needs_no_sibling() -> None:
    """No backend imports another one, or any task, scenario or report."""
    for info in INFOS.values():
        assert info.file is not None
        text = info.file.read_text()
        for kind in ("backends", "tasks", "scenarios", "reports"):
            assert f"from {kind}" not in text
            assert f"import {kind}" not in text


# --------------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(("size", "width"), [(1, 1), (1, POSITIONS), (3, 8), (3, 24), (MOST_ROWS, 8), (MOST_ROWS, POSITIONS)])
def test_shapes_and_types(loaded: Opened, size: int, width: int) -> None:
    """Outputs are float32 numpy arrays on the host: (batch, length) for spans, (batch, labels) for classes; all finite."""
    found = loaded.backend.predict(batch_of([width - 1] * size))
    assert set(found) == set(OUTPUTS[loaded.model.head])
    for values in found.values():
        assert type(values) is np.ndarray
        assert values.dtype == np.float32
        assert values.shape == (size, width if loaded.model.head == QA else loaded.labels)
        assert np.isfinite(values).all()


def test_every_length_alone(loaded: Opened) -> None:
    """Samples of every length from one token to the model's longest, alone and without padding, are answered as transformers answers."""
    for row in range(POSITIONS):
        loaded.assert_expected([row], batch_of([row]))


def test_every_batch_size(loaded: Opened) -> None:
    """Batches of every size, of unequal lengths in any order and padded to any width, are answered row by row as transformers answers each
    row alone."""
    rng = np.random.default_rng(1)
    for size in range(1, MOST_ROWS + 1):
        rows = rng.permutation(POSITIONS)[:size].tolist()
        loaded.assert_expected(rows, batch_of(rows, width=int(rng.integers(max(rows) + 1, POSITIONS + 1))))


def test_answers_go_with_those_of_fp32(loaded: Opened) -> None:
    """Over all samples the logits correlate with FP32's as closely as the precision allows."""
    rows = list(range(POSITIONS))
    found = [answer for first in (0, MOST_ROWS) for answer in answers(loaded.backend, batch_of(rows[first : first + MOST_ROWS]))]
    assert cases.correlation(found, loaded.expected) >= ALIKE[loaded.case.arithmetic]


def test_padding_is_not_read(loaded: Opened) -> None:
    """What stands in the padding changes nothing."""
    rows = [4, 20, 16]
    plain, other = (answers(loaded.backend, batch_of(rows, POSITIONS, filler)) for filler in (0, 6))
    for first, second in zip(plain, other, strict=True):
        cases.assert_close(first, second, 1e-5 if loaded.case.arithmetic == "fp32" else loaded.tolerance)


def test_answers_depend_on_inputs(loaded: Opened) -> None:
    """Other tokens and other segments give other answers: inputs are really read."""
    batch = batch_of([19], 24)
    other_tokens = replace(batch, input_ids=np.where(batch.attention_mask == 1, (batch.input_ids + 7) % 100 + 5, 0))
    other_types = replace(batch, token_type_ids=np.zeros_like(batch.token_type_ids))
    plain = answers(loaded.backend, batch)[0]
    for other in (answers(loaded.backend, each)[0] for each in (other_tokens, other_types)):
        assert max(np.abs(plain[name] - other[name]).max() for name in plain) > 0.05


def test_repeats_itself(loaded: Opened) -> None:
    """The same batch twice gives the same bytes: dropout is off and nothing is left over from the last call."""
    batch = batch_of([10, 23])
    for first, second in zip(answers(loaded.backend, batch), answers(loaded.backend, batch), strict=True):
        cases.assert_close(first, second, 0.0)


# --------------------------------------------------------------------------------------------------- instances, threads, processes

instances = asked([(case, "spans") for case in PLAIN if case.name != "null"])


@instances
def test_two_instances(loaded: Opened) -> None:
    """A second instance in the same process answers alike, and the first goes on answering when the second one is closed."""
    second = cases.opened(loaded.case, loaded.model, loaded.cache, worker=1)
    batch = batch_of([11], 16)
    wanted = answers(second, batch)[0]
    cases.assert_close(answers(loaded.backend, batch)[0], wanted, 1e-6)
    second.close()
    cases.assert_close(answers(loaded.backend, batch)[0], wanted, 1e-6)


@instances
def test_instances_in_threads_at_once(loaded: Opened) -> None:
    """Two instances that answer at the same time, each in a thread that did not load it, answer as one alone."""
    second = cases.opened(loaded.case, loaded.model, loaded.cache, worker=1)
    batches = [batch_of(list(range(first, first + 5))) for first in range(0, POSITIONS - 5, 4)]
    found: dict[int, list[cases.Rows]] = {}

    def answer(number: int, backend: Backend) -> None:
        found[number] = [answers(backend, batch) for batch in batches]

    threads = [threading.Thread(target=answer, args=each) for each in enumerate((loaded.backend, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    second.close()
    for told in (found[0], found[1]):
        for batch, rows in zip(batches, told, strict=True):
            for sample, row in zip(batch.samples, rows, strict=True):
                cases.assert_close(row, loaded.expected[sample], loaded.tolerance)


@asked([(case, "spans") for case in FIRST])
def test_in_worker_processes(loaded: Opened) -> None:
    """Two worker processes that share a ledger answer every sample of it, each as transformers answers."""
    outputs = [Output(name, per_token=True) for name in OUTPUTS[QA]]
    policy = Policy("sorted", 4)
    specs = [
        WorkerSpec(
            worker,
            loaded.case.name,
            cases.options(loaded.case, loaded.cache, worker=worker),
            loaded.model,
            cases.samples(),
            outputs,
            policy,
        )
        for worker in range(2)
    ]
    rows = np.arange(POSITIONS)
    traffic = Traffic(np.zeros(POSITIONS, np.int64), rows.astype(np.int32), np.zeros(POSITIONS, np.int64), Limits(0, 1))
    crew = form(specs, processes=True)
    try:
        crew.call("load")
        reports = crew.serve(crew.ledger(traffic, policy, None, POSITIONS), Keep(0, every=True), lambda: True)
    finally:
        crew.close()
    told = {}
    for report in reports:
        assert isinstance(report, Report)
        assert report.messages == []
        told |= report.answers
    assert sorted(told) == rows.tolist()
    for row, answer in told.items():
        cases.assert_close(dict(answer), loaded.expected[row], loaded.tolerance)


# ---------------------------------------------------------------------------------------------------------- what it says of itself


def test_describes_what_runs(loaded: Opened) -> None:
    """describe() is plain JSON, strict numbers only, with the keys that all backends share; the precision is the one asked for."""
    said = loaded.backend.describe()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said.keys() >= KEYS
    assert said["precision"] == loaded.case.precision
    assert said["threads"] >= 1
    for part in ("nodes", "quantised_matmuls", "file", "export", "quantisation"):  # null where the precision has none
        assert isinstance(said.get(part), dict | None)


def test_matrix_products_have_the_asked_type(loaded: Opened) -> None:
    """FP32 is float32; half precisions are halves; INT8 multiplies most of its matrices in INT8 and says how many."""
    said = loaded.backend.describe()
    kind = loaded.case.arithmetic
    if kind == "int8":
        assert "int8" in str(said["matmul_dtype"])
        assert 0.5 < said["quantised_matmuls"]["share"] <= 1.0
    else:
        wanted = {"fp32": {"float32"}, "tf32": {"float32", "tf32", "tfloat32"}, "bf16": {"bfloat16", "float16"}, "fp16": {"float16"}}[kind]
        assert said["matmul_dtype"] in wanted


# ---------------------------------------------------------------------------------------------------------------------- errors

first_cases = pytest.mark.parametrize("case", FIRST, ids=str)


@first_cases
def test_unknown_precision(case: Case, spans: Model, cache: Path) -> None:
    """A precision that does not exist is a usage error from `create` or `load`, never something else that runs."""
    with pytest.raises(UsageError) as caught:
        cases.made(replace(case, precision="fp7"), cache).load(spans)
    assert caught.value.cure


@first_cases
def test_no_model(case: Case, cache: Path) -> None:
    """Without a model a backend refuses to load, and says what to do."""
    backend = cases.made(case, cache)
    with pytest.raises(AssayError) as caught:
        backend.load(None)
    assert caught.value.cure
    backend.close()


@first_cases
@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_device_that_is_not_there(case: Case, spans: Model, cache: Path, device: str) -> None:
    """A device that this machine has not is an error with a cure, never another device; and closing after it is harmless."""
    backend = cases.made(case, cache, device=device)
    with pytest.raises(AssayError) as caught:
        backend.load(spans)
    assert caught.value.cure
    assert device in str(caught.value) or "cuda" in str(caught.value).lower()
    backend.close()


@asked([(case, "spans") for case in FIRST])
def test_a_batch_that_is_none(loaded: Opened) -> None:
    """A backend that needs inputs and is given none says so: nothing is made up."""
    with pytest.raises(AssayError):
        loaded.backend.predict(None)


# ------------------------------------------------------------------------------------------------------------- the suite can fail


def test_suite_sees_the_backends() -> None:
    """The suite is not empty by accident, and its model is as small as it says."""
    assert {"null", "pytorch"} <= set(INFOS)
    assert INFOS["null"].precisions == importlib.import_module("backends.null").PRECISIONS
    assert HIDDEN == 32
    assert {case.name for case in CASES} == set(INFOS)
    for name, info in INFOS.items():
        assert {option for case in CASES if case.name == name for option in case.options} == set(info.options)


@pytest.mark.parametrize("name", [name for name in INFOS if name != "null"])
def test_what_is_installed_runs(name: str, spans: Model, cache: Path) -> None:
    """The first precision of every backend whose libraries are installed runs: a skip is never how it fails. TensorRT also needs a GPU."""
    info = INFOS[name]
    if info.missing or name == "tensorrt":
        pytest.skip(f"{name} needs {', '.join(info.missing) or 'a GPU'}")
    backend = load("backends", name).create(BackendOptions(info.precisions[0], cache=cache))
    backend.load(spans)
    backend.close()


@pytest.mark.parametrize("fault", ["no mask", "no positions", "rows swapped", "no segments"])
@asked([(Case("pytorch", "fp32"), kind) for kind in ("spans", "three-classes", "value")])
def test_faults_are_found_out(loaded: Opened, fault: str) -> None:
    """A backend without mask, with its tokens out of place, with rows out of place or without segments fails by the widest tolerance."""
    rows = [30, 5, 50, 12, 41, 3, 60, 22]
    batch = batch_of(rows, POSITIONS)
    damaged = {
        "no mask": replace(batch, attention_mask=np.ones_like(batch.attention_mask)),
        "no positions": replace(batch, input_ids=np.roll(batch.input_ids, 1, axis=1)),
        "rows swapped": batch_of(rows[::-1], POSITIONS),
        "no segments": replace(batch, token_type_ids=np.zeros_like(batch.token_type_ids)),
    }[fault]
    told = replace(loaded, case=Case("pytorch", "int8"))
    with pytest.raises(AssertionError):
        told.assert_expected(rows, replace(damaged, lengths=batch.lengths))
