"""The caching test's inputs, blocks and verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.caching import FEWEST_PAIRS, LIMIT, Design, blocks, design, distinct_inputs, judge, text
from harness.core import Samples
from harness.errors import DataError


def ragged(rows: list[list[int]], max_length: int = 32) -> Samples:
    tokens = np.concatenate([np.array(row, np.int32) for row in rows])
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Samples(tokens, np.zeros(len(tokens), np.int8), offsets, 0, max_length)


def rows_of(samples: Samples) -> list[tuple[int, ...]]:
    return [tuple(samples.input_ids[start:end].tolist()) for start, end in zip(samples.offsets, samples.offsets[1:], strict=False)]


SENTENCES = ragged([[1, 5, 6, 7, 2], [1, 8, 9, 2], [1, 8, 9, 10, 11, 2], [1, 5, 6, 7, 2], [1, 9, 9, 2], [1, 2]])
"""The lower quartile of the lengths is 4."""


# -------------------------------------------------------------------------------------------------------------------------- inputs


def test_inputs_are_samples_cut_to_one_length_before_any_is_made_up() -> None:
    """Of five samples of 4 tokens (the lower quartile) or more, cut to 4, three differ; the fourth input is none of them."""
    found = rows_of(distinct_inputs(SENTENCES, 4, seed=1))
    real = {(1, 5, 6, 2), (1, 8, 9, 2), (1, 9, 9, 2)}
    assert set(found[:3]) == real
    assert found[3] not in real
    assert found[3][0] == 1
    assert found[3][-1] == 2


@given(count=st.integers(1, 200), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_no_two_inputs_are_alike(count: int, seed: int) -> None:
    """However many are asked for: that many, all different, all of one length, and the same ones for the same seed."""
    samples = ragged([[1, *range(3 + k, 13 + k), 2] for k in range(5)])
    found = distinct_inputs(samples, count, seed)
    rows = rows_of(found)
    assert len(rows) == len(set(rows)) == count
    assert set(found.lengths.tolist()) == {12}
    assert len(found.token_type_ids) == len(found.input_ids)
    assert (found.pad_id, found.max_length) == (0, 32)
    assert rows == rows_of(distinct_inputs(samples, count, seed))


def test_data_without_different_tokens_are_refused() -> None:
    """All sentences are alike, so a second input cannot be made."""
    with pytest.raises(DataError, match="1 different inputs, the audit needs 2"):
        distinct_inputs(ragged([[7, 7, 7, 7]] * 5), 2, seed=0)


# -------------------------------------------------------------------------------------------------------------------------- blocks


@given(pairs=st.integers(1, 12), queries=st.integers(1, 5), rows=st.integers(1, 6), first=st.integers(0, 50))
def test_blocks_ask_as_they_should(pairs: int, queries: int, rows: int, first: int) -> None:
    """A B B A ...: every call has `rows` inputs; different inputs are asked once in the whole test, copies are of one new input a block."""
    plan = Design(pairs, queries, rows)
    made = list(blocks(plan, first))
    kinds = [block.kind for block in made]
    assert kinds == (["unique", "same", "same", "unique"] * pairs)[: 2 * pairs]
    assert all(len(block.batches) == queries + 1 and all(len(batch) == rows for batch in block.batches) for block in made)
    unique = np.concatenate([batch for block in made if block.kind == "unique" for batch in block.batches])
    repeated = [set(np.concatenate(block.batches).tolist()) for block in made if block.kind == "same"]
    assert all(len(each) == 1 for each in repeated)
    asked = [*unique.tolist(), *(index for each in repeated for index in each)]
    assert sorted(asked) == list(range(first, first + plan.inputs))


def test_time_goes_to_pairs_first_then_to_calls() -> None:
    """10 s: at 10 ms a call 24 pairs of 9 and one uncounted; at 1 ms the most there is; at 1 s six pairs of one, though that takes 24 s."""
    most = Design(24, 32, 1)
    assert design(20e6, 10e9, 1, most) == Design(24, 9, 1)
    assert design(1e6, 10e9, 1, most) == Design(24, 32, 1)
    assert design(1e9, 10e9, 1, most) == Design(FEWEST_PAIRS, 1, 1)
    assert design(150e6, 10e9, 1, most) == Design(16, 1, 1)


# -------------------------------------------------------------------------------------------------------------------------- verdict


def times(ns: list[float], queries: int = 3) -> np.ndarray:
    return np.tile(np.array(ns)[:, None], (1, queries)).astype(np.int64)


def test_equal_times_pass() -> None:
    """Ratio 1, and an interval that holds it."""
    result = judge(times([100, 101, 99, 100, 102, 98]), times([100, 100, 100, 100, 100, 100]), rows=1)
    assert result.ratio == pytest.approx(1.0)
    assert result.low <= 1 <= result.high < LIMIT
    assert not result.suspected
    assert not result.uncertain
    assert (result.pairs, result.queries, result.rows) == (6, 3, 1)


def test_a_tenth_and_more_is_caught() -> None:
    """Every pair is 20 % faster with the same sample: the whole interval is above the limit."""
    result = judge(times([120, 240, 360, 480, 600, 720]), times([100, 200, 300, 400, 500, 600]), rows=8)
    assert result.ratio == result.low == result.high == pytest.approx(1.2)
    assert result.suspected
    assert (result.unique_ns, result.same_ns) == (420, 350)


def test_drift_of_the_machine_cancels() -> None:
    """A machine that becomes ten times slower during the test changes no ratio."""
    drifting = np.linspace(100, 1000, 8)
    assert judge(times(list(drifting)), times(list(drifting)), rows=1).ratio == 1


def test_scatter_is_not_caching_but_is_said() -> None:
    """Ratios between 0.5 and 2: not suspected, and the text says that nothing is certain."""
    result = judge(times([50, 200, 60, 190, 70, 180]), times([100] * 6), rows=1)
    assert not result.suspected
    assert result.uncertain
    assert "--duration" in text([result])
    assert text([result]).endswith("caching test passed")


def test_one_result_of_two_is_enough_to_fail() -> None:
    """Duplicates inside a batch are coalesced: the text names the batch, the numbers and what to switch off."""
    alone = judge(times([100] * 6), times([100] * 6), rows=1)
    batched = judge(times([800e6] * 6), times([100e6] * 6), rows=8)
    shown = text([alone, batched])
    assert "batches of 8   different 800 ms, same 100 ms: different / same 8.000" in shown
    assert "switch off" in shown
    assert shown.endswith("caching test failed")


@settings(max_examples=10)
@given(st.lists(st.integers(1, 10**9), min_size=6, max_size=20), st.integers(2, 50))
def test_a_scale_changes_no_ratio(ns: list[int], factor: int) -> None:
    """Times in another unit give the same ratio and interval."""
    same = times([500.0] * len(ns))
    one = judge(times([float(each) for each in ns]), same, rows=1)
    other = judge(times([float(each * factor) for each in ns]), same * factor, rows=1)
    assert (one.ratio, one.low, one.high) == pytest.approx((other.ratio, other.low, other.high))
