"""Which shapes are run before the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plugins
from harness.batching import Policy, padded_lengths, shapes
from harness.core import Int64, Samples, Settings
from harness.warmup import largest_batch, warm_up_batches


def samples_of(lengths: list[int], max_length: int = 384) -> Samples:
    tokens = sum(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Samples(np.ones(tokens, np.int32), np.zeros(tokens, np.int8), offsets, 0, max_length)


def shapes_of(batches: list[Int64], samples: Samples, policy: Policy) -> list[tuple[int, int]]:
    """Rows and padded length of each batch."""
    return [(len(batch), int(padded_lengths(samples.lengths[batch], policy, samples.max_length).max())) for batch in batches]


def test_single_rows_then_full_calls_of_each_length() -> None:
    """Longest first, so that buffers grow once; of the full calls the longest first, then the length that most samples have."""
    samples = samples_of([5, 30, 6, 90, 31, 32, 7, 100, 60])
    found = shapes_of(warm_up_batches(samples, Policy("sorted", 4, max_tokens=208), 4), samples, Policy())
    singles = [(1, 104), (1, 96), (1, 64), (1, 32), (1, 8)]
    assert found[:6] == [*singles, (2, 104)]
    assert sorted(found[6:]) == [(2, 96), (3, 64), (4, 8), (4, 32)]
    assert found[6:8] == [(4, 8), (4, 32)]


def test_single_stream_warms_single_rows() -> None:
    """No call of the run has more."""
    samples = samples_of([5, 30, 90])
    assert shapes_of(warm_up_batches(samples, Policy(), 1), samples, Policy()) == [(1, 96), (1, 32), (1, 8)]


@given(
    lengths=st.lists(st.integers(1, 384), min_size=1, max_size=50),
    tokens=st.integers(0, 2000),
    kind=st.sampled_from(["sorted", "fixed"]),
    pads=st.sampled_from([8, 64, (64, 128, 256)]),
)
def test_every_length_that_was_announced_is_warmed(lengths: list[int], tokens: int, kind: str, pads: int | tuple[int, ...]) -> None:
    """Each padded length of the run is met by a full call of the run's own size, and none is met by more rows than a call may have."""
    samples, policy = samples_of(lengths), Policy(kind, 16, 0, tokens, pads)  # type: ignore[arg-type]
    found = set(shapes_of(warm_up_batches(samples, policy, 16), samples, policy))
    announced = shapes(samples, policy).lengths
    assert {width for _, width in found} == set(announced)
    assert {(policy.most_rows(width), width) for width in announced} <= found
    assert all(rows <= policy.most_rows(width) for rows, width in found)


@pytest.mark.parametrize(("scenario", "expected"), [("single-stream", 1), ("multi-stream", 8), ("server", 32), ("offline", 32)])
def test_the_largest_call_is_a_query_in_closed_loops(scenario: str, expected: int) -> None:
    """Else it is `max_batch`."""
    made = plugins.load("scenarios", scenario).create()
    assert largest_batch(made, Settings(target_qps=100), Policy(), 64) == expected
