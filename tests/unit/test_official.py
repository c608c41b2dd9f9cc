"""The ledger that the official LoadGen fills, with a LoadGen of two lists in its place; and what is said where the two disagree."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.batching import Policy
from harness.clock import MonotonicClock
from harness.core import Columns, Limits, Output, Settings, Status, Traffic
from harness.errors import MissingError
from harness.ledger import Rows
from harness.loadgen import Requested, as_names, from_names
from harness.official.disagreement import close, disagreements
from harness.official.ledger import ROOM, OfficialLedger
from harness.official.player import as_test_settings, official_version, recipe_for
from harness.testing import FakeClock
from scenarios import server, single_stream


class Told:
    """LoadGen's side: what it was told, in order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.data: list[bytes] = []

    def __call__(self, ids: list[int], data: Any) -> None:
        self.ids += ids
        self.data += [b"" if data is None else data(place) for place in range(len(ids))]


def planned(samples: Sequence[int], width: int = 1, due: Sequence[int] | None = None) -> Traffic:
    rows = len(samples)
    times = None if due is None else np.array(due, np.int64)
    return Traffic(np.arange(rows) // width, np.array(samples, np.int32), times, Limits(0, 1))


def ledger(traffic: Traffic, policy: Policy, queries: Any = "single", **options: Any) -> tuple[OfficialLedger, Told, FakeClock]:
    told, clock = Told(), FakeClock(1000)
    return OfficialLedger(traffic, policy, clock, queries, answered=told, **options), told, clock


def taken(made: OfficialLedger, rows: Rows | None) -> list[int]:
    """The rows of a batch, one by one."""
    assert rows is not None
    return np.arange(made.rows)[rows].tolist()


def test_only_issued_rows_are_handed_out() -> None:
    """Rows that are laid out but not issued yet are not seen; issued ones come in order, a batch at a time."""
    made, _, _ = ledger(planned([4, 3, 2, 1, 0]), Policy("fifo", 2))
    made.issue([11, 12, 13], [4, 3, 2])
    assert taken(made, made.take()) == [0, 1]
    assert taken(made, made.take()) == [2]
    made.finish()
    assert made.take() is None
    assert made.columns(0).sample.tolist() == [4, 3, 2]


def test_sorted_chooses_waiting_rows_of_similar_length() -> None:
    """In Server the oldest row decides, and the issued rows closest to it in length join it."""
    lengths = np.array([10, 50, 11, 52, 12])
    made, _, _ = ledger(planned(range(5), due=range(5)), Policy("sorted", 2), "scheduled", lengths=lengths)
    made.issue([1, 2, 3, 4], [0, 1, 2, 3])
    assert taken(made, made.take()) == [0, 2]
    assert taken(made, made.take()) == [1, 3]
    made.issue([5], [4])
    assert taken(made, made.take()) == [4]


def test_sorted_serves_a_large_query_longest_first() -> None:
    """In MultiStream and Offline the rows of one query are served by length, as in a native run; queries stay in order."""
    lengths = np.array([10, 50, 30, 20])
    made, _, _ = ledger(planned([0, 1, 2, 3, 3, 2, 1, 0], 4), Policy("sorted", 2), "block", lengths=lengths)
    made.issue([1, 2, 3, 4], [0, 1, 2, 3])
    assert [made.table.sample[made.take()].tolist() for _ in range(2)] == [[1, 2], [3, 0]]
    made.issue([5, 6, 7, 8], [3, 2, 1, 0])
    assert [made.table.sample[made.take()].tolist() for _ in range(2)] == [[1, 2], [3, 0]]
    assert made.columns(0).query.tolist() == [0] * 4 + [1] * 4


def test_a_query_of_another_size_is_served_in_order() -> None:
    """Where LoadGen's queries are not the planned ones, no row is handed out that it has not issued."""
    lengths = np.array([10, 50, 30, 60])
    made, _, _ = ledger(planned([0, 1, 2, 3], 4), Policy("sorted", 2), "block", lengths=lengths)
    made.issue([1, 2, 3], [0, 1, 2])
    assert [taken(made, made.take()) for _ in range(2)] == [[0, 1], [2]]
    made.issue([4], [3])
    assert taken(made, made.take()) == [3]
    assert made.columns(0).query.tolist() == [0, 0, 0, 1]


def test_loadgen_is_told_once_with_the_bytes_of_each_answer() -> None:
    """What is completed is stamped and told at once; bytes are those of the answer to the row's own sample, cut to its length."""
    outputs = (Output("start", per_token=True), Output("logits", width=1))
    recipe = recipe_for(outputs, np.array([1, 2, 3]))
    made, told, clock = ledger(planned([2, 0]), Policy("fifo", 2), recipe=recipe)
    made.issue([71, 72], [2, 0])
    rows = made.take()
    assert rows is not None
    clock.advance(50)
    made.complete(rows, {"start": np.array([[1.0, 2, 3], [4, 5, 6]]), "logits": np.array([[7.0], [8]])})
    made.complete(rows)
    assert told.ids == [71, 72]
    assert told.data == [np.array([1, 2, 3, 7], "<f4").tobytes(), np.array([4, 8], "<f4").tobytes()]
    assert made.columns(60).done_ns.tolist() == [50, 50]


def test_an_answer_without_bytes_is_a_trouble() -> None:
    """An output that is missing gives empty bytes and a note; an exception would have ended the process."""
    made, told, _ = ledger(planned([0]), Policy(), recipe=recipe_for((Output("logits"),), np.array([1])))
    made.issue([5], [0])
    rows = made.take()
    assert rows is not None
    made.complete(rows, {})
    assert told.data == [b""]
    assert made.troubles == ["no bytes for the accuracy log: BackendError: an answer holds no logits"]


def test_stop_completes_everything_without_an_answer() -> None:
    """A stopped LoadGen is told of all it asked and of all it asks; the rows stay unanswered, and late answers are told to nobody."""
    made, told, _ = ledger(planned([0, 1, 2]), Policy("fifo", 1))
    made.issue([1, 2], [0, 1])
    rows = made.take()
    assert rows is not None
    made.stop()
    assert (told.ids, made.untold) == ([1, 2], 2)
    assert made.columns(1).status.tolist() == [Status.LOST, Status.PENDING]
    made.issue([3], [2])
    made.complete(rows)
    made.stop()
    assert (told.ids, made.untold) == ([1, 2, 3], 3)
    assert made.columns(1).status.tolist() == [Status.DONE, Status.PENDING]
    assert made.take() is None


def test_the_callback_never_raises() -> None:
    """What goes wrong in it stops the run, tells LoadGen of every sample, and is noted."""
    made, told, _ = ledger(planned([0, 1]), Policy("fifo", 1))
    made.issue([1], [0])
    made.issue([2], ["x"])  # type: ignore[list-item]
    assert made.stopped
    assert told.ids == [1, 2]
    assert "the issue callback failed: ValueError" in made.troubles[0]


def test_server_rows_are_due_by_plan() -> None:
    """Due times are the schedule's from the first callback on, never later than the callback; a loaded set begins it afresh."""
    made, _, clock = ledger(planned(range(4), due=[0, 100, 250, 300]), Policy("fifo", 1), "scheduled")
    made.load()
    made.issue([1], [0])
    clock.advance(260)
    made.issue([2, 3], [1, 2])
    assert made.columns(0).due_ns.tolist() == [0, 100, 250]
    clock.advance(1000)
    made.load()
    made.issue([4], [3])
    assert made.columns(0).due_ns.tolist() == [0, 100, 250, 1260]


def test_more_rows_than_planned() -> None:
    """The plan goes on by its own sequence; where it has an end, rows beyond it are still LoadGen's."""
    more = replace(planned([7, 8]), more=lambda count: planned([9] * count))
    made, _, _ = ledger(more, Policy("fifo", 8))
    made.issue([1, 2, 3], [7, 8, 9])
    assert made.planned().sample[:4].tolist() == [7, 8, 9, 9]
    last, _, _ = ledger(planned([7]), Policy("fifo", 8))
    last.issue([1, 2], [7, 5])
    assert taken(last, last.take()) == [0, 1]
    assert last.columns(0).sample.tolist() == [7, 5]
    assert last.planned().sample.tolist() == [7]
    assert last.rows == 1 + ROOM


def test_a_row_waits_for_company_no_longer_than_it_may() -> None:
    """With `--batch-wait` a row alone waits its time; a full batch goes at once."""
    made = OfficialLedger(planned(range(4)), Policy("fifo", 2, 60_000_000), MonotonicClock(), "scheduled", answered=Told())
    made.issue([1], [0])
    begun = time.monotonic()
    assert taken(made, made.take()) == [0]
    assert time.monotonic() - begun >= 0.055
    threading.Timer(0.01, made.issue, [[3], [2]]).start()
    made.issue([2], [1])
    begun = time.monotonic()
    assert taken(made, made.take()) == [1, 2]
    assert time.monotonic() - begun < 0.055


def test_loadgen_waits_for_all_workers() -> None:
    """StartTest begins when the last worker is here, and never where the run was stopped before."""
    made, _, _ = ledger(planned([0]), Policy(), workers=2)
    made.join()
    threading.Timer(0.02, made.join).start()
    assert made.wait_for_workers()
    stopped, _, _ = ledger(planned([0]), Policy(), workers=1)
    stopped.stop()
    assert not stopped.wait_for_workers()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says how to get it."""
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(MissingError, match="--engine mlcommons needs the official LoadGen") as error:
        as_test_settings(Requested())
    assert error.value.cure == "pip install mlcommons-loadgen"


@pytest.mark.official
@pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed")
def test_all_settings_reach_loadgen() -> None:
    """Every value that differs from its default arrives under its name, 64-bit seeds and enumerations too."""
    defaults = as_names(Requested())
    changed = {name: not value if isinstance(value, bool) else value + 1 for name, value in defaults.items() if not isinstance(value, str)}
    changed |= {"scenario": "Offline", "mode": "AccuracyOnly", "qsl_rng_seed": 2**64 - 1, "server_target_latency_ns": 2**63 - 1}
    settings = as_test_settings(from_names(changed))
    got = {name: getattr(settings, name) for name in defaults}
    assert (got.pop("scenario").name, got.pop("mode").name) == ("Offline", "AccuracyOnly")
    assert got == {name: value for name, value in changed.items() if name in got}
    assert official_version()[0].isdigit()


# --------------------------------------------------------------------------------------------------------------------- disagreements

MS = 1_000_000


def served(rows: int, latency_ns: int, gap_ns: int = MS) -> Columns:
    due = np.arange(rows, dtype=np.int64) * gap_ns
    index = np.arange(rows)
    status = np.full(rows, Status.DONE, np.int8)
    sample, worker = (index % 7).astype(np.int32), np.zeros(rows, np.int16)
    return Columns(index, sample, due, due, due + latency_ns, index.astype(np.int32), worker, status, int(due[-1]) + latency_ns)


def detail(scenario: str, rows: int, latency_ns: int, **changed: Any) -> dict[str, Any]:
    """A detail log of a run in which every latency is the same."""
    names = ("min", "max", "mean")
    last_s = ((rows - 1) * MS + latency_ns) / 1e9
    shares = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
    return {
        "effective_scenario": scenario,
        "effective_target_latency_percentile": 0.9 if scenario == "SingleStream" else 0.99,
        "result_validity": "VALID",
        "result_perf_constraints_met": True,
        "result_min_duration_met": True,
        "result_min_queries_met": True,
        "early_stopping_met": True,
        "early_stopping_result": "",
        "early_stopping_latency_ss": latency_ns,
        "early_stopping_latency_ms": latency_ns,
        "result_query_count": rows,
        "result_overlatency_query_count": 0,
        "result_scheduled_samples_per_sec": 1000.0,
        "result_completed_samples_per_sec": (rows - 1) / last_s,
        "result_qps_with_loadgen_overhead": 1.0,
        "result_qps_without_loadgen_overhead": 1.0,
        **{f"result_{name}_latency_ns": latency_ns for name in names},
        **{f"result_{share}_percentile_latency_ns": latency_ns for share in shares},
    } | changed


def compare(columns: Columns, theirs: dict[str, Any], **settings: Any) -> list[str]:
    made = Settings(min_duration_ns=0, min_queries=100, latency_bound_ns=20 * MS, percentile=0.99)
    traffic = planned((np.arange(len(columns.query)) % 7).tolist())
    return disagreements(columns, replace(made, **settings), server.create(), theirs, traffic)


def test_equal_runs_agree_within_the_stamps() -> None:
    """200 µs are stamps; more are a disagreement, named with both figures."""
    columns = served(1000, 5 * MS)
    assert compare(columns, detail("Server", 1000, 5 * MS + 200_000)) == []
    assert compare(columns, detail("Server", 1000, 5 * MS + 200_001)) == [
        f"p{share} latency: ours 5.00 ms, LoadGen's 5.20 ms" for share in (50, 90, 99)
    ]
    assert close(100 * MS, 102 * MS)
    assert not close(100 * MS, 103 * MS)


def test_a_borderline_condition_is_no_disagreement() -> None:
    """Where the figure is so close to the limit that the stamps may fall on either side, LoadGen's word stands."""
    theirs = detail("Server", 1000, 19_950_000)
    assert compare(served(1000, 20_050_000), theirs) == []
    worse = compare(served(1000, 20_450_000), theirs)
    assert "latency bound: not met by us, met by LoadGen" in worse
    assert "early stopping: not met by us, met by LoadGen" in worse
    assert "verdict: INVALID by us, VALID by LoadGen" in worse
    assert compare(served(1000, 5 * MS), detail("Server", 1000, 5 * MS), min_duration_ns=999 * MS + 150_000) == []
    assert "minimum duration: not met by us, met by LoadGen" in compare(
        served(1000, 5 * MS), detail("Server", 1000, 5 * MS), min_duration_ns=1000 * MS
    )


def test_counts_must_be_equal() -> None:
    """One query more, another sample, another metric: each is told."""
    columns, theirs = served(1000, 5 * MS), detail("Server", 1000, 5 * MS)
    assert compare(columns, theirs | {"result_query_count": 1001}) == ["queries: ours 1,000, LoadGen's 1,001"]
    assert compare(columns, theirs | {"result_validity": "INVALID", "result_min_queries_met": False}) == [
        "minimum queries: met by us, not met by LoadGen",
        "verdict: VALID by us, INVALID by LoadGen",
    ]
    slower = theirs["result_completed_samples_per_sec"] * 0.97
    assert compare(columns, theirs | {"result_completed_samples_per_sec": slower}) == [
        f"completed_samples_per_second: ours 995 samples/s, LoadGen's {slower:.0f} samples/s"
    ]
    columns.sample[5] = 6
    assert compare(columns, theirs) == ["LoadGen asked other samples than our traffic: 1 of 1,000, the first at row 5 (6 instead of 5)"]


def test_errors_and_short_traffic_are_told() -> None:
    """LoadGen knows of no errors; and what it asked beyond our traffic is counted."""
    columns = served(1000, 5 * MS)
    columns.status[999] = Status.ERROR
    sentences = compare(columns, detail("Server", 1000, 5 * MS))
    assert sentences[0] == "1 sample failed or went unanswered; LoadGen knows of no errors and counts them as answers"
    columns = served(1000, 5 * MS)
    short = planned((np.arange(900) % 7).tolist())
    settings = Settings(min_duration_ns=0, latency_bound_ns=20 * MS)
    found = disagreements(columns, settings, server.create(), detail("Server", 1000, 5 * MS), short)
    assert found == ["LoadGen asked 1,000 samples, our traffic ends after 900"]
    assert disagreements(columns, settings, server.create(), {}, short) == found


def test_the_metric_of_a_stream_is_early_stoppings_estimate() -> None:
    """SingleStream compares LoadGen's estimate with ours, not the plain percentile."""
    columns = served(1000, 5 * MS, 6 * MS)
    settings = Settings(min_duration_ns=0, min_queries=100, percentile=0.9)
    traffic = planned((np.arange(1000) % 7).tolist())
    theirs = detail("SingleStream", 1000, 5 * MS)
    assert disagreements(columns, settings, single_stream.create(), theirs, traffic) == []
    theirs["early_stopping_latency_ss"] = 6 * MS
    assert disagreements(columns, settings, single_stream.create(), theirs, traffic) == ["p90_latency: ours 5.00 ms, LoadGen's 6.00 ms"]
