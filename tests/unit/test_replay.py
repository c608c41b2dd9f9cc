"""The rate that would have met the bound, found by serving a run's own arrivals again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.batching import Policy
from harness.core import MS_NS, Columns, Int64, Status, Traffic
from harness.replay import MOST_ROWS, Service, measured, share_of_rate, tail_ns
from harness.stats import percentile
from harness.testing import poisson_traffic, simulate

ServiceTime = Callable[[np.ndarray], int]


def by_hand(traffic: Traffic, policy: Policy, service: ServiceTime, workers: int, bound_ns: int, share: float) -> float:
    """The largest share of the rate at which the ledger itself, with the true service times, meets the bound."""
    assert traffic.due_ns is not None
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        slower = replace(traffic, due_ns=(traffic.due_ns / middle).astype(np.int64))
        met = percentile(simulate(slower, policy, service, workers=workers).latency_ns, share) <= bound_ns
        low, high = (middle, high) if met else (low, middle)
    return low


def first_rows(traffic: Traffic) -> Traffic:
    assert traffic.due_ns is not None
    return replace(traffic, query=traffic.query[:MOST_ROWS], sample=traffic.sample[:MOST_ROWS], due_ns=traffic.due_ns[:MOST_ROWS])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("rate", "bound_ms", "workers"), [(2000, 5, 1), (1100, 5, 1), (1500, 20, 1), (3000, 5, 2)])
def test_the_rate_of_a_queue_of_lone_queries_is_found(rate: int, bound_ms: int, workers: int, seed: int) -> None:
    """Poisson arrivals, 1 ms each (M/D/1, M/D/2), asked for more than they can serve: within 1 % of what trying out gives."""
    traffic, policy = poisson_traffic(rate, 6000, seed), Policy("fifo", 1)
    run = simulate(traffic, policy, lambda _: MS_NS, workers=workers)
    share = share_of_rate(run, bound_ms * MS_NS, 0.99)
    assert share == pytest.approx(by_hand(first_rows(traffic), policy, lambda _: MS_NS, workers, bound_ms * MS_NS, 0.99), rel=0.01)
    assert share is not None
    assert 0.2 < share < workers * 1000 / rate


@pytest.mark.parametrize(("rate", "most", "workers"), [(20_000, 32, 1), (8000, 32, 1), (8000, 16, 2), (12_000, 8, 1)])
def test_the_rate_of_a_queue_of_batches_is_found(rate: int, most: int, workers: int) -> None:
    """A call takes 1 ms and 0.1 ms for each of its rows; batches form again at the lower rate: within 2 % of what trying out gives."""

    def service(samples: np.ndarray) -> int:
        return MS_NS + 100_000 * len(samples)

    traffic, policy = poisson_traffic(rate, 8000, 3), Policy("fifo", most)
    run = simulate(traffic, policy, service, workers=workers)
    share = share_of_rate(run, 10 * MS_NS, 0.99)
    assert share == pytest.approx(by_hand(first_rows(traffic), policy, service, workers, 10 * MS_NS, 0.99), rel=0.02)


def test_random_service_times_keep_their_spread() -> None:
    """Exponential times of 1 ms (M/M/1): the share is within 5 % of what other times of the same distribution give."""
    traffic, policy = poisson_traffic(900, MOST_ROWS, 5), Policy("fifo", 1)

    def service(seed: int) -> ServiceTime:
        times = iter(np.random.default_rng(seed).exponential(MS_NS, 60_000).astype(int).tolist())
        return lambda _: next(times)

    share = share_of_rate(simulate(traffic, policy, service(1)), 20 * MS_NS, 0.9)
    tried = [by_hand(traffic, policy, service(seed), 1, 20 * MS_NS, 0.9) for seed in (2, 3, 4)]
    assert share == pytest.approx(np.mean(tried), rel=0.05)


@given(
    gaps=st.lists(st.integers(0, 3 * MS_NS), min_size=1, max_size=60),
    base=st.integers(1, 2 * MS_NS),
    row=st.integers(0, MS_NS),
    most=st.integers(1, 9),
    workers=st.integers(1, 4),
    share=st.sampled_from([0.5, 0.9, 0.99]),
)
@settings(max_examples=60)
def test_known_service_times_give_the_ledgers_own_tail(gaps: list[int], base: int, row: int, most: int, workers: int, share: float) -> None:
    """The second queue is the ledger's: same rows together, same percentile to the nanosecond."""
    due: Int64 = np.cumsum(gaps).astype(np.int64)
    service = Service(base, row, np.ones(1), workers, most)
    traffic = replace(poisson_traffic(1, len(due), 0), due_ns=due)
    columns = simulate(traffic, Policy("fifo", most), lambda samples: base + row * len(samples), workers=workers)
    assert tail_ns(due, service, share) == percentile(columns.latency_ns, share)


def test_service_times_are_the_line_through_the_batches() -> None:
    """2 ms and 0.5 ms a row, largest batch and workers as they were; each batch keeps its share of the line."""
    run = simulate(poisson_traffic(6000, 2000, 1), Policy("fifo", 8), lambda rows: 2 * MS_NS + 500_000 * len(rows), workers=2)
    service = measured(run)
    assert service is not None
    assert service.base_ns == pytest.approx(2 * MS_NS)
    assert service.row_ns == pytest.approx(500_000)
    assert (service.workers, service.most) == (2, 8)
    assert service.shares == pytest.approx(np.ones(len(service.shares)))
    assert len(service.shares) == len(np.unique(run.batch))


def test_batches_of_one_size_have_no_slope() -> None:
    """One size tells nothing of others: all of the time is the call's."""
    service = measured(simulate(poisson_traffic(3000, 500, 1), Policy("fifo", 1), lambda _: MS_NS))
    assert service is not None
    assert (service.base_ns, service.row_ns, service.most) == (MS_NS, 0.0, 1)


def with_status(columns: Columns, status: Status) -> Columns:
    return replace(columns, status=np.full(len(columns.status), status, np.int8))


def test_where_nothing_was_served_there_is_no_rate() -> None:
    """Errors have no service time."""
    columns = with_status(simulate(poisson_traffic(100, 50, 1), Policy("fifo", 1), lambda _: MS_NS), Status.ERROR)
    assert measured(columns) is None
    assert share_of_rate(columns, 10**12, 0.99) is None


def test_where_a_lone_query_is_over_the_bound_no_rate_will_do() -> None:
    """1 ms of service meets a bound of 1 ms at a low rate, and one of 0.999 ms at none."""
    columns = simulate(poisson_traffic(2000, 1000, 1), Policy("fifo", 1), lambda _: MS_NS)
    assert share_of_rate(columns, 999_000, 0.99) is None
    share = share_of_rate(columns, MS_NS, 0.99)
    assert share is not None
    assert 0 < share < 0.02


def test_errors_among_the_answers_do_not_hide_the_rate() -> None:
    """Every tenth call failed: the others tell the service time, and all arrivals are served again."""
    columns = simulate(poisson_traffic(2000, 1000, 1), Policy("fifo", 1), lambda _: MS_NS)
    status = columns.status.copy()
    status[::10] = Status.ERROR
    assert share_of_rate(replace(columns, status=status), 5 * MS_NS, 0.99) == share_of_rate(columns, 5 * MS_NS, 0.99)
