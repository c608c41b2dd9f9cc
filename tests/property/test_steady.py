"""Whether a run was steady: textbook values, and no alarm about noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from harness import steady
from harness.core import Columns, Status


def columns(done_ns: np.ndarray, due_ns: np.ndarray | None = None) -> Columns:
    count = len(done_ns)
    due = np.zeros(count, np.int64) if due_ns is None else due_ns
    whole = np.arange(count)
    return Columns(
        query=whole.astype(np.int64),
        sample=whole.astype(np.int32),
        due_ns=due,
        taken_ns=due,
        done_ns=done_ns,
        batch=whole.astype(np.int32),
        worker=np.zeros(count, np.int16),
        status=np.full(count, Status.DONE, np.int8),
        end_ns=int(done_ns.max()),
    )


def served(times: np.ndarray) -> Columns:
    """A run whose samples took these times one after the other, ns."""
    return columns(np.cumsum(times).astype(np.int64))


def test_noise_is_steady() -> None:
    """Of 200 runs with nothing but noise at most 2 are called unstable, by rate or by latency."""
    alarms = 0
    for seed in range(200):
        found = steady.look(served(np.random.default_rng(seed).exponential(1e6, 2000)), paced=False)
        assert found is not None
        alarms += not found.stable
    assert alarms <= 2


def test_a_slow_start_is_seen() -> None:
    """A quarter of the run at two thirds of the speed is found, and cut off whole."""
    generator = np.random.default_rng(1)
    found = steady.look(served(np.r_[generator.normal(1.5e6, 1e5, 500), generator.normal(1e6, 1e5, 1500)]), paced=False)
    assert found is not None
    assert not found.stable
    assert 0.24 <= found.settled_share <= 0.5
    assert -0.35 < found.start < -0.15


def test_a_drift_is_seen() -> None:
    """A machine that becomes 10 % slower from begin to end is called unstable; one that becomes 2 % slower is not."""
    generator = np.random.default_rng(2)
    for slower, stable in ((0.10, False), (0.02, True)):
        times = np.linspace(1e6, 1e6 * (1 + slower), 5000) * generator.normal(1, 0.02, 5000)
        found = steady.look(served(times), paced=False)
        assert found is not None
        assert found.drift == pytest.approx(-slower, abs=0.01)
        assert found.stable is stable


def test_latency_is_looked_at_where_arrivals_are_paced() -> None:
    """With arrivals at a constant rate and latencies that grow by half, the rate is steady and the latency is not."""
    due = np.arange(2000, dtype=np.int64) * 1_000_000
    found = steady.look(columns(due + np.linspace(10e6, 15e6, 2000).astype(np.int64), due), paced=True)
    assert found is not None
    assert (found.figure, found.stable) == ("median latency", False)
    assert found.drift == pytest.approx(0.4, abs=0.02)


def test_too_few_samples_say_nothing() -> None:
    """Below ten samples a stretch there is no word."""
    assert steady.look(served(np.full(steady.LEAST_ROWS - 1, 1e6)), paced=False) is None
    assert steady.rate_spread(served(np.full(steady.LEAST_ROWS - 1, 1e6))) is None


values = arrays(np.float64, st.integers(4, 60), elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 1)))


@given(values=values)
def test_theil_sen(values: np.ndarray) -> None:
    """The slope is scipy's."""
    assert steady.theil_sen(values) == pytest.approx(float(scipy_stats.theilslopes(values)[0]), rel=1e-9, abs=1e-9)


@given(values=values)
def test_mann_kendall_has_the_sign_of_no_direction(values: np.ndarray) -> None:
    """p is the same for a series and for its reverse and its negative, and lies in [0, 1]."""
    p = steady.mann_kendall(values)
    assert 0 <= p <= 1
    assert steady.mann_kendall(values[::-1]) == pytest.approx(p)
    assert steady.mann_kendall(-values) == pytest.approx(p)


def test_mann_kendall_of_known_series() -> None:
    """Ten ascending values: S = 45, variance 125, z = 44 / sqrt(125), p = 8.3e-5 (Gilbert 1987, section 16.4)."""
    assert steady.mann_kendall(np.arange(10.0)) == pytest.approx(2 * float(scipy_stats.norm.sf(44 / np.sqrt(125))))
    assert steady.mann_kendall(np.ones(10)) == 1.0
    assert steady.mann_kendall(np.arange(3.0)) == 1.0


def test_mser_cuts_where_the_error_is_least() -> None:
    """Ten values of 100 before forty around 1 are cut; of a constant series nothing is; never more than half."""
    tail = 1 + np.tile([0.0, 0.1, -0.1, 0.05, -0.05], 8)
    assert steady.mser(np.r_[np.full(10, 100.0), tail]) == 10
    assert steady.mser(np.ones(50)) == 0
    assert steady.mser(np.r_[np.full(45, 100.0), np.ones(5)]) <= 25


def test_the_spread_of_a_rate() -> None:
    """Batch means of exponential times: 20 batches of 250, so half of the interval is near 2.09 / sqrt(5000)."""
    spread = [steady.rate_spread(served(np.random.default_rng(seed).exponential(1e6, 5000))) for seed in range(40)]
    assert np.mean([each for each in spread if each is not None]) == pytest.approx(2.093 / np.sqrt(5000), rel=0.1)
