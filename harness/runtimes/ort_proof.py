"""What ONNX Runtime really ran: every executed node with its provider, from the runtime's own trace of a call, and how it multiplied."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BackendError
from harness.runtimes import cpu
from harness.runtimes.onnx_graph_facts import FLOAT, INTEGER
from harness.runtimes.ort_providers import BUILDERS, Provider

ATTENTION = ("QAttention", "Attention", "MultiHeadAttention", "PackedAttention")
"""Fused attention, by operator."""

_COMPUTE = {*FLOAT, *INTEGER, *ATTENTION, "Softmax", "LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization"}
_COMPUTE |= {"InstanceNormalization", "BiasGelu", "Gelu", "FastGelu", "Erf"}
"""What a GPU must run itself. Shapes and masks may be computed on the CPU, where ONNX Runtime puts them on purpose."""

_FLOAT_SETS = ("avx512f", "avx2", "asimd")
_INTEGER_SETS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")


@dataclass(frozen=True, slots=True)
class Executed:
    """Nodes that ran in one call: how many by (provider, operator). Engines of TensorRT are one node each."""

    nodes: Mapping[tuple[str, str], int]

    @property
    def providers(self) -> dict[str, int]:
        """Nodes by provider ("CPU", "CUDA" ...)."""
        found: Counter[str] = Counter()
        for (provider, _), count in self.nodes.items():
            found[provider.removesuffix("ExecutionProvider")] += count
        return dict(found)

    @property
    def operators(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for (_, operator), count in self.nodes.items():
            found[operator] += count
        return dict(found.most_common())

    @property
    def attention(self) -> str:
        """The fused operator that computed attention, or that none did."""
        return next((name for name in ATTENTION if name in self.operators), "unfused (MatMul, Softmax, MatMul)")


def executed(session: Any) -> Executed:
    """Ends the profile of `session` after one call and reads what ran. Raises BackendError where the trace holds no node."""
    trace = Path(session.end_profiling())
    events = json.loads(trace.read_text(encoding="utf-8"))
    trace.unlink()
    found = Counter(
        (event["args"]["provider"], event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event.get("args", {}).get("provider")
    )
    if not found:
        raise BackendError("onnxruntime: the trace of a call names no executed node", "Report it, with the version of onnxruntime.")
    return Executed(found)


def check_provider(found: Executed, provider: Provider) -> None:
    """Raises BackendError where a node that computes ran elsewhere than on `provider`."""
    elsewhere = Counter(
        {operator: n for (name, operator), n in found.nodes.items() if operator in _COMPUTE and name != provider.registered}
    )
    if elsewhere:
        listed = ", ".join(f"{n} {operator}" for operator, n in elsewhere.most_common())
        raise BackendError(
            f"onnxruntime: {provider.short} was asked for, and {listed} ran on another provider",
            "Use another precision or provider: a mix of both is neither.",
        )
    if provider.short not in found.providers:
        raise BackendError(f"onnxruntime: {provider.short} was asked for and ran no node: {found.providers}", "Run `doctor`.")


def quantised(optimised: Path) -> dict[str, Any]:
    """Share of the products by weights that are integer in the graph ONNX Runtime made at load: {quantised, total, share}.

    Raises BackendError where none is: an INT8 file that would run in FP32.
    """
    import onnx

    from harness.runtimes.onnx_graph_facts import matmuls

    found = matmuls(onnx.load(str(optimised)).graph)
    if not found.integer:
        raise BackendError(
            f"onnxruntime: none of {found.total} products of the INT8 graph runs in integers here; they would run in FP32",
            "Use onnxruntime:fp32, or another version of onnxruntime.",
        )
    return {"quantised": found.integer, "total": found.total, "share": round(found.integer / max(1, found.total), 4)}


def instructions(integer: bool, cpuinfo: Path = cpu.CPUINFO) -> list[str]:
    """Vector instruction sets of this CPU that ONNX Runtime's kernels (MLAS) have code for, widest first; empty where it cannot be told."""
    flags = cpu.flags(cpuinfo)
    return [name for name in ((*_INTEGER_SETS, *_FLOAT_SETS) if integer else _FLOAT_SETS) if name in flags]


def matmul_dtype(found: Executed, precision: str, provider: Provider) -> str:
    """Type of the products: as the executed operators say on the CPU, as the engine was built elsewhere."""
    if provider.name in BUILDERS or provider.on_gpu:
        return {"fp32": "float32", "fp16": "float16"}.get(precision, "int8")
    return "int8" if set(found.operators) & set(INTEGER) else "float32"
