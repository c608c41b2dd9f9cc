"""Which shapes are run before the clock."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plugins
from harness.batching import Policy, padded_lengths, shapes
from harness.core import Columns, Int64, Samples, Settings
from harness.warmup import Shape, expected, is_over, largest_batch, warm_up_batches, warmed, warnings
from harness.worker import Worker


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


@pytest.mark.parametrize(
    ("times", "calls"),
    [
        ([50, 50, 50], 2),  # warm from the first
        ([100, 50, 49, 50], 3),  # one cold call
        ([100, 70, 50, 49], 4),  # two steps down
        ([50, 90, 50], 2),  # a burst of noise delays nothing
        ([2.0**-k for k in range(20)], 10),  # never: given up
    ],
)
def test_a_shape_is_repeated_until_it_gets_no_faster(times: list[float], calls: int) -> None:
    """Until a call takes no less than 5 % off the best before it; ten calls at most."""
    ns = [round(1e9 * time) for time in times]
    assert next(count for count in range(1, len(ns) + 1) if is_over(ns[:count])) == calls


@pytest.mark.parametrize(
    ("budget_s", "calls", "order"),
    [
        (100.0, [5, 2], [0, 1, 0, 1, 0, 0, 0]),  # the first becomes faster four times
        (0.25, [1, 1], [0, 1]),  # what time allows: all once before any again
        (0.0, [1, 0], [0]),
    ],
)
def test_a_worker_runs_all_shapes_before_it_repeats_any(
    monkeypatch: pytest.MonkeyPatch, budget_s: float, calls: list[int], order: list[int]
) -> None:
    """Shape 0 takes 200 ms, then 100, 50, 25 and 25; shape 1 takes 100 ms each time. Time is told by the calls themselves."""
    worker, now, seen = Worker(None), [0.0], []  # type: ignore[arg-type]
    times = {0: [0.2, 0.1, 0.05, 0.025, 0.025], 1: [0.1] * 5}

    def call(batch: Int64) -> None:
        place = int(batch[0])
        now[0] += times[place][seen.count(place)]
        seen.append(place)

    monkeypatch.setattr(worker, "_try_out", call)
    monkeypatch.setattr("harness.worker.time", SimpleNamespace(monotonic=lambda: now[0], monotonic_ns=lambda: round(now[0] * 1e9)))
    found = worker.settle([np.array([0]), np.array([1])], budget_s)
    assert ([len(each) for each in found], seen) == (calls, order)


SAMPLES = samples_of([5, 90])
BATCHES = [np.array([1]), np.array([0]), np.array([1, 1]), np.array([0, 0, 0, 0])]
"""Shapes 1 × 96, 1 × 8, 2 × 96, 4 × 8."""


def test_what_was_warmed_is_told() -> None:
    """Over two workers: the fewest calls of each shape, the median of their best but for the first, and who did not settle."""
    first = [[90, 80, 79], [9, 9], [200, 150], [40, 39]]
    second = [[90, 60, 59], [9, 9], [200, 199], [40, 39]]
    found = warmed(BATCHES, SAMPLES, Policy("sorted", 4), [first, second])
    assert found.shapes == (
        Shape(1, 96, 3, True, 69.0),
        Shape(1, 8, 2, True, 9.0),
        Shape(2, 96, 2, False, 174.5),
        Shape(4, 8, 2, True, 39.0),
    )
    told = found.record()
    assert (told["shapes"], told["calls"], told["unsettled"]) == (4, 18, [{"rows": 2, "length": 96, "calls": 2}])
    assert list(warnings(found, 3.0)) == ["1 shape (2 × 96) had not settled after 3 s of warm-up; --warmup gives it more time"]


def test_what_did_not_become_warm_is_said() -> None:
    """Shapes that were never run, and shapes that fell with every call."""
    found = warmed(BATCHES, SAMPLES, Policy("sorted", 4), [[[90, 89], [9, 9], [], []]])
    assert list(warnings(found, 3.0)) == ["warm-up ran 2 of 4 shapes in 3 s; --warmup gives it more time"]
    falling = warmed(BATCHES, SAMPLES, Policy("sorted", 4), [[[2**k for k in range(20, 10, -1)], [9, 9], [5, 5], [5, 5]]])
    assert list(warnings(falling, 3.0)) == ["1 shape (1 × 96) still became faster with the last of 10 calls in warm-up"]


def test_a_row_should_take_its_part_of_its_call() -> None:
    """Calls with one row and full as in warm-up, between them on a straight line; lengths in between likewise."""
    found = warmed(BATCHES, SAMPLES, Policy("sorted", 4), [[[90, 100], [9, 10], [200, 160], [40, 40]]])
    work = expected(served([[1], [0], [1, 1], [0, 0, 0, 0], [0, 0]]), SAMPLES, Policy("sorted", 4), found)
    assert work is not None
    assert work.ns.tolist() == [100, 10, 80, 80, 10, 10, 10, 10, 10, 10]
    assert work.kind.tolist() == [1, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    wide = samples_of([50])
    between = expected(served([[0]]), wide, Policy("sorted", 4), found)
    assert between is not None
    assert between.ns.tolist() == pytest.approx([10 + 90 * (56 - 8) / (96 - 8)])
    assert (
        expected(served([[1]]), SAMPLES, Policy("sorted", 4), warmed(BATCHES, SAMPLES, Policy("sorted", 4), [[[90], [], [], []]])) is None
    )


def served(calls: list[list[int]]) -> Columns:
    """A ledger of these calls, by sample."""
    sample = np.array([each for call in calls for each in call], np.int32)
    batch = np.array([place for place, call in enumerate(calls) for _ in call], np.int32)
    times = np.zeros(len(sample), np.int64)
    whole = np.arange(len(sample), dtype=np.int64)
    return Columns(whole, sample, times, times, times + 1, batch, np.zeros(len(sample), np.int16), np.full(len(sample), 2, np.int8), 1)


@pytest.mark.parametrize(("scenario", "rows"), [("single-stream", 1), ("multi-stream", 8), ("server", 32), ("offline", 32)])
def test_the_largest_call_is_a_query_in_closed_loops(scenario: str, rows: int) -> None:
    """Else it is `max_batch`."""
    made = plugins.load("scenarios", scenario).create()
    assert largest_batch(made, Settings(target_qps=100), Policy(), 64) == rows
