"""ONNX Runtime as a backend: what it is asked, what it proves to have run, and what it refuses. Answers: the contract suite."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from backends import onnxruntime as backend  # noqa: E402
from harness import conditions  # noqa: E402
from harness.core import BackendOptions, Batch, Model, Shapes  # noqa: E402
from harness.errors import BackendError, MissingError, UsageError  # noqa: E402
from harness.runtimes import onnx_export, ort_proof, ort_providers, ort_session  # noqa: E402
from harness.runtimes.ort_proof import Executed  # noqa: E402
from harness.runtimes.ort_providers import CPU, CUDA, TENSORRT, TENSORRT_RTX, Provider  # noqa: E402
from tests.tiny_models import tiny_model  # noqa: E402

ON_CUDA = Provider(CUDA, 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("bert") / "model", "question-answering")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """A cache that `prepare` has filled for FP32 and INT8."""
    folder = tmp_path_factory.mktemp("cache")
    for precision in ("fp32", "int8"):
        backend.prepare(options(precision, cache=folder), model, lambda line: None)
    return folder


def options(precision: str = "fp32", **settings: Any) -> BackendOptions:
    return BackendOptions(**{"precision": precision, "device": "cpu", "threads": 1, **settings})


def loaded(model: Model, cache: Path, precision: str, **settings: Any) -> backend.OnnxRuntime:
    made = backend.OnnxRuntime(options(precision, cache=cache, **settings))
    made.load(model)
    return made


def batch(rows: int = 2, length: int = 9) -> Batch:
    ids = np.arange(5, 5 + rows * length).reshape(rows, length)
    return Batch(ids, np.ones_like(ids), np.zeros_like(ids), np.full(rows, length), np.arange(rows))


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, *providers: str, count: int = 1) -> None:
    monkeypatch.setattr(conditions, "gpus", lambda: [{"name": f"GPU {number}"} for number in range(count)])
    monkeypatch.setattr(runtime, "get_available_providers", lambda: [*providers, CPU])


# ---------------------------------------------------------------------------------------------------------------- what it proves


def test_fp32_tells_what_ran(model: Model, cache: Path) -> None:
    """Every executed node is on the CPU, products are FP32, attention is the fused operator, and all of it is plain JSON."""
    made = loaded(model, cache, "fp32")
    told = json.loads(json.dumps(made.describe()))
    assert told["nodes"] == {"CPU": sum(told["operators"].values())}
    assert (told["matmul_dtype"], told["attention"]) == ("float32", "MultiHeadAttention")
    assert "quantised_matmuls" not in told
    assert told["operators"]["Gemm"] == 12
    assert told["export"]["samples"] > 10
    assert told["file"]["bytes"] == made.graph.path.stat().st_size


def test_int8_multiplies_in_integers(model: Model, cache: Path) -> None:
    """Of 13 products by weights (six in each of two layers, and the head) all but those left out by repair are integer in what runs."""
    told = loaded(model, cache, "int8").describe()
    integer = 13 - len(told["quantisation"]["excluded"])
    assert integer >= 10
    assert told["quantised_matmuls"] == {"quantised": integer, "total": 13, "share": round(integer / 13, 4)}
    assert told["matmul_dtype"] == "int8"
    assert told["quantisation"]["kind"] == "dynamic"


def test_an_int8_graph_in_fp32_is_refused(model: Model, cache: Path) -> None:
    """The share of integer products is read from the graph made at load; none at all is an error, not a slow success."""
    with pytest.raises(BackendError, match="would run in FP32"):
        ort_proof.quantised(loaded(model, cache, "fp32").graph.path)


def test_a_computing_node_elsewhere_is_refused() -> None:
    """Softmax or a product on the CPU beside CUDA is a silent fallback; shapes computed there are not."""
    fine = Executed({(CUDA, "Gemm"): 12, (CUDA, "Softmax"): 2, (CPU, "Shape"): 3, (CPU, "Gather"): 2})
    ort_proof.check_provider(fine, ON_CUDA)
    assert fine.providers == {"CUDA": 14, "CPU": 5}
    with pytest.raises(BackendError, match="2 Softmax ran on another provider"):
        ort_proof.check_provider(Executed({(CUDA, "Gemm"): 12, (CPU, "Softmax"): 2}), ON_CUDA)
    with pytest.raises(BackendError, match="ran no node"):
        ort_proof.check_provider(Executed({(CPU, "Shape"): 1}), ON_CUDA)


def test_a_session_without_the_provider_is_refused(model: Model, cache: Path, tmp_path: Path) -> None:
    """ONNX Runtime opens a session on the CPU when CUDA is not in the build; here that is an error."""
    if CUDA in runtime.get_available_providers():
        pytest.skip("this build has CUDA")
    path = loaded(model, cache, "fp32").graph.path
    with pytest.raises(BackendError, match="CUDA"):
        ort_session.opened(path, ON_CUDA, {}, 1, tmp_path)


def test_traces_are_cleared_away(model: Model, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace and the graph written at load are gone after `load`, and nothing lands in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend.tempfile, "tempdir", str(tmp_path))
    loaded(model, cache, "fp32")
    assert list(tmp_path.iterdir()) == []


def test_threads_are_the_ones_given(model: Model, cache: Path) -> None:
    """A session computes on as many threads as the instance may use, without a second pool and without plans for each shape."""
    found = loaded(model, cache, "fp32", threads=2).session.get_session_options()
    assert (found.intra_op_num_threads, found.inter_op_num_threads, found.enable_mem_pattern) == (2, 1, False)


def test_instructions_are_those_of_the_cpu(tmp_path: Path) -> None:
    """Integer sets count for integer products alone; a system that does not tell gives none."""
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags : fpu avx2 avx512f avx512_vnni avx512_bf16\n")
    assert ort_proof.instructions(True, info) == ["avx512_vnni", "avx512f", "avx2"]
    assert ort_proof.instructions(False, info) == ["avx512f", "avx2"]
    assert ort_proof.instructions(True, tmp_path / "none") == []


# ------------------------------------------------------------------------------------------------------------------------ running


def test_prepare_does_what_load_would(model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `prepare` a load exports, fuses and quantises nothing."""
    monkeypatch.setattr(onnx_export, "_make", lambda *_: pytest.fail("exported again"))
    monkeypatch.setattr("harness.cached._make", lambda *_: pytest.fail("made again"))
    for precision in ("fp32", "int8"):
        loaded(model, cache, precision).close()


def test_a_bound_session_answers_as_a_direct_one(model: Model, cache: Path) -> None:
    """Binding inputs and outputs, here in the memory of the CPU, changes no answer."""
    made = loaded(model, cache, "fp32")
    arrays = {name: getattr(batch(), name) for name in made.inputs}
    bound = ort_session.Bound(made.session, made.graph.exported.outputs, "cpu", 0)(arrays)
    for one, other in zip(made.run(arrays), bound, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_model_and_no_batch() -> None:
    """A caller's mistakes are told as such."""
    made = backend.OnnxRuntime(options())
    with pytest.raises(BackendError, match="needs a model"):
        made.load(None)
    with pytest.raises(BackendError, match="no batch"):
        made.predict(None)
    made.close()


# ------------------------------------------------------------------------------------------------------------ what can be asked


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (options("fp64"), UsageError, "no precision fp64"),
        (options("fp16"), MissingError, "needs a GPU"),
        (options(device="tpu"), UsageError, "--device tpu"),
        (options(device="cuda:x"), UsageError, "--device cuda:x"),
        (options(options=("tensorrt",)), UsageError, "--device says cpu"),
        (options(options=("cuda", "tensorrt"), device="cuda"), UsageError, "two providers"),
    ],
)
def test_what_cannot_be_asked(asked: BackendOptions, error: type[Exception], words: str) -> None:
    """Contradictions end before anything is exported, with the option in the message."""
    with pytest.raises(error, match=words):
        backend._provider(asked)


@pytest.mark.parametrize(("word", "package"), [("cuda", "onnxruntime-gpu"), ("tensorrt", "tensorrt")])
def test_a_missing_provider_says_what_to_install(word: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU build of ONNX Runtime names itself, what it has, and the package that has more."""
    pretend_gpu(monkeypatch)
    with pytest.raises(MissingError, match=runtime.__version__) as raised:
        backend._provider(options(device="cuda", options=(word,)))
    assert package in raised.value.cure


def test_a_missing_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with CUDA on a machine without a GPU asks for the driver, not for a package."""
    pretend_gpu(monkeypatch, CUDA, count=0)
    with pytest.raises(MissingError, match="no GPU"):
        backend._provider(options(device="cuda"))


@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_cuda_multiplies_no_integers(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 on the CUDA provider would run in FP32: the cure names the provider that can."""
    pretend_gpu(monkeypatch, CUDA)
    with pytest.raises(UsageError, match="INT8") as raised:
        backend._provider(options(precision, device="cuda"))
    assert "tensorrt" in raised.value.cure


def test_auto_takes_a_gpu_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is the CPU without a CUDA build or a GPU; with both, workers are spread over the GPUs."""
    pretend_gpu(monkeypatch, count=2)
    assert backend._provider(options(device="auto")) == Provider(CPU)
    pretend_gpu(monkeypatch, CUDA, count=0)
    assert backend._provider(options(device="auto")) == Provider(CPU)
    pretend_gpu(monkeypatch, CUDA, count=2)
    assert [backend._provider(options(device="auto", worker=worker)).device for worker in range(3)] == [0, 1, 0]


def test_settings_of_providers(tmp_path: Path) -> None:
    """CUDA computes FP32 without TF32; TensorRT is told its precision, its caches and the shapes that the run can meet."""
    shapes = Shapes(max_batch=16, max_tokens=1024, lengths=(64, 128, 384))
    assert ort_providers.settings(Provider(CPU), "fp32", ("input_ids",), shapes, tmp_path) == {}
    assert ort_providers.settings(Provider(CUDA, 1), "fp32", ("input_ids",), shapes, tmp_path) == {"device_id": "1", "use_tf32": "0"}
    found = ort_providers.settings(Provider(TENSORRT, 0), "int8-static", ("input_ids", "attention_mask"), shapes, tmp_path)
    assert (found["trt_fp16_enable"], found["trt_int8_enable"], found["trt_engine_cache_path"]) == ("False", "True", str(tmp_path))
    assert found["trt_profile_min_shapes"] == "input_ids:1x1,attention_mask:1x1"
    assert found["trt_profile_opt_shapes"] == "input_ids:8x128,attention_mask:8x128"
    assert found["trt_profile_max_shapes"] == "input_ids:16x384,attention_mask:16x384"
    assert all(isinstance(value, str) for value in found.values())


def test_plugin_provider_is_registered_once_and_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX comes as a plugin: its library is registered, and the session gets the device that was asked for."""
    registered: list[tuple[str, str]] = []
    devices = [SimpleNamespace(ep_name="rtx", number=number) for number in range(2)]
    module = SimpleNamespace(get_ep_name=lambda: "rtx", get_library_path=lambda: "rtx.so")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime_ep_nv_tensorrt_rtx", module)
    monkeypatch.setattr(runtime, "register_execution_provider_library", lambda *given: registered.append(given))
    monkeypatch.setattr(runtime, "get_ep_devices", lambda: devices if registered else [])
    pretend_gpu(monkeypatch, count=2)
    provider = backend._provider(options(device="cuda:1", options=("tensorrt-rtx",)))
    attached: list[Any] = []
    session_options = SimpleNamespace(add_provider_for_devices=lambda *given: attached.append(given))
    assert ort_providers.attach(session_options, provider, {"nv_runtime_cache_path": "x"}) == []
    assert (provider, registered) == (Provider(TENSORRT_RTX, 1, "rtx"), [("rtx", "rtx.so")])
    assert attached == [([devices[1]], {"nv_runtime_cache_path": "x"})]


def test_a_missing_plugin_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the plugin's package the message names it."""
    pretend_gpu(monkeypatch)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(MissingError) as raised:
        backend._provider(options(device="cuda", options=("tensorrt-rtx",)))
    assert "onnxruntime-ep-nv-tensorrt-rtx" in raised.value.cure


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_cuda_runs_every_computing_node(model: Model, cache: Path, precision: str) -> None:
    """On a GPU the answers are those of the CPU, and the trace shows CUDA for all that computes."""
    if CUDA not in runtime.get_available_providers() or not conditions.gpus():
        pytest.skip("no CUDA provider or no GPU")
    made, reference = loaded(model, cache, precision, device="cuda"), loaded(model, cache, "fp32")
    for name, values in reference.predict(batch()).items():
        np.testing.assert_allclose(made.predict(batch())[name], values, atol=1e-4 if precision == "fp32" else 0.1)
    assert made.describe()["nodes"]["CUDA"] > 0
