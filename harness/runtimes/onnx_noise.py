"""Which products lose most when they are made of integers: measured one by one on FP32 activations, without running the integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from harness.runtimes.onnx_calibrate import Feed, Graph
from harness.runtimes.onnx_edit import Product, with_outputs
from harness.runtimes.onnx_integers import Range, by_column, unsigned

ROWS = 256
"""Tokens of each activation that are looked at."""

_GELU = ("Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Erf", "Relu")
_STEPS = 5  # from a product back to the Erf of a GELU in standard operators: Mul, Mul, Add, Erf


def noisiest(base: onnx.ModelProto, asked: Sequence[Product], ranges: Mapping[str, Range], given: Sequence[Feed], levels: int) -> list[str]:
    """Names of the products, the one with most noise of its own first. An activation without a range gets that of its values, as in a
    dynamic graph."""
    names = sorted({product.activation for product in asked})
    graph = Graph(with_outputs(base, [name for name in names if name not in {output.name for output in base.graph.output}]))
    seen = [graph(feed, names) for feed in given]
    rows = {
        name: np.concatenate([values[number].reshape(-1, values[number].shape[-1]) for values in seen])[:ROWS]
        for number, name in enumerate(names)
    }
    weights = {weight.name: weight for weight in base.graph.initializer}
    noise = {}
    for product in asked:
        activation, weight = rows[product.activation], numpy_helper.to_array(weights[product.weight])
        noise[product.node] = own_noise(activation, weight, ranges.get(product.activation), levels)
    return sorted(noise, key=lambda name: -noise[name])


def own_noise(activation: NDArray[Any], weight: NDArray[Any], found: Range | None, levels: int = 127) -> float:
    """Root mean square of the change that integers make to one product, as a share of the product's own.

    activation  (rows, in), in the range `found` (None: of its values)
    weight      (in, out)
    """
    scale, zero = unsigned(found or Range(float(activation.min()), float(activation.max())))
    restored = (np.clip(np.round(activation / scale) + int(zero), 0, 255) - int(zero)) * scale
    integers, scales = by_column(weight, levels)
    exact = activation @ weight
    change = restored @ (integers * scales) - exact
    return float(np.sqrt(np.mean(change**2)) / max(float(np.sqrt(np.mean(exact**2))), 1e-12))


def behind_gelu(graph: onnx.GraphProto, asked: Sequence[Product]) -> set[str]:
    """Those of the products whose activation comes from a GELU (or ReLU): the second one of each feed-forward block, whose input has the
    outliers of a transformer."""
    made = {name: node for node in graph.node for name in node.output}
    return {product.node for product in asked if _has_gelu(product.activation, made)}


def _has_gelu(name: str, made: Mapping[str, onnx.NodeProto]) -> bool:
    waiting = [name]
    for _ in range(_STEPS):
        nodes = [made[name] for name in waiting if name in made and made[name].op_type not in ("MatMul", "LayerNormalization")]
        if any(node.op_type in _GELU for node in nodes):
            return True
        waiting = [name for node in nodes for name in node.input]
    return False
