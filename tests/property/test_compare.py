"""Comparisons with known answers: simulated candidates, drift and bursts, and the words that come out."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness import compare
from harness.compare import Ratio
from harness.comparing.blocks import Plan, play
from harness.comparing.results import THROUGHPUT, Candidate, Comparison, Visit

SIMULATIONS = 400
NOTHING = np.zeros(0, np.int64)


def compared(true: float, seed: int, *, plan: Plan, noise: float = 0.02) -> Comparison:
    """Two simulated systems, the second `true` times as fast as the first, on a machine whose clock drifts and that is disturbed now and
    then: 10 % drift over the run, noise of `noise` a visit, every tenth visit slowed by up to 10 %."""
    generator = np.random.default_rng(seed)
    count = itertools.count()

    def visit(place: int, block: int) -> Visit:
        drift = 1 + 0.1 * math.sin(next(count) / 20)
        burst = 1 + 0.1 * generator.random() * (generator.random() < 0.1)
        rate = 100 * (true if place else 1.0) * drift * math.exp(generator.normal(0, noise)) / burst
        return Visit(block, place, 150 / rate, 150, 0, NOTHING)

    visits, _ = play(2, 0, (THROUGHPUT,), plan, visit)
    return Comparison((Candidate("a", {}, {}, {}), Candidate("b", {}, {}, {})), 0, (THROUGHPUT,), visits)


def word(found: Comparison) -> str | None:
    cell = found.cell(1, THROUGHPUT)
    assert cell is not None
    return cell.word


PLAN = Plan(width=0.015, budget_s=120)


def test_a_system_is_rarely_called_faster_than_itself() -> None:
    """At a true ratio of 1.00 at most 5 % of comparisons say faster or slower, and 93 to 97 % of the intervals hold 1, though the number
    of blocks follows from the width seen so far."""
    words, held = [], 0
    for seed in range(SIMULATIONS):
        found = compared(1.0, seed, plan=PLAN)
        words.append(word(found))
        (ratio,) = found.ratios()
        held += ratio.low <= 1 <= ratio.high
    assert (words.count("faster") + words.count("slower")) / SIMULATIONS <= 0.05
    assert 0.93 <= held / SIMULATIONS <= 0.97


@pytest.mark.parametrize(("true", "least"), [(1.05, 0.95), (1.30, 1.0)])
def test_a_real_difference_is_found(true: float, least: float) -> None:
    """5 % is found at least 95 times in 100, 30 % always."""
    found = sum(word(compared(true, seed, plan=PLAN)) == "faster" for seed in range(SIMULATIONS // 2))
    assert found >= least * (SIMULATIONS // 2)


def test_one_percent_is_the_same_speed_to_people() -> None:
    """A true ratio of 1.01 is never called faster or slower in 100 comparisons on a machine of 0.5 % noise, and mostly equivalent."""
    words = [word(compared(1.01, seed, plan=Plan(width=0.007, budget_s=240), noise=0.005)) for seed in range(100)]
    assert words.count("slower") + words.count("faster") == 0
    assert words.count("equivalent") >= 60


@pytest.mark.parametrize(("blocks", "true"), [(6, 1.01), (6, 1.30), (10, 1.05), (20, 1.01)])
def test_intervals_hold_the_truth(blocks: int, true: float) -> None:
    """Of intervals from 6 to 20 blocks, one in ten of them disturbed, 93 to 97 % hold the true ratio; a plain percentile bootstrap of six
    would reach 85. (A true ratio only shifts logs, so blocks and ratios need not be crossed.)"""
    held, comparisons = 0, 700
    for seed in range(comparisons):
        generator = np.random.default_rng((blocks, seed))
        bursts = 0.1 * generator.random(blocks) * (generator.random(blocks) < 0.1) * generator.choice([-1, 1], blocks)
        logs = generator.normal(math.log(true), 0.03, blocks) + bursts
        found = compare.ratio(np.exp(logs), np.ones(blocks), seed)
        held += found.low <= true <= found.high
    assert 0.93 <= held / comparisons <= 0.97


def test_a_linear_drift_cancels_inside_a_block() -> None:
    """A machine that slows down steadily gives the ratio of an even one: forwards and backwards meet the same mean."""
    moment = itertools.count()

    def visit(place: int, block: int) -> Visit:
        return Visit(block, place, (1 + 0.01 * next(moment)) * (1.0 if place else 1.25), 100, 0, NOTHING)

    visits, ended = play(2, 0, (THROUGHPUT,), Plan(), visit)
    found = Comparison((Candidate("a", {}, {}, {}), Candidate("b", {}, {}, {})), 0, (THROUGHPUT,), visits).ratios()[0]
    assert ended == "settled"
    assert found.value == pytest.approx(1.25, rel=2e-3)


@given(candidates=st.integers(2, 8), block=st.integers(0, 50))
def test_an_order_cancels_drift(candidates: int, block: int) -> None:
    """In a block each candidate comes twice, at places that add up to the same."""
    found = compare.order(candidates, block)
    places = {number: [place for place, each in enumerate(found) if each == number] for number in range(candidates)}
    assert all(sum(pair) == 2 * candidates - 1 for pair in places.values())


@given(candidates=st.integers(2, 8), first=st.integers(0, 50))
def test_orders_are_balanced_over_blocks(candidates: int, first: int) -> None:
    """Over as many blocks as candidates each is once at every place, and follows each other one twice inside a block."""
    orders = [compare.order(candidates, block) for block in range(first, first + candidates)]
    assert all(sorted(column) == list(range(candidates)) for column in zip(*(order[:candidates] for order in orders), strict=True))
    follows = Counter(pair for order in orders for pair in itertools.pairwise(order) if pair[0] != pair[1])
    assert follows == {(one, other): 2 for one in range(candidates) for other in range(candidates) if one != other}


@given(share=st.floats(0.51, 0.999), freedom=st.integers(1, 200))
def test_students_quantiles(share: float, freedom: int) -> None:
    """They are scipy's."""
    assert compare.student_quantile(share, freedom) == pytest.approx(float(scipy_stats.t.ppf(share, freedom)), rel=1e-7)


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_the_sign_test_is_the_exact_one(values: list[float]) -> None:
    """It is scipy's binomial test of the values above 0 among those that are not 0."""
    signs = [value for value in values if value != 0]
    over = sum(value > 0 for value in signs)
    wanted = scipy_stats.binomtest(over, len(signs), 0.5).pvalue if signs else 1.0
    assert compare.sign_test(np.array(values)) == pytest.approx(float(wanted), rel=1e-9)


positive = st.floats(1e-3, 1e6)


@given(pairs=st.lists(st.tuples(positive, positive), min_size=2, max_size=30), factor=st.floats(0.01, 100))
def test_a_ratio_has_no_unit_and_turns_round(pairs: list[tuple[float, float]], factor: float) -> None:
    """Scaling one side scales value and interval; exchanging the sides gives the reciprocal value; the interval holds the value."""
    top, bottom = np.array(pairs).T
    found, scaled = compare.ratio(top, bottom, 1), compare.ratio(top * factor, bottom, 1)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((found.value * factor, found.low * factor, found.high * factor))
    assert compare.ratio(bottom, top, 1).value == pytest.approx(1 / found.value)
    assert found.low <= found.value * (1 + 1e-9)
    assert found.high >= found.value * (1 - 1e-9)


@pytest.mark.parametrize(
    ("low", "value", "high", "better", "floor", "wanted"),
    [
        (1.05, 1.10, 1.15, "higher", 0.0, "faster"),
        (1.05, 1.10, 1.15, "lower", 0.0, "slower"),
        (0.85, 0.90, 0.95, "higher", 0.0, "slower"),
        (0.85, 0.90, 0.95, "lower", 0.0, "faster"),
        (0.99, 1.00, 1.01, "higher", 0.0, "equivalent"),
        (1.001, 1.01, 1.015, "higher", 0.0, "equivalent"),
        (0.95, 1.02, 1.10, "higher", 0.0, "undecided"),
        (1.05, 1.10, 1.15, "higher", 0.2, "undecided"),
        (1.005, 1.04, 1.08, "higher", 0.05, "undecided"),
        (1.005, 1.015, 1.03, "higher", 0.0, "undecided"),
    ],
)
def test_words(low: float, value: float, high: float, better: str, floor: float, wanted: str) -> None:
    """Faster and slower need an interval without 1 and a difference above the floor and above 2 %; equivalent an interval within 2 %."""
    found = Ratio(value, low, high, 6, 0.03)
    assert compare.judge(found, better=better, floor=floor) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("top", "bottom", "message"),
    [
        ([1.0], [1.0], "two or more"),
        ([1.0, 2.0], [1.0], "2 and 1"),
        ([1.0, 0.0], [1.0, 1.0], "above 0"),
        ([1.0, math.nan], [1.0, 1.0], "above 0"),
    ],
)
def test_figures_that_have_no_ratio(top: list[float], bottom: list[float], message: str) -> None:
    """Unpaired, too few, zero and no number are errors."""
    with pytest.raises(ValueError, match=message):
        compare.ratio(top, bottom, 1)


def test_the_noise_floor_is_a_quantile_of_differences() -> None:
    """95 % of |log ratio| lie below it; of nothing there is none."""
    logs = np.linspace(-0.02, 0.02, 41)
    assert compare.noise_floor(logs) == pytest.approx(0.0195, abs=6e-4)
    with pytest.raises(ValueError, match="no blocks"):
        compare.noise_floor([])
