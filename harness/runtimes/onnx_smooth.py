"""SmoothQuant (Xiao et al. 2023): channels of an activation that are much larger than the others are divided, and the rows of the weight
they meet multiplied, so that one scale for the whole activation leaves enough steps for the small channels. In FP32 the function stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from harness.runtimes.onnx_calibrate import Feed, Graph
from harness.runtimes.onnx_edit import Editor, Product, products, with_outputs
from harness.runtimes.onnx_noise import own_noise

WINS = 0.6
"""A product is smoothed where its own noise falls below this share of what it was: the division is one more pass over the activation."""

ROWS = 512
"""Tokens that the noise is measured on."""

_LEAST = 1e-5


def smoothed(model: onnx.ModelProto, given: Sequence[Feed], levels: int) -> tuple[onnx.ModelProto, list[str]]:
    """The same function with the activations smoothed for which that wins enough on the samples `given`, and their names."""
    groups = _groups(products(model.graph))
    names = sorted(groups)
    graph = Graph(with_outputs(model, [name for name in names if name not in {output.name for output in model.graph.output}]))
    seen = [graph(feed, names) for feed in given]
    editor = Editor(model)
    scales = {}
    for number, name in enumerate(names):
        rows = np.concatenate([values[number].reshape(-1, values[number].shape[-1]) for values in seen])
        weights = [editor.array(product.weight) for product in groups[name]]
        found = _scales(rows, np.concatenate([weight for weight in weights if weight is not None], axis=1), levels)
        if found is not None:
            scales[name] = found
    return _applied(editor, groups, scales), sorted(scales)


def _groups(asked: Sequence[Product]) -> dict[str, list[Product]]:
    """Products by their activation, without weights that meet several activations (layers that share them)."""
    meets: dict[str, set[str]] = {}
    for product in asked:
        meets.setdefault(product.weight, set()).add(product.activation)
    groups: dict[str, list[Product]] = {}
    for product in asked:
        groups.setdefault(product.activation, []).append(product)
    return {name: group for name, group in groups.items() if all(len(meets[product.weight]) == 1 for product in group)}


def _scales(rows: NDArray[Any], weight: NDArray[Any], levels: int) -> NDArray[np.float32] | None:
    """What each channel is divided by, (in,): the root of its largest value over the largest of its weights (alpha = 0.5 of the paper);
    None where it wins too little."""
    largest, met = np.abs(rows).max(axis=0), np.abs(weight).max(axis=1)
    scales = np.sqrt(np.maximum(largest, _LEAST) / np.maximum(met, _LEAST)).astype(np.float32)
    few = rows[:ROWS]
    before, after = own_noise(few, weight, None, levels), own_noise(few / scales, weight * scales[:, None], None, levels)
    return scales if after < WINS * before else None


def _applied(editor: Editor, groups: Mapping[str, Sequence[Product]], scales: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    chosen = {product.node: product for name in scales for product in groups[name]}
    done: set[str] = set()

    def rewrite(editor: Editor, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        product = chosen.get(node.name)
        if product is None:
            return None
        name, by = product.activation, scales[product.activation]
        weight = editor.array(product.weight)
        assert weight is not None
        editor.store(f"{product.weight}/smooth", weight * by[:, None])
        editor.store(f"{name}/smoothing", 1 / by)
        divide = helper.make_node("Mul", [name, f"{name}/smoothing"], [f"{name}/smooth"], name=f"{name}/smoothed")
        written = [] if name in done else [divide]
        done.add(name)
        return [*written, helper.make_node("MatMul", [f"{name}/smooth", f"{product.weight}/smooth"], list(node.output), name=node.name)]

    editor.each(rewrite)
    return editor.finished()
