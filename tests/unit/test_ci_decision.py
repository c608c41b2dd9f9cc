"""When a slowdown is a regression: beyond the gate for certain, and found again in fresh processes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ci.decision import Rule, decide, gate, settle
from harness.errors import UsageError

RULE = Rule(gate=0.03, floor=0.01)


def blocks(slowdown: float, spread: float = 0.002) -> list[float]:
    """Six blocks around a slowdown, their mean exactly there."""
    return [math.log1p(slowdown) + spread * each for each in (-1.5, -0.5, 0.5, 1.5, -1.0, 1.0)]


def rounds_of(*slowdowns: float, spread: float = 0.002) -> list[list[float]]:
    return [blocks(each, spread) for each in slowdowns]


def test_a_slowdown_turns_red_only_in_fresh_processes() -> None:
    """One round beyond the gate asks for another; that one having found the same, it is a regression of the right size."""
    first = decide(rounds_of(0.08), RULE)
    assert (first.verdict, first.more, first.confirmed) == ("undecided", True, None)
    second = decide(rounds_of(0.08, 0.08), RULE)
    assert (second.verdict, second.more, second.confirmed, second.rounds) == ("regression", False, True, 2)
    assert second.slowdown.value == pytest.approx(1.08)
    assert second.slowdown.blocks == 12
    assert second.slowdown.low > 1.03


def test_what_one_set_of_processes_alone_shows_is_no_regression() -> None:
    """A round that was unlucky from start to end, and two that were not, stay green."""
    lucky = decide(rounds_of(0.08, 0.0), RULE)
    assert (lucky.verdict, lucky.more) == ("undecided", True)
    assert decide(rounds_of(0.08, 0.0, 0.0), RULE).verdict != "regression"
    assert decide(rounds_of(0.20, 0.0, 0.02), RULE).verdict == "undecided"


def test_no_change_is_settled_by_one_round() -> None:
    """The same code costs one round, and is unchanged."""
    found = decide(rounds_of(0.0), RULE)
    assert (found.verdict, found.more, found.confirmed) == ("unchanged", False, None)


def test_an_improvement_is_found_twice_as_well() -> None:
    """Faster in two rounds is an improvement; once only, unchanged."""
    assert decide(rounds_of(-0.08), RULE).more
    twice = decide(rounds_of(-0.08, -0.08), RULE)
    assert (twice.verdict, twice.confirmed) == ("improvement", True)
    assert decide(rounds_of(-0.08, 0.0, 0.0), RULE).verdict == "unchanged"
    assert decide(rounds_of(-0.01), RULE).verdict == "unchanged"  # a difference that matters to nobody


def test_undecided_costs_two_more_rounds_at_most() -> None:
    """Where the gate lies inside the interval three rounds are measured, and then it is undecided, which is green."""
    asked: list[int] = []

    def measure(number: int) -> Sequence[float]:
        asked.append(number)
        return blocks(0.03, spread=0.03)

    found = settle(measure, RULE)
    assert asked == [0, 1, 2]
    assert (found.verdict, found.more, found.rounds) == ("undecided", False, 3)


def test_the_gate_is_3_percent_or_twice_the_noise() -> None:
    """By default; what was asked for stands, unless it is finer than the noise, or finer than 3 % where that is not known."""
    assert gate(None, None) == gate(None, 0.01) == 0.03
    assert gate(None, 0.025) == 0.05
    assert gate(0.01, 0.004) == 0.01
    assert gate(0.05, None) == 0.05
    with pytest.raises(UsageError, match=r"finer than this machine's noise: a system differs from itself by up to 2\.00% here") as refused:
        gate(0.015, 0.02)
    assert refused.value.cure.startswith("ask for 4")
    with pytest.raises(UsageError, match="noise is not known"):
        gate(0.01, None)


@given(
    st.lists(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=8), min_size=1, max_size=3),
    st.floats(0.005, 0.1),
)
def test_a_regression_is_always_beyond_the_gate(rounds: list[list[float]], limit: float) -> None:
    """Whatever was measured: a regression has its whole interval beyond the gate and two rounds with their means there; an improvement
    has two rounds that were faster; more is asked for only while there are rounds left."""
    found = decide(rounds, Rule(limit))
    means = [math.expm1(float(np.mean(each))) for each in rounds]
    assert found.more <= (len(rounds) < 3)
    assert found.slowdown.low <= found.slowdown.value <= found.slowdown.high
    if found.verdict == "regression":
        assert found.slowdown.low > 1 + limit
        assert sum(mean > limit for mean in means) >= 2
    if found.verdict == "improvement":
        assert sum(mean < 0 for mean in means) >= 2
    if found.verdict == "unchanged":
        assert found.slowdown.high <= 1 + limit
