"""Loaded sets and the order of samples: LoadGen's draws, selection rules and edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import Seeds, Settings
from harness.errors import UsageError
from harness.sample_order import OfflineOrder, QueryOrder, loadable_sets, offline_samples, padded_queries

MLPERF = Settings()
SMALL = Settings(seeds=Seeds(7, 11, 13))


def order(settings: Settings, samples: int, block: int | None = None) -> QueryOrder:
    return QueryOrder(settings, loadable_sets(settings, samples, block)[0], block)


def test_bert_set_and_first_samples() -> None:
    """MLPerf's seeds on 10,833 samples: the recorded set, and the same random samples for 100 and 2,000 queries (one shuffle each)."""
    loaded = loadable_sets(MLPERF, 10_833)
    assert len(loaded) == 1
    assert loaded[0].indices[:4].tolist() == [5401, 6859, 5765, 2581]
    assert order(MLPERF, 10_833).take(8).tolist() == [2921, 3429, 756, 8428, 3185, 743, 10239, 4570]
    assert order(replace(MLPERF, min_queries=2_000), 10_833).take(2).tolist() == [2921, 3429]


def test_multi_stream_asks_consecutive_entries_of_the_padded_set() -> None:
    """Eight side by side; the set is padded with its own beginning."""
    settings = replace(MLPERF, min_queries=662)
    loaded = loadable_sets(settings, 10_833, 8)[0]
    assert (len(loaded), loaded.distinct) == (10_840, 10_833)
    assert loaded.indices[10_833:].tolist() == loaded.indices[:7].tolist()
    first = order(settings, 10_833, 8).take(3)
    assert first[:8].tolist() == [558, 10030, 10327, 7688, 10176, 6630, 3941, 2760]
    start = loaded.indices.tolist().index(558)
    assert first[:8].tolist() == loaded.indices[start : start + 8].tolist()


def test_padding_wraps_around_a_set_smaller_than_a_query() -> None:
    """Two samples, five to a query: the padding repeats both."""
    loaded = loadable_sets(SMALL, 2, 5)[0]
    a, b = loaded.indices[:2].tolist()
    assert loaded.indices.tolist() == [a, b, a, b, a, b]


def test_min_queries_changes_the_whole_sequence() -> None:
    """Equal seeds, 100 or 600 queries at least: another number of unused shuffles, and so other samples."""
    few = order(replace(SMALL, performance_sample_count=64), 500).take(8)
    many = order(replace(SMALL, performance_sample_count=64, min_queries=600), 500).take(8)
    assert few.tolist() == [38, 61, 41, 8, 58, 52, 39, 6]
    assert many.tolist() == [39, 51, 46, 16, 52, 40, 47, 41]


@given(
    issue=st.sampled_from(["random", "unique", "same"]),
    mode=st.sampled_from(["performance", "accuracy"]),
    concatenate=st.booleans(),
    block=st.sampled_from([None, 1, 3]),
    cuts=st.lists(st.integers(0, 50), max_size=5),
)
def test_orders_can_be_taken_in_pieces(issue: Any, mode: Any, concatenate: bool, block: int | None, cuts: list[int]) -> None:
    """Whatever the rule, pieces laid end to end are the whole."""
    if concatenate and issue == "unique" and block:
        return
    settings = replace(SMALL, issue=issue, mode=mode, concatenate_permutation=concatenate, performance_sample_count=40, same_index=2)
    pieces = order(settings, 90, block)
    taken = np.concatenate([np.empty(0, np.int32), *(pieces.take(cut) for cut in cuts)])
    assert taken.tolist() == order(settings, 90, block).take(sum(cuts)).tolist()


@given(samples=st.integers(1, 300), loaded=st.integers(0, 400), block=st.sampled_from([None, 1, 8]), seed=st.integers(0, 2**64 - 1))
def test_accuracy_mode_asks_every_sample_once(samples: int, loaded: int, block: int | None, seed: int) -> None:
    """Over all sets; in MultiStream the padding makes some appear again."""
    settings = Settings(mode="accuracy", performance_sample_count=loaded, seeds=Seeds(seed, seed, seed))
    asked: list[int] = []
    for part in loadable_sets(settings, samples, block):
        queries = QueryOrder(settings, part, block)
        assert queries.length is not None
        asked += queries.take(queries.length + 5).tolist()
    assert set(asked) == set(range(samples))
    assert block or len(asked) == samples


def test_unique_issue_ends_with_the_set() -> None:
    """Every sample of the performance set once, in another order than loaded; then nothing."""
    settings = replace(SMALL, issue="unique", performance_sample_count=30)
    unique = order(settings, 100)
    assert sorted(unique.take(99).tolist()) == list(range(30))
    assert len(unique.take(1)) == 0


def test_same_issue_repeats_one_entry_of_the_loaded_set() -> None:
    """The index counts in the permuted set, not in the samples."""
    settings = replace(SMALL, issue="same", same_index=3)
    entry = int(loadable_sets(settings, 50)[0].indices[3])
    assert set(order(settings, 50).take(20).tolist()) == {entry}


def test_concatenated_permutations_replay_without_end() -> None:
    """Each stretch of N queries holds every sample once; after the last permutation the first one follows again."""
    settings = replace(SMALL, concatenate_permutation=True, min_queries=70)
    assert padded_queries(settings, loadable_sets(settings, 30)[0]) == (90, 30)
    played = order(settings, 30).take(180).reshape(6, 30)
    assert all(sorted(stretch) == list(range(30)) for stretch in played.tolist())
    assert len({tuple(stretch) for stretch in played.tolist()}) == 3
    assert played[:3].tolist() == played[3:].tolist()


def test_offline_repeats_the_loaded_set() -> None:
    """In loaded order; with concatenated permutations each round is a fresh one."""
    loaded = loadable_sets(SMALL, 30)[0]
    repeated = OfflineOrder(SMALL, loaded)
    assert np.concatenate([repeated.take(7), repeated.take(68)]).tolist() == np.resize(loaded.indices, 75).tolist()
    concatenated = OfflineOrder(replace(SMALL, concatenate_permutation=True), loaded).take(90).reshape(3, 30)
    assert all(sorted(stretch) == list(range(30)) for stretch in concatenated.tolist())
    assert len({tuple(stretch) for stretch in concatenated.tolist()}) == 3


def test_offline_sample_count() -> None:
    """1.1 times duration times rate, at least min_queries; whole sets with concatenated permutations; the set with unique issue."""
    settings = Settings(target_qps=100.5, min_queries=3)
    loaded = loadable_sets(settings, 400)[0]
    assert offline_samples(settings, loaded) == 1105
    assert offline_samples(replace(settings, min_queries=2000), loaded) == 2000
    assert offline_samples(replace(settings, concatenate_permutation=True), loaded) == 1200
    assert offline_samples(replace(settings, issue="unique"), loaded) == 400


@pytest.mark.parametrize(
    ("settings", "samples", "block", "says"),
    [
        (Settings(), 0, None, "no samples"),
        (Settings(target_qps=0), 9, None, "--target-qps 0"),
        (Settings(target_qps=float("nan")), 9, None, "--target-qps nan"),
        (Settings(target_qps=float("inf")), 9, None, "--target-qps inf"),
        (Settings(target_qps=-3.0), 9, None, "--target-qps -3"),
        (Settings(min_duration_ns=-1), 9, None, "--duration"),
        (Settings(min_queries=-1), 9, None, "--min-queries"),
        (Settings(performance_sample_count=-1), 9, None, "performance_sample_count"),
        (Settings(min_queries=0, min_duration_ns=0), 9, None, "neither a minimum duration"),
        (Settings(issue="same", same_index=9), 9, None, "same_index 9"),
        (Settings(issue="same", same_index=-1), 9, None, "same_index -1"),
        (Settings(issue="same", same_index=2, mode="accuracy", performance_sample_count=7), 9, None, "only 2 samples"),
        (Settings(), 9, 0, "samples_per_query 0"),
        (Settings(issue="unique", concatenate_permutation=True), 9, 4, "exclude each other"),
    ],
)
def test_settings_without_traffic_are_refused(settings: Settings, samples: int, block: int | None, says: str) -> None:
    """Where LoadGen crashes, hangs or reads outside its lists, an error names the setting and says what to do."""
    with pytest.raises(UsageError, match=says) as caught:
        loadable_sets(settings, samples, block)
    assert caught.value.cure


def test_empty_orders_are_refused() -> None:
    """Concatenated permutations of no queries, and an Offline query of no samples."""
    settings = Settings(concatenate_permutation=True, min_queries=0)
    with pytest.raises(UsageError, match="concatenate_permutation"):
        order(settings, 9)
    settings = Settings(min_queries=0, target_qps=0.01)
    with pytest.raises(UsageError, match="less than one sample"):
        offline_samples(settings, loadable_sets(settings, 9)[0])
