"""How many samples a second a loaded crew answers with everything asked at once: what the rates of a curve are shares of."""

from __future__ import annotations

import numpy as np

from harness.accuracy import passing_traffic
from harness.bench import ANSWER_SEED, Bench
from harness.core import SECOND_NS, Int64
from harness.crew import Crew
from harness.errors import BackendError, Interrupted
from harness.measure import Measured, Watch, measure
from harness.responses import Keep

TRIAL_SAMPLES = 48
"""Samples of the stretch that tells how long the real one must be."""

SECONDS = 2.0
LEAST_BATCHES = 2
MOST_SAMPLES = 1_000_000


def rate(bench: Bench, crew: Crew) -> float:
    """Samples a second over about two seconds, or a visit's time if that is less, and at least two full batches.

    Raises BackendError where the crew fails, Interrupted."""
    shuffled = np.random.default_rng(ANSWER_SEED).permutation(len(bench.task.samples)).astype(np.int64)
    trial = _rate(_played(bench, crew, np.resize(shuffled, TRIAL_SAMPLES)))
    seconds = min(SECONDS, bench.settings.min_duration_ns / SECOND_NS)
    rows = min(max(LEAST_BATCHES * bench.policy.max_batch, round(trial * seconds)), MOST_SAMPLES)
    return _rate(_played(bench, crew, np.resize(shuffled, rows)))


def _played(bench: Bench, crew: Crew, samples: Int64) -> Measured:
    watch = Watch("offline", bench.progress, planned_s=0.0, hang_timeout_s=bench.config.hang_timeout, rows=len(samples))
    with bench.phase("offline"):
        found = measure(crew, None, bench.settings, passing_traffic(samples), bench.policy, watch, Keep(ANSWER_SEED))
    if found.interrupted:
        raise Interrupted("interrupted by Ctrl-C")
    if found.reasons:
        raise BackendError(found.reasons[0].text, found.reasons[0].cure)
    return found


def _rate(found: Measured) -> float:
    return len(found.columns.sample) / max(int(found.columns.done_ns.max()), 1) * 1e9
