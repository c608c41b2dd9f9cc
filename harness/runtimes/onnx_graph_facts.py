"""What a graph multiplies, and in which arithmetic: counted from its nodes, no session needed.

Meant for a quantised file as well as for the graph that ONNX Runtime writes after its own optimisation, in which QDQ and dynamic patterns
have become fused integer nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

FLOAT = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Attention")
INTEGER = ("MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "QAttention")
"""Operators of ONNX and of ONNX Runtime (domain com.microsoft) that multiply by a weight, by arithmetic. Attention and QAttention hold the
projections to query, key and value as one product."""

_PASSING = ("Cast", "DequantizeLinear", "QuantizeLinear", "Transpose", "Identity", "Reshape")
"""What may stand between a weight in the file and the product that uses it."""


@dataclass(frozen=True, slots=True)
class Matmuls:
    """Products of an activation and a weight, by how they are written; `activations` are products of two activations (attention scores and
    contexts), which no backend here quantises."""

    integer: int
    qdq: int
    floating: int
    activations: int

    @property
    def quantised(self) -> int:
        return self.integer + self.qdq

    @property
    def total(self) -> int:
        return self.integer + self.qdq + self.floating

    def facts(self) -> dict[str, Any]:
        """What `describe` shows under `quantised_matmuls`."""
        return {"quantised": self.quantised, "total": self.total, "share": round(self.quantised / max(1, self.total), 4)}


def matmuls(graph: onnx.GraphProto) -> Matmuls:
    """Counts over the nodes of `graph` (not of graphs inside its nodes)."""
    made = {name: node for node in graph.node for name in node.output}
    constant = {weight.name for weight in graph.initializer}
    counts = Counter(_arithmetic(node, made, constant) for node in graph.node)
    return Matmuls(counts["integer"], counts["qdq"], counts["floating"], counts["activations"])


def _arithmetic(node: onnx.NodeProto, made: Mapping[str, onnx.NodeProto], constant: set[str]) -> str:
    if node.op_type in INTEGER:
        return "integer" if any(_is_weight(name, made, constant) for name in node.input) else "activations"
    if node.op_type not in FLOAT:
        return "none"
    if not any(_is_weight(name, made, constant) for name in node.input[:2]):
        return "activations"
    from_integers = [(source := made.get(name)) is not None and source.op_type == "DequantizeLinear" for name in node.input[:2]]
    return "qdq" if all(from_integers) else "floating"


def _is_weight(name: str, made: Mapping[str, onnx.NodeProto], constant: set[str]) -> bool:
    """Whether a matrix is stored in the file, perhaps in another type or order."""
    while name in made and made[name].op_type in _PASSING:
        name = made[name].input[0]
    return name in constant or (name in made and made[name].op_type == "Constant")


def operators(graph: onnx.GraphProto) -> dict[str, int]:
    """Nodes by operator, most frequent first."""
    return dict(Counter(node.op_type for node in graph.node).most_common())


def weight_bytes(graph: onnx.GraphProto) -> dict[str, int]:
    """Bytes of the stored matrices and vectors, by their type (FLOAT, INT8 ...), largest first."""
    counts: Counter[str] = Counter()
    for weight in graph.initializer:
        counts[onnx.TensorProto.DataType.Name(weight.data_type)] += _bytes(weight)
    return dict(counts.most_common())


def _bytes(weight: onnx.TensorProto) -> int:
    size = int(onnx.helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize)
    for dimension in weight.dims:
        size *= dimension
    return size


def heads(graph: onnx.GraphProto, products: set[str]) -> set[str]:
    """Those of the nodes named in `products` whose result reaches an output of the graph through no other of them: the last layers."""
    made = {name: node for node in graph.node for name in node.output}
    return {node.name for output in graph.output for node in _last(output.name, made, products)}


def _last(name: str, made: Mapping[str, onnx.NodeProto], products: set[str]) -> Iterator[onnx.NodeProto]:
    waiting, seen = [name], set()
    while waiting:
        node = made.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.name in products:
            yield node
        else:
            waiting += node.input
