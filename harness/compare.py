"""Is one system faster than another? Orders that cancel drift, intervals of ratios from paired blocks, and the word for them. Pure.

In a block every candidate is measured under the same conditions, so what disturbs a block disturbs all of them, and the ratio inside it
stands. Blocks are the unit of replication: queries within one are not independent. Suggested by peers.md 3.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FEWEST_BLOCKS = 6
"""Fewer have no two-sided sign test below 5 % (2 x 0.5^6 = 3 %)."""

DRAWS = 10_000
EQUIVALENT = 0.02
"""Ratios within this of 1 are the same speed to people."""

CONFIDENCE = 0.95

Outcome = Literal["faster", "slower", "equivalent", "undecided"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of a candidate's figure over the reference's, with its interval of 95 %.

    blocks    how many paired blocks it is from
    sign_p    two-sided exact p of the sign test: a second view that no outlier moves
    """

    value: float
    low: float
    high: float
    blocks: int
    sign_p: float


def order(candidates: int, block: int) -> list[int]:
    """Who is measured when in a block: each candidate twice, forwards and then backwards (ABBA), so that a linear drift cancels inside the
    block.

    Over as many blocks as candidates each is at every place once, and follows each other one inside a block equally often, so that what a
    candidate leaves behind (heat, caches) falls on all alike: the Latin square of E. J. Williams, "Experimental designs balanced for the
    estimation of residual effects of treatments", 1949. For an odd number its square needs its mirror image, which every block brings.
    """
    first = [(position + 1) // 2 if position % 2 else -(position // 2) for position in range(candidates)]
    forwards = [(step + block) % candidates for step in first]
    return forwards + forwards[::-1]


def ratio(candidate: Sequence[float] | NDArray[np.float64], reference: Sequence[float] | NDArray[np.float64], seed: int) -> Ratio:
    """Ratio of paired figures, one a block, all above 0.

    The interval is a percentile bootstrap (10,000 draws) of the mean log ratio over blocks, its ends moved away from the mean by
    sqrt(n / (n - 1)) t / z: resampling n blocks spreads by sqrt((n - 1) / n) too little, and its quantiles are those of a normal where the
    deviation is estimated from n blocks. Without this 84 % of such intervals hold the truth at 6 blocks, not 95 (T. Hesterberg, "What
    teachers should know about the bootstrap", 2015, section 4.2, moves the quantiles for the same reason).

    Raises ValueError for figures of different number, fewer than two, or not above 0.
    """
    top, bottom = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    if top.shape != bottom.shape or len(top) < 2:
        raise ValueError(f"{len(top)} and {len(bottom)} blocks: a ratio needs two or more pairs")
    if not (np.isfinite(top) & np.isfinite(bottom) & (top > 0) & (bottom > 0)).all():
        raise ValueError("a ratio needs figures above 0")
    logs = np.log(top / bottom)
    mean, count = float(logs.mean()), len(logs)
    means = np.einsum("ij,j->i", _draws(seed, count), logs) / count  # no BLAS: its threads would spin beside what is measured next
    tail = (1 - CONFIDENCE) / 2
    widened = math.sqrt(count / (count - 1)) * student_quantile(1 - tail, count - 1) / NormalDist().inv_cdf(1 - tail)
    low, high = (mean + (float(end) - mean) * widened for end in np.quantile(means, [tail, 1 - tail]))
    value, low, high = (float(f"{math.exp(end):.12g}") for end in (mean, low, high))  # further digits are the processor's
    return Ratio(value, low, high, count, sign_test(logs))


@lru_cache(maxsize=32)
def _draws(seed: int, count: int) -> NDArray[np.uint8]:
    """(DRAWS, count): how often each block is in each draw with replacement. Kept: every figure of every candidate asks
    for the same after each block."""
    places = np.random.default_rng(seed).integers(0, count, (DRAWS, count)) + count * np.arange(DRAWS)[:, None]
    return np.bincount(places.ravel(), minlength=DRAWS * count).reshape(DRAWS, count).astype(np.uint8)


def judge(found: Ratio, *, better: Literal["higher", "lower"], floor: float = 0.0, equivalent: float = EQUIVALENT) -> Outcome:
    """The word for a ratio. A figure that is `better` lower (a latency) is faster where its ratio is below 1.

    equivalent: the interval lies within this of 1, even where it leaves out 1: a difference, but none that matters. Faster and slower: the
    interval leaves out 1, and the ratio itself is further from 1 than `equivalent` and than `floor`, what this machine makes of a
    comparison of a system with itself (as a share, 0.01: 1 %).
    """
    if -equivalent < math.log(found.low) and math.log(found.high) < equivalent:
        return "equivalent"
    if abs(math.log(found.value)) <= max(floor, equivalent) or found.low <= 1 <= found.high:
        return "undecided"
    return "faster" if (found.value > 1) == (better == "higher") else "slower"


def narrow_enough(found: Ratio, width: float) -> bool:
    """Whether the interval is within `width` (a share) of the ratio on both sides and there are blocks enough to say so."""
    return found.blocks >= FEWEST_BLOCKS and max(found.high / found.value, found.value / found.low) <= 1 + width


def log_ratio(candidate: float, reference: float) -> float:
    """ln(candidate / reference), both above 0."""
    return math.log(candidate / reference)


def noise_floor(logs: Sequence[float] | NDArray[np.float64]) -> float:
    """95th percentile of |log ratio| of blocks that compared a system with itself, (blocks,). Raises ValueError where there are none."""
    if len(logs) == 0:
        raise ValueError("a noise floor of no blocks")
    return float(np.quantile(np.abs(np.asarray(logs, np.float64)), CONFIDENCE))


def sign_test(logs: NDArray[np.float64]) -> float:
    """Two-sided exact p that as many of the values fall on one side of 0, if both were as likely; zeros are left out."""
    over, under = int(np.count_nonzero(logs > 0)), int(np.count_nonzero(logs < 0))
    count = over + under
    tail = sum(math.comb(count, number) for number in range(min(over, under) + 1)) / 2**count
    return float(min(1.0, 2 * tail))


@lru_cache
def student_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t with `freedom` degrees, 0.5 < share < 1, to 1e-9: bisection on its distribution function."""
    low, high = 0.0, 1.0
    while _student_below(high, freedom) < share:
        high *= 2
    while high - low > 1e-10 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_below(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _student_below(value: float, freedom: int) -> float:
    """P[T <= value], value >= 0, by the finite series of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(value / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    term, total = (1.0, 1.0) if freedom % 2 == 0 else (math.cos(angle), math.cos(angle))
    for number in range(2 if freedom % 2 == 0 else 3, freedom - 1, 2):
        term *= square * (number - 1) / number
        total += term
    if freedom % 2 == 0:
        return 0.5 + sine * total / 2
    return 0.5 + (angle + (sine * total if freedom > 1 else 0.0)) / math.pi
