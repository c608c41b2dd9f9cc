"""Points of figures: every one measured, and no extreme lost."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import chart_data, figures
from harness.batching import Policy
from harness.core import Columns, Status
from harness.early_stopping import estimate
from harness.stats import percentile_interval
from harness.testing import poisson_traffic, simulate
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
    assert not (found.low_ms > found.latency_ms).any()
    assert not (found.high_ms < found.latency_ms).any()


@given(latency=st.lists(st.integers(0, 10**10), min_size=1, max_size=3000))
def test_the_bands_of_a_spectrum_are_the_intervals_of_its_percentiles(latency: list[int]) -> None:
    """Each end is that of `percentile_interval`, the bound early stopping's own; where there are too few queries there is none."""
    ordered = np.sort(np.array(latency, np.int64))
    found = chart_data.spectrum(ordered)
    for place in range(0, len(found.share), 37):
        share = float(found.share[place])
        low, high = percentile_interval(ordered, share)
        bound = estimate(ordered, share) if share else None
        for shown, told in ((found.low_ms, low), (found.high_ms, high), (found.bound_ms, bound)):
            assert math.isnan(shown[place]) if told is None else shown[place] == told / 1e6


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
    assert np.nanmin(found.min_ms) == min(latency) / 1e6
    width = int(done[-1]) / len(found.rate)
    place = np.minimum((done / width).astype(np.int64), len(found.rate) - 1)
    for each in np.unique(place):
        inside = np.array(latency)[place == each] / 1e6
        assert (found.min_ms[each], found.max_ms[each]) == (inside.min(), inside.max())
    assert round(float(found.rate.sum()) * done[-1] / len(found.rate) / 1e9) == len(latency)


def test_the_split_by_hand() -> None:
    """Queueing, filling and computing of the fastest and the slowest half: one of the fast ones waited 2 ms behind the first batch."""
    found = chart_data.split(COLUMNS, groups=2)
    assert found.share.tolist() == [0.5, 1.0]
    assert found.queueing_ms.tolist() == [1.0, 0.0]
    assert found.filling_ms.tolist() == [0.0, 0.0]
    assert found.computing_ms.tolist() == [1.0, 4.0]


def test_a_batch_that_is_held_is_no_queue() -> None:
    """Of 6 ms of waiting the worker was busy for the first 4, and held the batch for the other 2."""
    found = chart_data.spent(made([0, 0], [0, 6 * MS], [4 * MS, 7 * MS], [0, 1], 7 * MS))
    assert [each.tolist() for each in found] == [[0, 4 * MS], [0, 2 * MS], [4 * MS, MS]]


@given(
    calls=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(1, 6), st.integers(0, 9)), min_size=1, max_size=12),
)
def test_time_spent_is_what_counting_tick_by_tick_gives(calls: list[tuple[int, int, int, int]]) -> None:
    """With several workers: waiting is queueing at every moment at which all of them have a call on its way, and filling at the others."""
    free = [0, 0, 0]
    rows = []
    for worker, pause, time, waited in calls:
        taken = free[worker] + pause
        free[worker] = taken + time
        rows.append((max(taken - waited, 0), taken, taken + time, worker))
    due, taken_, done, worker_ = (list(each) for each in zip(*rows, strict=True))
    columns = replace(made(due, taken_, done, list(range(len(rows))), max(done)), worker=np.array(worker_, np.int16))
    busy = [len({w for _, t, d, w in rows if t <= tick < d}) == len(set(worker_)) for tick in range(max(done))]
    queueing, filling, computing = chart_data.spent(columns)
    assert queueing.tolist() == [sum(busy[d:t]) for d, t in zip(due, taken_, strict=True)]
    assert (queueing + filling + computing).tolist() == [d - q for d, q in zip(done, due, strict=True)]


@given(seed=st.integers(0, 1000), rate=st.floats(10, 2000), batch=st.integers(1, 8), workers=st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_nothing_is_held_without_batch_wait(seed: int, rate: float, batch: int, workers: int) -> None:
    """In simulated time a free worker takes what is due at once; with one worker and a wait no row is held for longer than that."""
    traffic = poisson_traffic(rate, 60, seed)
    columns = simulate(traffic, Policy("fifo", batch), lambda rows: 1_000_000 + 100_000 * len(rows), workers=workers)
    assert chart_data.spent(columns)[1].max() == 0
    held = simulate(traffic, Policy("fifo", batch, wait_ns=3 * MS), lambda rows: 1_000_000 + 100_000 * len(rows))
    assert 0 <= chart_data.spent(held)[1].max() <= 3 * MS


def test_batches_by_hand() -> None:
    """One batch of two samples that took 4 ms, two of one sample that took 1 ms."""
    found = chart_data.batches(COLUMNS)
    assert (found.size.tolist(), found.count.tolist(), found.median_ms.tolist()) == ([1, 2], [2, 1], [1.0, 4.0])


EVERYTHING: dict[str, Any] = {
    "steady": {
        "figure": "median latency",
        "stable": False,
        "settled_share": 0.4,
        "start": 0.0,
        "start_errors": 0.0,
        "drift": 0.5,
        "p": 0.001,
        "drift_error": 0.0,
        "at_s": [0.001, 0.003, 0.005, 0.007, 0.009],
        "values": [1e6, 2e6, 3e6, 4e6, 5e6],
    },
    "telemetry": {
        "at_s": [0.0, 0.005, 0.01],
        "columns": {
            "cpu_mhz": {"unit": "MHz", "values": [3000, None, 2900]},
            "gpu0_celsius": {"unit": "°C", "values": [50.0, 51.0, None]},
            "gpu0_watts": {"unit": "W", "values": [None, None, None]},
        },
        "throttled": [{"from_s": 0.002, "to_s": 0.004, "what": "cpu", "reason": "thermal"}],
    },
    "throughput": {"by_length": [{"length": 16, "calls": 2, "samples": 3, "real_tokens": 40, "padded_tokens": 48}]},
}


def test_the_steadiness_of_a_run_is_drawn_with_its_drift_and_plateau() -> None:
    """An unstable median latency: the drift from end to end around the median, the mean after MSER's cut, what was throttled."""
    drawing = figures.of(example_runs.changed(example_runs.VALID, **EVERYTHING), COLUMNS)[3]
    values, drift, plateau = drawing.traces
    assert (drawing.title, values["y"]) == ("UNSTABLE", [1, 2, 3, 4, 5])
    assert (drift["y"], plateau["y"], plateau["x"]) == ([2.25, 3.75], [4, 4], [0.005, 0.009])
    assert drawing.layout["shapes"][0]["x0"] == 0.002
    assert "rose by 50.0% of its median from begin to end" in drawing.caption


def test_the_machine_is_drawn_where_something_was_read() -> None:
    """A row for clocks and one for temperatures, gaps as null, none for watts that nobody could read; what was throttled is shaded."""
    drawing = figures.of(example_runs.changed(example_runs.VALID, **EVERYTHING), COLUMNS)[4]
    assert [(each["name"], each["y"], each["yaxis"]) for each in drawing.traces] == [
        ("cpu_mhz", [3000, None, 2900], "y"),
        ("gpu0_celsius", [50, 51, None], "y2"),
    ]
    assert [each["x1"] for each in drawing.layout["shapes"]] == [0.004]


def test_figures_are_json() -> None:
    """Each figure has data, captions and no NaN; offline has no latency by percentile; a run without answers has none at all."""
    server = figures.of(example_runs.changed(example_runs.VALID, **EVERYTHING), COLUMNS)
    assert [each.name for each in server] == ["spectrum", "split", "timeline", "steady", "machine", "batches", "padding"]
    for each in server:
        json.dumps([each.traces, each.layout], allow_nan=False)
        assert each.caption.endswith(".")
    offline = example_runs.changed(example_runs.VALID, config={"scenario": "offline"})
    assert [each.name for each in figures.of(offline, COLUMNS)] == ["timeline", "batches"]
    lost = made([0], [-1], [-1], [-1], 10)
    lost.status[:] = Status.LOST
    assert figures.of(example_runs.VALID, lost) == []
