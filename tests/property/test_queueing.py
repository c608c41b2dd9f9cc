"""Whole server runs in simulated time against queueing theory."""

from __future__ import annotations

import numpy as np
import pytest

from harness.batching import Policy
from harness.testing import poisson_traffic, simulate

SERVICE_NS = 1_000_000
QUERIES = 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.9])
@pytest.mark.parametrize("queue", ["M/D/1", "M/M/1"])
def test_mean_waiting_time_is_that_of_theory(queue: str, load: float) -> None:
    """Mean wait of M/M/1 is load/(1-load) service times, of M/D/1 half that (Pollaczek-Khinchine); within 1 % over 2 million queries."""
    services = iter(np.random.default_rng(1).exponential(SERVICE_NS, QUERIES).astype(np.int64).tolist())
    service = (lambda _: SERVICE_NS) if queue == "M/D/1" else (lambda _: next(services))
    columns = simulate(poisson_traffic(load * 1e9 / SERVICE_NS, QUERIES, seed=0), Policy("fifo", 1), service)
    theory = load / (1 - load) * SERVICE_NS / (2 if queue == "M/D/1" else 1)
    assert (columns.taken_ns - columns.due_ns).mean() == pytest.approx(theory, rel=0.01)


def test_offline_in_simulated_time_takes_the_sum_of_its_batches() -> None:
    """100,000 samples in batches of 32 at 5 ms each are 3,125 batches over two workers: 7.815 s, of which nothing is waited for."""
    samples = 100_000
    traffic = poisson_traffic(1.0, samples, seed=0)
    at_once = type(traffic)(np.zeros(samples, np.int64), traffic.sample, np.zeros(samples, np.int64), traffic.limits)
    columns = simulate(at_once, Policy("fifo", 32), lambda _: 5_000_000, workers=2)
    assert columns.end_ns == 1563 * 5_000_000
