"""Collation and lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.batching import Policy, choose_similar, collate, longest_first, padded_lengths
from harness.core import Samples
from harness.placement import place

SAMPLES = Samples(
    input_ids=np.arange(1, 16, dtype=np.int32),
    token_type_ids=np.array([0, 0, 1] * 5, np.int8),
    offsets=np.array([0, 3, 5, 15]),
    pad_id=99,
    max_length=32,
)


def test_a_batch_is_padded_to_its_longest_row_rounded_up() -> None:
    """Rows keep their order; padding has the tokenizer's padding id, mask 0 and segment 0."""
    batch = collate(SAMPLES, np.array([1, 0]), Policy("sorted"))
    assert batch.input_ids.tolist() == [[4, 5] + [99] * 6, [1, 2, 3] + [99] * 5]
    assert batch.attention_mask.tolist() == [[1, 1] + [0] * 6, [1, 1, 1] + [0] * 5]
    assert batch.token_type_ids.tolist() == [[0] * 8, [0, 0, 1] + [0] * 5]
    assert batch.lengths.tolist() == [2, 3]
    assert {array.dtype for array in (batch.input_ids, batch.attention_mask, batch.token_type_ids)} == {np.dtype(np.int64)}


def test_fixed_pads_to_the_maximum_of_the_task() -> None:
    """What the MLPerf reference does."""
    assert collate(SAMPLES, np.array([1]), Policy("fixed")).input_ids.shape == (1, 32)


@given(st.lists(st.integers(1, 384), min_size=1, max_size=50))
def test_padded_lengths_are_the_next_multiple_of_eight(lengths: list[int]) -> None:
    """Never shorter than the row, never eight or more longer, never over the maximum."""
    padded = padded_lengths(np.array(lengths), Policy(), 384)
    assert (padded >= lengths).all()
    assert (padded - lengths < 8).all()
    assert (padded <= 384).all()
    assert (padded % 8 == 0).all()


@given(st.lists(st.integers(1, 384), min_size=1, max_size=60), st.integers(1, 40))
def test_similar_rows_are_the_nearest_ones_and_include_the_oldest(lengths: list[int], limit: int) -> None:
    """No row left out is closer to the oldest row's length than one that was chosen."""
    chosen = choose_similar(np.array(lengths), limit)
    assert 0 in chosen
    assert len(set(chosen.tolist())) == min(limit, len(lengths))
    distance = np.abs(np.array(lengths) - lengths[0])
    left = np.delete(distance, chosen)
    assert not len(left) or distance[chosen].max() <= left.min()


def test_longest_first_stays_within_queries() -> None:
    """A later query never comes before an earlier one."""
    assert longest_first(np.array([0, 0, 1, 1]), np.array([5, 9, 100, 200])).tolist() == [1, 0, 3, 2]


@pytest.mark.parametrize(("workers", "threads", "expected"), [(1, 8, [8]), (3, 8, [3, 3, 2]), (4, 2, [1, 1, 1, 1])])
def test_threads_are_shared_out(workers: int, threads: int, expected: list[int]) -> None:
    """Each worker has its share, at least one thread."""
    assert [share.threads for share in place(workers, threads, processes=False)] == expected


def test_worker_processes_get_disjoint_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are cores enough, nobody shares one; where there are not, nobody is pinned."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 5, 6}, raising=False)
    assert [share.cores for share in place(2, 5, processes=True)] == [(0, 1, 2), (5, 6)]
    assert [share.cores for share in place(3, 9, processes=True)] == [None, None, None]
