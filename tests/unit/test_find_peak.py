"""LoadGen's search for the highest rate: which rates it tries, what it says, where it ends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.find_peak import Peak, Search, Try, loadgen


def search(steps: Search, passes: Callable[[float], bool], most: int = 500) -> tuple[list[tuple[Try, bool]], Peak]:
    """Every rate that was tried with what came of it, and the peak."""
    tried: list[tuple[Try, bool]] = []
    attempt = next(steps)
    while len(tried) < most:
        tried.append((attempt, passes(attempt.qps)))
        try:
            attempt = steps.send(tried[-1][1])
        except StopIteration as done:
            return tried, done.value
    raise AssertionError(f"still searching after {most} runs")


def test_the_search_tries_loadgens_rates_and_says_its_sentences() -> None:
    """From 100 with a limit of 237 to whole queries a second: doubled until 400 fails, then halved; every sentence as in LoadGen's log."""
    tried, peak = search(loadgen(100.0, decimals=0), lambda rate: rate <= 237)
    assert [attempt.qps for attempt, _ in tried] == [100, 200, 400, 300, 250, 225, 237.5, 231.25, 234.375, 235.9375, 236.71875]
    assert [attempt.text for attempt, _ in tried[:5]] == [
        "FindPeakPerformance: Check validity of the base settings field: 100.000000",
        "FindBoundaries: Checking fields [100.000000, 200.000000)",
        "FindBoundaries: Checking fields [200.000000, 400.000000)",
        "FindPeakPerformance: Found boundaries: [200.000000, 400.000000)\n"
        "FindPeakPerformanceBinarySearch: Testing the mid value of bounds [200.000000, 400.000000): 300.000000",
        "FindPeakPerformanceBinarySearch: Testing the mid value of bounds [200.000000, 300.000000): 250.000000",
    ]
    assert peak == Peak(236.71875, "FindPeakPerformance: Found peak performance field: 236.718750")


def test_a_base_that_fails_ends_the_search() -> None:
    """One run, no peak, and LoadGen's sentence for it."""
    tried, peak = search(loadgen(100.0), lambda rate: False)
    assert [attempt.qps for attempt, _ in tried] == [100]
    assert peak.qps is None
    assert peak.text == (
        "FindPeakPerformance: Initial lower bound does not satisfy performance constraints, msg: Reduce target QPS to improve latency."
    )


def test_bounds_that_are_close_enough_need_no_halving() -> None:
    """Where widening alone reaches the last decimal, both sentences of the end stand together."""
    tried, peak = search(loadgen(10.0, step=0.01), lambda rate: rate <= 10)
    assert [attempt.qps for attempt, _ in tried] == [10, 10.1]
    assert peak.qps == 10
    assert peak.text == (
        "FindPeakPerformance: Found boundaries: [10.000000, 10.100000)\nFindPeakPerformance: Found peak performance field: 10.000000"
    )


@pytest.mark.parametrize(("step", "rates"), [(0.5, [100, 150, 225, 337.5]), (3.0, [100, 400])])
def test_the_step_is_the_share_by_which_the_bounds_widen(step: float, rates: list[float]) -> None:
    """Each bound is the one before times 1 + step."""
    tried, _ = search(loadgen(100.0, step=step), lambda rate: rate <= 300)
    assert [attempt.qps for attempt, _ in tried if "FindPeakPerformanceBinarySearch" not in attempt.text] == rates


@given(base=st.floats(0.5, 5000), factor=st.floats(1.0, 300), step=st.floats(0.05, 4), decimals=st.integers(0, 4), strict=st.booleans())
def test_the_peak_of_a_monotone_system_is_found(base: float, factor: float, step: float, decimals: int, strict: bool) -> None:
    """The peak passed, and the true limit is less than two units of the last decimal above it (LoadGen ends where the integer parts of
    the bounds are neighbours); every rate is tried once, between the highest that passed and the lowest that failed."""
    limit = base * factor
    tried, peak = search(loadgen(base, step, decimals), lambda rate: rate < limit if strict and rate > base else rate <= limit)
    assert peak.qps is not None
    assert (peak.qps, True) in [(attempt.qps, passed) for attempt, passed in tried]
    assert peak.qps <= limit
    assert limit - peak.qps <= 2 * 10.0**-decimals + 1e-9 * limit
    low, high = 0.0, float("inf")
    for attempt, passed in tried:
        assert low < attempt.qps < high
        low, high = (attempt.qps, high) if passed else (low, attempt.qps)
    assert peak.qps == low
    failed = [attempt.qps for attempt, passed in tried if not passed]
    assert all(later < earlier for earlier, later in pairwise(failed))


@given(base=st.floats(1, 1000), decimals=st.integers(0, 4), answers=st.randoms(use_true_random=False))
def test_the_peak_always_passed(base: float, decimals: int, answers) -> None:
    """However the system wavers, what is reported is a rate that a run has met."""
    tried, peak = search(loadgen(base, 1.0, decimals), lambda rate: rate < 50 * base and answers.random() < 0.6)
    passed = [attempt.qps for attempt, met in tried if met]
    assert (peak.qps is None) == (not passed)
    assert peak.qps is None or peak.qps == max(passed)


def test_each_decimal_makes_the_peak_ten_times_as_sharp() -> None:
    """More decimals go on from the same rates."""
    rates = [[attempt.qps for attempt, _ in search(loadgen(50.0, decimals=k), lambda rate: rate <= 123.456789)[0]] for k in range(4)]
    assert all(longer[: len(shorter)] == shorter and len(longer) >= len(shorter) + 3 for shorter, longer in pairwise(rates))


def test_the_search_ends_where_floating_point_does() -> None:
    """At 1e8 queries/s there is no rate to nine decimals: the search ends with neighbours instead of running for ever."""
    tried, peak = search(loadgen(1e8, decimals=9), lambda rate: rate <= 1.23456789012e8)
    assert peak.qps == pytest.approx(1.23456789012e8, abs=1e-7)
    assert len(tried) < 80


def test_a_step_that_changes_nothing_is_refused() -> None:
    """A share that floating point loses would try one rate for ever."""
    with pytest.raises(UsageError, match="--find-peak-step 1e-17 does not change a rate"):
        next(loadgen(100.0, step=1e-17))
