"""What an engine really computes in, read from TensorRT's engine inspector: the kernels it chose, not the flags it was given.

TensorRT 10 and later name every kernel. Older versions fuse a transformer into one opaque Myelin node; then nothing is claimed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import BackendError

_MATMUL = re.compile(r"gemm|matmul|matrixmultiply|matrix_multiply|fully_?connected|fmha|_mha|xmma", re.IGNORECASE)
_ATTENTION = re.compile(r"mha", re.IGNORECASE)
_NO_MATMUL = re.compile(r"^(reformat|cast|kgen|noop|move|shape|constant|copy)", re.IGNORECASE)

_TACTIC_TYPES = (
    ("int8", re.compile(r"(?<![a-z0-9])i8|i8i8|int8|imma|s8s8", re.IGNORECASE)),
    ("tf32", re.compile(r"tf32", re.IGNORECASE)),
    ("bf16", re.compile(r"bf16", re.IGNORECASE)),
    ("fp16", re.compile(r"f16f16|fp16|hmma|h\d{4,5}|hgemm|_f16_", re.IGNORECASE)),
    ("fp32", re.compile(r"f32f32|fp32|sgemm|ffma", re.IGNORECASE)),
)
"""In the order in which they are looked for: `i8f16_i8i32_f16` is an INT8 kernel with FP16 results. Names as in NVIDIA's engine dumps:
sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x32_stage4_warpsize2x2x1_tensor16x8x16."""

_TENSOR_TYPES = {"int8": "int8", "bf16": "bf16", "bfloat16": "bf16", "half": "fp16", "fp16": "fp16", "float": "fp32", "fp32": "fp32"}
_TENSOR_CORES = re.compile(r"tensor\d+x\d+x\d+|gmma", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layers:
    """An engine's layers: how many of each kind, the type of each matrix product (`unknown` where no name tells), how many are opaque,
    how many are fused attention, and the shapes of tensor-core instructions that kernel names show."""

    kinds: Mapping[str, int]
    matmuls: Mapping[str, int]
    opaque: int
    attention: int = 0
    tensor_cores: tuple[str, ...] = field(default=())

    @property
    def known(self) -> int:
        """Matrix products whose type is known."""
        return sum(count for kind, count in self.matmuls.items() if kind != "unknown")

    @property
    def share(self) -> dict[str, Any]:
        """What `describe` calls quantised_matmuls; the share is None where nothing is known."""
        quantised = self.matmuls.get("int8", 0)
        return {"quantised": quantised, "total": self.known, "share": round(quantised / self.known, 4) if self.known else None}


def layers(information: str) -> Layers:
    """From the JSON of `EngineInspector.get_engine_information`, whose layers are objects (detailed) or bare names."""
    listed = [entry if isinstance(entry, dict) else {"Name": str(entry)} for entry in json.loads(information).get("Layers", [])]
    matmuls = [entry for entry in listed if _is_matmul(entry)]
    return Layers(
        kinds=dict(sorted(Counter(_kind(entry) for entry in listed).items())),
        matmuls=dict(sorted(Counter(_type(entry) for entry in matmuls).items())),
        opaque=sum(_kind(entry) == "Myelin" for entry in listed),
        attention=sum(bool(_ATTENTION.search(_tactic(entry))) for entry in listed),
        tensor_cores=tuple(sorted({found.lower() for entry in matmuls for found in _TENSOR_CORES.findall(_tactic(entry))})),
    )


def check(precision: str, found: Layers, network: Mapping[str, int], typed: bool) -> str:
    """Type of most matrix products. Raises BackendError where the kernels, or for an opaque engine the strongly typed network, say that
    `precision` is not what most of them, or FP32 not what all of them, compute in."""
    counts = {kind: count for kind, count in found.matmuls.items() if kind != "unknown"} or (dict(network) if typed else {})
    if not counts:
        return "unknown"
    most = max(counts, key=lambda kind: (counts[kind], kind == precision))
    wrong = set(counts) - {"fp32"} if precision == "fp32" else {most} - {precision}
    if wrong:
        told = ", ".join(f"{count} in {kind}" for kind, count in sorted(counts.items()))
        raise BackendError(f"tensorrt:{precision} was asked for, but the engine's matrix products are: {told}", _CURES[precision])
    return most


def network_matmuls(trt: Any, network: Any) -> dict[str, int]:
    """Matrix products of a parsed network by the type they are to be computed in: INT8 where both operands come out of a dequantisation."""
    listed = [network.get_layer(number) for number in range(network.num_layers)]
    makers = {layer.get_output(0).name: layer for layer in listed}
    products = [layer for layer in listed if layer.type == trt.LayerType.MATRIX_MULTIPLY]
    return dict(sorted(Counter(_network_type(trt, layer, makers) for layer in products).items()))


def _network_type(trt: Any, layer: Any, makers: Mapping[str, Any]) -> str:
    operands = [layer.get_input(0), layer.get_input(1)]
    if all(_origin(trt, tensor, makers) == trt.LayerType.DEQUANTIZE for tensor in operands):
        return "int8"
    name = str(operands[0].dtype).rpartition(".")[2]
    return {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}.get(name, name.lower())


def _origin(trt: Any, tensor: Any, makers: Mapping[str, Any]) -> Any:
    """Kind of the layer that a tensor's values come from, reshapes and transposes aside."""
    layer = makers.get(tensor.name)
    while layer is not None and layer.type == trt.LayerType.SHUFFLE:
        layer = makers.get(layer.get_input(0).name)
    return None if layer is None else layer.type


def _is_matmul(entry: Mapping[str, Any]) -> bool:
    if _NO_MATMUL.search(_kind(entry)):
        return False
    return bool(_MATMUL.search(_kind(entry)) or _MATMUL.search(_tactic(entry)))


def _kind(entry: Mapping[str, Any]) -> str:
    """LayerType, "Myelin" for a fused region that shows nothing of its inside, "unnamed" where only names were kept."""
    kind = str(entry.get("LayerType", "unnamed"))
    return "Myelin" if kind == "Myelin" or str(entry.get("Name", "")).startswith("{ForeignNode") else kind


def _tactic(entry: Mapping[str, Any]) -> str:
    return str(entry.get("TacticName", ""))


def _type(entry: Mapping[str, Any]) -> str:
    """By the kernel's name, else by the type of what goes in."""
    by_name = next((kind for kind, pattern in _TACTIC_TYPES if pattern.search(_tactic(entry))), None)
    return by_name or _tensor_type(entry.get("Inputs", ())) or "unknown"


def _tensor_type(tensors: Iterable[Mapping[str, Any]]) -> str | None:
    for tensor in tensors:
        text = str(tensor.get("Format/Datatype", tensor.get("Format", ""))).lower()
        if found := next((kind for word, kind in _TENSOR_TYPES.items() if word in text), None):
            return found
    return None


_CURES = {
    "fp32": "Report this TensorRT version: TF32 and FP16 were switched off.",
    "fp16": "Use tensorrt:fp32, or a GPU with FP16 tensor cores.",
    "int8": "Use tensorrt:fp16, or a GPU with INT8 tensor cores (compute capability 7.5 or later).",
}
