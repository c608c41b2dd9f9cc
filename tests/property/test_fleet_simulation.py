"""Fleets that were never built, through the code that reads real ones: how many slow machines are named, and how many good ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.qualifying import fleet as judging
from harness.qualifying import outliers
from tests.fleets import Fleet, fleet

MACHINES, SLOW = 200, 10
WORTH_NAMING = 0.08


def named(simulated: Fleet, direction: str = "worse") -> set[str]:
    record = judging.record(simulated.measured(), [])
    return {unit["name"] for group in record["groups"] for unit in group["units"] if unit[direction]}


def shares(simulated: Iterable[Fleet]) -> tuple[float, float]:
    """Of slow machines by more than 8 %, and of good ones: the share that is named."""
    slow, caught, good, flagged = 0, 0, 0, 0
    for each in simulated:
        found = named(each)
        worth = [name for name, share in each.slow.items() if share > WORTH_NAMING]
        slow, caught = slow + len(worth), caught + len(found & set(worth))
        good, flagged = good + len(each.qualifications) - len(each.slow), flagged + len(found - set(each.slow))
    return caught / max(1, slow), flagged / good


def slow_ones(seed: int, count: int = SLOW) -> list[float]:
    return [float(share) for share in np.random.default_rng(1000 + seed).uniform(0.05, 0.20, count)]


@pytest.mark.parametrize("everywhere", [False, True], ids=["in one figure", "in all figures"])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_200_machines_of_which_5_percent_are_slow(correlation: float, everywhere: bool) -> None:
    """Spread 1 to 2 %, ten machines 5 to 20 % slower: at least 95 % of those beyond 8 % are named, and under 1 % of the good ones."""
    simulated = [fleet(seed, MACHINES, slow_ones(seed), correlation=correlation, everywhere=everywhere) for seed in range(12)]
    caught, flagged = shares(simulated)
    assert caught >= 0.95
    assert flagged < 0.01


@pytest.mark.parametrize(
    ("machines", "fleets", "most"), [(3, 40, 0), (4, 40, 0), (5, 40, 6), (7, 40, 6), (10, 40, 6), (40, 20, 4), (200, 12, 3)]
)
def test_fleets_without_a_slow_machine_are_left_alone(machines: int, fleets: int, most: int) -> None:
    """In 5 % of fleets of good machines some are named by chance: more than `most` of so many would have a chance of 1 in 100 or less."""
    assert sum(bool(named(fleet(seed, machines))) for seed in range(fleets)) <= most


def test_few_machines_name_only_what_is_obvious() -> None:
    """Of seven machines one at 60 % less in all figures is named; of three it is not, and the record says that it was not compared."""
    assert named(fleet(5, 7, [0.6], everywhere=True)) == {"node000"}
    three = judging.record(fleet(5, 3, [0.6], everywhere=True).measured(), [])
    assert not three["groups"][0]["compared"]
    assert three["exit_code"] == 9


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(50, 150), min_size=5, max_size=12), st.floats(0.01, 1e9), st.randoms(use_true_random=False))
def test_units_and_order_do_not_matter(values: list[float], scale: float, random: Any) -> None:
    """The same figures in another unit, and in another order, have the same places."""
    one = outliers.Metric("x", "", "higher", {str(number): value for number, value in enumerate(values)})
    order = list(one.values)
    random.shuffle(order)
    other = outliers.Metric("x", "", "higher", {name: one.values[name] * scale for name in order})
    before, after = outliers.places(one), outliers.places(other)
    for name, place in before.items():
        assert after[name].share == pytest.approx(place.share, abs=1e-9)
        assert after[name].worse == pytest.approx(place.worse, rel=1e-6, abs=1e-12) or place.spreads is None or abs(place.spreads) > 1e6
