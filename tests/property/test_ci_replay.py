"""The gate and the change points, replayed on histories whose truth is known: they seldom cry wolf, and find a step of 5 %.

CI replays a few histories of each kind; `make test-long` (ASSAY_REPLAY) all 1,000 of docs/ci.md.
"""

from __future__ import annotations

import os

import pytest

from tests.ci_histories import KINDS, Replayed, replay

pytest.importorskip("otava", reason="Apache Otava finds the change points")

SERIES = int(os.environ.get("ASSAY_REPLAY", "32"))
STEPS = (0.0, 0.02, 0.05, 0.10)


@pytest.fixture(scope="module")
def replayed() -> dict[tuple[str, float], list[Replayed]]:
    """Histories by what goes on around them and by the size of the step, as many of each."""
    each = max(1, SERIES // (len(KINDS) * len(STEPS)))
    return {(kind, step): [replay(kind, step, seed) for seed in range(each)] for kind in KINDS for step in STEPS}


def test_unchanged_pushes_stay_green(replayed: dict[tuple[str, float], list[Replayed]]) -> None:
    """Of pushes that change nothing fewer than 1 % turn red, with drifts, bursts and changes of machine among them."""
    every = [one for some in replayed.values() for one in some]
    assert sum(one.alarms for one in every) < 0.01 * sum(one.unchanged for one in every)


def test_the_history_shows_few_steps_that_are_none(replayed: dict[tuple[str, float], list[Replayed]]) -> None:
    """After fewer than 1 % of pushes the history shows a step that the project did not make."""
    every = [one for some in replayed.values() for one in some]
    assert sum(one.reported for one in every) < 0.01 * sum(one.unchanged for one in every)


@pytest.mark.parametrize("step", [0.05, 0.10])
def test_steps_are_found_within_three_pushes(replayed: dict[tuple[str, float], list[Replayed]], step: float) -> None:
    """The gate finds at least 95 % of steps of 5 % and 10 %."""
    some = [one for (_, size), found in replayed.items() for one in found if size == step]
    assert sum(one.gated is not None for one in some) >= 0.95 * len(some)


def test_steps_below_the_gate_stay_green(replayed: dict[tuple[str, float], list[Replayed]]) -> None:
    """A step of 2 % is below the gate of twice this noise, and is no alarm, but it is not called an improvement of anything either."""
    some = [one for (_, size), found in replayed.items() for one in found if size == 0.02]
    assert sum(one.gated is not None for one in some) <= 0.05 * len(some)
