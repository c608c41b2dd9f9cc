"""What a card marks beside the number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness import card
from tests import example_runs


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
