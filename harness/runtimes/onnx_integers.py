"""Integer products in place of FP32 ones: dynamic (ranges found in each call) and static (QDQ, ranges calibrated); embeddings by row.

Weights are signed 8 bit, symmetric, with a scale for each column, so that a column of small weights keeps its resolution. `levels` is the
largest absolute value: 127, or 63 on a CPU without VNNI, whose instruction for unsigned times signed bytes (VPMADDUBSW) adds two products
in 16 bits and saturates from 2 x 255 x 64 on (ONNX Runtime calls it reduce_range).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from harness.runtimes.onnx_edit import Editor, products

Floats = NDArray[np.float32]
_TINY = float(np.finfo(np.float32).tiny)

EMBEDDING_ROWS = 1024
"""Tables with fewer rows (positions, segments) stay FP32: they are under 2 % of a model's bytes."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values of an activation that an integer can stand for."""

    low: float
    high: float


def unsigned(found: Range) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of U8 that cover `found` and 0: value = scale x (integer - zero point)."""
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    scale = np.float32(max((high - low) / 255, _TINY))
    return scale, np.uint8(np.clip(round(-low / float(scale)), 0, 255))


def signed(found: Range) -> tuple[np.float32, np.int8]:
    """Scale and zero point (0) of symmetric S8 that cover `found`."""
    return np.float32(max(abs(found.low), abs(found.high), 127 * _TINY) / 127), np.int8(0)


def by_column(weight: Floats, levels: int = 127) -> tuple[NDArray[np.int8], Floats]:
    """(in, out) weights as integers from -`levels` to `levels`, and the scale of each column (out,). A column of zeros has scale 1."""
    scales = (np.abs(weight).max(axis=0) / levels).astype(np.float32)
    scales[scales < _TINY] = 1.0
    return np.clip(np.round(weight / scales), -levels, levels).astype(np.int8), scales


# ---------------------------------------------------------------------------------------------------------------------- products


def dynamic(model: onnx.ModelProto, chosen: Collection[str], levels: int = 127) -> onnx.ModelProto:
    """The products named in `chosen` on U8 activations, whose range is found in each call, and S8 weights.

    The pattern (DynamicQuantizeLinear, MatMulInteger, Cast, Mul) is that of ONNX Runtime's own quantiser, which fuses it at load into
    DynamicQuantizeMatMul or MatMulIntegerToFloat.
    """
    editor = Editor(model)
    asked = {product.node: product for product in products(model.graph) if product.node in chosen}
    done: set[str] = set()

    def rewrite(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        product = asked.get(node.name)
        if product is None:
            return None
        weight, scales = _stored(editor, product.weight, levels)
        activation, name = product.activation, node.name
        parts = [f"{activation}/integers", f"{activation}/scale", f"{activation}/zero"]
        written = [] if activation in done else [helper.make_node("DynamicQuantizeLinear", [activation], parts, name=f"{name}/quantise")]
        done.add(activation)
        zeros = editor.store(f"{product.weight}/zeros", np.zeros(len(scales), np.int8))
        return [
            *written,
            helper.make_node("MatMulInteger", [parts[0], weight, parts[2], zeros], [f"{name}/sums"], name=f"{name}/integer"),
            helper.make_node("Cast", [f"{name}/sums"], [f"{name}/float_sums"], name=f"{name}/cast", to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [parts[1], f"{product.weight}/scales"], [f"{name}/scales"], name=f"{name}/both_scales"),
            helper.make_node("Mul", [f"{name}/float_sums", f"{name}/scales"], [node.output[0]], name=f"{name}/scaled"),
        ]

    editor.each(rewrite)
    return editor.finished()


def static(
    model: onnx.ModelProto, chosen: Collection[str], ranges: Mapping[str, Range], *, symmetric: bool = False, levels: int = 127
) -> onnx.ModelProto:
    """The products named in `chosen` between QuantizeLinear and DequantizeLinear (QDQ), activations in their calibrated `ranges`.

    Results stay FP32: what follows (bias, softmax, GELU, layer normalisation) is computed in FP32, so no pair stands between.
    `symmetric`: what TensorRT takes: S8 activations, and FP32 weights behind a pair of their own, which every version of it folds.
    """
    editor = Editor(model)
    asked = {product.node: product for product in products(model.graph) if product.node in chosen}
    done: set[str] = set()

    def rewrite(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        product = asked.get(node.name)
        if product is None:
            return None
        written = []
        if product.activation not in done:
            found = ranges[product.activation]
            written += _pair(editor, product.activation, signed(found) if symmetric else unsigned(found))
        if product.weight not in done:
            written += _weight_pair(editor, product.weight, symmetric, levels)
        done.update((product.activation, product.weight))
        inputs = [f"{product.activation}/restored", f"{product.weight}/restored"]
        return [*written, helper.make_node("MatMul", inputs, list(node.output), name=node.name)]

    editor.each(rewrite)
    return editor.finished()


def static_fused(model: onnx.ModelProto, chosen: Collection[str], ranges: Mapping[str, Range], levels: int = 127) -> onnx.ModelProto:
    """The same numbers as `static`, each product with its bias as ONNX Runtime's MatMulIntegerToFloat.

    Left to itself, ONNX Runtime 1.31 joins MatMul and Add to Gemm before it looks for QDQ, and then computes 30 of the 37 products of
    MiniLM in FP32 on restored weights, slower than without any quantisation.
    """
    editor = Editor(model)
    asked = {product.node: product for product in products(model.graph) if product.node in chosen}
    biases = _biases(model.graph, editor)
    absorbed = {biases[node][0].name for node in asked if node in biases}
    done: set[str] = set()

    def rewrite(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.name in absorbed:
            return []
        product = asked.get(node.name)
        if product is None:
            return None
        activation, name = product.activation, node.name
        written = [] if activation in done else _pair(editor, activation, unsigned(ranges[activation]))[:1]
        done.add(activation)
        weight, scales = _stored(editor, product.weight, levels)
        zeros = editor.store(f"{product.weight}/zeros", np.zeros(len(scales), np.int8))
        inputs = [f"{activation}/integers", weight, f"{activation}/scale", f"{product.weight}/scales", f"{activation}/zero", zeros]
        add, bias = biases.get(name, (node, ""))
        inputs += [bias] if bias else []
        return [*written, helper.make_node("MatMulIntegerToFloat", inputs, [add.output[0]], name=name, domain="com.microsoft")]

    editor.each(rewrite)
    return editor.finished()


def _biases(graph: onnx.GraphProto, editor: Editor) -> dict[str, tuple[onnx.NodeProto, str]]:
    """The Add and the stored vector of each product whose only use is to have a bias added, by the product's name."""
    users, outputs = _users(graph), {output.name for output in graph.output}
    found = {}
    for product in products(graph):
        result = next(node.output[0] for node in graph.node if node.name == product.node)
        adds = users.get(result, [])
        if len(adds) == 1 and adds[0].op_type == "Add" and result not in outputs:
            other = next((name for name in adds[0].input if name != result), "")
            array = editor.array(other)
            if array is not None and array.ndim == 1 and len(array) == editor.weights[product.weight].dims[1]:
                found[product.node] = (adds[0], other)
    return found


def _pair(editor: Editor, name: str, scale_and_zero: tuple[Any, Any]) -> list[onnx.NodeProto]:
    scale, zero = scale_and_zero
    by = [editor.store(f"{name}/scale", np.asarray(scale)), editor.store(f"{name}/zero", np.asarray(zero))]
    return [
        helper.make_node("QuantizeLinear", [name, *by], [f"{name}/integers"], name=f"{name}/quantise"),
        helper.make_node("DequantizeLinear", [f"{name}/integers", *by], [f"{name}/restored"], name=f"{name}/restore"),
    ]


def _weight_pair(editor: Editor, name: str, from_floats: bool, levels: int) -> list[onnx.NodeProto]:
    stored, scales = _stored(editor, name, levels)
    by = [f"{name}/scales", editor.store(f"{name}/zeros", np.zeros(len(scales), np.int8))]
    source = f"{name}/pair" if from_floats else stored
    restore = helper.make_node("DequantizeLinear", [source, *by], [f"{name}/restored"], name=f"{name}/restore", axis=1)
    return (
        [helper.make_node("QuantizeLinear", [name, *by], [source], name=f"{name}/quantise", axis=1), restore] if from_floats else [restore]
    )


def _stored(editor: Editor, name: str, levels: int) -> tuple[str, NDArray[Any]]:
    """Name of the integers of a weight and its scales, both stored once."""
    scales = editor.array(f"{name}/scales")
    if scales is None:
        weight = editor.array(name)
        assert weight is not None
        integers, scales = by_column(weight, levels)
        editor.store(f"{name}/integers", integers)
        editor.store(f"{name}/scales", scales)
    return f"{name}/integers", scales


# -------------------------------------------------------------------------------------------------------------------- embeddings


def embeddings(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """FP32 tables of at least EMBEDDING_ROWS rows as S8 with a scale for each row, and how many there were. A row is read with its scale
    and multiplied out: the table is a quarter of its size in memory, too."""
    editor = Editor(model)
    users = _users(model.graph)
    found = 0

    def rewrite(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        nonlocal found
        table = editor.array(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.ndim != 2 or table.dtype != np.float32 or len(table) < EMBEDDING_ROWS:
            return None
        if any(user.op_type != "Gather" for user in users[node.input[0]]) or any(a.name == "axis" and a.i for a in node.attribute):
            return None
        found += 1
        integers, scales = by_column(np.ascontiguousarray(table.T))
        rows, name = node.input[0], node.name or node.output[0]
        editor.store(f"{rows}/integers", integers.T)
        editor.store(f"{rows}/row_scales", scales[:, None])
        return [
            helper.make_node("Gather", [f"{rows}/integers", node.input[1]], [f"{name}/row_integers"], name=f"{name}/rows"),
            helper.make_node("Cast", [f"{name}/row_integers"], [f"{name}/row_floats"], name=f"{name}/cast", to=onnx.TensorProto.FLOAT),
            helper.make_node("Gather", [f"{rows}/row_scales", node.input[1]], [f"{name}/row_scales"], name=f"{name}/row_scales"),
            helper.make_node("Mul", [f"{name}/row_floats", f"{name}/row_scales"], [node.output[0]], name=f"{name}/scaled"),
        ]

    editor.each(rewrite)
    return editor.finished(), found


def _users(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users
