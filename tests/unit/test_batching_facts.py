"""The policy of a run in words, and two of them held against each other."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from harness.batching import Policy
from harness.batching_facts import policy_difference, told
from harness.config import load


def config_of(policy: Policy) -> dict[str, Any]:
    """As run.json has it: lists for tuples."""
    return {"batching": policy.kind, "resolved": {"batching": json.loads(json.dumps(asdict(policy)))}}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), "sorted, max-batch 32, padded to multiples of 8"),
        (
            Policy("fifo", 4096, 2_000_000, 1024),
            "fifo, max-batch 4,096, 1,024 tokens a call, waiting up to 2.00 ms, padded to multiples of 8",
        ),
        (Policy(pad_to=(64, 128)), "sorted, max-batch 32, padded to 64, 128"),
        (Policy("fixed", 1), "fixed, max-batch 1, padded to the task's maximum length"),
    ],
)
def test_a_policy_is_told_in_words(policy: Policy, expected: str) -> None:
    """Limits that are not set are not mentioned."""
    assert told(config_of(policy)) == expected


def test_equal_policies_do_not_differ() -> None:
    """However many settings there are; and where `fixed` pads to the maximum, --pad-to is nothing."""
    assert policy_difference(config_of(Policy()), config_of(Policy())) == ""
    assert policy_difference(config_of(Policy("fixed")), config_of(Policy("fixed", pad_to=64))) == ""


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Policy(max_batch=8), "max-batch 32 against 8"),
        (Policy(max_tokens=1024), "max-batch-tokens without limit against 1,024"),
        (Policy(pad_to=(64, 384)), "padding to multiples of 8 against 64, 384"),
        (Policy(wait_ns=2_000_000), "batch-wait none against 2.00 ms"),
        (
            Policy("fixed", 1),
            "batching sorted against fixed; max-batch 32 against 1; padding to multiples of 8 against the task's maximum length",
        ),
    ],
)
def test_what_differs_is_named_with_both_values(other: Policy, expected: str) -> None:
    """The first run's value comes first."""
    assert policy_difference(config_of(Policy()), config_of(other)) == expected


def test_a_run_from_before_the_policy_was_recorded_has_its_settings() -> None:
    """Its flags say what it did: no limit of tokens, multiples of 8."""
    older = load({"backend": "null", "max_batch": "16", "batch_wait": "2ms"}).model_dump(mode="json") | {"resolved": {}}
    assert told(older) == "sorted, max-batch 16, waiting up to 2.00 ms, padded to multiples of 8"
    assert policy_difference(older, config_of(Policy("sorted", 16, 2_000_000))) == ""
