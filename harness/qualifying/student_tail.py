"""How likely Student's t is to lie so far out, for any degrees of freedom, whole or not. Pure."""

from __future__ import annotations

import math

_TINY = 1e-300
_PRECISE = 1e-13
_MOST_TERMS = 500


def above(value: float, freedom: float) -> float:
    """P[T > value] of Student's t with `freedom` > 0 degrees; 0 for infinity. Exact to about 1e-12 of itself, however far out."""
    if math.isinf(value):
        return 0.0 if value > 0 else 1.0
    if value < 0:
        return 1 - above(-value, freedom)
    return 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value**2))


def beyond(share: float, freedom: float) -> float:
    """The value that is exceeded with probability `share`, 0 < share < 0.5: bisection to 1e-9 of itself."""
    low, high = 0.0, 1.0
    while above(high, freedom) > share:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle, freedom) > share else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), regularised, by its continued fraction (DLMF 8.17.22) from the side where that converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluated forwards by the modified Lentz method (Thompson and Barnett, Journal of Computational Physics 64, 1986)."""
    upper, lower = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    total = lower
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            lower, upper = 1 / _away(1 + term * lower), _away(1 + term / upper)
            step = lower * upper
            total *= step
        if abs(step - 1) < _PRECISE:
            break
    return total


def _away(value: float) -> float:
    """From 0, by which something is divided next."""
    return value if abs(value) > _TINY else _TINY
