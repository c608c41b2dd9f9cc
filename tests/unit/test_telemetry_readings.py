"""What a reading of telemetry costs, from the times of queries: a stall of known length is found as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.telemetry_readings import lost_ns, trimmed_mean

MS = 1_000_000


def served(stalls: dict[int, int], queries: int = 4000) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Queries of 1 ms one after another; the one that begins at a key takes so much longer."""
    taken, done, now = [], [], 0
    for _ in range(queries):
        taken.append(now)
        now += MS + stalls.get(now, 0)
        done.append(now)
    return np.array(taken), np.array(done)


def test_a_stall_in_the_window_of_a_reading_is_the_time_lost() -> None:
    """2.5 ms at the first reading and none at the second."""
    taken, done = served({500 * MS: 2 * MS + MS // 2})
    lost = lost_ns(taken, done, np.array([500 * MS, 2000 * MS]))
    assert lost / MS == pytest.approx([2.5, 0.0], abs=1e-6)


def test_slow_drift_is_no_loss() -> None:
    """A machine that becomes slower by a tenth in the second around the reading."""
    spent = np.linspace(1.0, 1.1, 1000) * MS
    done = np.cumsum(spent).astype(np.int64)
    taken = np.concatenate([[0], done[:-1]])
    assert lost_ns(taken, done, np.array([500 * MS]))[0] / MS == pytest.approx(0.0, abs=0.05)


def test_bursts_at_either_end_are_left_out_and_the_interval_is_that_of_the_rest() -> None:
    """Of ten values the largest and the smallest: a burst of 99 moves neither the mean nor its interval."""
    values = np.array([-5.0, 0, 0, 0, 0, 2, 2, 2, 2, 99])
    middle, low, high = trimmed_mean(values)
    winsorised = np.array([0.0] * 5 + [2.0] * 5)
    half = 2.364624 * winsorised.std(ddof=1) / (0.8 * np.sqrt(10))
    assert (middle, low, high) == pytest.approx((1.0, 1 - half, 1 + half), abs=1e-5)
