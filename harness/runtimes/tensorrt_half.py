"""An FP32 (or QDQ) ONNX graph rewritten to compute in FP16: what strongly typed TensorRT networks (10 and later) build FP16 from.

Weights and activations become FP16; the head, and anything that squares or exponentiates in separate nodes (a layer normalisation that the
exporter took apart), stays FP32 between casts, and so does arithmetic that ends in an index (MPNet's buckets of relative positions, which
FP16 puts into the wrong bucket). The outputs stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference, version_converter

OPSET = 19
"""The first in which QuantizeLinear and DequantizeLinear take FP16."""

LARGEST = 65504.0
"""Largest finite FP16 number. Masks of -3.4e38 become -65504: as hopeless after a softmax, and no infinity to make a NaN of."""

_SMALLEST = 2.0**-24
"""Smallest positive FP16 number. What a channel of zeros (a pruned one) has as its scale instead of 0, which would make NaNs."""

_FP32_OPS = frozenset({"Pow", "ReduceMean", "ReduceSum", "Sqrt", "Exp", "Log", "Range"})


def to_half(model: onnx.ModelProto, keep_head: bool = True) -> onnx.ModelProto:
    """A copy of `model` in FP16, its head in FP32 unless told otherwise. Leaves the model that was given as it is."""
    if next(entry.version for entry in model.opset_import if not entry.domain) < OPSET:
        model = version_converter.convert_version(model, OPSET)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for number, node in enumerate(copied.graph.node):
        node.name = node.name or f"unnamed_{number}"
    _Half(copied, head_nodes(copied.graph) if keep_head else frozenset()).rewrite()
    return copied


def head_nodes(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the last matrix product before the outputs and of everything behind it."""
    producers = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    waiting = [output.name for output in graph.output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        if node.op_type not in ("MatMul", "Gemm"):
            waiting.extend(node.input)
    return frozenset(found)


class _Half:
    """One rewriting. `kinds`: element type of every tensor as it was."""

    def __init__(self, model: onnx.ModelProto, keep: frozenset[str]) -> None:
        self.graph = model.graph
        self.kinds = _kinds(model)
        self.keep = keep | _deciding(model.graph, self.kinds)
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.half: set[str] = set()  # float tensors that are FP16 now
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[tuple[str, int], str] = {}

    def rewrite(self) -> None:
        for node in list(self.graph.node):
            self._keep(node) if self._stays(node) else self._convert(node)
        for output in self.graph.output:
            self._restore(output)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]
        self._drop_unused()

    def _stays(self, node: onnx.NodeProto) -> bool:
        return node.name in self.keep or node.op_type in _FP32_OPS

    def _keep(self, node: onnx.NodeProto) -> None:
        for place, name in enumerate(node.input):
            if name in self.half:
                node.input[place] = self._cast(name, TensorProto.FLOAT)
        self.nodes.append(node)

    def _convert(self, node: onnx.NodeProto) -> None:
        quantises = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for place, name in enumerate(node.input):
            if self.kinds.get(name) == TensorProto.FLOAT and name not in self.half:
                least = _SMALLEST if quantises and place == 1 else 0.0
                node.input[place] = self._constant(name, least) if name in self.constants else self._cast(name, TensorProto.FLOAT16)
        for attribute in node.attribute:
            _convert_attribute(node, attribute)
        self.half.update(name for name in node.output if self.kinds.get(name) == TensorProto.FLOAT)
        self.nodes.append(node)

    def _cast(self, name: str, kind: int) -> str:
        """Name of `name` as `kind`, made where it is first needed."""
        if (name, kind) not in self.made:
            made = f"{name}_as_{'half' if kind == TensorProto.FLOAT16 else 'float'}"
            self.nodes.append(helper.make_node("Cast", [name], [made], name=f"Cast_{made}", to=kind))
            self.made[name, kind] = made
        return self.made[name, kind]

    def _constant(self, name: str, least: float) -> str:
        """Name of an initialiser in FP16; the FP32 one stays for nodes that are kept, and is dropped where there are none. `least`: what
        its positive values, a quantiser's scales, may not fall below (0: they are no scales)."""
        if (name, TensorProto.FLOAT16) not in self.made:
            made = f"{name}_as_half"
            self.graph.initializer.append(_halved(self.constants[name], made, least))
            self.made[name, TensorProto.FLOAT16] = made
        return self.made[name, TensorProto.FLOAT16]

    def _restore(self, output: onnx.ValueInfoProto) -> None:
        if output.name not in self.half:
            return
        inner = f"{output.name}_in_half"
        for node in self.nodes:
            _rename(node.output, output.name, inner)
            _rename(node.input, output.name, inner)
        self.nodes.append(helper.make_node("Cast", [inner], [output.name], name=f"Cast_{output.name}", to=TensorProto.FLOAT))

    def _drop_unused(self) -> None:
        used = {name for node in self.graph.node for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _deciding(graph: onnx.GraphProto, kinds: Mapping[str, int]) -> frozenset[str]:
    """Names of nodes whose floats become integers or truth values, there or further on, back to the last matrix product: nearly right is
    wrong there."""
    producers = {name: node for node in graph.node for name in node.output}
    deciding = [node for node in graph.node if _decides(node, kinds)]
    found = {node.name for node in deciding}
    waiting = [name for node in deciding for name in node.input]
    while waiting:
        node = producers.get(name := waiting.pop())
        if node is None or node.name in found or kinds.get(name) != TensorProto.FLOAT or node.op_type in ("MatMul", "Gemm"):
            continue
        found.add(node.name)
        waiting.extend(node.input)
    return frozenset(found)


def _decides(node: onnx.NodeProto, kinds: Mapping[str, int]) -> bool:
    """Floats in, none out; a node that asks for the shape alone, or quantises, does not mind how exact they are."""
    if node.op_type in ("Shape", "Size", "QuantizeLinear", "DynamicQuantizeLinear"):
        return False
    floats_in = any(kinds.get(name) == TensorProto.FLOAT for name in node.input)
    return floats_in and not any(kinds.get(name) == TensorProto.FLOAT for name in node.output)


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model).graph
    known = [*graph.value_info, *graph.input, *graph.output]
    return {value.name: value.type.tensor_type.elem_type for value in known} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def _convert_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    """Constants, fills and casts to float say FP16 instead."""
    if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
        attribute.t.CopyFrom(_halved(attribute.t, attribute.t.name))
    elif attribute.name == "to" and node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.FLOAT16


def _halved(tensor: onnx.TensorProto, name: str, least: float = 0.0) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    return numpy_helper.from_array(np.clip(values, least or -LARGEST, LARGEST).astype(np.float16), name)


def _rename(names: Any, old: str, new: str) -> None:
    for place, name in enumerate(names):
        if name == old:
            names[place] = new
