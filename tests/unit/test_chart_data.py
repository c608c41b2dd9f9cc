"""Points of figures: every one measured, and no extreme lost."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness import chart_data, figures
from harness.core import Columns, Status
from tests import example_runs


def made(due: list[int], taken: list[int], done: list[int], batch: list[int], end: int) -> Columns:
    count = len(due)
    return Columns(
        query=np.arange(count, dtype=np.int64),
        sample=np.zeros(count, np.int32),
        due_ns=np.array(due, np.int64),
        taken_ns=np.array(taken, np.int64),
        done_ns=np.array(done, np.int64),
        batch=np.array(batch, np.int32),
        worker=np.zeros(count, np.int16),
        status=np.full(count, Status.DONE, np.int8),
        end_ns=end,
    )


MS = 1_000_000
COLUMNS = made([0, 0, 2 * MS, 9 * MS], [0, 0, 4 * MS, 9 * MS], [4 * MS, 4 * MS, 5 * MS, 10 * MS], [0, 0, 1, 2], 10 * MS)


@given(latency=st.lists(st.integers(0, 10**10), min_size=1, max_size=3000))
def test_a_spectrum_holds_measured_values_and_the_largest(latency: list[int]) -> None:
    """Points ascend, each is a latency of the run, the first is the smallest and the last the largest."""
    found = chart_data.spectrum(np.array(latency, np.int64))
    assert found.latency_ms[0] == min(latency) / 1e6
    assert found.latency_ms[-1] == max(latency) / 1e6
    assert (np.diff(found.latency_ms) >= 0).all()
    assert (np.diff(found.share) > 0).all()
    assert set(found.latency_ms.tolist()) <= {each / 1e6 for each in latency}
    assert len(found.share) <= chart_data.SPECTRUM_POINTS + 1


def test_a_timeline_by_hand() -> None:
    """Ten stretches of 1 ms: rates, latencies, and gaps where nothing was answered."""
    found = chart_data.timeline(COLUMNS, bins=10)
    assert found.rate.tolist() == [0, 0, 0, 0, 2000, 1000, 0, 0, 0, 1000]
    assert found.max_ms[[4, 5, 9]].tolist() == [4, 3, 1]
    assert found.p50_ms[4] == 4
    assert math.isnan(found.p99_ms[0])


@given(latency=st.lists(st.integers(1, 10**9), min_size=1, max_size=500))
def test_a_timeline_loses_no_extreme(latency: list[int]) -> None:
    """The largest latency of the run is the largest of its stretches, and the rates add up to the samples."""
    done = np.cumsum(latency)
    found = chart_data.timeline(
        made((done - latency).tolist(), (done - latency).tolist(), done.tolist(), [0] * len(latency), int(done[-1]))
    )
    assert np.nanmax(found.max_ms) == max(latency) / 1e6
    assert round(float(found.rate.sum()) * done[-1] / len(found.rate) / 1e9) == len(latency)


def test_the_split_by_hand() -> None:
    """Waiting and computing of the fastest and the slowest half."""
    found = chart_data.split(COLUMNS, groups=2)
    assert found.share.tolist() == [0.5, 1.0]
    assert found.waiting_ms.tolist() == [1.0, 0.0]
    assert found.computing_ms.tolist() == [1.0, 4.0]


def test_batches_by_hand() -> None:
    """One batch of two samples that took 4 ms, two of one sample that took 1 ms."""
    found = chart_data.batches(COLUMNS)
    assert (found.size.tolist(), found.count.tolist(), found.median_ms.tolist()) == ([1, 2], [2, 1], [1.0, 4.0])


def test_figures_are_json() -> None:
    """Each figure has data, captions and no NaN; offline has no latency by percentile; a run without answers has none at all."""
    import json

    server = figures.of(example_runs.VALID, COLUMNS)
    assert [each.name for each in server] == ["spectrum", "split", "timeline", "batches"]
    for each in server:
        json.dumps([each.traces, each.layout], allow_nan=False)
        assert each.caption.endswith(".")
    offline = example_runs.changed(example_runs.VALID, config={"scenario": "offline"})
    assert [each.name for each in figures.of(offline, COLUMNS)] == ["timeline", "batches"]
    lost = made([0], [-1], [-1], [-1], 10)
    lost.status[:] = Status.LOST
    assert figures.of(example_runs.VALID, lost) == []
