"""How much the points of a series differ from their neighbours when nothing changed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

FEWEST = 4
"""Points below which nothing is said: three differences have a median, but no more."""

_MAD_TO_SIGMA = 1.4826
"""Of a normal distribution: Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, JASA 1993."""


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of one point as a share (0.01: 1 %), from the absolute differences of the logarithms of neighbours: their median,
    made a sigma, over sqrt(2). A step in the series counts as one difference among many, so it hardly moves it. None for fewer than
    `FEWEST` points, or one that is not above 0."""
    if len(values) < FEWEST or min(values) <= 0:
        return None
    differences = [abs(math.log(after / before)) for before, after in pairwise(values)]
    return _MAD_TO_SIGMA * median(differences) / math.sqrt(2)


def band(values: Sequence[float], sigmas: float = 2.0) -> tuple[float, float] | None:
    """Where a further point is to be expected if nothing changes: the median of the values times and over exp(`sigmas` · spread)."""
    share = spread(values)
    if share is None:
        return None
    width = math.exp(sigmas * share)
    return median(values) / width, median(values) * width
