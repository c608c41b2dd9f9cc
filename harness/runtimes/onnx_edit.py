"""Rewriting ONNX graphs: a copy that is taken apart node by node, and written in an order in which it can run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Rewrite = Callable[["Editor", onnx.NodeProto], list[onnx.NodeProto] | None]
"""What takes the place of a node, None to keep it."""


@dataclass(frozen=True, slots=True)
class Product:
    """A MatMul of an activation and a stored matrix (in, out): names of the node, of its first input and of the matrix."""

    node: str
    activation: str
    weight: str


class Editor:
    """A copy of `model` to rewrite. `weights` are its stored arrays by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        del self.graph.value_info[:]  # shapes and types of what may be gone

    def array(self, name: str) -> NDArray[Any] | None:
        """A stored array, None where `name` is computed."""
        return numpy_helper.to_array(self.weights[name]) if name in self.weights else None

    def store(self, name: str, values: NDArray[Any]) -> str:
        """Keeps an array under `name`, once."""
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def each(self, rewrite: Rewrite) -> None:
        """Puts what `rewrite` gives in the place of each node."""
        nodes = list(self.graph.node)
        written: list[onnx.NodeProto] = []
        for node in nodes:
            found = rewrite(self, node)
            written += [node] if found is None else found
        copies = [_copied(node) for node in written]
        del self.graph.node[:]
        self.graph.node.extend(copies)

    def finished(self) -> onnx.ModelProto:
        """The rewritten model, without stored arrays that nothing uses."""
        used = {name for node in self.graph.node for name in node.input} | {output.name for output in self.graph.output}
        del self.graph.initializer[:]
        self.graph.initializer.extend(weight for name, weight in self.weights.items() if name in used)
        return self.model


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def given(node: onnx.NodeProto, position: int) -> str:
    """Name of an input, "" where the node has none there."""
    return node.input[position] if len(node.input) > position else ""


# ------------------------------------------------------------------------------------------------------------------- same graph


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with every product by a stored matrix as a MatMul of its own, each node with a name: Gemm and Attention are taken
    apart, stored matrices that are turned at run time are turned now, and the fused embedding becomes its parts."""
    editor = Editor(model)
    numbers = iter(range(len(model.graph.node)))
    _without_names_of_weights(editor)
    for rewrite in (_stored_constant, _turned, _from_gemm, _from_attention, from_embedding):
        editor.each(rewrite)
    for node in editor.graph.node:
        node.name = node.name or f"assay_{node.op_type}_{next(numbers)}"
    return editor.finished()


def _without_names_of_weights(editor: Editor) -> None:
    """A weight that several layers share (ALBERT) is stored once and reaches the others through Identity: those are left out, and every
    layer uses the weight by its own name."""
    results = {output.name for output in editor.graph.output}
    names: dict[str, str] = {}
    kept = []
    for node in editor.graph.node:
        source = names.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type == "Identity" and source in editor.weights and node.output[0] not in results:
            names[node.output[0]] = source
        else:
            kept.append(_copied(node))
    for node in kept:
        node.input[:] = [names.get(name, name) for name in node.input]
    del editor.graph.node[:]
    editor.graph.node.extend(kept)


def products(graph: onnx.GraphProto) -> tuple[Product, ...]:
    """MatMuls by a stored FP32 matrix, in the order of the graph."""
    stored = {weight.name for weight in graph.initializer if weight.data_type == onnx.TensorProto.FLOAT and len(weight.dims) == 2}
    return tuple(
        Product(node.name, node.input[0], node.input[1]) for node in graph.node if node.op_type == "MatMul" and node.input[1] in stored
    )


def _stored_constant(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Matrices that stand in Constant nodes are stored like others."""
    value = attributes(node).get("value") if node.op_type == "Constant" else None
    if not isinstance(value, onnx.TensorProto) or len(value.dims) != 2:
        return None
    editor.store(node.output[0], numpy_helper.to_array(value))
    return []


def _turned(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    array = editor.array(node.input[0]) if node.op_type == "Transpose" else None
    if array is None or array.ndim != 2 or attributes(node).get("perm", [1, 0]) != [1, 0]:
        return None
    editor.store(node.output[0], array.T)
    return []


def _from_gemm(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """MatMul and Add for a Gemm by a stored matrix that scales nothing."""
    found = attributes(node)
    array = editor.array(node.input[1]) if node.op_type == "Gemm" else None
    if array is None or found.get("transA", 0) or found.get("alpha", 1.0) != 1.0 or found.get("beta", 1.0) != 1.0:
        return None
    weight = editor.store(f"{node.input[1]}/turned", array.T) if found.get("transB", 0) else node.input[1]
    name = node.name or node.output[0]
    if not given(node, 2):
        return [helper.make_node("MatMul", [node.input[0], weight], [node.output[0]], name=name)]
    return [
        helper.make_node("MatMul", [node.input[0], weight], [f"{name}/product"], name=name),
        helper.make_node("Add", [f"{name}/product", node.input[2]], [node.output[0]], name=f"{name}/bias"),
    ]


_KEPT_BY_ATTENTION = ("num_heads", "mask_filter_value", "scale")


def _from_attention(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Three products and MultiHeadAttention for ONNX Runtime's Attention, so that one form of product serves every kind of integers."""
    if node.op_type != "Attention" or node.domain != "com.microsoft" or any(node.input[4:]):
        return None
    found, weight = attributes(node), editor.array(node.input[1])
    if weight is None or weight.shape[1] % 3 or set(found) - set(_KEPT_BY_ATTENTION) - {"unidirectional"} or found.get("unidirectional"):
        return None
    name, width = node.name or node.output[0], weight.shape[1] // 3
    parts = []
    for number, part in enumerate(("query", "key", "value")):
        columns = editor.store(f"{node.input[1]}/{part}", weight[:, number * width : (number + 1) * width])
        parts.append(helper.make_node("MatMul", [node.input[0], columns], [f"{name}/{part}_product"], name=f"{name}/{part}"))
    kept = {key: value for key, value in found.items() if key in _KEPT_BY_ATTENTION}
    inputs = [*(part.output[0] for part in parts), given(node, 2), given(node, 3)]
    return [
        *parts,
        helper.make_node("MultiHeadAttention", inputs, [node.output[0]], name=f"{name}/attention", domain="com.microsoft", **kept),
    ]


def from_embedding(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Gather, Add and SkipLayerNormalization for ONNX Runtime's EmbedLayerNormalization, which reads FP32 tables only."""
    if node.op_type != "EmbedLayerNormalization" or any(node.input[8:]) or any(node.output[2:]) or not given(node, 4):
        return None
    ids, segments, words, positions, kinds, gamma, beta = node.input[:7]
    name = node.name or node.output[0]
    zero, one, two = (editor.store(f"assay/{value}", np.array([value], np.int64)) for value in range(3))
    table = [
        helper.make_node("Gather", [words, ids], [f"{name}/words"], name=f"{name}/words"),
        helper.make_node("Gather", [kinds, segments], [f"{name}/segments"], name=f"{name}/segments"),
        helper.make_node("Shape", [ids], [f"{name}/shape"], name=f"{name}/shape"),
        helper.make_node("Slice", [f"{name}/shape", one, two, zero], [f"{name}/length"], name=f"{name}/length"),
        helper.make_node("Slice", [positions, zero, f"{name}/length", zero], [f"{name}/positions"], name=f"{name}/positions"),
        helper.make_node("Add", [f"{name}/words", f"{name}/positions"], [f"{name}/placed"], name=f"{name}/placed"),
        helper.make_node(
            "SkipLayerNormalization",
            [f"{name}/placed", f"{name}/segments", gamma, beta],
            [node.output[0]],
            name=f"{name}/normalised",
            domain="com.microsoft",
            epsilon=attributes(node).get("epsilon", 1e-12),
        ),
    ]
    if len(node.output) > 1 and node.output[1]:
        if not given(node, 7):
            return None
        table.append(helper.make_node("ReduceSum", [given(node, 7), one], [node.output[1]], name=f"{name}/real_tokens", keepdims=0))
    return table


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The model with these float tensors as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return copy
