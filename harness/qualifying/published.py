"""What was published for an accelerator: all 141 BERT results of MLPerf Inference v4.1, the last datacenter round with BERT.

Source: github.com/mlcommons/inference_results_v4.1, summary_results.json. `bert_v4_1.csv` beside this file has them: rates in samples/s
of the whole system, single-stream in ms (p90, by early stopping). Closed: the reference's model and rules; open: anything that is told.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from harness import units
from harness.qualifying import outliers

ROUND = "MLPerf Inference v4.1"
SPREAD = 0.03
"""Submitters of one accelerator lie within about 3 % of their median (offline, closed division)."""

STRICT_SHARE = 0.999
"""Share of the FP32 score from which on a result counts as bert-99.9."""

_FILE = Path(__file__).with_name("bert_v4_1.csv")
_CAPPED = "power-capped"

_NAMES = (
    ("NVIDIA H100-SXM-80GB", r"\bH100[ -]SXM\d?[ -]80 ?GB\b|\bH100 80 ?GB HBM3$"),
    ("NVIDIA H100-PCIe-80GB", r"\bH100[ -]PCIE\b(?!.*(64|94|96) ?GB)|\bH100 80 ?GB HBM2E$"),
    ("NVIDIA H100-NVL-94GB", r"\bH100[ -]NVL\b"),
    ("NVIDIA H200-SXM-141GB", r"\bH200$|\bH200[ -]SXM"),
    ("NVIDIA GH200 Grace Hopper Superchip 96GB", r"\bGH200\b.*\b(96|480) ?GB$"),
    ("NVIDIA L40S", r"\bL40S\b"),
    ("NVIDIA L4", r"\bL4$"),
    ("NVIDIA RTX A5000 GPU", r"\bRTX A5000( GPU)?$"),
    ("Tesla T4", r"\bT4$"),
)
"""Accelerators as the results name them, and how drivers do: "NVIDIA H100 80GB HBM3" is the SXM board, "... PCIe" and "... HBM2e" are the
card, "NVIDIA GH200 480GB" counts the memory of its CPU and has 96 GB of its own."""

_NOT_WHOLE = re.compile(r"\bMIG\b|\bVGPU\b|\bGRID\b|\bLAPTOP\b|\bMAX-Q\b|\bMOBILE\b")


@dataclass(frozen=True, slots=True)
class Result:
    """One published result. `value`: samples/s of the system, or ms; `note`: "power-capped" for a system that was set to save power."""

    division: str
    submitter: str
    benchmark: str
    scenario: str
    value: float
    accelerator: str
    accelerators: int
    cpu: str
    weights: str
    note: str

    @property
    def comparable(self) -> float:
        """Samples/s of one accelerator, or ms."""
        return self.value / self.accelerators if self.scenario != "single-stream" else self.value


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a figure lies among the published ones of its accelerator. `low`, `middle`, `high` of all `n` that are not power-capped;
    `nearest`: the one it is nearest to, `off`: how far it is better than that, as a share; `word`: within, below or above their range,
    widened by `SPREAD`: below is worse."""

    word: str
    n: int
    low: float
    middle: float
    high: float
    nearest: Result
    off: float

    @property
    def text(self) -> str:
        """Sentences for people."""
        single = self.nearest.scenario == "single-stream"
        unit = "ms" if single else "samples/s for one accelerator"
        among = f"{units.number(self.low)} to {units.number(self.high)} {unit}, median {units.number(self.middle)}"
        size = f"{self.nearest.accelerators} × {self.nearest.accelerator}"
        words = [f"{self.nearest.submitter} with {size}", self.nearest.weights, self.nearest.division, self.nearest.note]
        these = f"the {self.n} published results" if self.n > 1 else "the only published result"
        return f"{self.word} {these} ({among}); nearest: {', '.join(filter(None, words))}: {outliers.signed(self.off)}"


@cache
def results() -> tuple[Result, ...]:
    """All of them, in the order of the source."""
    with _FILE.open(encoding="utf-8", newline="") as stream:
        return tuple(_result(row) for row in csv.DictReader(stream))


def _result(row: Mapping[str, str]) -> Result:
    numbers = {"value": float(row["value"]), "accelerators": int(row["accelerators"])}
    words = {name: text for name, text in row.items() if name not in numbers}
    return Result(**words, **numbers)  # type: ignore[arg-type]


def accelerator(name: str) -> str | None:
    """What the results call the accelerator that a driver calls `name`; None for one without results, or a part of one (MIG, vGPU)."""
    text = " ".join(re.sub(r"[_()]", " ", name.upper()).split())
    if _NOT_WHOLE.search(text):
        return None
    return next((known for known, pattern in _NAMES if text == known.upper() or re.search(pattern, text)), None)


def benchmark(accuracy_target: float) -> str:
    """The one that a run with this accuracy target is of."""
    return "bert-99.9" if accuracy_target >= STRICT_SHARE else "bert-99"


def of(name: str, benchmark: str, scenario: str) -> list[Result]:
    """Of the accelerator that the results call `name`: those of the closed division, of the open one where there are no others."""
    found = [each for each in results() if (each.accelerator, each.benchmark, each.scenario) == (name, benchmark, scenario)]
    return [each for each in found if each.division == "closed"] or found


def standing(value: float, against: Sequence[Result]) -> Standing:
    """Of one accelerator's samples/s, or of ms. Raises ValueError without results."""
    if not against:
        raise ValueError("nothing published to stand among")
    free = [each for each in against if each.note != _CAPPED] or list(against)
    figures = [each.comparable for each in free]
    lower_is_better = against[0].scenario == "single-stream"
    nearest = min(against, key=lambda each: abs(each.comparable - value))
    off = (nearest.comparable / value if lower_is_better else value / nearest.comparable) - 1
    low, high = min(figures), max(figures)
    word = "within" if low * (1 - SPREAD) <= value <= high * (1 + SPREAD) else "below" if (value < low) != lower_is_better else "above"
    return Standing(word, len(free), low, median(figures), high, nearest, off)
