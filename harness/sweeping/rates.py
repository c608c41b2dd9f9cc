"""Which rates to measure: a first look over the range, then closer and closer to where the latency bound is crossed. Pure.

A search yields rates and is sent what was seen at each (the style of `find_peak`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from harness.sweeping import isotonic

SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
"""Rates of the first look, as shares of the offline rate: closer together near it, where waiting grows like 1 / (1 - share). Servers of
MLPerf reach 0.77 to 0.83 of it (peers.md 4.2)."""

MOST = 12
"""Rates of one curve, unless told otherwise."""

RESOLUTION = 0.03
"""The rates on both sides of the knee are at most this far apart, as a share."""

WIDER, LOWER = 1.25, 0.5
"""Steps beyond the first look: upwards where every rate meets the bound, downwards where none does."""

LONE_SHARE = 0.1
"""Up to this share of the offline rate hardly a query waits for another: where half of them are over the bound even so, lower rates would
only take longer to say the same."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rate showed: of `queries`, `over` were over the bound."""

    rate: float
    queries: int
    over: int


Search = Generator[float, Seen, None]


def search(offline: float, allowed: float, most: int = MOST) -> Search:
    """Rates to measure, one by one, at most `most`. `offline`: samples a second with everything asked at once; `allowed`: the share of
    queries that may be over the bound."""
    seen: list[Seen] = []
    for share in SHARES[:most]:
        seen.append((yield rounded(share * offline)))
    while len(seen) < most:
        rate = following(seen, allowed)
        if rate is None or _lone_queries_miss(seen, offline):
            return
        seen.append((yield rate))


def _lone_queries_miss(seen: Sequence[Seen], offline: float) -> bool:
    lowest = min(seen, key=lambda each: each.rate)
    return lowest.rate <= LONE_SHARE * offline and 2 * lowest.over >= lowest.queries


def following(seen: Sequence[Seen], allowed: float) -> float | None:
    """The rate that tells most next: between the highest that meets the bound and the lowest that does not, in the fit that never falls;
    None where they are close enough."""
    met, missed = bracket(seen, allowed)
    if missed is None:
        rate = rounded(max(each.rate for each in seen) * WIDER)
    elif met is None:
        rate = rounded(min(each.rate for each in seen) * LOWER)
    elif missed <= met * (1 + RESOLUTION):
        return None
    else:
        rate = rounded((met + missed) / 2)
    return None if any(rate == each.rate for each in seen) else rate


def bracket(seen: Sequence[Seen], allowed: float) -> tuple[float | None, float | None]:
    """Highest rate that meets the bound and lowest that does not, after a fit of the shares over it that never falls with the rate.

    A share meets where it is below `allowed`: the same as LoadGen's percentile at index trunc(n p) being within the bound.
    """
    ordered = sorted(seen, key=lambda each: each.rate)
    fitted = isotonic.fit([each.over / each.queries for each in ordered], [each.queries for each in ordered])
    met = [each.rate for each, share in zip(ordered, fitted, strict=True) if share < allowed]
    missed = [each.rate for each, share in zip(ordered, fitted, strict=True) if share >= allowed]
    return (met[-1] if met else None, missed[0] if missed else None)


def rounded(rate: float) -> float:
    """Three significant digits: a rate people can type."""
    return float(f"{rate:.3g}")
