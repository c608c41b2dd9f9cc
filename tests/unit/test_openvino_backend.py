"""The OpenVINO backend runs what was asked, proves it, and refuses what would only be emulated. What all backends share is in the contract
suite."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino")
pytest.importorskip("onnx")

from backends import openvino as backend
from harness.core import BackendOptions, Calibration, Model
from harness.errors import BackendError, MissingError, UsageError
from harness.runtimes import openvino_graph
from harness.runtimes.openvino_graph import Layer
from tests.backend_cases import batch_of, samples
from tests.tiny_models import tiny_model

ROOT = Path(__file__).resolve().parents[2]
CALIBRATION = Calibration(samples(), "random tokens", "0" * 64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("models") / "model", "question-answering")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """A cache with the exported graph in it, made by `prepare`."""
    folder, said = tmp_path_factory.mktemp("cache"), []
    backend.prepare(BackendOptions("fp32", cache=folder), model, said.append)
    assert said[0].startswith("exporting ")
    return folder


def opened(precision: str, cache: Path | None, model: Model, **options: Any) -> backend.OpenVINO:
    made = backend.OpenVINO(BackendOptions(precision, cache=cache, calibration=CALIBRATION, **options))
    made.load(model)
    return made


@pytest.fixture
def fp32(cache: Path, model: Model) -> Iterator[backend.OpenVINO]:
    made = opened("fp32", cache, model)
    yield made
    made.close()


# ------------------------------------------------------------------------------------------------------------------- what runs


def test_fp32_is_fp32(fp32: backend.OpenVINO) -> None:
    """Every kernel with a matrix product is an FP32 one, though OpenVINO itself prefers BF16 on CPUs that have it."""
    said = fp32.describe()
    assert said["matmul_dtype"] == "float32"
    assert said["other_dtype"] == "f32"
    assert all(kernel.endswith("f32") for kernel in said["kernels"])
    assert said["quantised_matmuls"] == {"quantised": 0, "total": 13, "share": 0.0}
    assert said["quantisation"] is None


def test_int8_multiplies_in_int8(cache: Path, model: Model) -> None:
    """All linear layers of the quantised file run in INT8 kernels, and the description says where the ranges are from."""
    pytest.importorskip("onnxruntime")
    made = opened("int8", cache, model)
    said = made.describe()
    made.close()
    assert said["matmul_dtype"] == "int8"
    assert said["quantised_matmuls"]["quantised"] == said["quantisation"]["matmuls"]["quantised"] > 0
    assert sum(count for kernel, count in said["kernels"].items() if kernel.endswith("I8")) == said["quantised_matmuls"]["quantised"]
    assert said["quantisation"]["calibration"]["source"] == "random tokens"


def test_attention_is_fused(fp32: backend.OpenVINO) -> None:
    """The exported graph is one whose attention OpenVINO recognises: one block in each of the two layers."""
    assert fp32.describe()["attention"] == "fused, 2 blocks"


def test_threads_are_those_asked_for(cache: Path, model: Model) -> None:
    """The compiled model has the asked number of threads and one stream."""
    made = opened("fp32", cache, model, threads=1)
    assert made.describe()["threads"] == 1
    assert made.compiled.get_property("NUM_STREAMS") == 1
    made.close()


def test_another_precision_is_found_out(fp32: backend.OpenVINO, cache: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that runs in BF16 where FP32 was asked for does not load."""
    if not any("bfloat16" in each for each in fp32.describe()["instructions"]):
        pytest.skip("this CPU has no BF16 to run by mistake")
    settings = backend._settings
    monkeypatch.setattr(backend, "_settings", lambda options, precision: settings(options, "bf16"))
    with pytest.raises(BackendError, match="bfloat16") as caught:
        opened("fp32", cache, model)
    assert caught.value.cure


@pytest.mark.parametrize(
    ("precision", "kinds", "written", "right"),
    [
        ("fp32", ["f32", "f32"], None, True),
        ("fp32", ["f32", "bf16"], None, False),
        ("bf16", ["bf16", "bf16"], None, True),
        ("bf16", ["bf16", "f32"], None, False),
        ("bf16", ["f32", "f32"], None, False),
        ("int8", ["u8", "f32"], 1, True),
        ("int8", ["u8", "i8"], 2, True),
        ("int8", ["u8", "f32"], 2, False),
        ("int8", ["f32", "f32"], 0, False),
        ("int8", ["u8", "bf16"], 1, False),
    ],
)
def test_what_is_accepted(precision: str, kinds: list[str], written: int | None, right: bool) -> None:
    """FP32 and BF16 admit no other matrix product; INT8 admits FP32 beside it, but only where the file has FP32."""
    quantisation = None if written is None else {"matmuls": {"quantised": written}}
    graph = backend._Graph(Path("model.onnx"), {}, {}, quantisation)
    layers = [Layer("FullyConnected", kind, "", "") for kind in kinds]
    if right:
        backend._check(layers, precision, graph)
        return
    with pytest.raises(BackendError) as caught:
        backend._check(layers, precision, graph)
    assert f"openvino:{precision}" in str(caught.value)
    assert caught.value.cure


# ---------------------------------------------------------------------------------------------------------------- the runtime model


def test_layers_are_counted_by_what_they_multiply() -> None:
    """Linear layers, free products and fused attention count; generated code for anything else does not."""
    layers = [
        Layer("FullyConnected", "u8", "brgemm_avx512_I8", "/query/MatMul"),
        Layer("FullyConnected", "f32", "gemm_mlas_f32", "/qa_outputs/MatMul"),
        Layer("Subgraph", "f32", "jit_avx512_f32", "/self/Mul,/self/Softmax,/self/MatMul_1"),
        Layer("Subgraph", "f32", "jit_avx512_f32", "/gelu/Mul,/gelu/Erf"),
        Layer("MVN", "f32", "jit_avx512_f32", "/LayerNorm"),
    ]
    assert openvino_graph.matmul_dtypes(layers) == {"int8": 1, "float32": 2}
    assert openvino_graph.quantised(layers) == {"quantised": 1, "total": 2, "share": 0.5}
    assert openvino_graph.kernels(layers) == {"brgemm_avx512_I8": 1, "gemm_mlas_f32": 1, "jit_avx512_f32": 1}
    assert openvino_graph.attention(layers) == "fused, 1 blocks"
    assert openvino_graph.attention(layers[:2]) == "separate matrix products and softmax"


# ---------------------------------------------------------------------------------------------------------------------- refusals


def test_emulated_bf16_is_refused(cache: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where oneDNN names no instruction set with bfloat16, BF16 would be emulated: that is missing, not slow."""
    monkeypatch.setattr(openvino_graph, "instructions", lambda compiled: "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions")
    with pytest.raises(MissingError) as caught:
        opened("bf16", cache, model)
    assert "AVX512BW" in str(caught.value)
    assert "openvino:fp32" in caught.value.cure


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's names of instruction sets are those of x86")
def test_onednn_held_to_another_instruction_set_is_noticed() -> None:
    """oneDNN's own variable takes BF16 away; OpenVINO still lists it among its capabilities, and the backend refuses it."""
    code = "import openvino; from backends import openvino as b; b._need_bf16(openvino.Core())"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingError" in done.stderr


@pytest.mark.parametrize("device", ["cuda", "gpu:0"])
def test_other_devices_are_refused(model: Model, cache: Path, device: str) -> None:
    """OpenVINO runs on the CPU here; anything else is a usage error, not a silent CPU."""
    with pytest.raises(UsageError, match=device):
        opened("fp32", cache, model, device=device)


def test_int8_without_samples_says_what_is_missing(model: Model, cache: Path) -> None:
    """Static INT8 without calibration samples is missing something, and says the way out."""
    pytest.importorskip("onnxruntime")
    made = backend.OpenVINO(BackendOptions("int8", cache=cache))
    with pytest.raises(MissingError, match="calibration"):
        made.load(model)


def test_reasons_are_what_openvino_says_not_where() -> None:
    """Of OpenVINO's errors the first line that is no place in its sources is shown."""
    error = RuntimeError("Exception from src/inference/src/cpp/core.cpp:117:\nException from src/plugin.cpp:54:\nCheck 'x' failed\nmore\n")
    assert backend._reason(error) == "Check 'x' failed"


# ------------------------------------------------------------------------------------------------------------------------- files


def test_a_prepared_model_is_not_exported_again(cache: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `prepare`, loading reads the cache."""
    monkeypatch.setattr("torch.onnx.export", lambda *a, **k: pytest.fail("exported again"))
    opened("fp32", cache, model).close()


def test_without_a_cache_nothing_is_left_behind(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no cache folder the graph is made in a temporary one, gone when the model is loaded, and the model answers."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = opened("fp32", None, model)
    assert list(tmp_path.iterdir()) == []
    assert made.predict(batch_of([6]))["start_logits"].shape == (1, 7)
    made.close()
