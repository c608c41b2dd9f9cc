"""Percentiles, intervals and Little's law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import stats
from harness.core import Columns, Status

LATENCIES = st.lists(st.integers(0, 10**12), min_size=1, max_size=300)


def columns(due: list[int], done: list[int], end: int) -> Columns:
    """A ledger of one-sample queries; done -1: lost."""
    rows = len(due)
    return Columns(
        query=np.arange(rows),
        sample=np.zeros(rows, np.int32),
        due_ns=np.array(due, np.int64),
        taken_ns=np.array(due, np.int64),
        done_ns=np.array(done, np.int64),
        batch=np.arange(rows, dtype=np.int32),
        worker=np.zeros(rows, np.int16),
        status=np.array([Status.DONE if at >= 0 else Status.LOST for at in done], np.int8),
        end_ns=end,
    )


@given(values=LATENCIES, share=st.sampled_from(list(stats.PERCENTILES.values())))
def test_percentile_is_the_element_at_trunc_n_p(values: list[int], share: float) -> None:
    """No interpolation; the order of the values does not matter."""
    assert stats.percentile(np.array(values), share) == sorted(values)[int(len(values) * share)]


def test_percentile_index() -> None:
    """1,000 values: p99 is element 990. 100 values: it is the largest."""
    assert stats.percentile(np.arange(1000), 0.99) == 990
    assert stats.percentile(np.arange(100)[::-1], 0.99) == 99


def test_no_values_have_no_percentile_and_no_mean() -> None:
    """An error, not a zero."""
    none = np.empty(0, np.int64)
    for figure in (lambda: stats.percentile(none, 0.5), lambda: stats.mean_ns(none), lambda: stats.bootstrap_interval(none, np.mean, 1)):
        with pytest.raises(ValueError, match="no values"):
            figure()
    assert set(stats.latency_summary(none).values()) == {None}


def test_percentile_floors() -> None:
    """Least n of each percentile: h(1) + 1."""
    floors = {name: stats.percentile_floor(share) for name, share in stats.PERCENTILES.items()}
    assert floors == {"p50": 11, "p90": 64, "p95": 130, "p97": 219, "p99": 662, "p99.9": 6636}


def test_summary_holds_every_percentile_by_loadgens_rule() -> None:
    """The element at trunc(n * p) of 150 values, certain or not; the mean is rounded down."""
    summary = stats.latency_summary(np.arange(150)[::-1])
    assert summary == {
        "min": 0, "mean": 74, "p50": 75, "p90": 135, "p95": 142, "p97": 145, "p99": 148, "p99.9": 149, "max": 149,
    }  # fmt: skip
    assert list(summary) == ["min", "mean", "p50", "p90", "p95", "p97", "p99", "p99.9", "max"]


def test_order_statistic_interval() -> None:
    """Ranks of p99 for n = 500, 1,000, 10,000 and 24,576 (peers.md 3.1); a rank that does not exist is None."""
    ranks = {n: stats.percentile_interval(np.arange(1, n + 1), 0.99) for n in (500, 1_000, 10_000, 24_576)}
    assert ranks == {500: (490, None), 1_000: (983, 998), 10_000: (9_880, 9_921), 24_576: (24_299, 24_362)}


def test_order_statistic_interval_covers() -> None:
    """In 400 samples of 1,000 uniform values the interval holds the true p90 at least 95 times in 100."""
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        low, high = stats.percentile_interval(np.sort(generator.integers(0, 10**9, 1000)), 0.9)
        assert low is not None
        assert high is not None
        held += low <= 0.9e9 <= high
    assert held >= 380


def test_bootstrap_interval_of_a_mean() -> None:
    """Close to mean ± 1.96 standard errors, the same for the same seed, and one point where all values are one."""
    values = np.random.default_rng(1).normal(50, 10, 400)
    low, high = stats.bootstrap_interval(values, np.mean, 7)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.15)
    assert high == pytest.approx(values.mean() + half, abs=0.15)
    assert (low, high) == stats.bootstrap_interval(values, np.mean, 7)
    assert stats.bootstrap_interval(np.full(9, 3.0), np.mean, 1, draws=50) == (3.0, 3.0)


def test_bootstrap_draws_rows() -> None:
    """Pairs stay pairs: the correlation of a line is 1 in every draw."""
    pairs = np.column_stack([np.arange(30.0), 2 * np.arange(30.0)])
    low, high = stats.bootstrap_interval(pairs, lambda rows: float(np.corrcoef(rows.T)[0, 1]), 3, draws=100)
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)


def test_littles_law_by_hand() -> None:
    """Two queries in [0, 10]: in flight 1 for 4, 2 for 2, 1 for 2 and 0 until the third, which takes 1."""
    mean, product = stats.littles_law(columns([0, 4, 9], [6, 8, 10], 10))
    assert mean == pytest.approx((4 * 1 + 2 * 2 + 2 * 1 + 1 * 1) / 10)
    assert product == pytest.approx(mean)


@given(
    times=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=100),
    lost=st.integers(0, 3),
)
def test_littles_law_holds_for_every_ledger(times: list[tuple[int, int]], lost: int) -> None:
    """Both sides are equal for any arrivals and service, and rows that were not served are on neither side."""
    times.sort()
    due = [at for at, _ in times]
    done = [at + took for at, took in times]
    end = max(done)
    mean, product = stats.littles_law(columns(due + [end] * lost, done + [-1] * lost, end))
    assert mean == pytest.approx(product, rel=1e-9, abs=1e-12)


def test_littles_law_tells_a_wrong_clock() -> None:
    """Answers stamped after the end of the run, or before their questions, make the two sides differ."""
    for done in ([50, 250, 900], [50, 20, 250]):
        mean, product = stats.littles_law(columns([0, 100, 200], done, 250))
        assert abs(mean - product) > 0.02 * mean


def test_littles_law_without_answers() -> None:
    """Nothing served: nothing in flight."""
    assert stats.littles_law(columns([0, 10], [-1, -1], 20)) == (0.0, 0.0)
