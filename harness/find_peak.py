"""LoadGen's search for the highest Server rate that meets the latency bound (find_peak_performance.h of LoadGen 6.0.17). Pure.

It widens an interval from a rate that must pass until a rate fails, then halves it. Each answer is one whole run.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True, slots=True)
class Try:
    """A rate to run at, and what LoadGen's log says before it."""

    qps: float
    text: str


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest rate that passed, None if not even the first did; `text` is LoadGen's last word."""

    qps: float | None
    text: str


Search = Generator[Try, bool, Peak]
"""Yields rates, is sent whether each met the bound, returns the peak."""


def loadgen(base: float, step: float = 1.0, decimals: int = 1) -> Search:
    """The search from `base`, widening by the share `step`, to `decimals` decimals of the rate.

    LoadGen's end leaves less than two units of the last decimal between the peak and a rate that failed. Where floating point has no rate
    between the bounds the search ends too (LoadGen's would not). Raises UsageError for a step that floating point cannot tell from none.
    """
    if not 1 + step > 1:
        raise UsageError(f"--find-peak-step {step:g} does not change a rate", "give a share such as 1 (doubles the rate) or 0.1")
    passed = yield Try(base, f"FindPeakPerformance: Check validity of the base settings field: {base:f}")
    if not passed:
        return Peak(
            None,
            "FindPeakPerformance: Initial lower bound does not satisfy performance constraints, msg: Reduce target QPS to improve latency.",
        )
    low, high, said = yield from _widen(base, step)
    while math.floor(low * 10**decimals) + 1 < math.floor(high * 10**decimals):
        middle = low + (high - low) / 2
        if not low < middle < high:
            break
        text = f"FindPeakPerformanceBinarySearch: Testing the mid value of bounds [{low:f}, {high:f}): {middle:f}"
        passed = yield Try(middle, _joined(said, text))
        said = ""
        low, high = (middle, high) if passed else (low, middle)
    return Peak(low, _joined(said, f"FindPeakPerformance: Found peak performance field: {low:f}"))


def _widen(low: float, step: float) -> Generator[Try, bool, tuple[float, float, str]]:
    """Bounds of which the lower one passed and the upper one failed, and what is said of them."""
    while True:
        high = low * (1 + step)
        if not (yield Try(high, f"FindBoundaries: Checking fields [{low:f}, {high:f})")):
            return low, high, f"FindPeakPerformance: Found boundaries: [{low:f}, {high:f})"
        low = high


def _joined(*texts: str) -> str:
    return "\n".join(filter(None, texts))
