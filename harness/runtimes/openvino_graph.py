"""What OpenVINO's CPU plugin really executes, read from its runtime model: layers, their precision, and the kernel behind each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DTYPES: Mapping[str, str] = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "i8": "int8", "u8": "int8"}
"""OpenVINO's names of precisions, and the ones `describe` uses for all runtimes."""

_LINEAR = "FullyConnected"
_PRODUCTS = (_LINEAR, "MatMul", "ScaledDotProductAttention")
_IDLE = ("Const", "Input", "Output")
_FACTS = ("layerType", "runtimePrecision", "outputPrecisions", "primitiveType", "originalLayersNames")


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of the runtime model.

    precision  of what it computes; of generated code, whose inputs may be a mask of bytes, that of its result
    kernel     known after the first call
    original   names of the ONNX nodes fused into it
    """

    kind: str
    precision: str
    kernel: str
    original: str

    @property
    def multiplies(self) -> bool:
        """It holds a matrix product: a linear layer, or attention fused into a subgraph of generated code."""
        return self.kind in _PRODUCTS or self.fused

    @property
    def fused(self) -> bool:
        """It is a block of attention in generated code."""
        return self.kind == "ScaledDotProductAttention" or (self.kind == "Subgraph" and "matmul" in self.original.lower())


def layers(compiled: Any) -> list[Layer]:
    """The executed layers of an `openvino.CompiledModel`, in order; constants, inputs and outputs left out."""
    found = (_layer(node.get_rt_info()) for node in compiled.get_runtime_model().get_ordered_ops())
    return [layer for layer in found if layer.kind not in _IDLE]


def _layer(info: Any) -> Layer:
    kind, precision, results, kernel, original = (info[name].astype(str) if name in info else "" for name in _FACTS)
    return Layer(kind, results.partition(",")[0] if kind == "Subgraph" else precision, kernel, original)


def matmul_dtypes(found: Iterable[Layer]) -> Counter[str]:
    """How many nodes with matrix products run in which type."""
    return Counter(DTYPES.get(layer.precision, layer.precision) for layer in found if layer.multiplies)


def kernels(found: Iterable[Layer]) -> Counter[str]:
    """How many nodes with matrix products run in which kernel, such as brgemm_avx512_bf16."""
    return Counter(layer.kernel for layer in found if layer.multiplies)


def quantised(found: Iterable[Layer]) -> dict[str, Any]:
    """Linear layers, all of them and those in INT8; no runtime here quantises the two products of attention."""
    linear = [DTYPES.get(layer.precision) for layer in found if layer.kind == _LINEAR]
    count = linear.count("int8")
    return {"quantised": count, "total": len(linear), "share": round(count / max(1, len(linear)), 4)}


def attention(found: Iterable[Layer]) -> str:
    """How attention runs: in fused blocks, or product by product."""
    blocks = sum(layer.fused for layer in found)
    return f"fused, {blocks} blocks" if blocks else "separate matrix products and softmax"


def instructions(compiled: Any) -> str:
    """Instruction sets that oneDNN chose on this CPU, in its own words; empty where this OpenVINO does not tell.

    `OPTIMIZATION_CAPABILITIES` is no answer: 2026.4 lists BF16 there as well where oneDNN is held to an instruction set without it.
    """
    try:
        told = str(compiled.get_property("RUNTIME_REQUIREMENTS"))
    except RuntimeError:
        return ""
    return next((part.removeprefix("isa=") for part in told.split(";") if part.startswith("isa=")), "")
