"""What `benchmarks/throughput.py` makes of its measurements: ratios, targets, floors, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OFFLINE_TARGETS = {
    "pytorch:fp32": 2.5,
    "pytorch:amp": 5.0,
    "onnxruntime:fp32": 4.0,
    "onnxruntime:int8": 8.0,
    "onnxruntime:int8-static": 8.0,
}
"""Least ratio of offline rates to the reference way. Of a backend with options, its name without them counts."""

SINGLE_TARGETS = {"fp32": 0.5, "int8": 0.25}
"""Most single-stream p90 as a share of the reference way's."""

PADDING_TARGET = 0.05

PEAK_OF = {"float32": "fp32", "tf32": "tf32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8", "qint8": "int8", "uint8": "int8"}
"""Key of the measured peak, by `matmul_dtype` of a backend's description."""


@dataclass(frozen=True)
class Turn:
    """One measurement of a backend between two of the reference way. Rates in samples/s, p90 in ns."""

    rate: float
    p90_ns: float
    reference_rate: float
    reference_p90_ns: float

    @property
    def speedup(self) -> float:
        return self.rate / self.reference_rate

    @property
    def latency_share(self) -> float:
        return self.p90_ns / self.reference_p90_ns


@dataclass
class Result:
    """All there is of one backend. `error`: why it did not run; then the rest is empty.

    setting   workers x threads and the token budget of a batch
    accuracy  metric, value, reference, target, passed
    """

    backend: str
    error: str = ""
    setting: dict[str, Any] = field(default_factory=dict)
    tried: list[dict[str, Any]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    padding_share: float = 0.0
    accuracy: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        return statistics.median(turn.speedup for turn in self.turns)

    @property
    def latency_share(self) -> float:
        return statistics.median(turn.latency_share for turn in self.turns)

    @property
    def rate(self) -> float:
        return statistics.median(turn.rate for turn in self.turns)


def floor(result: Result, operations: float, peaks: Mapping[str, float], reference_rate: float) -> dict[str, float]:
    """What the matrix products alone allow: `operations` per sample at the measured peak of the backend's precision. `rate`: samples/s at
    100 % of that peak; `speedup`: the same as a ratio; `reached`: share of it that was measured. Empty where no peak is known.

    Not a bound for INT8 or BF16 backends that leave some products in FP32; those are slower than it says.
    """
    peak = peaks.get(PEAK_OF.get(str(result.description.get("matmul_dtype", "")), ""), 0.0)
    if not peak:
        return {}
    most = peak / operations
    return {"peak": peak, "rate": most, "speedup": most / reference_rate, "reached": result.rate / most}


# --------------------------------------------------------------------------------------------------------------------- targets


def bare(backend: str) -> str:
    """The name without options."""
    return backend.partition("+")[0]


def single_target(backend: str) -> float | None:
    """By precision: fp32, and everything in INT8."""
    precision = bare(backend).partition(":")[2]
    return SINGLE_TARGETS.get("int8" if precision.startswith("int8") else precision)


def verdict(value: float, target: float | None, *, least: bool) -> str:
    """ "met (>= 2.5)", "MISSED (>= 2.5)", or "" where there is no target."""
    if target is None:
        return ""
    sign = "≥" if least else "≤"
    return f"{'met' if (value >= target if least else value <= target) else 'MISSED'} ({sign} {target:g})"


def verdicts(result: Result) -> dict[str, str]:
    """What each target says; none where accuracy was missed."""
    if result.error or not result.accuracy.get("passed"):
        return {}
    return {
        "offline": verdict(result.speedup, OFFLINE_TARGETS.get(bare(result.backend)), least=True),
        "single": verdict(result.latency_share, single_target(result.backend), least=False),
        "padding": verdict(result.padding_share, PADDING_TARGET, least=False),
    }


# ----------------------------------------------------------------------------------------------------------------------- table

_COLUMNS = (
    *("backend", "offline /s", "ratio (range)", "target", "single-stream p90", "share (range)", "target", "padding"),
    *("score of FP32's", "workers x threads, tokens"),
)
HEADER = ("| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS))


def table(results: Sequence[Result]) -> list[str]:
    """Lines of Markdown: a row for each backend, then what did not run."""
    rows = [_row(result) for result in results if not result.error]
    return [*HEADER, *rows, *(f"\n`{result.backend}` did not run: {result.error}" for result in results if result.error)]


def _row(result: Result) -> str:
    said, accuracy = verdicts(result), result.accuracy
    share = f"{accuracy['value']:.2f} of {accuracy['reference']:.2f}"
    if not said:
        return f"| `{result.backend}` | accuracy missed: no ratio | | | | | | | {share} | {_setting(result)} |"
    speedups, shares = ([getattr(turn, name) for turn in result.turns] for name in ("speedup", "latency_share"))
    cells = [
        f"`{result.backend}`",
        f"{result.rate:.1f}",
        f"**{result.speedup:.2f}** ({min(speedups):.2f}–{max(speedups):.2f})",
        said["offline"],
        f"{statistics.median(turn.p90_ns for turn in result.turns) / 1e6:.1f} ms",
        f"**{result.latency_share:.3f}** ({min(shares):.3f}–{max(shares):.3f})",
        said["single"],
        f"{result.padding_share:.1%}{'' if result.padding_share <= PADDING_TARGET else ' MISSED'}",
        share,
        _setting(result),
    ]
    return "| " + " | ".join(cells) + " |"


def _setting(result: Result) -> str:
    chosen = result.setting
    return f"{chosen['workers']} x {chosen['threads']}, {chosen['tokens'] or 'no limit'}"


def missed(results: Sequence[Result]) -> list[str]:
    """For each missed target the floor by arithmetic and how far the measurement is from it."""
    lines = []
    for result in results:
        for name, said in verdicts(result).items():
            if said.startswith("MISSED"):
                why = "" if name == "padding" else f" {_told(result.floor)}"
                lines.append(f"* `{result.backend}` {name}: {said}.{why}")
    return lines


def _told(found: Mapping[str, float]) -> str:
    if not found:
        return "No peak is measured for its precision."
    ceiling = (
        f"At 100 % of the measured peak of {found['peak'] / 1e9:.0f} G operations/s its products alone would give {found['rate']:.0f}/s"
    )
    return f"{ceiling}, {found['speedup']:.1f} times the reference way; {found['reached']:.0%} of that was reached."
