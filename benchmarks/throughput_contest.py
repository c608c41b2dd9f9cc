"""One backend against the reference way, in turns: B is always measured between two A, through Assay's own workers, ledger and batching."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from throughput_table import Result, Turn

from harness import accuracy
from harness.batching import Policy
from harness.bench import ANSWER_SEED, Bench, make_ready, specs
from harness.core import Answer, Columns, Int64, IntArray, Limits, Traffic
from harness.crew import Crew, form, patience
from harness.errors import RunError
from harness.measure import Measured, Watch, measure
from harness.responses import Keep
from harness.stats import percentile
from harness.summary import throughput
from harness.testing import simulate
from harness.warmup import warm_up_batches

LOAD_S = 600.0
WARM_S = 10.0
HANG_S = 120.0


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    rounds     turns of a backend; each takes its share of the subset offline
    trial      samples of a trial of one setting
    singles    samples of a single-stream turn
    reference  samples of a turn of the reference way
    tokens     budgets that are tried
    """

    rounds: int
    trial: int
    singles: int
    reference: int
    tokens: tuple[int, ...]


@dataclass
class Runner:
    """A loaded crew. `setting` is what tells it from others: workers, threads of each."""

    bench: Bench
    crew: Crew
    setting: dict[str, int]
    description: dict[str, Any]

    def offline(self, samples: Int64, policy: Policy) -> Measured:
        """All of `samples` at once. Raises RunError for anything that is not an answer, and KeyboardInterrupt."""
        return self._play(accuracy.passing_traffic(samples), policy)

    def single_stream(self, samples: Int64, policy: Policy) -> Columns:
        """Each of `samples` when the one before is answered."""
        count = len(samples)
        traffic = Traffic(np.arange(count), samples.astype(np.int32), None, Limits(0, count))
        return self._play(traffic, replace(policy, max_batch=1)).columns

    def _play(self, traffic: Traffic, policy: Policy) -> Measured:
        watch = Watch("throughput", self.bench.progress, planned_s=0.0, hang_timeout_s=HANG_S, rows=len(traffic.sample))
        found = measure(self.crew, None, self.bench.settings, traffic, policy, watch, Keep(ANSWER_SEED))
        if found.interrupted:
            raise KeyboardInterrupt
        if found.reasons:
            raise RunError(found.reasons[0].text, found.reasons[0].cure)
        return found


@contextmanager
def running(bench: Bench, backend: str, workers: int, threads: int, policy: Policy) -> Iterator[Runner]:
    """Worker processes, loaded and warm; `threads` over all of them."""
    asked = replace(bench, config=bench.config.model_copy(update={"threads": threads}), policy=policy)
    crew = form(specs(asked, backend, workers), processes=True)
    try:
        description = crew.call("load", tick=patience(LOAD_S))[0]
        batches = warm_up_batches(bench.task.samples, policy, policy.max_batch)
        crew.call("warm", batches, WARM_S, tick=patience(LOAD_S))
        yield Runner(bench, crew, {"workers": workers, "threads": threads // workers}, description)
    finally:
        crew.close()


def rate(columns: Columns) -> float:
    """Samples per second to the last answer."""
    return len(columns.sample) * 1e9 / float(columns.done_ns.max())


def p90_ns(columns: Columns) -> float:
    return float(percentile(columns.latency_ns, 0.9))


@dataclass
class Contest:
    """What every backend meets: the loaded reference way, the same samples, the same plan. `subset`: (samples,) longest first."""

    bench: Bench
    reference: Runner
    plan: Plan
    subset: Int64
    cores: int
    padded: Policy = field(default_factory=lambda: Policy("fixed", 1))

    def against(self, backend: str) -> tuple[Result, dict[int, Answer]]:
        """Everything measured of `backend`, and its answers to the subset. Raises AssayError where it does not run."""
        make_ready(self.bench, backend)
        policy = replace(self.bench.policy, max_tokens=max(self.plan.tokens))
        with running(self.bench, backend, 1, self.cores, policy) as alone:
            if self.cores == 1:
                return self._measured(Result(backend), [alone], policy)
            with running(self.bench, backend, self.cores, self.cores, policy) as each:
                return self._measured(Result(backend), [alone, each], policy)

    def _measured(self, result: Result, runners: list[Runner], policy: Policy) -> tuple[Result, dict[int, Answer]]:
        alone = runners[0]
        result.description = alone.description
        best, chosen = self._best(result, runners, policy)
        answers: dict[int, Answer] = {}
        before = self._reference_turn(0)
        for number in range(self.plan.rounds):
            found = best.offline(self.subset[number :: self.plan.rounds], chosen)
            columns = alone.single_stream(self._singles(number), policy)
            after = self._reference_turn(number + 1)
            result.turns.append(_turn(rate(found.columns), p90_ns(columns), before, after))
            answers |= accuracy.by_sample(found.columns, found.answers)
            before = after
        result.padding_share = self._padding(chosen, best.setting["workers"], best.description)
        return result, answers

    def _best(self, result: Result, runners: list[Runner], policy: Policy) -> tuple[Runner, Policy]:
        """The setting with the highest rate in two trials, once forth and once back."""
        settings = list(itertools.product(runners, (replace(policy, max_tokens=tokens) for tokens in self.plan.tokens)))
        samples = self.subset[:: max(1, len(self.subset) // self.plan.trial)]
        rates: dict[int, list[float]] = {number: [] for number in range(len(settings))}
        for number in [*range(len(settings)), *reversed(range(len(settings)))]:
            runner, tried = settings[number]
            rates[number].append(rate(runner.offline(samples, tried).columns))
        result.tried = [runner.setting | {"tokens": tried.max_tokens, "rates": rates[n]} for n, (runner, tried) in enumerate(settings)]
        best = max(rates, key=lambda number: float(np.mean(rates[number])))
        result.setting = settings[best][0].setting | {"tokens": settings[best][1].max_tokens}
        return settings[best]

    def _reference_turn(self, number: int) -> Columns:
        """The reference way is the same offline as single-stream: one padded sample after the other."""
        return self.reference.single_stream(self._singles(number)[: self.plan.reference], self.padded)

    def _singles(self, number: int) -> Int64:
        """Samples of all lengths in random order, others in each turn."""
        shuffled = np.random.default_rng([ANSWER_SEED, number]).permutation(self.subset)
        return shuffled[: self.plan.singles]

    def _padding(self, policy: Policy, workers: int, description: dict[str, Any]) -> float:
        """Of all samples of the task at once, played in simulated time by the same ledger and policy: turns are too short to tell."""
        samples = self.bench.task.samples
        lengths = samples.lengths
        traffic = accuracy.passing_traffic(np.arange(len(samples)))
        by_tokens: Callable[[IntArray], int] = lambda rows: 1000 * len(rows) * int(lengths[rows].max())  # noqa: E731 - a service time
        columns = simulate(traffic, policy, by_tokens, workers=workers, lengths=lengths, max_length=samples.max_length)
        return float(throughput(columns, samples, policy, packed=bool(description.get("packed")))["padding_share"] or 0.0)


def _turn(speed: float, latency_ns: float, before: Columns, after: Columns) -> Turn:
    return Turn(speed, latency_ns, (rate(before) + rate(after)) / 2, (p90_ns(before) + p90_ns(after)) / 2)
