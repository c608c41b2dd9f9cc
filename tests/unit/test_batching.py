"""Collation and lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import bench
from harness.batching import Policy, choose_similar, collate, fair_share, fitting, longest_first, pad_to, padded_lengths, shapes
from harness.config import load
from harness.core import Samples, Shapes
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


def test_lengths_of_a_list_are_padded_to_the_next_of_it() -> None:
    """Beyond the list's last the task's maximum is the next, and nothing is padded beyond that."""
    policy = Policy(pad_to=(16, 64, 500))
    assert padded_lengths(np.array([1, 16, 17, 64, 65, 384]), policy, 384).tolist() == [16, 16, 64, 64, 384, 384]
    assert padded_lengths(np.array([10, 100]), Policy(pad_to=(16, 64)), 384).tolist() == [16, 384]
    assert padded_lengths(np.array([10, 100]), Policy(pad_to=64), 100).tolist() == [64, 100]


@pytest.mark.parametrize(("text", "expected"), [("8", 8), ("64,128", (64, 128)), ("128", 128)])
def test_pad_to_is_a_multiple_or_a_list(text: str, expected: int | tuple[int, ...]) -> None:
    """One number is a multiple, several are lengths."""
    assert pad_to(text) == expected


KINDS = st.sampled_from(["sorted", "fifo", "fixed"])
PAD_TO = st.one_of(st.integers(1, 100), st.sets(st.integers(1, 500), min_size=2).map(lambda found: tuple(sorted(found))))


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=9), kind=KINDS, pads=PAD_TO, longest=st.integers(0, 20))
def test_every_batch_has_one_of_the_lengths_that_were_announced(
    lengths: list[int], kind: str, pads: int | tuple[int, ...], longest: int
) -> None:
    """Whatever rows come together, their batch is as wide as one of `shapes` says, and as wide as the widest of them would be alone."""
    tokens, policy = sum(lengths), Policy(kind, pad_to=pads)  # type: ignore[arg-type]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    samples = Samples(np.ones(tokens, np.int32), np.zeros(tokens, np.int8), offsets, 0, max(lengths) + longest)
    widths = padded_lengths(samples.lengths, policy, samples.max_length)
    assert shapes(samples, policy).lengths == tuple(sorted(set(widths.tolist())))
    for last in range(1, len(lengths) + 1):
        assert collate(samples, np.arange(last), policy).input_ids.shape == (last, widths[:last].max())


def test_shapes_say_how_many_rows_and_tokens_a_call_can_have() -> None:
    """The limits are the policy's; samples without tokens have no length."""
    assert shapes(SAMPLES, Policy("sorted", 16, 0, 512)) == Shapes(16, 512, (8, 16))
    assert shapes(SAMPLES, Policy("fixed", 4)) == Shapes(4, 0, (32,))
    empty = Samples(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(4, np.int64), 0, 0)
    assert shapes(empty, Policy()).lengths == ()


def test_a_full_call_holds_both_limits() -> None:
    """As many rows as the tokens allow, no more than `max_batch`, and one row that is longer than the limit."""
    policy = Policy(max_batch=32, max_tokens=1024)
    assert [policy.most_rows(width) for width in (8, 32, 40, 384, 512, 513, 2000)] == [32, 32, 25, 2, 2, 1, 1]
    assert Policy(max_batch=32).most_rows(384) == 32


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 500))
def test_fitting_rows_are_the_most_that_stay_within_the_limit(widths: list[int], limit: int) -> None:
    """The rows chosen fit, or there is only one; one more would not fit."""
    count = fitting(np.array(widths), limit)
    assert count == 1 or count * max(widths[:count]) <= limit
    assert count == len(widths) or (count + 1) * max(widths[: count + 1]) > limit


def test_a_fair_share_is_a_workers_part_of_the_rest() -> None:
    """600 tokens left among 3 workers are 200 each: 5 rows of 40, and no fewer than an eighth of a full call."""
    policy = Policy(max_batch=32)
    assert fair_share(600, 40, 3, policy) == 5
    assert fair_share(100, 40, 3, policy) == 4
    assert fair_share(100, 40, 3, Policy(max_batch=32, max_tokens=400)) == 1


@pytest.mark.parametrize(
    ("flags", "gpus", "expected"),
    [
        ({}, [], 1024),
        ({}, [{"name": "a GPU"}], 0),
        ({"device": "cpu"}, [{"name": "a GPU"}], 1024),
        ({"device": "cuda:1"}, [], 0),
        ({"batching": "fixed"}, [], 0),
        ({"batching": "fixed", "max_batch_tokens": "4096"}, [], 4096),
        ({"max_batch_tokens": "0"}, [], 0),
    ],
)
def test_calls_on_a_cpu_are_small_unless_asked(
    flags: dict[str, str], gpus: list[dict[str, str]], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,024 tokens on a CPU; no limit on a GPU, nor for `fixed`, which is what MLPerf's reference does; what is given is taken."""
    monkeypatch.setattr("harness.conditions.gpus", lambda: gpus)
    assert bench.batching_policy(load({"backend": "null", **flags})).max_tokens == expected


def test_padded_lengths_are_those_that_are_given() -> None:
    """`--pad-to` takes a list of lengths."""
    assert bench.batching_policy(load({"backend": "null", "pad_to": "64, 128"})).pad_to == (64, 128)


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
