"""LoadGen's outcome of a performance phase, from our columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.core import MS_NS, SECOND_NS, Columns, Part, Status
from harness.errors import DataError, RunError
from harness.loadgen import Effective, Requested, effective
from harness.mlperf.result import LONGER, Result, divided, from_detail, result
from harness.phases import Phase


def columns(due: list[int], latency: list[int], query: list[int] | None = None, lost: tuple[int, ...] = (), end_ns: int = 0) -> Columns:
    """Rows due at `due` that took `latency`; those in `lost` were never answered."""
    rows = len(due)
    at = np.array(due, np.int64)
    done = at + np.array(latency, np.int64)
    status = np.full(rows, Status.DONE, np.int8)
    for row in lost:
        done[row], status[row] = -1, Status.LOST
    return Columns(
        query=np.array(query if query is not None else range(rows), np.int64),
        sample=np.zeros(rows, np.int32),
        due_ns=at,
        taken_ns=at.copy(),
        done_ns=done,
        batch=np.arange(rows, dtype=np.int32),
        worker=np.zeros(rows, np.int16),
        status=status,
        end_ns=max(end_ns, int(done.max())),
    )


def settings(scenario: str, **changed: object) -> Effective:
    return effective(Requested(**{"scenario": scenario, "min_duration_ms": 0, "min_query_count": 1} | changed), 100, 100)  # type: ignore[arg-type]


def judged(scenario: str, rows: Columns, **changed: object) -> Result:
    return result(settings(scenario, **changed), Phase("performance", Part(np.zeros(0, np.int32), 0, 1, 0), rows, 0))


def stream(count: int) -> Columns:
    """Query i is due at i ms and takes i + 1 us."""
    return columns([MS_NS * row for row in range(count)], [1000 * (row + 1) for row in range(count)])


def test_a_single_stream_result_has_loadgens_figures() -> None:
    """100 queries of 1 to 100 us: percentiles at trunc(n p), the mean rounded down, rates with and without overhead."""
    found = judged("SingleStream", stream(100))
    assert found.valid
    assert (found.tail_ns, found.queries) == (91_000, 100)
    assert (found.samples.minimum, found.samples.maximum, found.samples.mean) == (1000, 100_000, 50_500)
    assert found.samples.percentiles == (51_000, 91_000, 96_000, 98_000, 100_000, 100_000)
    assert found.rates == {
        "result_qps_with_loadgen_overhead": 99 / 0.099,
        "result_qps_without_loadgen_overhead": 1 / (50_500 / 1e9),
    }
    assert (found.over_latency, found.per_query) == (None, None)


def test_single_stream_early_stopping_says_what_is_discarded() -> None:
    """100 queries: three may be discarded for p90 (h(3) + 3 = 97), and 99 % would need 662."""
    stopping = judged("SingleStream", stream(100)).stopping
    assert stopping.text.split("\n") == [
        " * Processed at least 64 queries (100).",
        " * Would discard 2 highest latency queries.",
        " * Early stopping 90.0th percentile estimate: 98000",
        " * Not enough queries processed for 99.0th percentile",
        " early stopping estimate (would need to process at",
        " least 662 total queries).",
    ]
    assert (stopping.met, stopping.single_ns, stopping.multi_ns) == (True, 98_000, 0)


def test_single_stream_infers_a_multi_stream_figure() -> None:
    """700 queries: one may be discarded for 99 %, the estimate is the maximum."""
    stopping = judged("SingleStream", stream(700)).stopping
    assert stopping.multi_ns == 700_000
    assert stopping.text.endswith(" * Early stopping 99.0th percentile estimate: 700000")


def test_too_few_queries_store_no_estimate() -> None:
    """63 queries are one too few for p90."""
    found = judged("SingleStream", stream(63))
    assert found.stopping.text == " * Only processed 63 queries.\n * Need to process at least 64 queries for early stopping."
    assert (found.stopping.single_ns, found.valid) == (0, False)


def test_multi_stream_is_judged_by_its_slowest_sample() -> None:
    """Two queries of two samples: latencies of queries beside those of samples."""
    rows = columns([0, 0, 50, 50], [10, 20, 40, 30], [0, 0, 1, 1])
    found = judged("MultiStream", rows, multi_stream_samples_per_query=2, min_query_count=2)
    assert found.per_query is not None
    assert (found.per_query.minimum, found.per_query.maximum, found.per_query.mean) == (20, 40, 30)
    assert (found.samples.minimum, found.samples.maximum, found.samples.mean) == (10, 40, 25)
    assert (found.tail_ns, found.queries, found.queries_met, found.rates) == (40, 2, True, {})


def test_a_query_that_misses_samples_is_too_few() -> None:
    """Two queries, but three of four samples."""
    rows = columns([0, 0, 50], [10, 20, 40], [0, 0, 1])
    assert not judged("MultiStream", rows, multi_stream_samples_per_query=2, min_query_count=2).queries_met


def test_server_rates_are_of_the_last_scheduled_query() -> None:
    """n - 1 over the schedule and over the completion of the last scheduled query, not over the latest completion."""
    rows = columns([0, SECOND_NS, 2 * SECOND_NS], [5 * SECOND_NS, 1, SECOND_NS // 2])
    found = judged("Server", rows, server_target_latency_ns=SECOND_NS)
    assert found.rates == {"result_scheduled_samples_per_sec": 1.0, "result_completed_samples_per_sec": 2 / 2.5}
    assert (found.over_latency, found.constraint_met, found.tail_ns) == (1, False, 5 * SECOND_NS)


def test_the_bound_itself_is_within_the_bound() -> None:
    """A latency equal to the target latency is not over it."""
    found = judged("Server", columns([0, 10], [7, 7]), server_target_latency_ns=7)
    assert (found.over_latency, found.constraint_met) == (0, True)


def test_server_early_stopping_counts_what_is_missing() -> None:
    """One of 23 over the bound at p99 needs 662 queries: 639 more."""
    rows = columns([10 * row for row in range(23)], [200] + [5] * 22)
    found = judged("Server", rows, server_target_latency_ns=100)
    assert found.stopping.text.split("\n")[2] == " * Would need to run at least 639 more queries,"
    enough = judged("Server", columns(list(range(459)), [5] * 459), server_target_latency_ns=100)
    assert enough.stopping.text == " * Run successful."


def test_one_server_query_has_no_scheduled_rate() -> None:
    """0 / 0 is nan as in C, 0 over a completion is 0."""
    rates = judged("Server", columns([0], [5])).rates
    assert math.isnan(rates["result_scheduled_samples_per_sec"])
    assert rates["result_completed_samples_per_sec"] == 0.0


def test_division_is_that_of_c() -> None:
    """By zero: inf with the sign of the number, nan for zero."""
    assert (divided(1, 0.0), divided(-1, 0.0), divided(3, 2)) == (math.inf, -math.inf, 1.5)
    assert math.isnan(divided(0, 0.0))


def test_offline_is_judged_by_its_longest_latency() -> None:
    """Samples over the maximum, in seconds; the same is held against the minimum duration; no early stopping."""
    rows = columns([0, 0, 0, 0], [100, SECOND_NS, 2 * SECOND_NS, 1], [0, 0, 0, 0])
    found = judged("Offline", rows, min_duration_ms=2000, min_query_count=4)
    assert found.rates == {"result_samples_per_second": 2.0}
    assert (found.duration_met, found.queries_met, found.stopping.met, found.stopping.text, found.queries) == (True, True, True, "", 1)
    assert not judged("Offline", rows, min_duration_ms=2001, min_query_count=4).duration_met


def test_closed_loops_hold_the_last_issue_against_the_duration() -> None:
    """99 ms from start to the last of 100 queries are 99 ms, whatever the last one took."""
    assert judged("SingleStream", stream(100), min_duration_ms=99).duration_met
    assert not judged("SingleStream", stream(100), min_duration_ms=100).duration_met


def test_a_lost_row_is_charged_until_the_end() -> None:
    """It counts as a latency up to the end of the run."""
    found = judged("Server", columns([0, 10, 20], [5, 5, 5], lost=(1,), end_ns=1010))
    assert found.samples.maximum == 1000


def test_rows_never_asked_do_not_count() -> None:
    """A schedule that was cut short counts what was due by its end."""
    rows = columns([0, 10, 10**9], [5, 5, 0])
    rows.status[2], rows.done_ns[2] = Status.PENDING, -1
    cut = Columns(**{name: getattr(rows, name) for name in Columns.__slots__} | {"end_ns": 100})
    assert judged("Server", cut).queries == 2


def test_nothing_asked_is_an_error() -> None:
    """A phase without an asked row has no result."""
    rows = columns([5], [1])
    rows.due_ns[0], rows.status[0] = -1, Status.PENDING
    with pytest.raises(RunError, match="nothing was measured"):
        judged("SingleStream", rows)


def test_every_scenario_has_its_own_advice_for_a_longer_run() -> None:
    """Four scenarios, three sentences."""
    assert len(LONGER) == 4
    assert len(set(LONGER.values())) == 3


def test_a_log_without_a_result_is_refused() -> None:
    """The message names the key that is missing."""
    with pytest.raises(DataError, match="effective_scenario") as caught:
        from_detail({})
    assert "performance run" in caught.value.cure
