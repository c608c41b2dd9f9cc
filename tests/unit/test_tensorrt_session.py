"""An engine at work: buffers, profiles, CUDA graphs, and that an answer is never read before it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import Shapes
from harness.errors import BackendError
from harness.runtimes import tensorrt_session
from harness.runtimes.tensorrt_engine import Recipe, planned
from harness.runtimes.tensorrt_profiles import profiles
from harness.runtimes.tensorrt_session import Session
from tests.fake_cuda import GPU, FakeCuda
from tests.fake_tensorrt import LATE_TEN, VERSIONS, Machine, fake
from tests.unit.test_tensorrt_engine import MODEL

PROFILES = profiles(Shapes(max_batch=4, lengths=(8, 16)), 512)


def _session(tmp_path: Path, version: str = LATE_TEN, **cuda: Any) -> tuple[Session, FakeCuda, Machine]:
    device = FakeCuda(**cuda)
    machine = Machine(device)
    trt = fake(version, machine)
    plan = planned(trt, Recipe("fp32", PROFILES, lambda: b"onnx", "feed"), MODEL, GPU, tmp_path, lambda _line: None)
    return Session(trt, device, plan.path, plan.profiles), device, machine


def _check(session: Session, batch: int, length: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 1000, (batch, length))
    mask = (ids > 500).astype(np.int64)
    outputs = session.run({"input_ids": ids, "attention_mask": mask})
    assert set(outputs) == {"start_logits", "end_logits"}
    assert {values.dtype for values in outputs.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(outputs["start_logits"], ids / 2)
    np.testing.assert_array_equal(outputs["end_logits"], mask + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_right_in_any_order_of_shapes(version: str, tmp_path: Path) -> None:
    """Shapes met for the first time, the second (from a graph) and in between others: each answer belongs to its own inputs."""
    session, cuda, machine = _session(tmp_path, version)
    shapes = [(1, 8), (4, 16), (1, 8), (3, 16), (4, 16), (2, 8), (1, 16), (1, 8), (3, 16)]
    for seed, (batch, length) in enumerate(shapes):
        _check(session, batch, length, seed)
    assert session.graphs == len(set(shapes)) == machine.contexts
    assert cuda.launches == len(shapes) - len(set(shapes))


@pytest.mark.parametrize("reason", [{"graphs": False}, {"fails_capture": True}])
def test_without_graphs_answers_are_the_same_and_the_reason_is_known(reason: dict[str, bool], tmp_path: Path) -> None:
    """A binding without graphs and an engine that cannot be captured both run plainly, and say so."""
    session, cuda, _machine = _session(tmp_path, **reason)
    for seed, (batch, length) in enumerate([(1, 8), (4, 16), (1, 8), (4, 16), (3, 16)]):
        _check(session, batch, length, seed)
    assert (session.graphs, cuda.launches) == (0, 0)
    assert session.no_graphs in ("fake 1.0 knows none", "CUDA: cudaStreamEndCapture: cudaErrorStreamCaptureInvalidated")


def test_graphs_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit shapes share one context for each profile."""
    monkeypatch.setattr(tensorrt_session, "MOST_GRAPHS", 1)
    session, _cuda, machine = _session(tmp_path)
    for seed, (batch, length) in enumerate([(2, 8), (3, 8), (4, 8), (2, 8), (3, 8), (1, 8)]):
        _check(session, batch, length, seed)
    assert (session.graphs, machine.contexts) == (1, 3)


def test_answers_outlive_the_next_call(tmp_path: Path) -> None:
    """What was returned is a copy: the buffers belong to the next batch."""
    session, _cuda, _machine = _session(tmp_path)
    ids = np.full((1, 8), 4)
    first = session.run({"input_ids": ids, "attention_mask": ids})
    session.run({"input_ids": ids * 2, "attention_mask": ids})
    np.testing.assert_array_equal(first["start_logits"], ids / 2)


def test_a_shape_no_profile_holds_is_an_error(tmp_path: Path) -> None:
    """Five samples where four were built for."""
    session, _cuda, _machine = _session(tmp_path)
    with pytest.raises(BackendError, match="not built for a batch of 5 x 8"):
        _check(session, 5, 8, 0)


def test_a_file_that_is_no_engine_is_an_error(tmp_path: Path) -> None:
    """TensorRT gives None and says why in its log."""
    cuda = FakeCuda()
    (tmp_path / "engine.plan").write_bytes(b"no engine")
    with pytest.raises(BackendError, match="magicTagRead"):
        Session(fake(LATE_TEN, Machine(cuda)), cuda, tmp_path / "engine.plan", PROFILES)


def test_closing_lets_go_of_graphs_and_engine(tmp_path: Path) -> None:
    """What is left of the device is for `Cuda.close` to give back."""
    session, cuda, _machine = _session(tmp_path)
    _check(session, 1, 8, 0)
    session.close()
    assert (session.graphs, hasattr(session, "engine"), cuda.closed) == (0, False, False)
