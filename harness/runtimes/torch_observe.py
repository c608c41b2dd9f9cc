"""What PyTorch really runs: the operators of one call, as its dispatcher sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::mkldnn_linear", "mkldnn::_linear_pointwise")
QUANTISED = ("quantized::linear_dynamic",)
ATTENTION = ("scaled_dot_product", "flash_attention", "efficient_attention", "varlen_attn", "flex_attention")
PRODUCTS_OF_ATTENTION = 2  # queries by keys, weights by values


@dataclass(frozen=True, slots=True)
class Observed:
    """Operators of one call by name, and how often; `dtypes`: result types of the matrix products; `attention`: its kernels."""

    operators: Mapping[str, int]
    dtypes: Mapping[str, int]
    attention: Mapping[str, int]

    @property
    def matmul_dtype(self) -> str:
        """The type of most products; the head and what little else is told by `dtypes`."""
        return max(self.dtypes, key=self.dtypes.__getitem__, default="none")

    @property
    def quantised(self) -> dict[str, Any]:
        """INT8 products among all, those of attention included; a row's products of one layer count once."""
        quantised = self.dtypes.get("int8", 0)
        total = sum(self.dtypes.values()) + PRODUCTS_OF_ATTENTION * sum(self.attention.values())
        return {"quantised": quantised, "total": total, "share": round(quantised / total, 4) if total else 0.0}

    @property
    def nodes(self) -> dict[str, int]:
        """Operators by the library that has them: aten, mkldnn, quantized."""
        found: Counter[str] = Counter()
        for name, count in self.operators.items():
            found[name.partition("::")[0]] += count
        return dict(found)

    @property
    def attention_name(self) -> str:
        """The fused kernel, or `unfused` where attention is plain products."""
        return max(self.attention, key=self.attention.__getitem__, default="unfused").removeprefix("aten::").lstrip("_")


@dataclass(slots=True)
class _Counts:
    operators: Counter[str] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    attention: Counter[str] = field(default_factory=Counter)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, counts: _Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        with self:  # under inference_mode composite operators arrive whole: what they are made of is what runs
            parts = func.decompose(*args, **(kwargs or {}))
        if parts is not NotImplemented:
            return parts
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        self.counts.operators[name] += 1
        if name in QUANTISED:
            self.counts.dtypes["int8"] += 1
        elif name in PRODUCTS:
            self.counts.dtypes[str(result.dtype).removeprefix("torch.")] += 1
        elif any(part in name for part in ATTENTION):
            self.counts.attention[name] += 1
        return result


def observe(call: Callable[[], Any]) -> Observed:
    """Make the call and tell what ran. The call computes as ever, if slower."""
    counts = _Counts()
    with _Watch(counts):
        call()
    return Observed(dict(counts.operators), dict(counts.dtypes), dict(counts.attention))
