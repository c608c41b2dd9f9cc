"""Whether a run was steady: textbook values, and no alarm about noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from harness import steady
from harness.batching import Policy, padded_lengths
from harness.core import Columns, Limits, Samples, Status, Traffic
from harness.testing import poisson_traffic, simulate
from harness.warmup import Warmed, expected, warm_up_batches, warmed


def columns(done_ns: np.ndarray, due_ns: np.ndarray | None = None) -> Columns:
    count = len(done_ns)
    due = np.zeros(count, np.int64) if due_ns is None else due_ns
    whole = np.arange(count)
    return Columns(
        query=whole.astype(np.int64),
        sample=whole.astype(np.int32),
        due_ns=due,
        taken_ns=due,
        done_ns=done_ns,
        batch=whole.astype(np.int32),
        worker=np.zeros(count, np.int16),
        status=np.full(count, Status.DONE, np.int8),
        end_ns=int(done_ns.max()),
    )


def served(times: np.ndarray) -> Columns:
    """A run whose samples took these times one after the other, ns."""
    return columns(np.cumsum(times).astype(np.int64))


def test_noise_is_steady() -> None:
    """Of 200 runs with nothing but noise at most 2 are called unstable, by rate or by latency."""
    alarms = 0
    for seed in range(200):
        found = steady.look(served(np.random.default_rng(seed).exponential(1e6, 2000)), paced=False)
        assert found is not None
        alarms += not found.stable
    assert alarms <= 2


def test_a_slow_start_is_seen() -> None:
    """A quarter of the run at two thirds of the speed is found, and cut off whole."""
    generator = np.random.default_rng(1)
    found = steady.look(served(np.r_[generator.normal(1.5e6, 1e5, 500), generator.normal(1e6, 1e5, 1500)]), paced=False)
    assert found is not None
    assert not found.stable
    assert 0.24 <= found.settled_share <= 0.5
    assert -0.35 < found.start < -0.15


def test_a_drift_is_seen() -> None:
    """A machine that becomes 10 % slower from begin to end is called unstable; one that becomes 2 % slower is not."""
    generator = np.random.default_rng(2)
    for slower, stable in ((0.10, False), (0.02, True)):
        times = np.linspace(1e6, 1e6 * (1 + slower), 5000) * generator.normal(1, 0.02, 5000)
        found = steady.look(served(times), paced=False)
        assert found is not None
        assert found.drift == pytest.approx(-slower, abs=0.01)
        assert found.stable is stable


def test_latency_is_looked_at_where_arrivals_are_paced() -> None:
    """With arrivals at a constant rate and latencies that grow by half, the rate is steady and the latency is not."""
    due = np.arange(2000, dtype=np.int64) * 1_000_000
    found = steady.look(columns(due + np.linspace(10e6, 15e6, 2000).astype(np.int64), due), paced=True)
    assert found is not None
    assert (found.figure, found.stable) == ("median latency", False)
    assert found.drift == pytest.approx(0.4, abs=0.02)


LENGTHS = np.random.default_rng(5).integers(12, 384, 2000)
SAMPLES = Samples(np.zeros(0, np.int32), np.zeros(0, np.int8), np.r_[0, np.cumsum(LENGTHS)], 0, 384)
POLICY = Policy("sorted", 32, max_tokens=1024)


def call_ns(rows: int, length: int) -> float:
    """A transformer on a CPU: calls, matrix products, attention."""
    return 1e6 + 50e3 * rows * length + 100 * rows * length * length


def offline(slower: float, noise: float, seed: int, workers: int = 1) -> tuple[Columns, Warmed]:
    """A run that serves its longest samples first, on a machine that is `slower` at its end than at its beginning, and its warm-up."""
    generator = np.random.default_rng(seed)
    elapsed = 0.0

    def service_ns(rows: np.ndarray) -> int:
        nonlocal elapsed
        length = int(padded_lengths(LENGTHS[rows].max(keepdims=True), POLICY, 384)[0])
        time = call_ns(len(rows), length) * generator.normal(1, noise) * (1 + slower * elapsed / TOTAL)
        elapsed += time / workers
        return int(time)

    traffic = Traffic(np.zeros(2000, np.int64), np.arange(2000, dtype=np.int32), np.zeros(2000, np.int64), Limits(0, 1))
    columns = simulate(traffic, POLICY, service_ns, workers=workers, lengths=LENGTHS, max_length=384)
    batches = warm_up_batches(SAMPLES, POLICY, 32)
    widths = [int(padded_lengths(LENGTHS[batch].max(keepdims=True), POLICY, 384)[0]) for batch in batches]
    once = [[int(call_ns(len(b), w) * generator.normal(1, noise)) for _ in range(2)] for b, w in zip(batches, widths, strict=True)]
    return columns, warmed(batches, SAMPLES, POLICY, [once] * workers)


TOTAL = float(sum(call_ns(1, int(length)) for length in LENGTHS))


def weighed(columns: Columns, warm: Warmed) -> steady.Steady:
    work = expected(columns, SAMPLES, POLICY, warm)
    assert work is not None
    found = steady.look(columns, paced=False, work=work)
    assert found is not None
    return found


def test_offline_that_is_steady_raises_no_alarm() -> None:
    """Of 60 runs of one or two workers, calls and warm-up scattering by 1, 3 and 10 %, at most 1 is called unstable; and by samples alone
    all would be."""
    alarms = sum(not weighed(*offline(0.0, noise, seed, 1 + seed % 2)).stable for seed in range(20) for noise in (0.01, 0.03, 0.10))
    assert alarms <= 1
    plain = steady.look(offline(0.0, 0.01, 0)[0], paced=False)
    assert plain is not None
    assert not plain.stable


def test_offline_that_becomes_slower_is_seen() -> None:
    """20 of 20 runs on a machine that slows down by 15 % are called unstable, and their drift is of that size; with 2 % at most one is."""
    steadier = 0
    for seed in range(20):
        found = weighed(*offline(0.15, 0.02, seed))
        assert (found.figure, found.stable) == (steady.WEIGHED, False)
        assert found.drift == pytest.approx(-0.15, abs=0.05)
        steadier += weighed(*offline(0.02, 0.02, seed)).stable
    assert steadier >= 19


def test_a_rate_by_length_is_one_where_the_run_is_as_fast_as_its_warm_up() -> None:
    """Without noise each part is 1 with one worker; with two, whose calls do not end together, it is near 1, and 1 on average."""
    assert weighed(*offline(0.0, 0.0, 0)).values == pytest.approx([1.0] * steady.STRETCHES, abs=1e-4)
    two = weighed(*offline(0.0, 0.0, 0, workers=2)).values
    assert two == pytest.approx([1.0] * len(two), abs=0.3)
    assert float(np.mean(two)) == pytest.approx(1.0, abs=0.02)


def test_the_spread_of_a_rate_by_length_is_that_of_its_parts() -> None:
    """Longest first, the rate in samples is spread by the lengths alone; by length only the noise is left."""
    columns, warm = offline(0.0, 0.02, 0)
    plain, weighted = steady.rate_spread(columns), steady.rate_spread(columns, weighed(columns, warm))
    assert plain is not None
    assert weighted is not None
    assert plain > 0.1
    assert weighted < 0.01


def test_what_is_stored_is_read_again() -> None:
    """Through JSON and back; nothing where nothing was looked at."""
    found = weighed(*offline(0.0, 0.02, 0))
    assert steady.read(json.loads(json.dumps(found.record()))) == found
    assert found.record()["stable"] is True
    assert steady.read(None) is None


def test_a_queue_that_is_long_by_chance_is_steady() -> None:
    """Median latencies of an M/D/1 queue at 70 % load, which hang together: at most 2 of 60 runs of 4,000 queries are called unstable."""
    alarms = 0
    for seed in range(60):
        found = steady.look(simulate(poisson_traffic(350.0, 4000, seed), Policy("fifo", 1), lambda _: 2_000_000), paced=True)
        assert found is not None
        alarms += not found.stable
    assert alarms <= 2


def test_too_few_samples_say_nothing() -> None:
    """Below ten samples a stretch there is no word."""
    assert steady.look(served(np.full(steady.LEAST_ROWS - 1, 1e6)), paced=False) is None
    assert steady.rate_spread(served(np.full(steady.LEAST_ROWS - 1, 1e6))) is None


values = arrays(np.float64, st.integers(4, 60), elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 1)))


@given(values=values)
def test_theil_sen(values: np.ndarray) -> None:
    """The slope is scipy's."""
    assert steady.theil_sen(values) == pytest.approx(float(scipy_stats.theilslopes(values)[0]), rel=1e-9, abs=1e-9)


@given(values=values)
def test_mann_kendall_has_the_sign_of_no_direction(values: np.ndarray) -> None:
    """p is the same for a series and for its reverse and its negative, and lies in [0, 1]."""
    p = steady.mann_kendall(values)
    assert 0 <= p <= 1
    assert steady.mann_kendall(values[::-1]) == pytest.approx(p)
    assert steady.mann_kendall(-values) == pytest.approx(p)


def test_mann_kendall_of_known_series() -> None:
    """Ten ascending values: S = 45, variance 125, z = 44 / sqrt(125), p = 8.3e-5 (Gilbert 1987, section 16.4)."""
    assert steady.mann_kendall(np.arange(10.0)) == pytest.approx(2 * float(scipy_stats.norm.sf(44 / np.sqrt(125))))
    assert steady.mann_kendall(np.ones(10)) == 1.0
    assert steady.mann_kendall(np.arange(3.0)) == 1.0


def test_mser_cuts_where_the_error_is_least() -> None:
    """Ten values of 100 before forty around 1 are cut; of a constant series nothing is; never more than half."""
    tail = 1 + np.tile([0.0, 0.1, -0.1, 0.05, -0.05], 8)
    assert steady.mser(np.r_[np.full(10, 100.0), tail]) == 10
    assert steady.mser(np.ones(50)) == 0
    assert steady.mser(np.r_[np.full(45, 100.0), np.ones(5)]) <= 25


def test_the_spread_of_a_rate() -> None:
    """Batch means of exponential times: 20 batches of 250, so half of the interval is near 2.09 / sqrt(5000)."""
    spread = [steady.rate_spread(served(np.random.default_rng(seed).exponential(1e6, 5000))) for seed in range(40)]
    assert np.mean([each for each in spread if each is not None]) == pytest.approx(2.093 / np.sqrt(5000), rel=0.1)
