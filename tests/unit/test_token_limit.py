"""Calls limited by tokens: the same rule in every kind of ledger and for every policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.batching import Policy, padded_lengths
from harness.core import Status
from harness.testing import simulate
from tests.ledgers import closed_loop, offline, open_loop, play

MOST = 100
"""The task's maximum length in these tests."""


def test_similar_rows_join_the_oldest_while_the_tokens_last() -> None:
    """Rows of 30 (padded to 32) wait behind one call: three make 96 tokens, a fourth of 28 would make 128."""
    lengths = np.array([50, 30, 90, 28, 33, 31, 29])
    policy = Policy("sorted", 8, max_tokens=100)
    _, calls = play("single", open_loop([0, 1, 2, 3, 4, 5, 6]), policy, lambda _: 100, lengths, max_length=MOST)
    assert calls == [[0], [1, 5, 6], [2], [3, 4]]


def test_a_row_that_is_longer_than_the_limit_goes_alone() -> None:
    """Nothing is refused, and nothing joins it."""
    columns = simulate(open_loop([0, 0, 0]), Policy("fifo", 8, max_tokens=64), lambda _: 10, lengths=np.array([90, 8, 8]), max_length=MOST)
    assert columns.batch.tolist() == [0, 1, 1]


def test_fixed_counts_the_length_that_it_pads_to() -> None:
    """Rows of 8 tokens cost 100 each: two make a call of 200."""
    columns = simulate(offline(5), Policy("fixed", 8, max_tokens=299), lambda _: 10, lengths=np.full(5, 8), max_length=MOST)
    assert columns.batch.tolist() == [0, 0, 1, 1, 2]


def test_offline_calls_hold_more_rows_the_shorter_they_are() -> None:
    """Longest first, 160 tokens a call: 1 row of 96, 2 of 64 to 80, 4 of 40, and `max_batch` of 8."""
    lengths = np.array([8, 8, 8, 8, 8, 8, 40, 40, 40, 40, 80, 60, 96])
    _, calls = play("single", offline(13), Policy("sorted", 5, max_tokens=160), lambda _: 10, lengths, max_length=MOST)
    assert calls == [[12], [10, 11], [6, 7, 8, 9], [0, 1, 2, 3, 4], [5]]


def test_a_multi_stream_query_is_cut_into_similar_calls() -> None:
    """Even a query that `max_batch` would let pass is served longest first where its tokens are too many for one call."""
    lengths = np.array([16, 96, 16, 96])
    _, calls = play("single", closed_loop(1, 4), Policy("sorted", 8, max_tokens=192), lambda _: 10, lengths, max_length=MOST)
    assert calls == [[1, 3], [0, 2]]


@pytest.mark.parametrize("kind", ["fifo", "sorted"])
def test_a_call_that_is_full_by_tokens_waits_for_nobody(kind: str) -> None:
    """With --batch-wait: two rows of 48 fill 100 tokens at 20 ns, long before the oldest has waited 1,000."""
    policy = Policy(kind, 8, 1000, 100)  # type: ignore[arg-type]
    columns = simulate(open_loop([0, 20, 30]), policy, lambda _: 5, lengths=np.array([48, 48, 48]), max_length=MOST)
    assert columns.taken_ns.tolist() == [20, 20, 1030]


def test_samples_without_tokens_know_no_limit() -> None:
    """A backend that looks at nothing is asked in full calls."""
    columns = simulate(offline(8), Policy("sorted", 4, max_tokens=2), lambda _: 10, lengths=np.zeros(8, np.int64))
    assert columns.batch.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


POLICIES = st.builds(
    Policy,
    kind=st.sampled_from(["sorted", "sorted", "fifo", "fixed"]),
    max_batch=st.integers(1, 9),
    wait_ns=st.sampled_from([0, 0, 90]),
    max_tokens=st.integers(0, 500),
    pad_to=st.one_of(st.integers(1, 40), st.just((20, 40, 70))),
)
LENGTHS = st.lists(st.integers(1, MOST), min_size=40, max_size=40).map(np.array)
GAPS = st.lists(st.integers(0, 120), min_size=1, max_size=40)


@given(policy=POLICIES, lengths=LENGTHS, gaps=GAPS, workers=st.integers(1, 3))
def test_no_call_is_over_a_limit_and_the_oldest_row_is_in_each(policy: Policy, lengths: np.ndarray, gaps: list[int], workers: int) -> None:
    """Each row is served once; a call has at most `max_batch` rows and `max_tokens` padded tokens, or a single row; and no row that was
    already due is older than the oldest of the call and taken later: nobody starves."""
    widths = padded_lengths(lengths, policy, MOST)
    traffic = open_loop(np.cumsum(gaps).tolist())
    columns, calls = play("single", traffic, policy, lambda rows: 40 + 13 * len(rows), lengths, max_length=MOST, workers=workers)
    assert (columns.status == Status.DONE).all()
    assert sorted(row for call in calls for row in call) == list(range(len(gaps)))
    for call in calls:
        tokens = len(call) * widths[columns.sample[call]].max()
        assert len(call) <= policy.max_batch
        assert len(call) == 1 or not policy.max_tokens or tokens <= policy.max_tokens
        assert (columns.taken_ns[: min(call)] <= columns.taken_ns[call[0]]).all()


@given(policy=POLICIES, lengths=LENGTHS, gaps=GAPS)
def test_no_row_is_left_behind_that_was_closer_and_would_have_fitted(policy: Policy, lengths: np.ndarray, gaps: list[int]) -> None:
    """`sorted` in Server: of the rows that were due, none that stayed behind is closer in length to the oldest than all that went along."""
    traffic = open_loop(np.cumsum(gaps).tolist())
    if policy.kind != "sorted" or traffic.due_ns is None or traffic.due_ns[0] == traffic.due_ns[-1]:
        return
    columns, calls = play("single", traffic, policy, lambda rows: 40 + 13 * len(rows), lengths, max_length=MOST)
    for call in calls:
        now, oldest = columns.taken_ns[call[0]], min(call)
        behind = np.flatnonzero((columns.due_ns <= now) & (columns.taken_ns > now))
        distance = np.abs(lengths[: len(gaps)] - lengths[oldest])
        assert not len(behind) or distance[call].max() <= distance[behind].min()


TRAFFIC = {
    "server": lambda gaps: open_loop(np.cumsum(gaps).tolist()),
    "offline": lambda gaps: offline(len(gaps)),
    "multi-stream": lambda gaps: closed_loop(len(gaps) // 8, 8),
}


@given(policy=POLICIES, lengths=LENGTHS, workers=st.integers(1, 3), gaps=GAPS, scenario=st.sampled_from(sorted(TRAFFIC)))
@settings(max_examples=60)  # every example makes a mapped file
def test_threads_and_processes_take_what_one_process_would(
    policy: Policy, lengths: np.ndarray, workers: int, gaps: list[int], scenario: str
) -> None:
    """The ledgers of threads and of processes hand out the same rows in the same calls at the same times as the plain one."""
    found = [
        play(kind, TRAFFIC[scenario](gaps), policy, lambda rows: 40 + 13 * len(rows), lengths, max_length=MOST, workers=workers)
        for kind in ("single", "threads", "processes")
    ]
    for columns, calls in found:
        assert calls == found[0][1]
        assert columns.taken_ns.tolist() == found[0][0].taken_ns.tolist()
        assert (columns.status == Status.DONE).all()
