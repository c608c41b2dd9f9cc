"""How fast is this backend? Measured service times, and from them the rate to ask for.

A probe times batches of a few sizes and lengths. The same ledger and policy, run in simulated time with those service times, then gives
the highest Server rate that meets the bound, and the rate Offline can expect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.batching import Policy, padded_lengths
from harness.core import Columns, Int64, IntArray, Samples, Scenario, Settings
from harness.crew import Crew
from harness.errors import BackendError
from harness.stats import percentile
from harness.testing import ServiceTime, simulate

SPARE = 0.8
"""Share of the highest rate that is asked for: 20 % to spare for what a probe of a few seconds cannot see."""

BOUND_SHARE = 0.9
"""Share of the latency bound that simulated runs must meet: near the limit latency grows much faster than the rate."""

PAUSE_S = 0.02

SIMULATED_QUERIES = 3000
"""Least length of a simulated run: p99 then rests on 30 queries over it."""

SIMULATED_BOUNDS, MOST_SIMULATED = 50, 200_000
"""A simulated run lasts this many times the latency bound, so that a queue that grows has time to show; at most that many queries."""

BISECTIONS = 10

OUTLIER = 2.0
NOISE_CUT = 0.9


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """Service time of a batch as `base + per_token * tokens + per_square * tokens * length` ns, tokens and length padded: what a
    transformer encoder costs (calls, matrix products, attention). `noise`: measured over modelled times of the probe, for replay."""

    base: float
    per_token: float
    per_square: float
    noise: tuple[float, ...]
    probes: int

    def time_ns(self, rows: int, length: int) -> float:
        tokens = rows * length
        return self.base + self.per_token * tokens + self.per_square * tokens * length

    def sampler(self, lengths: IntArray, policy: Policy, max_length: int, seed: int) -> ServiceTime:
        """Service times for `simulate`, with the noise of the probe drawn anew for each batch."""
        padded = padded_lengths(lengths, policy, max_length)
        noise = np.random.default_rng(seed).choice(np.asarray(self.noise), 4096).tolist()
        calls = 0

        def service_ns(samples: IntArray) -> int:
            nonlocal calls
            calls += 1
            return int(self.time_ns(len(samples), int(padded[samples].max())) * noise[calls % 4096])

        return service_ns


def probe_batches(samples: Samples, policy: Policy, seed: int) -> list[Int64]:
    """Batches to time, cheapest first: each size at four lengths of the data, none larger than the run's own at that length, then single
    samples again for the noise."""
    by_length = np.argsort(samples.lengths, kind="stable")
    padded = padded_lengths(samples.lengths, policy, samples.max_length)[by_length]
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64, 128) if size < policy.max_batch] + [policy.max_batch]
    batches, before = [], 0
    for size in sizes:
        for quantile in (0.1, 0.5, 0.9, 1.0):
            end = max(min(size, len(by_length)), round(quantile * len(by_length)))
            rows = min(size, policy.most_rows(int(padded[end - 1])))
            if rows > before:  # else it was timed with a smaller size
                batches.append(np.resize(by_length[max(0, end - rows) : end], rows))
        before = size
    singles = np.random.default_rng(seed).integers(0, len(by_length), 24)
    batches[4:4] = [np.array([single]) for single in singles]
    return batches


def probe(crew: Crew, samples: Samples, policy: Policy, budget_s: float, seed: int, tick: Callable[[], bool] | None = None) -> ServiceModel:
    """Time batches on all workers at once, so that they disturb each other as they will in the run."""
    batches = probe_batches(samples, policy, seed)
    times = crew.call("time_batches", batches, budget_s, PAUSE_S, tick=tick)
    count = min(len(each) for each in times)
    lengths = samples.lengths
    rows = np.array([len(batch) for batch in batches[:count]])
    widths = np.array([padded_lengths(lengths[batch].max(keepdims=True), policy, samples.max_length)[0] for batch in batches[:count]])
    return fit(rows, widths, np.array([each[:count] for each in times], np.float64))


def fit(rows: IntArray, lengths: IntArray, times_ns: NDArray[np.float64]) -> ServiceModel:
    """Fit a ServiceModel. rows, lengths: (probes,); times_ns: (workers, probes). Raises BackendError if no time was measured.

    Times that a first fit finds more than twice as long as most are left out of a second one: something else ran just then. The noise
    is cut at its 90th percentile, since one slow call among the few of a probe would otherwise decide every simulated p99.
    """
    if times_ns.size == 0:
        raise BackendError("the probe measured nothing", "give the rate with --target-qps")
    workers, tokens = len(times_ns), rows * lengths
    terms = np.tile(np.stack([np.ones(len(rows)), tokens, tokens * lengths], axis=1).astype(np.float64), (workers, 1))
    times = np.maximum(times_ns.reshape(-1), 1.0)
    ratios = times / np.maximum(terms @ _least_squares(terms, times), 1.0)
    usual = ratios <= OUTLIER * np.median(ratios)
    weights = _least_squares(terms[usual], times[usual])
    ratios = times / np.maximum(terms @ weights, 1.0)
    noise = np.minimum(ratios, np.quantile(ratios, NOISE_CUT))
    base, per_token, per_square = weights.tolist()
    return ServiceModel(base, per_token, per_square, tuple(noise.tolist()), probes=len(times))


def _least_squares(terms: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the terms (probes, 3), none negative, with the least relative errors: a term that comes out negative is dropped and the
    rest fitted again."""
    kept = [0, 1, 2]
    weights = np.zeros(3)
    while kept:
        solution = np.linalg.lstsq(terms[:, kept] / times[:, None], np.ones(len(times)), rcond=None)[0]
        if (solution >= 0).all():
            weights[kept] = solution
            break
        del kept[int(np.argmin(solution))]
    return weights


def highest_rate(
    scenario: Scenario,
    settings: Settings,
    model: ServiceModel,
    samples: Samples,
    policy: Policy,
    workers: int,
    seed: int,
    most: int = MOST_SIMULATED,
) -> float | None:
    """Highest rate (queries/s) at which simulated runs, of at most `most` queries, meet the latency bound with a tenth to spare; None if
    not even lone queries do."""
    service = model.sampler(samples.lengths, policy, samples.max_length, seed)

    def meets(rate: float) -> bool:
        columns = _simulated(scenario, replace(settings, target_qps=rate), service, samples, policy, workers, most)
        return bool(percentile(np.sort(columns.latency_ns), settings.percentile) <= BOUND_SHARE * settings.latency_bound_ns)

    low, high = _bracket(model, samples, policy, workers)
    if not meets(low):
        return None
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if meets(middle) else (low, middle)
    return float(low)


def _bracket(model: ServiceModel, samples: Samples, policy: Policy, workers: int) -> tuple[float, float]:
    """Rates between which the answer lies: nearly idle, and more than full batches of median length could serve."""
    length = int(np.median(padded_lengths(samples.lengths, policy, samples.max_length)))
    rows = policy.most_rows(length)
    alone = max(model.time_ns(1, length), 1.0)
    full = max(model.time_ns(rows, length) / rows, 1.0)
    return workers * 1e9 / alone * 0.02, workers * 2e9 / min(alone, full)


def _simulated(
    scenario: Scenario, settings: Settings, service: ServiceTime, samples: Samples, policy: Policy, workers: int, most: int
) -> Columns:
    several_bounds = int(settings.target_qps * settings.latency_bound_ns / 1e9 * SIMULATED_BOUNDS)
    queries = min(max(SIMULATED_QUERIES, several_bounds), most)
    brief = replace(settings, min_duration_ns=0, min_queries=queries, max_duration_ns=0, max_queries=0)
    traffic = scenario.traffic(brief, len(samples))
    return simulate(traffic, policy, service, workers=workers, lengths=samples.lengths, max_length=samples.max_length)


def offline_rate(scenario: Scenario, settings: Settings, model: ServiceModel, samples: Samples, policy: Policy, workers: int) -> float:
    """Samples per second that Offline can expect: one pass over the loaded set in simulated time."""
    service = model.sampler(samples.lengths, policy, samples.max_length, seed=0)
    count = settings.performance_sample_count or len(samples)
    once = replace(settings, min_duration_ns=0, min_queries=max(count, settings.min_queries))
    traffic = scenario.traffic(once, len(samples))
    columns = simulate(traffic, policy, service, workers=workers, lengths=samples.lengths, max_length=samples.max_length)
    return len(columns.sample) / (max(columns.end_ns, 1) / 1e9)
