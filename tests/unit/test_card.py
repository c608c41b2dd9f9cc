"""What a card marks beside the number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness import card
from tests import example_runs

STEADY = {
    "figure": "rate by length",
    "stable": False,
    "settled_share": 0.3,
    "start": -0.25,
    "start_errors": 8.2,
    "drift": 0.121,
    "p": 0.0004,
    "drift_error": 0.01,
    "at_s": [1.0],
    "values": [1.0],
}


def test_an_unstable_run_is_never_called_valid_without_saying_so() -> None:
    """UNSTABLE stands beside the word and first of the marks, with the figures that say why; the run stays a result."""
    made = card.make(example_runs.changed(example_runs.VALID, steady=STEADY))
    assert (made.words, made.marks[0], made.counts) == ("VALID · UNSTABLE", "UNSTABLE", True)
    figure = "the rate (each sample counted by its length)"
    assert made.unstable == dict(made.rows)["steady"]
    assert made.unstable == (
        f"UNSTABLE: {figure} rose by 12.1% of its median from begin to end "
        "(Theil-Sen slope, Mann-Kendall p = 0.00040, ± 3.0% by the scatter of warm-up); "
        f"{figure} in the first 30% was 25.0% below the rest (MSER-5, 8 standard errors)"
    )


def test_a_steady_run_says_so() -> None:
    """By its row alone: no mark, no word. A run in which nothing was looked at has no row."""
    steady = {**STEADY, "stable": True, "drift": -0.004, "p": 0.6, "settled_share": 0.0}
    made = card.make(example_runs.changed(example_runs.VALID, steady=steady))
    assert (made.words, made.unstable, "UNSTABLE" in made.marks) == ("VALID", "", False)
    assert dict(made.rows)["steady"].startswith(
        "steady: the rate (each sample counted by its length) fell by 0.4% of its median from begin to end"
    )
    uncertain = card.make(example_runs.changed(example_runs.VALID, steady={**steady, "drift": 0.2, "drift_error": 0.1}))
    assert dict(uncertain.rows)["steady"].startswith("no certain drift: the rate")
    assert "steady" not in dict(card.make(example_runs.VALID).rows)


def test_warm_up_tells_its_calls() -> None:
    """Calls, shapes, and whether they settled."""
    told = {"shapes": 14, "calls": 43, "scatter": 0.01, "unsettled": []}
    conditions = {"warm_up": told}
    assert dict(card.make(example_runs.changed(example_runs.VALID, conditions=conditions)).rows)["warm-up"] == (
        "43 calls of 14 shapes, all settled"
    )
    conditions = {"warm_up": {**told, "unsettled": [{"rows": 1, "length": 8, "calls": 10}]}}
    assert dict(card.make(example_runs.changed(example_runs.VALID, conditions=conditions)).rows)["warm-up"] == (
        "43 calls of 14 shapes, 1 of them not settled"
    )


@pytest.mark.parametrize(
    ("config", "mark"),
    [
        ({"issue": "same"}, "one sample asked again and again"),
        ({"issue": "unique"}, "each sample asked once"),
        ({"resolved": {"performance_sample_count": 1}}, "samples drawn from 1 of 302"),
        ({"reference_score": 10.0}, "reference score given by hand"),
        ({"accuracy_target": 0.5}, "accuracy target lowered to 50.0 % of the reference"),
    ],
)
def test_what_nobody_expects_is_marked(config: dict[str, Any], mark: str) -> None:
    """Samples, traffic and gates that are not the usual ones stand beside the number; the usual ones do not."""
    conditions = {**example_runs.VALID.conditions, "data": {"name": "built-in sample set", "samples": 302, "comparable": False}}
    run = replace(example_runs.VALID, conditions=conditions)
    assert mark not in card.make(run).marks
    assert mark in card.make(replace(run, config={**run.config, **config})).marks
