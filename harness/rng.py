"""LoadGen's random numbers, bit for bit: std::mt19937 and libstdc++'s distributions (GCC 11 and later), drawn in blocks by numpy.

Every sequence can be drawn in pieces: two draws of 5 give what one draw of 10 gives. Pure: numpy and math only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Int64, IntArray
from harness.errors import MissingError

CHUNK = 1 << 18
"""Rows drawn at a time where many are wanted: temporary arrays stay within a processor's cache."""

_WORD = 1 << 32
_PAIRED = 65535
"""Longest list whose shuffle takes two positions from one draw: the largest n with floor((2^32 - 1) / n) >= n."""

_DOUBT = 2.0**-48
"""Relative distance to a whole number of ns within which np.log and libm's log could truncate to different integers: 16 units in the
last place. numpy promises 4 for log; the division and the multiplication behind it add one each."""

_BELOW_ONE = math.nextafter(1.0, 0.0)


class Engine:
    """std::mt19937 seeded with one integer, of which the low 32 bits count."""

    def __init__(self, seed: int) -> None:
        _check_numpy()
        self._draw = _generator(seed).integers

    def words(self, count: int) -> NDArray[np.uint32]:
        """The next raw 32-bit outputs."""
        return self._draw(0, _WORD, size=count, dtype=np.uint32)

    def below(self, bound: int, count: int) -> NDArray[np.uint32]:
        """std::uniform_int_distribution on [0, bound), `count` times; 1 <= bound < 2^32. One word each, and one for each rejection."""
        if bound == 1:  # numpy draws nothing here, libstdc++ draws a word
            self.words(count)
            return np.zeros(count, np.uint32)
        return self._draw(0, bound, size=count, dtype=np.uint32)

    def below_each(self, bounds: IntArray, times: int = 1) -> NDArray[np.uint32]:
        """One value below each bound in turn, the whole list `times` times over: (times, len(bounds)). Bounds from 2 on."""
        return self._draw(0, bounds, size=(times, len(bounds)), dtype=np.uint32)

    def canonical(self, count: int) -> NDArray[np.float64]:
        """std::generate_canonical<double, 53> on [0, 1): two words each, the second one high. One rounding, at the conversion."""
        words = self.words(2 * count).astype("<u4", copy=False)
        values = words.view("<u8").astype(np.float64)
        values *= 2.0**-64
        return np.minimum(values, _BELOW_ONE, out=values)


def exponential_gaps_ns(engine: Engine, rate: float, count: int) -> Int64:
    """`count` gaps of std::exponential_distribution(rate per second) in ns, each truncated as LoadGen does it: (count,).

    np.log is not libm's log to the last bit, so the few gaps whose product lies next to a whole number are taken again with math.log.
    """
    rest = engine.canonical(count)
    np.subtract(1.0, rest, out=rest)
    gaps = np.log(rest)
    np.negative(gaps, out=gaps)
    gaps /= rate
    gaps *= 1e9
    nearest = np.rint(gaps)
    for row in np.flatnonzero(np.abs(gaps - nearest) <= nearest * _DOUBT).tolist():
        gaps[row] = -math.log(rest[row]) / rate * 1e9
    return gaps.astype(np.int64)


def shuffle(engine: Engine, values: list[int]) -> None:
    """std::shuffle, in place."""
    size = len(values)
    if size < 2:
        return
    positions = engine.below_each(_shuffle_bounds(size))[0].tolist()
    if size > _PAIRED:
        for index, other in enumerate(positions, 1):
            values[index], values[other] = values[other], values[index]
        return
    _swap_pairs(values, iter(positions))


def skip_shuffles(engine: Engine, size: int, times: int = 1) -> None:
    """Leave the engine where `times` shuffles of a list of `size` would leave it."""
    if size < 2:
        return
    bounds = _shuffle_bounds(size)
    at_once = max(1, CHUNK // len(bounds))
    for done in range(0, times, at_once):
        engine.below_each(bounds, min(at_once, times - done))


def _shuffle_bounds(size: int) -> Int64:
    """Bounds of the draws of one shuffle, in order; `size` at least 2."""
    if size > _PAIRED:
        return np.arange(2, size + 1)
    first = np.arange(2 - size % 2, size, 2)
    pairs = (first + 1) * (first + 2)
    return pairs if size % 2 else np.concatenate(([2], pairs))


def _swap_pairs(values: list[int], positions: Iterator[int]) -> None:
    """Two swaps for each position; an even list begins with one swap alone."""
    size = len(values)
    if size % 2 == 0:
        other = next(positions)
        values[1], values[other] = values[other], values[1]
    for index, both in zip(range(2 - size % 2, size, 2), positions, strict=True):
        first, second = divmod(both, index + 2)
        values[index], values[first] = values[first], values[index]
        values[index + 1], values[second] = values[second], values[index + 1]


def _generator(seed: int) -> np.random.Generator:
    bits: Any = np.random.MT19937(0)
    bits._legacy_seeding(seed & (_WORD - 1))
    return np.random.Generator(bits)


def multiply_shift(words: Iterator[int], bound: int) -> int:
    """libstdc++'s bounded integer, written out: the high half of word * bound, rejected while the low half is below 2^32 mod bound."""
    rejected = _WORD % bound
    product = next(words) * bound
    while product % _WORD < rejected:
        product = next(words) * bound
    return product >> 32


@functools.cache
def _check_numpy() -> None:
    """numpy's bounded 32-bit integers happen to be libstdc++'s, but numpy may change its streams between versions; then nothing may
    run, because the traffic would silently be another. Raises MissingError."""
    bounds = [3_000_000_000, 7, 2, 4_294_967_295, 65_537] * 4
    words = iter(_generator(5489).integers(0, _WORD, size=200, dtype=np.uint32).tolist())
    expected = [multiply_shift(words, bound) for bound in bounds]
    each = _generator(5489)
    if expected != each.integers(0, np.array(bounds), dtype=np.uint32).tolist():
        raise MissingError(
            f"numpy {np.__version__} does not draw bounded integers as LoadGen's C++ library does",
            cure="Install a numpy version that is known to work, for example 2.4.",
        )
