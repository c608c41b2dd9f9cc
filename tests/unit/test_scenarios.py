"""The four scenarios: traffic, when they want more of it, and verdicts with reasons and cures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import MS_NS, SECOND_NS, Columns, Settings, Status, Traffic
from harness.early_stopping import required
from harness.errors import RunError, UsageError
from scenarios import multi_stream, offline, server, single_stream

SINGLE, MULTI, SERVER, OFFLINE = (module.create() for module in (single_stream, multi_stream, server, offline))
QUICK = Settings(min_duration_ns=SECOND_NS, min_queries=64)


def columns(due: Any, done: Any, **other: Any) -> Columns:
    """A ledger of answered queries; `other` replaces columns. A negative `done` is a lost row."""
    due, done = np.array(due, np.int64), np.array(done, np.int64)
    rows = len(due)
    values = {
        "query": np.arange(rows),
        "sample": np.zeros(rows, np.int32),
        "due_ns": due,
        "taken_ns": due,
        "done_ns": done,
        "batch": np.arange(rows, dtype=np.int32),
        "worker": np.zeros(rows, np.int16),
        "status": np.where(done >= 0, Status.DONE, Status.LOST).astype(np.int8),
        "end_ns": int(done.max(initial=0)),
    }
    return Columns(**(values | other))


def closed(latency: Any) -> Columns:
    """One query at a time, each due when the one before is complete."""
    done = np.cumsum(latency)
    return columns(done - latency, done)


def rows(traffic: Traffic) -> int:
    return len(traffic.sample)


# ---------------------------------------------------------------------------------------------------------------------- traffic


@pytest.mark.parametrize(
    ("scenario", "name", "percentile", "quick", "needs_rate", "is_closed"),
    [
        (SINGLE, "single-stream", 0.9, 64, False, True),
        (MULTI, "multi-stream", 0.99, 16, False, True),
        (SERVER, "server", 0.99, 64, True, False),
        (OFFLINE, "offline", 0.99, 64, True, False),
    ],
)
def test_what_a_scenario_says_of_itself(scenario: Any, name: str, percentile: float, quick: int, needs_rate: bool, is_closed: bool) -> None:
    """Names, LoadGen's percentiles, and whether the next query waits for the previous one."""
    assert (scenario.name, scenario.percentile, scenario.quick_queries) == (name, percentile, quick)
    assert (scenario.needs_rate, scenario.closed_loop) == (needs_rate, is_closed)


def test_columns_have_the_types_of_the_ledger() -> None:
    """int64 queries and due times, int32 samples, one length; the closed loop has no due times."""
    for scenario in (SINGLE, MULTI, SERVER, OFFLINE):
        for mode in ("performance", "accuracy"):
            traffic = scenario.traffic(replace(QUICK, target_qps=90.0, mode=mode), 40)  # type: ignore[arg-type]
            assert (traffic.query.dtype, traffic.sample.dtype) == (np.int64, np.int32)
            assert len(traffic.query) == len(traffic.sample)
            assert (traffic.due_ns is None) == scenario.closed_loop
            if traffic.due_ns is not None:
                assert traffic.due_ns.dtype == np.int64
                assert len(traffic.due_ns) == len(traffic.query)
                assert (np.diff(traffic.due_ns) >= 0).all()


def test_server_schedule_ends_with_the_first_query_that_meets_both_minima() -> None:
    """MLPerf's seeds, 1,000 queries/s: recorded first offsets; exactly one query at or beyond the duration."""
    traffic = SERVER.traffic(replace(QUICK, target_qps=1000.0), 10_833)
    assert traffic.due_ns is not None
    assert traffic.due_ns[:5].tolist() == [0, 1843654, 2301577, 3587439, 4300433]
    assert traffic.due_ns[-2] < SECOND_NS <= traffic.due_ns[-1]
    long = SERVER.traffic(replace(QUICK, target_qps=1000.0, min_queries=5000), 10_833)
    assert rows(long) == 5000


@given(first=st.integers(1, 900), further=st.lists(st.integers(1, 300), max_size=4))
def test_server_goes_on_as_if_the_schedule_had_been_longer(first: int, further: list[int]) -> None:
    """Numbers, samples and due times of `more` are those of one longer schedule."""
    settings = replace(QUICK, min_duration_ns=0, target_qps=500.0, min_queries=900, performance_sample_count=1000)
    base = replace(settings, min_queries=first)  # one shuffle of 1,000 either way, so the same samples
    begun = SERVER.traffic(base, 1000)
    assert begun.more is not None
    parts = [begun, *(begun.more(count) for count in further)]
    whole = SERVER.traffic(settings, 1000)
    assert whole.more is not None
    total = sum(map(rows, parts))
    rest = whole.more(max(1, total - rows(whole)))
    for column in ("query", "sample", "due_ns"):
        longer = np.concatenate([getattr(whole, column), getattr(rest, column)])
        assert np.concatenate([getattr(part, column) for part in parts]).tolist() == longer[:total].tolist()


def test_server_maxima_cut_the_schedule() -> None:
    """At most max_queries, and nothing after the first query later than max_duration, in the continuation as well."""
    settings = replace(QUICK, target_qps=1000.0)
    assert rows(SERVER.traffic(replace(settings, max_queries=300), 50)) == 300
    begun = SERVER.traffic(replace(settings, max_queries=1200), 50)
    assert begun.more is not None
    assert rows(begun) + rows(begun.more(500)) == 1200
    short = SERVER.traffic(replace(settings, max_duration_ns=SECOND_NS // 2), 50)
    assert short.due_ns is not None
    assert short.due_ns[-2] <= SECOND_NS // 2 < short.due_ns[-1]


def test_server_schedule_that_no_ledger_holds_is_refused() -> None:
    """A slip of the keyboard must not end in an allocation of terabytes."""
    with pytest.raises(UsageError, match="more than 2,147,483,647 rows"):
        SERVER.traffic(replace(QUICK, target_qps=1e9, min_duration_ns=600 * SECOND_NS), 50)
    with pytest.raises(UsageError, match="more than 2,147,483,647 rows"):
        OFFLINE.traffic(replace(QUICK, target_qps=1e9, min_duration_ns=600 * SECOND_NS), 50)
    with pytest.raises(UsageError, match="less than 1 ns"):
        SINGLE.traffic(replace(QUICK, target_qps=1e10), 50)


def test_server_accuracy_covers_every_set_once_with_ascending_due_times() -> None:
    """Three sets: every sample once, the schedule of a set after that of the one before."""
    traffic = SERVER.traffic(replace(QUICK, mode="accuracy", performance_sample_count=40, target_qps=50.0), 90)
    assert sorted(traffic.sample.tolist()) == list(range(90))
    assert traffic.due_ns is not None
    assert (np.diff(traffic.due_ns) > 0).all()
    assert traffic.more is None
    lag = traffic.due_ns[40] - traffic.due_ns[0]
    assert (traffic.due_ns[40:80] - lag).tolist() == traffic.due_ns[:40].tolist()


def test_closed_loop_begins_moderately_and_goes_on() -> None:
    """At least 1,024 queries to begin with, at most 65,536; the rest is the continuation, in whole queries."""
    few = SINGLE.traffic(QUICK, 30)
    many = SINGLE.traffic(replace(QUICK, target_qps=1e6), 30)
    assert (rows(few), rows(many)) == (1024, 65_536)
    blocks = MULTI.traffic(QUICK, 30)
    assert rows(blocks) == 1024 * 8
    assert blocks.more is not None
    further = blocks.more(12)
    assert further.query.tolist() == [1024] * 8 + [1025] * 8


def test_closed_loop_continuation_is_the_same_sequence() -> None:
    """1,024 queries and 500 more are the first 1,524 of a run that was planned longer."""
    planned = replace(QUICK, min_duration_ns=5 * SECOND_NS, target_qps=200.0)
    for scenario in (SINGLE, MULTI):
        long, short = scenario.traffic(planned, 2000), scenario.traffic(QUICK, 2000)
        assert short.more is not None
        width = rows(short) // 1024
        parts = np.concatenate([short.sample, short.more(500 * width).sample])
        assert parts.tolist() == long.sample[: len(parts)].tolist()


def test_unique_and_accuracy_orders_have_no_continuation() -> None:
    """They end with the set."""
    for scenario in (SINGLE, MULTI, SERVER, OFFLINE):
        assert scenario.traffic(replace(QUICK, issue="unique"), 30).more is None
        assert scenario.traffic(replace(QUICK, mode="accuracy"), 30).more is None


def test_offline_is_one_query_due_at_once() -> None:
    """1.1 times duration and rate; more of it repeats the loaded set in the same query."""
    traffic = OFFLINE.traffic(replace(QUICK, target_qps=100.0), 30)
    assert traffic.more is not None
    more = traffic.more(40)
    assert (rows(traffic), rows(more)) == (110, 40)
    assert {*traffic.query.tolist(), *more.query.tolist()} == {0}
    assert traffic.due_ns is not None
    assert not traffic.due_ns.any()
    both = np.concatenate([traffic.sample, more.sample])
    assert both.tolist() == np.resize(traffic.sample[:30], 150).tolist()


# ------------------------------------------------------------------------------------------------------------------- wants more


def test_closed_loop_wants_more_until_its_minima_are_met() -> None:
    """Both must be met; with early stopping required its floor counts as well; whole queries only."""
    run = closed([10 * MS_NS] * 110)  # the last query is asked at 1.09 s
    assert SINGLE.wants_more(run, QUICK) == 0
    assert SINGLE.wants_more(run, replace(QUICK, min_queries=111)) == 65_536
    assert SINGLE.wants_more(run, replace(QUICK, min_duration_ns=2 * SECOND_NS)) == 65_536
    assert SINGLE.wants_more(run, replace(QUICK, percentile=0.99, require_early_stopping=True)) == 65_536
    assert SINGLE.wants_more(run, replace(QUICK, min_queries=111, max_queries=110)) == 0
    assert SINGLE.wants_more(run, replace(QUICK, min_queries=111, issue="unique")) == 0
    assert MULTI.wants_more(run, QUICK) == 8 * 65_536  # 110 rows are 13 queries
    strict = SINGLE.traffic(replace(QUICK, percentile=0.99, require_early_stopping=True), 9)
    assert strict.limits.min_queries == 662


def test_offline_wants_what_the_rate_so_far_needs() -> None:
    """100 samples in 0.25 s: 330 more for the remaining 0.75 s, with 10 % to spare; nothing once an answer came, or is on its way, after
    the minimum duration. Answers that all came before it are not enough, however late it is asked."""
    run = columns([0] * 100, np.arange(1, 101) * 2_500_000)
    assert OFFLINE.wants_more(run, QUICK) == 330
    slow = columns([0] * 100, np.arange(1, 101) * 10_000_000)
    assert OFFLINE.wants_more(slow, QUICK) == 0
    early = columns([0] * 100, np.arange(1, 101) * 10_000_000 - 1)
    assert OFFLINE.wants_more(replace(early, end_ns=SECOND_NS + 5), QUICK) == 1
    on_its_way = columns([0, 0], np.array([10_000_000, -1]), end_ns=SECOND_NS)
    assert OFFLINE.wants_more(on_its_way, QUICK) == 0
    assert OFFLINE.wants_more(run, replace(QUICK, issue="unique")) == 0


STRICT = replace(QUICK, target_qps=100.0, latency_bound_ns=10 * MS_NS, require_early_stopping=True)


def served(queries: int, over: int, in_flight: int = 0) -> Columns:
    """100 queries/s of 1 ms, the first `over` of 20 ms, the last `in_flight` still on their way 1 ms after the last was due."""
    due = np.arange(queries) * 10 * MS_NS
    done = due + np.where(np.arange(queries) < over, 20, 1) * MS_NS
    done[queries - in_flight :] = -1
    return columns(due, done, end_ns=int(due[-1]) + MS_NS)


def test_server_wants_more_for_early_stopping_while_it_can_be_met() -> None:
    """What h(t) + t lacks; nothing where it is met, not required, out of reach, or where a maximum would come first."""
    assert SERVER.wants_more(served(450, 0), STRICT) == 9
    assert SERVER.wants_more(served(459, 0), STRICT) == 0
    assert SERVER.wants_more(served(450, 2), STRICT) == 838 - 450
    assert SERVER.wants_more(served(450, 2), replace(STRICT, require_early_stopping=False)) == 0
    assert SERVER.wants_more(served(450, 30), STRICT) == 0
    assert SERVER.wants_more(served(450, 2), replace(STRICT, max_queries=837)) == 0
    assert SERVER.wants_more(served(450, 2), replace(STRICT, max_queries=838)) == 388
    assert SERVER.wants_more(served(450, 2), replace(STRICT, max_duration_ns=9 * SECOND_NS)) == 388
    assert SERVER.wants_more(served(450, 2), replace(STRICT, max_duration_ns=8 * SECOND_NS)) == 0


def test_server_counts_rows_on_their_way_by_how_long_they_have_waited() -> None:
    """Due 1 ms ago: within the bound so far. Due 11 ms ago and not answered: over it."""
    assert SERVER.wants_more(served(450, 0, in_flight=1), STRICT) == 9
    assert SERVER.wants_more(served(450, 0, in_flight=3), STRICT) == 838 - 450


def test_server_does_not_grow_without_end() -> None:
    """Four times what was planned, or what the floor demands, is the most that early stopping may ask for."""
    planned = replace(STRICT, min_queries=500)
    assert required(10, 0.99) == 2_010
    assert SERVER.wants_more(served(1_300, 10), replace(planned, min_queries=503)) == 2_010 - 1_300
    assert SERVER.wants_more(served(1_300, 10), replace(planned, min_queries=502)) == 0


# -------------------------------------------------------------------------------------------------------------------- verdicts


def codes(verdict: Any) -> list[str]:
    return [reason.code for reason in verdict.reasons]


def test_single_stream_verdict() -> None:
    """Plain percentile by LoadGen's index under the quick rules, early stopping's estimate where it is required."""
    latency = (np.arange(200) + 1) * MS_NS
    verdict = SINGLE.judge(closed(latency), replace(QUICK, percentile=0.9))
    assert verdict.valid
    assert (verdict.metric.name, verdict.metric.value, verdict.metric.unit, verdict.metric.better) == (
        "p90_latency", 181e6, "ns", "lower",
    )  # fmt: skip
    assert verdict.early_stopping is not None
    assert verdict.early_stopping.estimate_ns == 191 * MS_NS
    strict = SINGLE.judge(closed(latency), replace(QUICK, percentile=0.9, require_early_stopping=True))
    assert strict.valid
    assert strict.metric.value == 191e6
    last_s = (latency.sum() - latency[-1]) / 1e9
    assert verdict.rates == {
        "qps_with_overhead": pytest.approx(199 / last_s),
        "qps_without_overhead": pytest.approx(1 / 0.1005),
    }


def test_closed_loop_reasons_name_the_numbers_and_the_cure() -> None:
    """Too short, too few, too few for early stopping."""
    verdict = SINGLE.judge(closed([10 * MS_NS] * 50), replace(QUICK, percentile=0.9, require_early_stopping=True))
    assert [(reason.code, reason.text, reason.cure) for reason in verdict.reasons] == [
        ("min_duration", "the last query was asked at 0.49 s, needs 1 s", "let the run go on for 1 s: it was cut short"),
        ("min_queries", "ran 50 queries, needs 64", "set --duration to at least 1 s"),
        ("early_stopping", "p90 needs 14 more queries to be certain", "set --min-queries to at least 64"),
    ]
    assert verdict.metric.value == 10e6
    unique = SINGLE.judge(closed([10 * MS_NS] * 70), replace(QUICK, issue="unique"))
    assert "--duration to at most 0.69" in unique.reasons[0].cure


def test_multi_stream_is_judged_by_queries() -> None:
    """Latency of a query is that of its last sample."""
    due = np.repeat([0, 100, 300], 4) * MS_NS
    done = due + np.array([1, 2, 90, 3, 5, 6, 7, 150, 20, 10, 30, 40]) * MS_NS
    run = columns(due, done, query=np.repeat(np.arange(3), 4))
    verdict = MULTI.judge(run, replace(QUICK, percentile=0.5, min_queries=3, min_duration_ns=0))
    assert verdict.valid
    assert (verdict.metric.name, verdict.metric.value) == ("p50_latency", 90e6)
    assert verdict.early_stopping is not None
    assert verdict.early_stopping.queries == 3


def test_an_unanswered_query_is_charged_until_the_end() -> None:
    """A lost row looks slow, never fast, and never raises a rate."""
    due, done = [0, 10, 20, 30], [5, -1, 25, 35]
    settings = replace(QUICK, min_duration_ns=0, min_queries=4, percentile=0.9, target_qps=1e8)
    assert SINGLE.judge(columns(due, done), settings).metric.value == 25
    assert OFFLINE.judge(columns([0] * 4, done), settings).metric.value == pytest.approx(3 / 35e-9)
    assert SERVER.judge(columns(due, done), settings).metric.value == pytest.approx(2 / 35e-9)
    assert SERVER.judge(columns(due, [5, 15, 25, -1], end_ns=100), settings).metric.value == pytest.approx(2 / 100e-9)


def test_rows_that_were_never_asked_do_not_count() -> None:
    """Planned rows of a closed loop, and rows due after the end of the run."""
    run = closed([10 * MS_NS] * 110)
    unasked = np.full(5, -1)
    planned = columns(
        np.append(run.due_ns, unasked),
        np.append(run.done_ns, unasked),
        status=np.append(run.status, np.zeros(5, np.int8)),
        end_ns=run.end_ns,
    )
    assert SINGLE.judge(planned, QUICK) == SINGLE.judge(run, QUICK)
    later = columns([0, 10, 99], [5, 15, -1], status=np.array([2, 2, 0], np.int8), end_ns=20)
    settings = replace(QUICK, min_duration_ns=0, min_queries=2)
    assert SERVER.judge(later, settings) == SERVER.judge(columns([0, 10], [5, 15], end_ns=20), settings)


def test_no_query_gives_no_verdict() -> None:
    """Nothing was measured: an error, not a number."""
    for scenario in (SINGLE, MULTI, SERVER, OFFLINE):
        with pytest.raises(RunError, match="nothing was measured"):
            scenario.judge(columns([], []), QUICK)


def test_server_verdict() -> None:
    """(n - 1) over the completion of the last scheduled query, and over its scheduled time."""
    settings = replace(STRICT, require_early_stopping=False)
    verdict = SERVER.judge(served(201, 0), settings)
    assert verdict.valid
    assert verdict.metric.name == "completed_samples_per_second"
    assert verdict.metric.value == pytest.approx(200 / 2.001)
    assert verdict.rates == {
        "completed_samples_per_second": verdict.metric.value,
        "scheduled_samples_per_second": pytest.approx(100),
        "target_samples_per_second": 100.0,
    }
    assert verdict.early_stopping is not None
    assert (verdict.early_stopping.met, verdict.early_stopping.needed) == (False, 459)
    assert codes(SERVER.judge(served(201, 0), STRICT)) == ["early_stopping"]


def test_server_over_its_bound() -> None:
    """The reason has percentile, bound and rate; where lone queries take too long, no lower rate is the cure."""
    settings = replace(STRICT, require_early_stopping=False)
    assert SERVER.judge(served(300, 2), settings).reasons == ()
    verdict = SERVER.judge(served(300, 3), settings)  # element 297 of 300
    assert codes(verdict) == ["latency_bound"]
    assert verdict.reasons[0].text == "p99 20.0 ms over the 10.0 ms bound at 100 queries/s"
    assert verdict.reasons[0].cure.startswith("no rate will do: p99 is over the bound even for lone queries")


def queue(rate: float, service_ns: int, queries: int, seed: int) -> Columns:
    """One worker, first come first served, constant service."""
    gaps = np.random.default_rng(seed).exponential(1e9 / rate, queries)
    due = np.cumsum(gaps).astype(np.int64)
    due -= due[0]
    free, taken = 0, []
    for at in due.tolist():
        free = max(at, free)
        taken.append(free)
        free += service_ns
    return columns(due, np.array(taken) + service_ns, taken_ns=np.array(taken))


@pytest.mark.parametrize("load", [0.93, 1.2, 3.0])
def test_the_rate_a_server_run_advises_meets_the_bound(load: float) -> None:
    """Simulated M/D/1 queues, heavily and hopelessly loaded: with the same seed the advised rate meets the bound, and so does the one
    that is called the last, to two digits; a rate 5 % above does not."""
    service, rate = 10 * MS_NS, load * 100
    settings = replace(QUICK, target_qps=rate, latency_bound_ns=60 * MS_NS)
    first = SERVER.judge(queue(rate, service, 3_000, 1), settings)
    assert codes(first) == ["latency_bound"]
    last, advised = (float(first.reasons[0].cure.replace(";", "").split()[place]) for place in (10, -1))
    for rate, meets in ((advised, True), (last, True), (1.05 * last, False)):
        again = SERVER.judge(queue(rate, service, 3_000, 1), replace(settings, target_qps=rate))
        assert again.valid is meets


def test_server_advice_where_no_rate_will_do() -> None:
    """A batch that takes longer than the bound is no matter of rate."""
    settings = replace(QUICK, target_qps=10.0, latency_bound_ns=5 * MS_NS, min_queries=30)
    verdict = SERVER.judge(queue(10.0, 8 * MS_NS, 50, 1), settings)
    assert verdict.reasons[0].cure.startswith("no rate will do: p99 is over the bound even for lone queries")


def test_server_early_stopping_cure() -> None:
    """A longer run where the share over the bound allows it, a lower rate where it does not."""
    longer = SERVER.judge(served(300, 1), STRICT)
    assert codes(longer) == ["early_stopping"]
    assert longer.reasons[0].text == "p99 needs 362 more queries, all within the bound, to be certain (1 of 300 queries over the bound)"
    assert longer.reasons[0].cure.startswith("set --duration to at least ")
    seconds = int(longer.reasons[0].cure.split()[-2])
    assert SERVER.judge(served(100 * seconds, -(-100 * seconds // 300)), STRICT).valid
    busy = replace(STRICT, target_qps=80.0, latency_bound_ns=70 * MS_NS, min_duration_ns=0)
    slower = SERVER.judge(queue(80.0, 10 * MS_NS, 1_000, 4), busy)
    assert slower.reasons[-1].code == "early_stopping"
    assert 40 <= float(slower.reasons[-1].cure.rsplit(" ", 1)[1]) < 80


def test_offline_verdict() -> None:
    """Answered samples over the longest latency; valid from the minimum duration and the minimum number of samples on."""
    done = np.arange(1, 201) * 6 * MS_NS
    verdict = OFFLINE.judge(columns([0] * 200, done), QUICK)
    assert verdict.valid
    assert (verdict.metric.name, verdict.metric.unit, verdict.metric.better) == ("samples_per_second", "samples/s", "higher")
    assert verdict.metric.value == pytest.approx(200 / 1.2)
    assert verdict.early_stopping is None
    short = OFFLINE.judge(columns([0] * 50, done[:50]), QUICK)
    assert [(reason.code, reason.text) for reason in short.reasons] == [
        ("min_duration", "the run took 0.3 s, needs 1 s"),
        ("min_queries", "ran 50 samples, needs 64"),
    ]
