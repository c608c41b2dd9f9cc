"""The backend as a whole on a tiny model: export and FP16 rewriting are real, TensorRT and the GPU are the recording fakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from backends import tensorrt as backend
from harness.core import BackendOptions, Batch, Model, Shapes
from harness.errors import BackendError, MissingError, UsageError
from harness.runtimes.onnx_export import exported
from tests.fake_cuda import FakeCuda
from tests.fake_tensorrt import LATE_TEN, OLD, Machine, fake
from tests.tiny_models import tiny_model

SHAPES = Shapes(max_batch=4, lengths=(8, 16))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("model"), "question-answering")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return _install(monkeypatch, LATE_TEN)


def _install(monkeypatch: pytest.MonkeyPatch, version: str) -> Machine:
    cuda = FakeCuda()
    made = Machine(cuda)
    trt = fake(version, made)
    monkeypatch.setattr(backend.api, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(backend, "open_cuda", lambda _device, _worker: cuda)
    return made


def _batch(batch: int, length: int) -> Batch:
    ids = np.arange(batch * length).reshape(batch, length)
    ones = np.ones_like(ids)
    return Batch(ids, ones, np.zeros_like(ids), np.full(batch, length), np.arange(batch))


def test_prepare_builds_what_load_uses(machine: Machine, model: Model, cache: Path) -> None:
    """`prepare` tells its steps; `load` then builds nothing, and answers."""
    said: list[str] = []
    options = BackendOptions("fp32", cache=cache, shapes=SHAPES)
    backend.prepare(options, model, said.append)
    opened = backend.create(options)
    opened.load(model)
    answers = opened.predict(_batch(3, 8))
    assert len(machine.builds) == 1
    assert any(line.startswith("TensorRT: built in") for line in said)
    np.testing.assert_array_equal(answers["start_logits"], np.arange(24).reshape(3, 8) / 2)
    facts = opened.describe()
    opened.close()
    assert facts == json.loads(json.dumps(facts))
    assert facts["build"]["cached"] is True
    assert (facts["matmul_dtype"], facts["tf32"], facts["device"], facts["driver_cuda"]) == ("float32", False, "cuda:0", "12.8")
    assert facts["nodes"] == {"TensorRT": 5}
    assert facts["export"]["largest_difference"] < 1e-3


def test_fp16_is_a_graph_in_fp16_where_networks_are_typed(machine: Machine, model: Model, cache: Path) -> None:
    """What TensorRT 10 parses has FP16 weights and an FP32 head; the facts say that kernels run in FP16 on tensor cores."""
    onnx = pytest.importorskip("onnx")
    machine.kernels, machine.network = "fp16", "HALF"
    parsed: list[bytes] = []
    backend.api.import_tensorrt().OnnxParser.parse = lambda _self, content: parsed.append(content) or True
    opened = backend.create(BackendOptions("fp16", cache=cache, shapes=SHAPES))
    opened.load(model)
    kinds = {tensor.data_type for tensor in onnx.load_from_string(parsed[0]).graph.initializer if len(tensor.dims) == 2}
    assert kinds == {onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT}
    facts = opened.describe()
    assert (facts["matmul_dtype"], facts["head_dtype"], facts["builder_flags"]) == ("float16", "float32", [])
    assert facts["instructions"] == ["cuda", "tensor16x8x16"]


def test_fp16_is_a_flag_in_tensorrt_8(monkeypatch: pytest.MonkeyPatch, model: Model, cache: Path) -> None:
    """The FP32 graph is parsed as it is, TensorRT may choose; the fused engine tells nothing and nothing is claimed."""
    machine = _install(monkeypatch, OLD)
    machine.opaque = True
    opened = backend.create(BackendOptions("fp16", cache=cache, shapes=SHAPES))
    opened.load(model)
    facts = opened.describe()
    assert (facts["matmul_dtype"], facts["builder_flags"], facts["opaque_layers"]) == ("unknown", ["FP16"], 1)
    assert "may keep layers in FP32" in facts["method"]


def test_a_precision_that_kernels_do_not_have_fails_to_load(machine: Machine, model: Model, cache: Path) -> None:
    """FP16 was asked for and FP32 kernels were chosen: an error, not a slow success."""
    machine.kernels = "fp32"
    with pytest.raises(BackendError, match="tensorrt:fp16 was asked for"):
        backend.create(BackendOptions("fp16", cache=cache, shapes=Shapes(max_batch=2, lengths=(8,)))).load(model)


def test_int8_is_built_from_the_symmetric_qdq_graph(machine: Machine, model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration samples go to the quantiser with the GPU as target, and what it found is shown."""
    plain = exported(model, cache)
    asked: list[Any] = []

    class Found:
        path, sha256, facts = plain.path, "q" * 64, {"kind": "int8-static"}

    def quantise(_model: Model, _cache: Path, kind: str, calibration: Any, **rest: Any) -> Any:
        asked.append((kind, calibration, rest["target"]))
        return Found

    monkeypatch.setitem(sys.modules, "harness.runtimes.onnx_quantise", SimpleNamespace(quantised=quantise))
    machine.kernels, machine.network = "int8", "INT8"
    samples: Any = "calibration samples"
    opened = backend.create(BackendOptions("int8", cache=cache, shapes=SHAPES, calibration=samples))
    opened.load(model)
    facts = opened.describe()
    assert asked == [("int8-static", "calibration samples", "gpu")]
    assert facts["quantisation"] == {"kind": "int8-static"}
    assert facts["quantised_matmuls"] == {"quantised": 4, "total": 4, "share": 1.0}


def test_without_a_cache_nothing_is_left_behind(machine: Machine, model: Model) -> None:
    """The temporary folder is gone once the engine is in memory, and answers still come."""
    opened = backend.create(BackendOptions("fp32", shapes=Shapes(max_batch=2, lengths=(8,))))
    opened.load(model)
    assert not opened.plan.path.exists()
    assert opened.predict(_batch(1, 8))["end_logits"].shape == (1, 8)


def test_wrong_uses_are_named(machine: Machine, model: Model, cache: Path) -> None:
    """No model, no batch, and a precision there is none of."""
    with pytest.raises(BackendError, match="needs a model"):
        backend.create(BackendOptions()).load(None)
    with pytest.raises(BackendError, match="no batch"):
        backend.create(BackendOptions()).predict(None)
    with pytest.raises(UsageError, match="no precision int4"):
        backend.create(BackendOptions("int4", cache=cache)).load(model)


def test_a_machine_without_a_gpu_is_told_so(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that is missing ends the load, with what to install."""

    def none(_device: str, _worker: int) -> None:
        raise MissingError("CUDA sees no GPU", "Check nvidia-smi")

    _install(monkeypatch, LATE_TEN)
    monkeypatch.setattr(backend, "open_cuda", none)
    opened = backend.create(BackendOptions())
    with pytest.raises(MissingError, match="no GPU"):
        opened.load(model)
    opened.close()


def test_closing_gives_the_device_back_once(machine: Machine, model: Model, cache: Path) -> None:
    """After the engine is gone; a second close does nothing."""
    opened = backend.create(BackendOptions("fp32", cache=cache, shapes=SHAPES))
    opened.load(model)
    opened.close()
    assert machine.cuda.closed
    opened.close()


def test_it_says_what_every_backend_says(machine: Machine, model: Model, cache: Path) -> None:
    """The keys that the contract of all backends asks for, with dictionaries where those are meant."""
    opened = backend.create(BackendOptions("fp32", cache=cache, shapes=SHAPES))
    opened.load(model)
    facts = opened.describe()
    shared = {"runtime", "version", "precision", "device", "device_name", "threads", "method", "matmul_dtype", "instructions", "attention"}
    assert facts.keys() >= shared
    assert {name for name in ("nodes", "quantised_matmuls", "file", "export") if isinstance(facts[name], dict)} == {
        "nodes",
        "quantised_matmuls",
        "file",
        "export",
    }
