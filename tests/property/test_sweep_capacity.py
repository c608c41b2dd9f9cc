"""A sweep's pure parts on simulated servers whose capacity is known: rates, fit, capacity and its interval."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.batching import Policy
from harness.core import Int64
from harness.stats import percentile
from harness.sweeping import capacity, isotonic, rates
from harness.sweeping.capacity import Level
from harness.sweeping.rates import Seen
from harness.testing import poisson_traffic, simulate

library = pytest.importorskip("sklearn.isotonic")

SERVICE_NS, BOUND_NS, ALLOWED = 1_000_000, 10_000_000, 0.01
SECONDS = 5

shares = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def drive(search: rates.Search, see: Callable[[float], tuple[int, int]]) -> list[Seen]:
    """Everything that a search wants to see."""
    seen: list[Seen] = []
    rate = next(search)
    while True:
        seen.append(Seen(rate, *see(rate)))
        try:
            rate = search.send(seen[-1])
        except StopIteration:
            return seen


@given(values=shares, data=st.data())
def test_the_fit_is_that_of_a_library(values: list[float], data: st.DataObject) -> None:
    """Pooled adjacent violators as scikit-learn has them, for any weights."""
    weights = data.draw(st.lists(st.floats(0.1, 100), min_size=len(values), max_size=len(values)))
    expected = library.isotonic_regression(values, sample_weight=weights)
    assert isotonic.fit(values, weights) == pytest.approx(expected.tolist(), abs=1e-9)


@given(values=shares)
def test_the_fit_never_falls_and_keeps_the_mean(values: list[float]) -> None:
    """It is ascending, as long as the values, and of the same weighted mean; what ascends already is left alone."""
    fitted = isotonic.fit(values, [1.0] * len(values))
    assert fitted == sorted(fitted)
    assert math.fsum(fitted) == pytest.approx(math.fsum(values), abs=1e-9)
    assert isotonic.fit(sorted(values), [1.0] * len(values)) == sorted(values)


@given(latencies=st.lists(st.integers(0, 20), min_size=1, max_size=300), share=st.sampled_from([0.5, 0.9, 0.99]))
def test_a_share_over_the_bound_meets_as_loadgen_judges(latencies: list[int], share: float) -> None:
    """Fewer than n (1 - p) over the bound and LoadGen's percentile within it are the same thing."""
    over = sum(latency > 10 for latency in latencies)
    allowed = round(1 - share, 2)
    assert (over < round(allowed * len(latencies), 6)) == (percentile(np.array(latencies, np.int64), share) <= 10)


@given(knee=st.floats(0.02, 3.0), offline=st.floats(0.5, 1e5), most=st.integers(6, 30))
@settings(max_examples=200)
def test_the_search_closes_in_on_any_knee(knee: float, offline: float, most: int) -> None:
    """On a system that is perfect below its capacity and hopeless above, measured rates are distinct, no more than allowed, and with
    enough of them the capacity is between two that are 3 % apart or less (three digits apart where that is more)."""
    truth = knee * offline
    seen = drive(rates.search(offline, ALLOWED, most), lambda rate: (1000, 0 if rate <= truth else 400))
    measured = [each.rate for each in seen]
    assert len(set(measured)) == len(measured) <= most
    met, missed = rates.bracket(seen, ALLOWED)
    if most == 30:
        assert met is not None
        assert missed is not None
        assert met <= truth <= missed <= max(met * 1.031, met + 10 ** (math.floor(math.log10(met)) - 2) * 1.01)


def test_the_search_stops_where_lone_queries_miss() -> None:
    """With half of the queries over the bound at a tenth of the offline rate nothing lower is tried."""
    seen = drive(rates.search(100.0, ALLOWED, 30), lambda _: (100, 80))
    assert [each.rate for each in seen] == [20.0, 40.0, 60.0, 80.0, 90.0, 100.0, 10.0]


def visit(rate: float, seed: int) -> Int64:
    """Blocks of a visit to a server with a service time of 1 ms and no batching (M/D/1)."""
    columns = simulate(poisson_traffic(rate, max(64, int(rate * SECONDS)), seed), Policy("fifo", 1), lambda _: SERVICE_NS)
    return capacity.over_by_block(columns.due_ns, columns.latency_ns, BOUND_NS)


def exact_share(load: float) -> float:
    """P[wait > bound - service] of M/D/1, by Crommelin's formula for waits of whole service times: P[W <= k] = (1 - load) sum over
    j = 0..k of (load (j - k))^j e^(-load (j - k)) / j!. (T. Crommelin, 1932.)"""
    k = BOUND_NS // SERVICE_NS - 1
    total = math.fsum((load * (j - k)) ** j * math.exp(-load * (j - k)) / math.factorial(j) for j in range(k + 1))
    return 1 - (1 - load) * total


def true_capacity() -> float:
    low, high = 0.1, 0.999
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if exact_share(middle) < ALLOWED else (low, middle)
    return low * 1e9 / SERVICE_NS


def swept(seed: int) -> list[Level]:
    """Two passes, as the program makes them."""
    blocks: dict[float, Int64] = {}

    def see(rate: float) -> tuple[int, int]:
        blocks[rate] = visit(rate, 1000 * seed + len(blocks))
        queries, over = blocks[rate].sum(axis=0).tolist()
        return queries, over

    drive(rates.search(1e9 / SERVICE_NS, ALLOWED), see)
    return [Level(rate, np.concatenate([blocks[rate], visit(rate, 1000 * seed + 500 + n)])) for n, rate in enumerate(sorted(blocks))]


def test_the_capacity_of_a_queue_is_that_of_theory() -> None:
    """M/D/1 with a bound of 10 service times: about 77 % load by Crommelin's formula. Of 12 sweeps at least 10 hold it in their interval,
    and the mean of their capacities is within 4 % of it."""
    truth = true_capacity()
    assert truth == pytest.approx(774, abs=5)
    found = [capacity.estimate(swept(seed), ALLOWED) for seed in range(12)]
    held = [each for each in found if each.low is not None and each.high is not None and each.low <= truth <= each.high]
    assert len(held) >= 10
    assert np.mean([each.rate for each in found if each.rate]) == pytest.approx(truth, rel=0.04)


@given(counts=st.lists(st.integers(0, 100), min_size=1, max_size=10), allowed=st.sampled_from([0.01, 0.1]))
@settings(deadline=None, max_examples=25)
def test_a_capacity_lies_between_what_met_and_what_missed(counts: list[int], allowed: float) -> None:
    """For any shares over the bound: met <= capacity <= missed, the interval holds both, and where no rate meets there is none."""
    levels = [Level(10.0 * (n + 1), np.array([[50, over // 2], [50, over - over // 2]], np.int64)) for n, over in enumerate(counts)]
    found = capacity.estimate(levels, allowed)
    if found.met is None:
        assert found.rate is None
        return
    assert found.rate is not None
    assert found.met <= found.rate <= (found.missed or levels[-1].rate)
    assert (found.low or 0) <= found.met
    assert (found.high or math.inf) >= (found.missed or 0)


def test_where_the_tail_doubles() -> None:
    """p99 of 10, 10, 20 and 40 ms at 1, 2, 3 and 4: twice the first is reached at 3; nowhere is None."""
    found = capacity.doubling([1.0, 2.0, 3.0, 4.0], [1e7, 1e7, 2e7, 4e7], [2] * 4)
    assert found is not None
    assert (round(found.rate, 9), found.after, found.before, round(found.base_ns)) == (3.0, 2.0, 3.0, 10_000_000)
    assert capacity.doubling([1.0, 2.0], [1e7, 1.5e7], [1, 1]) is None
    assert capacity.doubling([1.0], [1e7], [1]) is None


def test_stretches_of_a_visit() -> None:
    """Ten equal stretches of time by when queries were due; empty ones are left out."""
    due = np.array([0, 1, 50, 99], np.int64)
    assert capacity.over_by_block(due, np.array([5, 15, 15, 5], np.int64), 10).tolist() == [[2, 1], [1, 1], [1, 0]]
