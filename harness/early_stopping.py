"""LoadGen's early stopping: how many queries prove, with 99 % confidence, that a percentile lies below a bound. Pure.

If more than a share 1 - p of all queries were over the bound, then in n queries t or fewer over it would be seen with a probability of at
most `P[Binomial(n, 1 - p) <= t]`; where that is below 1 %, n is enough. LoadGen writes n = h + t. Queries are taken to be independent,
which those of a queue are not, so the bound is optimistic for Server. Source: LoadGen 6.0.17 early_stopping.cc, tolerance 0.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from harness import units
from harness.core import EarlyStopping, Int64

CONFIDENCE = 0.99
_DOUBT = 1 - CONFIDENCE  # 0.010000000000000009, as LoadGen's subtraction gives it


@functools.lru_cache(maxsize=4096)
def required(over: int, percentile: float) -> int:
    """Least number of queries that is enough when `over` of them are over the bound: LoadGen's h(t) + t. `percentile` in (0, 1)."""
    enough = over + max(1, math.ceil(over / (1 - percentile) - over))  # about the mean, where the chance is a half
    step = 1 + math.isqrt(enough)
    short = over
    while not is_enough(over, enough, percentile):
        short, enough, step = enough, enough + step, 2 * step
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if is_enough(over, middle, percentile) else (middle, enough)
    return enough


def h(over: int, percentile: float) -> int:
    """LoadGen's h(t): queries under the bound that are needed for `over` of them over it."""
    return required(over, percentile) - over


def is_enough(over: int, queries: int, percentile: float) -> bool:
    """Whether `queries`, `over` of them over the bound, prove the percentile."""
    below_mean = over < queries * (1 - percentile)  # at the mean and above it the chance is a half or more
    return below_mean and chance(over, queries, percentile) < _DOUBT


def chance(over: int, queries: int, percentile: float) -> float:
    """P[Binomial(queries, 1 - percentile) <= over], relative error about 1e-13 (LoadGen's series: 3e-9); for an `over` below the mean.

    The largest term by Loader's method, then down from it by the ratio of neighbours until nothing is added.
    """
    share = 1 - percentile
    total, term, top = 0.0, 1.0, over
    while top >= 0 and term > 1e-18 * total:  # below the mean every ratio is less than 1
        counts = np.arange(top, max(top - 4096, -1), -1, dtype=np.float64)
        ratios = counts * percentile / ((queries - counts + 1) * share)
        terms = term * np.concatenate(([1.0], np.cumprod(ratios)))
        total += float(terms[:-1].sum())
        term = float(terms[-1])
        top -= len(counts)
    return _probability(over, queries, share, percentile) * total


def _probability(count: int, of: int, share: float, rest: float) -> float:
    """P[Binomial(of, share) = count], `count` below `of`; `rest` is 1 - share. C. Loader, "Fast and accurate computation of binomial
    probabilities" (2000): no difference of large logarithms, so that even of = 1e8 keeps its digits."""
    if count == 0:
        return math.exp(of * math.log(rest))
    exponent = _stirling_error(of) - _stirling_error(count) - _stirling_error(of - count)
    exponent -= _deviance(count, of * share) + _deviance(of - count, of * rest)
    return math.exp(exponent) * math.sqrt(of / (2 * math.pi * count * (of - count)))


def _stirling_error(count: int) -> float:
    """ln(count!) less Stirling's formula."""
    if count <= 15:
        return math.lgamma(count + 1) - (count + 0.5) * math.log(count) + count - 0.5 * math.log(2 * math.pi)
    square = 1.0 / count / count
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 * square) * square) * square) * square) / count


def _deviance(count: int, mean: float) -> float:
    """count * ln(count / mean) + mean - count, without cancellation where the two are close."""
    difference = count - mean
    if abs(difference) >= 0.1 * (count + mean):
        return count * math.log(count / mean) - difference
    ratio = difference / (count + mean)
    total = difference * ratio
    term, odd = 2 * count * ratio, 1
    while True:
        term *= ratio * ratio
        odd += 2
        if total + term / odd == total:
            return total
        total += term / odd


def discards(queries: int, percentile: float) -> int:
    """How many of the highest latencies may be taken away: the largest t with h(t) + t <= `queries`. 0: too few queries for any."""
    if queries < required(1, percentile):
        return 0
    few, many = 1, queries
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if is_enough(middle, queries, percentile) else (few, middle)
    return few


def estimate(ordered_ns: Int64, percentile: float) -> int | None:
    """LoadGen's early-stopping estimate from latencies in ascending order, in ns: the percentile is at most this, with 99 % confidence;
    None for too few queries. It is the figure MLPerf reports for SingleStream and MultiStream."""
    discarded = discards(len(ordered_ns), percentile)
    return int(ordered_ns[len(ordered_ns) - discarded]) if discarded else None


def judge_stream(ordered_ns: Int64, percentile: float) -> EarlyStopping:
    """Verdict for SingleStream and MultiStream on latencies in ascending order: met where there are enough queries for an estimate."""
    queries, needed = len(ordered_ns), required(1, percentile)
    bound = estimate(ordered_ns, percentile)
    name = f"p{100 * percentile:g}"
    if bound is None:
        text = f"{name} needs {units.plural(needed - queries, 'more query')} to be certain"
    else:
        discarded = discards(queries, percentile) - 1
        text = f"{name} is at most {units.time_ns(bound)} with 99 % confidence ({queries:,} queries, {discarded:,} discarded)"
    return EarlyStopping(percentile, bound is not None, queries, needed, text, bound)


def judge_bound(over: int, queries: int, percentile: float) -> EarlyStopping:
    """Verdict for Server: `over` of `queries` latencies are over the bound."""
    needed = required(over, percentile)
    name = f"p{100 * percentile:g}"
    seen = f"{over:,} of {queries:,} queries over the bound"
    if queries >= needed:
        text = f"{name} is within the bound with 99 % confidence ({seen})"
    else:
        text = f"{name} needs {units.plural(needed - queries, 'more query')}, all within the bound, to be certain ({seen})"
    return EarlyStopping(percentile, queries >= needed, queries, needed, text)
