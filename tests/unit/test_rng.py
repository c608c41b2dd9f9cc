"""LoadGen's random numbers: engine, bounded integers, doubles, shuffles, exponential gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import rng
from harness.errors import MissingError

SEEDS = st.integers(0, 2**64 - 1)


def test_engine_is_mt19937_seeded_with_the_low_32_bits() -> None:
    """The C++ standard's check value (10000th output of seed 5489), and seeds that differ above bit 31 give one sequence."""
    assert rng.Engine(5489).words(10_000)[-1] == 4123659995
    assert rng.Engine(16159082839903944936).words(3).tolist() == [3245365415, 3615339558, 1380029910]
    assert rng.Engine(16159082839903944936).words(3).tolist() == rng.Engine(2023080168).words(3).tolist()


@given(seed=SEEDS, bound=st.one_of(st.integers(1, 2**32 - 1), st.integers(1, 100)))
def test_bounded_integers_are_multiply_shift_with_rejection(seed: int, bound: int) -> None:
    """A block equals libstdc++'s algorithm written out, and leaves the engine at the same word."""
    engine = rng.Engine(seed)
    words = iter(rng.Engine(seed).words(400).tolist())
    assert engine.below(bound, 50).tolist() == [rng.multiply_shift(words, bound) for _ in range(50)]
    assert engine.words(1)[0] == next(words)


@given(seed=SEEDS, bounds=st.lists(st.integers(2, 2**32 - 1), min_size=1, max_size=20), times=st.integers(1, 4))
def test_a_list_of_bounds_is_drawn_in_turn(seed: int, bounds: list[int], times: int) -> None:
    """One value below each bound, the list over and over, one word each and one for each rejection."""
    engine = rng.Engine(seed)
    words = iter(rng.Engine(seed).words(2000).tolist())
    expected = [[rng.multiply_shift(words, bound) for bound in bounds] for _ in range(times)]
    assert engine.below_each(np.array(bounds), times).tolist() == expected
    assert engine.words(1)[0] == next(words)


@given(seed=SEEDS, cut=st.integers(0, 40))
def test_sequences_can_be_drawn_in_pieces(seed: int, cut: int) -> None:
    """Two draws give what one draw gives: words, bounded integers, doubles and gaps."""
    for draw in (
        lambda engine, count: engine.words(count),
        lambda engine, count: engine.below(3_000_000_000, count),
        lambda engine, count: engine.canonical(count),
        lambda engine, count: rng.exponential_gaps_ns(engine, 77.0, count),
    ):
        engine = rng.Engine(seed)
        pieces = np.concatenate([draw(engine, cut), draw(engine, 40 - cut)])
        assert pieces.tolist() == draw(rng.Engine(seed), 40).tolist()


@given(seed=SEEDS)
def test_canonical_takes_two_words_the_second_one_high(seed: int) -> None:
    """(g0 + g1 * 2^32) / 2^64 with one rounding, and never 1."""
    words = rng.Engine(seed).words(20).tolist()
    expected = [min(float(low + (high << 32)) / 2.0**64, math.nextafter(1, 0)) for low, high in zip(words[::2], words[1::2], strict=True)]
    assert rng.Engine(seed).canonical(10).tolist() == expected


def test_canonical_stays_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest words would round up to 1; the largest double below 1 stands for them, so that a gap is never infinite."""
    monkeypatch.setattr(rng.Engine, "words", lambda self, count: np.full(count, 2**32 - 1, np.uint32))
    assert rng.Engine(0).canonical(1)[0] == math.nextafter(1, 0)


@given(seed=SEEDS, rate=st.one_of(st.floats(1e-6, 1e-2), st.floats(0.1, 1e6)))
def test_gaps_are_those_of_libm(seed: int, rate: float) -> None:
    """Each gap is -log(1 - u) / rate in ns by the C library's log, truncated."""
    values = rng.Engine(seed).canonical(300).tolist()
    expected = [int(-math.log(1.0 - value) / rate * 1e9) for value in values]
    assert rng.exponential_gaps_ns(rng.Engine(seed), rate, 300).tolist() == expected


def test_gaps_do_not_depend_on_the_last_bits_of_numpy_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is off by up to 4 units in the last place, as numpy allows itself, gives the same gaps."""
    expected = [rng.exponential_gaps_ns(rng.Engine(3), rate, 20_000).tolist() for rate in (1e-3, 1.0, 1e3)]
    log = np.log
    monkeypatch.setattr(np, "log", lambda values: log(values) * (1 + 4 * 2.0**-52))
    assert [rng.exponential_gaps_ns(rng.Engine(3), rate, 20_000).tolist() for rate in (1e-3, 1.0, 1e3)] == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(5, [2, 0, 1, 4, 3]), (6, [1, 5, 2, 3, 0, 4]), (10, [1, 5, 7, 6, 0, 8, 3, 2, 9, 4])],
)
def test_shuffle(size: int, expected: list[int]) -> None:
    """Lists of odd and even length, shuffled with MLPerf's seed for the sample library."""
    values = list(range(size))
    rng.shuffle(rng.Engine(2085463073848966840), values)
    assert values == expected


def written_out(words: list[int], size: int) -> tuple[list[int], int]:
    """libstdc++'s std::shuffle, step by step: the result, and how many words it took."""
    source, values = iter(words), list(range(size))
    left = len(words)
    if size > 65535:
        for index in range(1, size):
            other = rng.multiply_shift(source, index + 1)
            values[index], values[other] = values[other], values[index]
        return values, left - len(list(source))
    index = 1
    if size % 2 == 0 and size:
        other = rng.multiply_shift(source, 2)
        values[1], values[other] = values[other], values[1]
        index = 2
    while index < size:
        both = rng.multiply_shift(source, (index + 1) * (index + 2))
        for place, other in ((index, both // (index + 2)), (index + 1, both % (index + 2))):
            values[place], values[other] = values[other], values[place]
        index += 2
    return values, left - len(list(source))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 63, 64, 1023, 10833, 65534, 65535, 65536, 70001])
def test_shuffling_and_skipping_a_shuffle_leave_the_engine_at_the_same_word(size: int) -> None:
    """Both algorithms equal std::shuffle written out, and a skipped shuffle draws exactly what a performed one draws."""
    expected, used = written_out(rng.Engine(9).words(3 * size + 9).tolist(), size)
    shuffled, skipped = rng.Engine(9), rng.Engine(9)
    values = list(range(size))
    rng.shuffle(shuffled, values)
    rng.skip_shuffles(skipped, size)
    assert values == expected
    after = rng.Engine(9).words(used + 1)[-1]
    assert shuffled.words(1)[0] == skipped.words(1)[0] == after


@given(seed=SEEDS, size=st.integers(0, 400), times=st.integers(0, 30))
def test_skipping_many_shuffles(seed: int, size: int, times: int) -> None:
    """Skipping n shuffles at once is performing n of them."""
    performed, skipped = rng.Engine(seed), rng.Engine(seed)
    for _ in range(times):
        rng.shuffle(performed, list(range(size)))
    rng.skip_shuffles(skipped, size, times)
    assert performed.words(2).tolist() == skipped.words(2).tolist()


def test_a_numpy_with_other_integers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If numpy drew bounded integers in another way, nothing would run on silently changed traffic."""
    monkeypatch.setattr(rng, "multiply_shift", lambda words, bound: 1)
    with pytest.raises(MissingError, match="numpy"):
        rng._check_numpy.__wrapped__()
