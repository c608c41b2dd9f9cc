"""What a run computed and how fast: operations of the real tokens, those of padding, and the time spent computing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.batching import Policy, padded_lengths
from harness.core import Columns, Int64, IntArray, Samples
from harness.model_facts import Head, each_operations

_DTYPES = {
    "fp32": ("float32", "fp32", "f32"),
    "tf32": ("tf32",),
    "bf16": ("bfloat16", "bf16"),
    "fp16": ("float16", "fp16", "f16", "half"),
    "int8": ("int8", "uint8", "s8", "u8", "i8", "u8s8", "s8s8"),
}


@dataclass(frozen=True, slots=True)
class Achieved:
    """operations  of the served samples, each at its real length
    computed    the same with the padding that went through the model
    samples     served
    busy_s      seconds in which at least one call was being served
    """

    operations: float
    computed: float
    samples: int
    busy_s: float

    @property
    def per_second(self) -> float:
        """Real-token operations per second of computing: idle time between arrivals is no fault of the backend."""
        return self.operations / self.busy_s

    @property
    def per_sample(self) -> float:
        return self.operations / self.samples

    @property
    def padding_share(self) -> float:
        """Part of the computed operations that was spent on padding; more than that of tokens, for attention is quadratic."""
        return 1 - self.operations / self.computed


def achieved(
    columns: Columns, samples: Samples, policy: Policy, config: Mapping[str, Any], head: Head, *, packed: bool = False
) -> Achieved | None:
    """None where nothing was served. `config`: config.json; `packed`: the backend computes no padding. Raises DataError for a kind of
    model without a formula."""
    served = columns.served
    if not served.any():
        return None
    lengths = samples.lengths[columns.sample[served]]
    padded = lengths if packed else _padded(columns.batch[served], lengths, policy, samples.max_length)
    return Achieved(
        operations=float(each_operations(config, lengths, head).sum()),
        computed=float(each_operations(config, padded, head).sum()),
        samples=len(lengths),
        busy_s=busy_ns(columns.taken_ns[served], columns.done_ns[served]) / 1e9,
    )


def _padded(batch: IntArray, lengths: Int64, policy: Policy, max_length: int) -> Int64:
    """Length that each row had in its call, (rows,)."""
    _, call = np.unique(batch, return_inverse=True)
    longest = np.zeros(int(call.max()) + 1, np.int64)
    np.maximum.at(longest, call, lengths)
    return padded_lengths(longest, policy, max_length)[call]


def busy_ns(start: Int64, end: Int64) -> int:
    """Length of the union of the intervals [start, end)."""
    order = np.argsort(start)
    begins, reached = start[order], np.maximum.accumulate(end[order])
    idle = np.maximum(begins[1:] - reached[:-1], 0).sum()
    return int(reached[-1] - begins[0] - idle)


def peak_precision(description: Mapping[str, Any]) -> str | None:
    """Which peak a backend is held against: by `matmul_dtype` of `describe()`, else by its precision; None if neither is known."""
    for key in ("matmul_dtype", "precision"):
        words = str(description.get(key) or "").lower().removeprefix("torch.").replace("-", " ").replace("_", " ").split()
        for name, spellings in _DTYPES.items():
            if any(word in spellings for word in words):
                return name
    return None
