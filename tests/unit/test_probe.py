"""Service models and the rate that follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plugins, probe
from harness.batching import Policy
from harness.core import MS_NS, Samples, Settings
from harness.errors import BackendError


def samples(count: int = 200, length: int = 64) -> Samples:
    return Samples(
        np.ones(count * length, np.int32), np.zeros(count * length, np.int8), np.arange(count + 1, dtype=np.int64) * length, 0, 384
    )


@given(base=st.floats(1e5, 1e8), per_token=st.floats(10, 1e6), per_square=st.floats(0.1, 1e3))
def test_fit_finds_the_service_times_it_was_given(base: float, per_token: float, per_square: float) -> None:
    """Times that follow the model are modelled to 0.1 %."""
    rows = np.array([1, 1, 1, 2, 4, 8, 16, 32, 8, 1])
    lengths = np.array([64, 128, 384, 128, 64, 256, 128, 64, 128, 256])
    tokens = rows * lengths
    times = base + per_token * tokens + per_square * tokens * lengths
    model = probe.fit(rows, lengths, times[None, :])
    modelled = [model.time_ns(int(r), int(n)) for r, n in zip(rows, lengths, strict=True)]
    assert modelled == pytest.approx(times.tolist(), rel=1e-3)


def test_fit_never_gives_a_negative_term() -> None:
    """Times that fall with length (noise) still give a model that grows."""
    model = probe.fit(np.array([1, 1, 1, 1]), np.array([64, 128, 256, 384]), np.array([[9e6, 8e6, 7e6, 6e6]]))
    assert min(model.base, model.per_token, model.per_square) >= 0
    assert model.time_ns(1, 384) >= model.time_ns(1, 64) > 0


def test_fit_of_nothing_is_an_error() -> None:
    """A probe that timed no batch gives no model."""
    with pytest.raises(BackendError, match="measured nothing"):
        probe.fit(np.zeros(0, int), np.zeros(0, int), np.zeros((1, 0)))


@pytest.mark.parametrize("workers", [1, 4])
def test_highest_rate_of_a_fixed_service_time_grows_with_the_workers(workers: int) -> None:
    """10 ms a call, one row a call, bound 100 ms, of which 90 are used: p99 of the wait in M/D/1 is eight service times at a load of about
    0.74; four workers that share one queue may be loaded higher."""
    model = probe.ServiceModel(10.0 * MS_NS, 0.0, 0.0, (1.0,), 1)
    settings = Settings(latency_bound_ns=100 * MS_NS, percentile=0.99)
    scenario = plugins.load("scenarios", "server").create()
    rate = probe.highest_rate(scenario, settings, model, samples(), Policy("fifo", 1), workers, seed=0)
    assert rate is not None
    assert (68 if workers == 1 else 85) * workers < rate < (79 if workers == 1 else 97) * workers


def test_no_rate_meets_a_bound_below_the_service_time() -> None:
    """A single call of 10 ms never meets a bound of 5 ms."""
    model = probe.ServiceModel(10.0 * MS_NS, 0.0, 0.0, (1.0,), 1)
    scenario = plugins.load("scenarios", "server").create()
    settings = Settings(latency_bound_ns=5 * MS_NS)
    assert probe.highest_rate(scenario, settings, model, samples(), Policy("fifo", 1), 1, seed=0) is None


def test_offline_rate_is_that_of_full_batches() -> None:
    """32 rows in 16 ms are 2,000 samples a second."""
    model = probe.ServiceModel(16.0 * MS_NS, 0.0, 0.0, (1.0,), 1)
    scenario = plugins.load("scenarios", "offline").create()
    rate = probe.offline_rate(scenario, Settings(min_queries=64), model, samples(320), Policy("sorted", 32), 1)
    assert rate == pytest.approx(2000, rel=0.01)


def test_probe_batches_are_of_real_samples_and_start_small() -> None:
    """Every batch holds sample indices, sizes never exceed the limit, and the first ones are single samples."""
    batches = probe.probe_batches(samples(20), Policy("sorted", 12), seed=0)
    assert {len(batch) for batch in batches} == {1, 2, 4, 8, 12}
    assert all(len(batch) == 1 for batch in batches[:28])
    assert all(0 <= batch.min() <= batch.max() < 20 for batch in batches)


def test_probe_batches_keep_to_the_limit_of_tokens() -> None:
    """Samples of 64 tokens, 256 a call: no batch of more than 4, and none of a size that was timed already."""
    batches = probe.probe_batches(samples(20), Policy("sorted", 12, max_tokens=256), seed=0)
    assert [len(batch) for batch in batches] == [1] * 28 + [2] * 4 + [4] * 4


def test_expected_rates_are_those_of_the_calls_that_the_run_will_make() -> None:
    """A call costs 10 ms and 10 us a token: with 256 tokens a call it holds 4 rows of 64, so 4 samples take 12.56 ms; without a limit 32
    take 30.48."""
    scenario = plugins.load("scenarios", "offline").create()
    model = probe.ServiceModel(10 * MS_NS, 10_000.0, 0.0, (1.0,), probes=1)
    for policy, expected in ((Policy("sorted", 32, max_tokens=256), 4 / 0.01256), (Policy("sorted", 32), 32 / 0.03048)):
        assert probe.offline_rate(scenario, Settings(min_queries=64), model, samples(320), policy, 1) == pytest.approx(expected)


def test_a_disturbed_probe_still_finds_the_usual_times() -> None:
    """One call in twenty-five takes ten times as long: the model is that of the others, and the noise holds no such call."""
    rows = np.tile([1, 1, 2, 4, 8], 20)
    lengths = np.tile([64, 384, 128, 128, 128], 20)
    times = 1e6 + 50_000.0 * rows * lengths
    times[::25] *= 10
    model = probe.fit(rows, lengths, times[None, :])
    assert model.time_ns(1, 128) == pytest.approx(1e6 + 50_000 * 128, rel=0.02)
    assert max(model.noise) < 1.1
