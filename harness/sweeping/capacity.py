"""The answer of a rate sweep: the highest rate that meets the latency bound, how sure that is, and where the tail doubles. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.core import Int64
from harness.sweeping import isotonic

SEED = 20_261_121
"""Of the bootstrap. Any constant: the same blocks give the same interval."""

DRAWS = 1000

BLOCKS = 10
"""Stretches that each visit is cut into. Queries of a queue depend on each other, so stretches are resampled, not queries."""


@dataclass(frozen=True, slots=True)
class Level:
    """One rate. `blocks`: (stretches, 2), queries and how many of them were over the bound, all visits one after another."""

    rate: float
    blocks: Int64

    @property
    def share(self) -> float:
        queries, over = self.blocks.sum(axis=0).tolist()
        return float(over / queries)

    @property
    def queries(self) -> int:
        return int(self.blocks[:, 0].sum())


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest rate that meets the bound.

    rate    where the fitted share over the bound crosses what is allowed; None: no rate measured meets it
    low     95 % interval; None: below the lowest rate measured
    high    None: above the highest
    met     highest measured rate that meets the bound in the fit, None: none does
    missed  lowest that does not, None: all do, and `rate` is only the highest that was tried
    """

    rate: float | None
    low: float | None
    high: float | None
    met: float | None
    missed: float | None


@dataclass(frozen=True, slots=True)
class Doubling:
    """The rate at which a percentile is twice that of the lowest rate, which was `base_ns`; it lies between two measured rates."""

    rate: float
    after: float
    before: float
    base_ns: float


def estimate(levels: Sequence[Level], allowed: float, seed: int = SEED) -> Capacity:
    """Capacity from levels in ascending order of rate. `allowed`: the share of queries that may be over the bound.

    Shares over the bound are fitted so that they never fall with the rate; between the two measured rates around the crossing the share is
    taken to be linear. It is convex below the knee (waiting grows faster than the rate), so the crossing is placed rather too low than too
    high. The interval runs from the 2.5 % quantile of the highest rate that meets the bound to the 97.5 % quantile of the lowest that does
    not, in a bootstrap over stretches of the visits (non-overlapping blocks, Carlstein, Annals of Statistics 14, 1986), each draw fitted
    anew: so it holds what chance does and what lies between two measured rates. Raises ValueError where there are no levels.
    """
    if not levels:
        raise ValueError("a capacity of no rates")
    rates = [level.rate for level in levels]
    fitted = isotonic.fit([level.share for level in levels], [level.queries for level in levels])
    met, missed = _around(rates, fitted, allowed)
    drawn = np.array([_around(rates, each, allowed) for each in _drawn(levels, seed)])
    low = float(np.sort(drawn[:, 0])[int(0.025 * DRAWS)])
    high = float(np.sort(drawn[:, 1])[int(0.975 * DRAWS)])
    return Capacity(
        rate=min(crossing(rates, fitted, allowed), rates[-1]) if met else None,
        low=low or None,
        high=high if math.isfinite(high) else None,
        met=met or None,
        missed=missed if math.isfinite(missed) else None,
    )


def _around(rates: Sequence[float], fitted: Sequence[float], allowed: float) -> tuple[float, float]:
    """Highest rate that meets the bound (0: none) and lowest that does not (inf: none)."""
    count = sum(share < allowed for share in fitted)
    return (rates[count - 1] if count else 0.0, rates[count] if count < len(rates) else math.inf)


def crossing(rates: Sequence[float], fitted: Sequence[float], level: float) -> float:
    """The rate at which figures that never fall reach `level`, linear between neighbours; 0: before the first, inf: after the last."""
    above = next((place for place, value in enumerate(fitted) if value >= level), None)
    if above is None:
        return math.inf
    if above == 0:
        return 0.0
    below = fitted[above - 1]
    part = (level - below) / (fitted[above] - below)
    return float(rates[above - 1] + part * (rates[above] - rates[above - 1]))


def _drawn(levels: Sequence[Level], seed: int) -> list[list[float]]:
    """Fitted shares of resampled levels, DRAWS of them."""
    generator = np.random.default_rng(seed)
    sums = [level.blocks[generator.integers(0, len(level.blocks), (DRAWS, len(level.blocks)))].sum(axis=1) for level in levels]
    queries = np.stack([each[:, 0] for each in sums], axis=1)  # (draws, levels)
    shares = np.stack([each[:, 1] for each in sums], axis=1) / queries
    return [isotonic.fit(*pair) for pair in zip(shares.tolist(), queries.tolist(), strict=True)]


def doubling(rates: Sequence[float], tails_ns: Sequence[float], weights: Sequence[float]) -> Doubling | None:
    """Where a percentile doubles: the logarithms of `tails_ns`, by ascending rate, fitted so that they never fall and linear between
    neighbours. None: nowhere among these rates."""
    if len(rates) < 2:
        return None
    fitted = isotonic.fit([math.log(max(tail, 1.0)) for tail in tails_ns], weights)
    found = crossing(rates, fitted, fitted[0] + math.log(2))
    if math.isinf(found) or found == 0:
        return None
    place = next(place for place, rate in enumerate(rates) if rate >= found)
    return Doubling(found, rates[place - 1], rates[place], math.exp(fitted[0]))


def over_by_block(due_ns: Int64, latency_ns: Int64, bound_ns: int, blocks: int = BLOCKS) -> Int64:
    """Queries and those over the bound in equal stretches of time, (stretches with queries, 2). `due_ns`: (queries,) ascending."""
    span = max(int(due_ns[-1]) + 1, 1)
    place = np.minimum(due_ns * blocks // span, blocks - 1)
    queries = np.bincount(place, minlength=blocks)
    over = np.bincount(place, weights=latency_ns > bound_ns, minlength=blocks)
    return np.stack([queries, over], axis=1)[queries > 0].astype(np.int64)
