"""Which answers of a performance phase go to the accuracy log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import rng
from harness.core import AccuracyLog
from harness.loadgen import Requested, effective
from harness.mlperf import accuracy_log
from harness.mlperf.accuracy_log import Selection, expected, probability, selected


def by_hand(log: AccuracyLog, chance: float, first: int, rows: int) -> list[bool]:
    """The rule of section 3.6, one value at a time."""
    offset = float(rng.Engine(log.seed).canonical(1)[0])
    values = rng.Engine(5489).canonical(first + rows)[first:].tolist()
    moved = [value + offset for value in values]
    return [(each if each < 1.0 else each - 1.0) <= chance for each in moved]


@given(st.integers(0, 2**64 - 1), st.floats(0.01, 1.0), st.integers(0, 50), st.lists(st.integers(0, 300), max_size=5))
def test_a_growing_selection_is_the_rule_applied_to_each_value(seed: int, chance: float, first: int, steps: list[int]) -> None:
    """However it grows, the selection is what the written-out rule gives, and what was drawn stays."""
    log = AccuracyLog(seed, chance)
    selection = Selection(log, 1, first)
    for rows in steps:
        assert selection.upto(rows).tolist() == by_hand(log, chance, first, rows)


def test_a_selection_goes_on_behind_the_phases_before() -> None:
    """`first` samples generated before leave the rest of one and the same sequence."""
    log = AccuracyLog(12345, 0.3)
    assert (selected(log, 1, 500, 200) == selected(log, 1, 700)[200:]).all()


def test_long_phases_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a piece changes nothing."""
    log = AccuracyLog(7, 0.5)
    whole = selected(log, 1, 1000, 130)
    monkeypatch.setattr(accuracy_log, "CHUNK", 64)
    assert (selected(log, 1, 1000, 130) == whole).all()


def test_nothing_is_logged_unless_asked() -> None:
    """Probability 0 and no target: no answer."""
    assert not selected(AccuracyLog(), 100, 5000).any()


def test_a_probability_of_one_logs_everything() -> None:
    """x is at most 1."""
    assert selected(AccuracyLog(99, 1.0), 1, 5000).all()


def test_a_target_is_divided_by_the_expected_samples() -> None:
    """A target overrides the probability."""
    assert probability(AccuracyLog(0, 0.5, 70), 700) == 0.1
    assert probability(AccuracyLog(0, 0.5, 0), 700) == 0.5


@pytest.mark.parametrize(
    ("settings", "samples"),
    [
        (Requested(scenario="SingleStream", min_duration_ms=600_000, single_stream_expected_latency_ns=10_000_000.0), 60_000),
        (Requested(scenario="SingleStream", min_duration_ms=0, min_query_count=765), 765),
        (Requested(scenario="MultiStream", min_duration_ms=0, min_query_count=100, multi_stream_samples_per_query=4), 400),
        (Requested(scenario="MultiStream", min_duration_ms=10_000, multi_stream_expected_latency_ns=8e6), 10_000),
        (Requested(scenario="Server", server_target_qps=333.3, min_duration_ms=1000), 333),
        (Requested(scenario="Offline", offline_expected_qps=100.0, min_duration_ms=1000, min_query_count=50), 110),
        (Requested(scenario="Offline", offline_expected_qps=1.0, min_duration_ms=1000, min_query_count=5000), 5000),
    ],
)
def test_expected_samples_follow_the_rate_and_the_minimum(settings: Requested, samples: int) -> None:
    """Rate times duration, times the samples of a query, not below the minimum; Offline's minimum is of samples."""
    assert expected(effective(settings, 1000, 1000)) == samples


def test_the_number_logged_varies_around_the_target() -> None:
    """70 wanted of 7,000 expected samples: near 70 over the whole run, for each of three seeds."""
    counts = [int(selected(AccuracyLog(seed, 0.0, 70), 7000, 7000).sum()) for seed in (1, 2, 3)]
    assert all(40 <= count <= 100 for count in counts)
    assert len({tuple(np.flatnonzero(selected(replace(AccuracyLog(0, 0.1), seed=seed), 1, 100))) for seed in (1, 2, 3)}) == 3
