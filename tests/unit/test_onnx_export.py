"""The exporter, the check of its graphs against PyTorch, and the fused graph for ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

from harness.core import Model  # noqa: E402
from harness.errors import BackendError  # noqa: E402
from harness.models import resolve  # noqa: E402
from harness.runtimes import onnx_check, onnx_export, onnx_optimise, ort_rewrite  # noqa: E402
from harness.runtimes.onnx_export import Exported, exported  # noqa: E402
from harness.runtimes.torch_model import open_model  # noqa: E402
from tests.tiny_models import ARCHITECTURES, HIDDEN, POSITIONS, tiny_model, write_architecture  # noqa: E402

QA, CLASSES = "question-answering", "sequence-classification"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("bert") / "model", QA)


@pytest.fixture(scope="module")
def source(model: Model, cache: Path) -> Exported:
    return exported(model, cache)


def architecture(folder: Path, name: str, head: str = QA) -> Model:
    return resolve(str(write_architecture(folder / name, name, head)), head, cache=folder / "cache")  # type: ignore[arg-type]


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


# ------------------------------------------------------------------------------------------------------------------------ export


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "padding" not in name])
def test_every_architecture_exports_and_fuses(name: str, tmp_path: Path) -> None:
    """Each kind of encoder gives a traced graph, and a fused one, that answer as PyTorch does at every length and with padding."""
    model = architecture(tmp_path, name)
    found = exported(model, tmp_path)
    fused = onnx_optimise.facts(onnx_optimise.optimised(found, model, tmp_path))
    assert found.exporter == "torchscript"
    assert found.largest_difference < 1e-4
    assert fused["largest_difference"] < 1e-4
    assert ("token_type_ids" in found.inputs) is ARCHITECTURES[name].types


def test_classifier_has_logits(tmp_path: Path) -> None:
    """A classification head exports under the name of the task's output, with the batch free and the labels fixed."""
    found = exported(architecture(tmp_path, "bert", CLASSES), tmp_path)
    output = onnx.load(str(found.path)).graph.output[0]
    sizes = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert (found.outputs, output.name, sizes) == (("logits",), "logits", ["batch", 2])


def test_axes_are_free_and_named(source: Exported) -> None:
    """All inputs are (batch, length), both free, and the spans' outputs come under their names."""
    graph = onnx.load(str(source.path)).graph
    sizes = {each.name: [dim.dim_param for dim in each.type.tensor_type.shape.dim] for each in graph.input}
    assert sizes == {name: ["batch", "length"] for name in ("input_ids", "attention_mask", "token_type_ids")}
    assert [each.name for each in graph.output] == ["start_logits", "end_logits"] == list(source.outputs)


def test_second_call_takes_the_cached_graph(source: Exported, model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the cache is not made again, and tells the same about itself."""
    monkeypatch.setattr(onnx_export, "_make", lambda *_: pytest.fail("exported twice"))
    assert exported(model, cache) == source


def test_export_leaves_dropout_off(model: Model) -> None:
    """The module is in evaluation mode after an export: exporters restore the mode of what they are given."""
    opened = open_model(model)
    onnx_export._Positional(opened, ("input_ids",), ("start_logits",)).train(onnx_export._Positional(opened, (), ()).training)
    assert not any(module.training for module in opened.modules())


@pytest.mark.slow
def test_other_exporter_where_tracing_fails(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the TorchScript exporter fails, torch.export writes the graph, it passes the same check, and the facts say so."""
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(onnx_export, "_by_tracing", failing("gone"))
    found = exported(model, tmp_path)
    assert (found.exporter, found.facts()["exporter"]) == ("torch.export", "torch.export")
    assert found.largest_difference < 1e-4


def test_no_exporter_says_why(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that no exporter can write is an error with the first one's reason, and leaves nothing in the cache."""
    monkeypatch.setattr(onnx_export, "_by_tracing", failing("operator aten::odd is not supported"))
    monkeypatch.setattr(onnx_export, "_by_torch_export", failing("later"))
    with pytest.raises(BackendError, match="aten::odd"):
        exported(model, tmp_path)
    assert not list((tmp_path / "onnx").glob("*/model.onnx"))


def failing(message: str) -> Any:
    def fail(*_: object) -> None:
        raise RuntimeError(message)

    return fail


# ------------------------------------------------------------------------------------------------------------------------- check


def test_a_graph_that_answers_otherwise_is_refused(source: Exported, model: Model, tmp_path: Path) -> None:
    """One weight changed by 1 makes the check fail, with the difference in the message."""
    changed = onnx.load(str(source.path))
    weight = next(each for each in changed.graph.initializer if list(each.dims) == [2])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(1), weight.name))
    onnx.save(changed, str(tmp_path / "changed.onnx"))
    with pytest.raises(BackendError, match="differs from PyTorch by 1"):
        onnx_check.check(tmp_path / "changed.onnx", open_model(model), model, source.inputs)


def test_check_without_onnxruntime(source: Exported, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ONNX Runtime is not installed, onnx's own evaluator judges the graph."""
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    found = onnx_check.check(source.path, open_model(model), model, source.inputs)
    assert found.runtime.startswith("onnx reference")
    assert found.largest_difference < 1e-4


def test_checked_lengths(model: Model) -> None:
    """The check asks single samples from 1 token to as many as the model takes, and rows with padding; real tokens are never padding."""
    feeds = list(onnx_check.batches(model))
    singles = [int(lengths[0]) for _, lengths in feeds if len(lengths) == 1]
    assert (singles[0], singles[-1]) == (1, POSITIONS)
    assert any(len(set(lengths.tolist())) > 1 for _, lengths in feeds)
    for feed, lengths in feeds:
        assert feed["input_ids"].shape == (len(lengths), lengths.max())
        np.testing.assert_array_equal(feed["attention_mask"].sum(axis=1), lengths)
        assert (feed["input_ids"][feed["attention_mask"] == 1] != 0).all()


# ------------------------------------------------------------------------------------------------------------------------ fusing


def test_fused_for_the_cpu(source: Exported, model: Model, cache: Path) -> None:
    """Of two layers, both attentions are flash attention without a mask, and no scalar normalisation is left, in the embeddings neither."""
    found = operators(onnx_optimise.optimised(source, model, cache))
    assert (found["MultiHeadAttention"], found["InstanceNormalization"], found["Gelu"], found["Gemm"]) == (2, 5, 2, 12)
    assert (
        found["EmbedLayerNormalization"]
        == found["Attention"]
        == found["SkipLayerNormalization"]
        == found["BiasGelu"]
        == found["Softmax"]
        == 0
    )


def test_fused_for_a_gpu(source: Exported, model: Model, cache: Path) -> None:
    """A GPU gets ONNX Runtime's own fused nodes, whose CUDA kernels are the fast ones."""
    found = operators(onnx_optimise.optimised(source, model, cache, target="gpu"))
    assert (found["Attention"], found["SkipLayerNormalization"], found["BiasGelu"]) == (2, 4, 2)


def test_fp16_keeps_its_inputs_and_outputs(source: Exported, model: Model, cache: Path) -> None:
    """The FP16 graph has half-precision weights, the inputs it had, and FP32 outputs; without a GPU it is not checked, and says so."""
    path = onnx_optimise.optimised(source, model, cache, target="gpu", half=True)
    graph = onnx.load(str(path)).graph
    assert {each.type.tensor_type.elem_type for each in graph.output} == {onnx.TensorProto.FLOAT}
    assert {each.data_type for each in graph.initializer if len(each.dims) == 2} == {onnx.TensorProto.FLOAT16}
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert onnx_optimise.facts(path)["largest_difference"] is None


def test_padding_changes_nothing_in_the_fused_graph(source: Exported, model: Model, cache: Path) -> None:
    """A row answers the same alone and beside a longer one: the column in the keys masks as a mask does."""
    run = session(onnx_optimise.optimised(source, model, cache))
    ids = np.arange(5, 29).reshape(2, 12)
    mask = (np.arange(12) < np.array([[12], [7]])).astype(np.int64)
    both = run.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": mask * 0})
    alone = run.run(None, {"input_ids": ids[1:, :7], "attention_mask": mask[1:, :7], "token_type_ids": mask[1:, :7] * 0})
    for padded, single in zip(both, alone, strict=True):
        np.testing.assert_allclose(padded[1, :7], single[0], atol=1e-5)


def graph_of(nodes: list[Any], inputs: list[str], stored: dict[str, Any], width: int = HIDDEN) -> Any:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", "length", width]) for name in inputs],
        [helper.make_tensor_value_info("found", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("biased", [True, False])
def test_normalisation_rewritten_is_the_same(biased: bool, tmp_path: Path) -> None:
    """InstanceNormalization of one row a channel is SkipLayerNormalization, with and without the product before it."""
    rng = np.random.default_rng(0)
    stored = {name: rng.standard_normal(HIDDEN).astype(np.float32) for name in ("gamma", "beta", "bias")}
    stored["weight"] = rng.standard_normal((HIDDEN, HIDDEN)).astype(np.float32)
    inputs = ["product" if biased else "x", "skip", "gamma", "beta", *(["bias"] if biased else [])]
    product = [helper.make_node("MatMul", ["x", "weight"], ["product"])] if biased else []
    norm = helper.make_node("SkipLayerNormalization", inputs, ["found"], domain="com.microsoft", epsilon=1e-5)
    model = graph_of([*product, norm], ["x", "skip"], stored)
    rewritten = ort_rewrite.for_cpu(model)
    feed = {name: rng.standard_normal((2, 3, HIDDEN)).astype(np.float32) for name in ("x", "skip")}
    found = {}
    for name, each in (("before", model), ("after", rewritten)):
        onnx.save(each, str(tmp_path / f"{name}.onnx"))
        found[name] = session(tmp_path / f"{name}.onnx").run(None, feed)[0]
    assert "SkipLayerNormalization" not in operators(tmp_path / "after.onnx")
    np.testing.assert_allclose(found["after"], found["before"], atol=1e-5)


def test_attention_that_does_not_fit_stays() -> None:
    """Causal attention, and attention in a graph without a mask input, are left as they are."""
    stored = {"weight": np.zeros((HIDDEN, 3 * HIDDEN), np.float32), "bias": np.zeros(3 * HIDDEN, np.float32), "mask": np.ones(2, np.int32)}
    for settings in ({"unidirectional": 1}, {}):
        node = helper.make_node("Attention", ["x", "weight", "bias", "mask"], ["found"], domain="com.microsoft", num_heads=4, **settings)
        rewritten = ort_rewrite.for_cpu(graph_of([node], ["x"], stored))
        assert [each.op_type for each in rewritten.graph.node] == ["Attention"]


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.floats(-9, 9))
def test_widened_heads(rows: int, heads: int, head: int, last: float) -> None:
    """One column more behind each head, the rest in its old order."""
    values = np.arange(rows * heads * head, dtype=np.float64).reshape(rows, -1)
    found = ort_rewrite._widened(values, heads, last).reshape(rows, heads, head + 1)
    np.testing.assert_array_equal(found[..., :-1].reshape(rows, -1), values)
    assert (found[..., -1] == last).all()


def test_models_beyond_one_file_are_refused(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model over the size of one protobuf message ends with a message, not with a file that nothing opens."""
    monkeypatch.setattr(onnx_export, "_INLINE_LIMIT", 1000)
    with pytest.raises(BackendError, match="2 GB"):
        exported(model, tmp_path)


def test_progress_is_told(model: Model, tmp_path: Path) -> None:
    """Export and check are said, with how many samples were compared and how far they differ."""
    said: list[str] = []
    exported(model, tmp_path, said.append)
    assert any(line.startswith("exporting") for line in said)
    assert any(f"of 1 to {POSITIONS} tokens: largest difference" in line for line in said)
    assert torch.is_grad_enabled()
