"""Optimisation profiles: what shapes an engine is built for, and which profile a batch runs in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import Shapes
from harness.errors import BackendError
from harness.runtimes.tensorrt_profiles import MOST_BUCKETS, Profile, buckets, largest_batch, profile_for, profiles


def test_few_lengths_are_fixed_with_a_profile_for_single_samples_each() -> None:
    """Lengths 64 and 384 and a batch of 8 make four profiles, none general about the length."""
    assert profiles(Shapes(max_batch=8, lengths=(64, 384)), 512) == (
        Profile((1, 64), (1, 64), (1, 64)),
        Profile((2, 64), (8, 64), (8, 64)),
        Profile((1, 384), (1, 384), (1, 384)),
        Profile((2, 384), (8, 384), (8, 384)),
    )


def test_unknown_lengths_are_all_lengths_the_model_reads() -> None:
    """Without lengths one bucket goes from 1 to the model's longest, and a batch of one needs no second profile."""
    assert profiles(Shapes(max_batch=1), 512) == (Profile((1, 1), (1, 512), (1, 512)),)


def test_a_token_budget_makes_long_batches_smaller() -> None:
    """4096 tokens are 32 samples of 128 and 10 of 384; one sample beyond the budget still runs."""
    shapes = Shapes(max_batch=32, max_tokens=4096)
    assert [largest_batch(shapes, length) for length in (1, 128, 384, 5000)] == [32, 32, 10, 1]


@given(st.lists(st.integers(1, 512), min_size=1, max_size=60, unique=True), st.integers(1, 64), st.sampled_from([0, 512, 4096]))
def test_every_shape_of_a_run_has_exactly_one_profile(lengths: list[int], batch: int, tokens: int) -> None:
    """Whatever a run's lengths and budgets: each allowed batch of each length is held by one profile and no other."""
    shapes = Shapes(batch, tokens, tuple(sorted(lengths)))
    found = profiles(shapes, 512)
    for length in shapes.lengths:
        for size in {1, 2, largest_batch(shapes, length)} & set(range(1, largest_batch(shapes, length) + 1)):
            assert sum(profile.holds(size, length) for profile in found) == 1
    assert len(found) <= 2 * MOST_BUCKETS


@given(st.lists(st.integers(1, 2048), min_size=1, max_size=200, unique=True))
def test_buckets_are_lengths_of_the_run_and_reach_the_longest(lengths: list[int]) -> None:
    """At most six upper ends, all of them lengths that occur, the last one the longest."""
    ordered = sorted(lengths)
    found = buckets(ordered)
    assert found[-1] == ordered[-1]
    assert set(found) <= set(ordered)
    assert len(found) <= MOST_BUCKETS
    assert list(found) == sorted(found)


def test_a_shape_the_engine_was_not_built_for_is_an_error() -> None:
    """The message names the shape and what there is; nothing is padded or split in silence."""
    found = profiles(Shapes(max_batch=4, lengths=(64,)), 512)
    assert profile_for(found, 4, 64) == 1
    with pytest.raises(BackendError, match=r"not built for a batch of 5 x 64 .*\(2, 64\) to \(4, 64\)"):
        profile_for(found, 5, 64)
