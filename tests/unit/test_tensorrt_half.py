"""The FP16 rewriting of an ONNX graph, run by ONNX Runtime on this machine's CPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from harness.runtimes.tensorrt_half import LARGEST, head_nodes, to_half  # noqa: E402


def _model(opset: int = 17, mask: float = -1.0) -> Any:
    """x @ w + b, a mask, a softmax, a decomposed root mean square and a head: (2, 4) in, (2, 3) out."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(4, 4)).astype(np.float32),
        "b": rng.normal(size=4).astype(np.float32),
        "mask": np.array([0, mask, 0, 0], np.float32),
        "two": np.array(2, np.float32),
        "head": rng.normal(size=(4, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["ids"], ["x"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul"),
        helper.make_node("Add", ["y", "b"], ["z"], name="add"),
        helper.make_node("Add", ["z", "mask"], ["masked"], name="masking"),
        helper.make_node("Softmax", ["masked"], ["p"], name="softmax"),
        helper.make_node("Pow", ["p", "two"], ["squares"], name="pow"),
        helper.make_node("Mul", ["squares", "p"], ["m"], name="mul"),
        helper.make_node("MatMul", ["m", "head"], ["scores"], name="head"),
        helper.make_node("Mul", ["scores", "two"], ["logits"], name="after"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _run(model: Any, ids: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": ids})[0]


def test_the_head_is_the_last_product_and_what_follows() -> None:
    """Nothing before it."""
    assert head_nodes(_model().graph) == {"after", "head"}


def test_products_are_half_and_head_and_squares_are_not() -> None:
    """The body's weights are FP16, the head's FP32; `two`, which both sides use, is there in FP32 alone; outputs stay float32."""
    half = to_half(_model())
    onnx.checker.check_model(half, full_check=True)
    assert {tensor.name: tensor.data_type for tensor in half.graph.initializer} == {
        "w_as_half": TensorProto.FLOAT16,
        "b_as_half": TensorProto.FLOAT16,
        "mask_as_half": TensorProto.FLOAT16,
        "two": TensorProto.FLOAT,
        "head": TensorProto.FLOAT,
    }
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert Counter(node.op_type for node in half.graph.node)["Cast"] == 4  # the old one, around Pow in and out, into the head


def test_answers_differ_by_no_more_than_fp16_rounding() -> None:
    """Within 1e-3 of FP32, and not equal to it: FP16 was used."""
    ids = np.array([[1, 2, 3, 4], [3, 1, 0, 2]])
    full, half = _run(_model(), ids), _run(to_half(_model()), ids)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=1e-3)
    assert not np.array_equal(half, full)


def test_floats_that_become_an_index_stay_exact() -> None:
    """4097 / 2 is 2048 as an index; FP16, which has no 4097, would make it 2048.0 by luck and 4099 / 2 = 2050 instead of 2049."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["x"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["x", "two"], ["halves"], name="halve"),
        helper.make_node("Cast", ["halves"], ["index"], name="index", to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["logits"], name="gather"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])],
        [
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array((np.arange(3000) % 512).astype(np.float32), "table"),
        ],
    )
    half = to_half(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), keep_head=False)
    assert {tensor.name: tensor.data_type for tensor in half.graph.initializer}["table_as_half"] == TensorProto.FLOAT16
    np.testing.assert_array_equal(_run(half, np.array([4097, 4099, 5001])), [2048 % 512, 2049 % 512, 2500 % 512])


def test_a_mask_beyond_fp16_becomes_its_largest_number() -> None:
    """The mask -3.4e38 becomes -65504 and no infinity, and masks as well."""
    half = to_half(_model(mask=float(np.finfo(np.float32).min)))
    mask = next(numpy_helper.to_array(tensor) for tensor in half.graph.initializer if tensor.name == "mask_as_half")
    assert mask.tolist() == [0, -LARGEST, 0, 0]
    assert np.isfinite(_run(half, np.ones((1, 4), np.int64))).all()


def test_without_a_head_the_output_is_cast_back() -> None:
    """Everything in FP16 still gives float32."""
    assert _run(to_half(_model(), keep_head=False), np.ones((1, 4), np.int64)).dtype == np.float32


def test_the_graph_that_was_given_stays_as_it_is() -> None:
    """The cached FP32 graph is nobody's to change."""
    model = _model(opset=19)
    before = model.SerializeToString()
    to_half(model)
    assert model.SerializeToString() == before


def test_scales_of_a_quantised_graph_become_half_and_never_zero() -> None:
    """From opset 19 a scale has the type of what it quantises; a pruned channel's 1e-12 becomes the smallest FP16 number, not 0."""
    scales = np.array([0.01, 1e-12], np.float32)
    weights = np.array([[50, 0], [-20, 0]], np.int8)
    nodes = [
        helper.make_node("Cast", ["ids"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w8", "scales", "zeros"], ["wd"], axis=1),
        helper.make_node("MatMul", ["xd", "wd"], ["logits"], name="product"),
    ]
    constants = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(0, np.int8),
        "scales": scales,
        "zeros": np.zeros(2, np.int8),
        "w8": weights,
    }
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    half = to_half(model, keep_head=False)
    onnx.checker.check_model(half, full_check=True)
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in half.graph.initializer}
    assert kept["scales_as_half"].dtype == np.float16
    assert kept["scales_as_half"][1] == np.float16(2.0**-24)
    np.testing.assert_allclose(_run(half, np.array([[1, 2]])), [[0.1, 0.0]], atol=1e-3)
