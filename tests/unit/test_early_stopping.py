"""LoadGen's early stopping: h(t), estimates, verdicts."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.early_stopping import chance, discards, estimate, h, is_enough, judge_bound, judge_stream, required

SHARES = st.sampled_from([0.5, 0.9, 0.95, 0.97, 0.99, 0.999])

TABLE = {  # loadgen.md section 7.1: t -> h
    0.90: {0: 44, 1: 63, 2: 79, 3: 94, 10: 187, 100: 1146, 1000: 9722},
    0.95: {0: 90, 1: 129, 2: 163, 3: 195, 10: 388, 100: 2404, 1000: 20483},
    0.97: {0: 152, 1: 218, 2: 275, 3: 329, 10: 657, 100: 4082, 1000: 34831},
    0.99: {0: 459, 1: 661, 2: 836, 3: 998, 10: 2000, 100: 12471, 1000: 106569},
    0.999: {0: 4603, 1: 6635, 2: 8401, 3: 10039, 10: 20130, 100: 125726, 1000: 1075032},
}


@pytest.mark.parametrize("share", TABLE)
def test_h_equals_the_table(share: float) -> None:
    """h(t) for all tabulated percentiles."""
    assert {over: h(over, share) for over in TABLE[share]} == TABLE[share]


def exact_chance(over: int, queries: int, share: float) -> Fraction:
    """The binomial sum in rational numbers, for the doubles that are used."""
    stay, leave = Fraction(share), Fraction(1 - share)
    return sum((math.comb(queries, k) * leave**k * stay ** (queries - k) for k in range(over + 1)), Fraction(0))


@given(over=st.integers(0, 12), share=st.sampled_from([0.5, 0.9, 0.95, 0.97]))
def test_required_is_the_least_number_by_exact_arithmetic(over: int, share: float) -> None:
    """The chance is below 1 - 0.99 at `required` and not one query earlier; the sum in floating point is right to 12 digits."""
    queries = required(over, share)
    doubt = Fraction(1 - 0.99)
    assert exact_chance(over, queries, share) < doubt <= exact_chance(over, queries - 1, share)
    assert chance(over, queries, share) == pytest.approx(float(exact_chance(over, queries, share)), rel=1e-12)


@pytest.mark.parametrize(("over", "share"), [(0, 0.999), (10, 0.99), (30_000, 0.9), (1_000_000, 0.99), (1_000_000, 0.5)])
def test_chance_agrees_with_the_regularised_beta_function(over: int, share: float) -> None:
    """Large counts against scipy, where it is installed."""
    special = pytest.importorskip("scipy.special")
    queries = required(over, share)
    assert chance(over, queries, share) == pytest.approx(special.betainc(queries - over, over + 1, share), rel=1e-7)


@given(over=st.integers(0, 1_000_000), share=SHARES)
def test_required_is_where_enough_begins(over: int, share: float) -> None:
    """One query fewer is not enough, and one more over the bound is not either."""
    queries = required(over, share)
    assert is_enough(over, queries, share)
    assert not is_enough(over, queries - 1, share)
    assert not is_enough(over + 1, queries, share)


@given(queries=st.integers(0, 3_000), share=SHARES)
def test_discards_is_the_largest_t_that_fits(queries: int, share: float) -> None:
    """h(t) + t <= n for t discards and not for one more; none below the floor."""
    dropped = discards(queries, share)
    assert dropped == 0 or required(dropped, share) <= queries
    assert required(dropped + 1, share) > queries


def test_estimate_of_an_official_run() -> None:
    """834 queries of a recorded LoadGen run: 62 latencies discarded at p90, so the estimate is the 63rd largest; the largest at p99."""
    ordered = np.arange(834)
    assert (discards(834, 0.9), discards(834, 0.99)) == (63, 1)
    assert estimate(ordered, 0.9) == 834 - 63
    assert estimate(ordered, 0.99) == 833


def test_estimate_needs_its_floor() -> None:
    """p90 needs 64 queries, p99 662."""
    assert (required(1, 0.9), required(1, 0.99)) == (64, 662)
    assert estimate(np.arange(63), 0.9) is None
    assert estimate(np.arange(64), 0.9) == 63


def test_stream_verdict() -> None:
    """Met from the floor on, with the estimate; below it the missing queries are named."""
    few = judge_stream(np.arange(60) * 1_000_000, 0.9)
    assert (few.met, few.queries, few.needed, few.estimate_ns) == (False, 60, 64, None)
    assert few.text == "p90 needs 4 more queries to be certain"
    many = judge_stream(np.arange(834) * 1_000_000, 0.9)
    assert (many.met, many.estimate_ns) == (True, 771_000_000)
    assert many.text == "p90 is at most 771 ms with 99 % confidence (834 queries, 62 discarded)"


def test_bound_verdict() -> None:
    """Server at p99: 459 queries do if none is over the bound; a recorded LoadGen run of 249 with 60 over it needed 7,804 more."""
    assert judge_bound(0, 459, 0.99).met
    recorded = judge_bound(60, 249, 0.99)
    assert recorded.needed - recorded.queries == 7_804
    missed = judge_bound(0, 458, 0.99)
    assert (missed.met, missed.needed) == (False, 459)
    assert missed.text == "p99 needs 1 more query, all within the bound, to be certain (0 of 458 queries over the bound)"
