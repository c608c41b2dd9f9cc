"""Candidates against each other: all loaded at once, measured in turn in balanced blocks, then scored.

Each candidate has worker processes of its own, so neither thread settings nor memory of one reach another; while one is measured the
others wait. Every visit asks the same samples in the same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from harness import accuracy, bench, gate, interference, session, summary
from harness.bench import ANSWER_SEED, Bench
from harness.comparing.blocks import Ended, Plan, play
from harness.comparing.results import Candidate, Comparison, Figure, Visit, figures_of
from harness.config import RunConfig, flag
from harness.core import Columns, Int32, Settings, Traffic
from harness.crew import Crew, form, patience
from harness.errors import AssayError, BackendError, Interrupted, UsageError
from harness.measure import Measured, Watch, measure
from harness.progress import Progress
from harness.responses import Keep
from harness.validity import query_latency_ns

ALIKE = (
    *("rules", "target_qps", "latency_bound", "percentile", "samples_per_query", "performance_samples", "issue", "same_index"),
    *("concatenate", "qsl_seed", "sample_seed", "schedule_seed", "accuracy", "accuracy_target", "accuracy_samples", "reference_score"),
)
"""Settings that say what is asked and how it is judged: a ratio between candidates that differ in one of them means nothing."""

TRIAL_SAMPLES = 48
"""Samples of the stretch that tells how fast a candidate is, before the first block."""

LEAST_BATCHES, LEAST_QUERIES = 2, 32
"""Of a visit, however slow the candidate: full batches where all is asked at once (one alone would be of all lengths), else queries."""


@dataclass(slots=True)
class Seat:
    """One candidate as it is measured."""

    name: str
    bench: Bench
    crew: Crew
    backend: dict[str, Any]
    settings: Settings
    last: Measured | None = None
    padding: list[float] = field(default_factory=list)
    problem: str = ""


@dataclass(slots=True)
class Compared:
    """A comparison and what else is to be told of it. `others_share`: of the cores, what other processes used meanwhile."""

    comparison: Comparison
    warnings: list[str]
    others_share: float | None = None


def run(candidates: Sequence[tuple[str, RunConfig]], reference: int, plan: Plan, progress: Progress, floor: float = 0.0) -> Compared:
    """Measure and score `candidates`, (name, settings) each. Raises AssayError for what makes a comparison impossible; a candidate that
    fails while it is measured is a result."""
    benches = [bench.prepare(config, progress) for _, config in candidates]
    _same_questions(benches, [name for name, _ in candidates])
    with contextlib.ExitStack() as stack:
        seats = [stack.enter_context(_seated(name, each)) for (name, _), each in zip(candidates, benches, strict=True)]
        before = interference.cpu_time()
        visits, ended = _measured(seats, reference, plan)
        others = interference.others_share(before, interference.cpu_time())
        scored = tuple(_candidate(seat, skip=_interrupted(seats)) for seat in seats)
        found = Comparison(scored, reference, _figures(seats), visits, floor, _interrupted(seats))
    return Compared(found, [*_warnings(plan, ended, others), *_marks(benches[0]), *_of_all(benches)], others)


def _same_questions(benches: Sequence[Bench], names: Sequence[str]) -> None:
    """Raises UsageError for candidates that would not be asked the same, or could not be held against each other."""
    first = benches[0]
    for name, each in zip(names[1:], benches[1:], strict=True):
        for field_name in ALIKE:
            one, other = getattr(first.config, field_name), getattr(each.config, field_name)
            if one != other:
                raise UsageError(
                    f"{name}: {flag(field_name)} {other}, {names[0]} has {one}", "give all candidates the same traffic and gate"
                )
        if each.scenario.name != first.scenario.name:
            raise UsageError(f"{name}: {each.scenario.name}, {names[0]} plays {first.scenario.name}", "compare within one scenario")
        if (each.task.data_name, len(each.task.samples)) != (first.task.data_name, len(first.task.samples)):
            raise UsageError(
                f"{name} is asked {len(each.task.samples):,} samples of {each.task.data_name}, {names[0]} {len(first.task.samples):,} of "
                f"{first.task.data_name}",
                "compare on one task and one data set; models whose tokenizers cut texts differently need a task without windows",
            )
    if first.scenario.paced and any(each.config.target_qps is None for each in benches):
        raise UsageError(f"comparing in {first.scenario.name} needs one rate for all", "give --target-qps")


@contextlib.contextmanager
def _seated(name: str, each: Bench) -> Iterator[Seat]:
    """A candidate, loaded and warm, in processes of its own."""
    config = each.config
    each.progress.note(f"{name}: loading")
    bench.make_ready(each, config.backend)
    workers = config.workers
    if not isinstance(workers, int):
        raise UsageError("--workers auto cannot be used in a comparison", "find the number with a run first, then give it")
    crew = form(bench.specs(each, config.backend, workers), processes=True)
    try:
        try:
            described = crew.call("load", tick=patience(session.LOAD_PATIENCE * config.hang_timeout))[0]
            session.warm(each, crew)
        except AssayError as error:
            raise type(error)(f"{name}: {error}", error.cure) from error
        yield Seat(name, each, crew, described, each.settings)
    finally:
        crew.close()


# ------------------------------------------------------------------------------------------------------------------------ measuring


def _measured(seats: Sequence[Seat], reference: int, plan: Plan) -> tuple[tuple[Visit, ...], Ended]:
    samples = _sized(seats, plan)

    def visit(place: int, block: int) -> Visit | None:
        seat = seats[place]
        seat.bench.progress.phase(f"block {block + 1} {seat.name}")
        found = _visit(seat, place, block, samples, plan)
        if seat.last is not None and seat.last.interrupted:
            raise Interrupted("interrupted by Ctrl-C")
        return found

    return play(len(seats), reference, _figures(seats), plan, visit)


def _figures(seats: Sequence[Seat]) -> tuple[Figure, ...]:
    scenario = seats[0].bench.scenario
    return figures_of(closed_loop=scenario.closed_loop, paced=scenario.paced)


def _sized(seats: Sequence[Seat], plan: Plan) -> Int32:
    """Samples of one visit where all is asked at once: enough for half of `block_s` on the fastest candidate, drawn without repetition as
    far as they go. One stretch of each candidate tells its speed, and is measured by nobody."""
    total = len(seats[0].bench.task.samples)
    shuffled = np.random.default_rng(ANSWER_SEED).permutation(total).astype(np.int32)
    if seats[0].bench.scenario.closed_loop or seats[0].bench.scenario.paced:
        return shuffled
    fastest = 0.0
    for place, seat in enumerate(seats):
        visit = _visit(seat, place, -1, np.resize(shuffled, TRIAL_SAMPLES), plan)
        if visit is None:
            raise BackendError(f"{seat.name}: {seat.problem}", "run it alone to see more")
        fastest = max(fastest, visit.samples / visit.seconds)
    least = LEAST_BATCHES * max(seat.bench.policy.max_batch for seat in seats)
    return np.resize(shuffled, max(least, round(fastest * plan.block_s / 2)))


def _visit(seat: Seat, place: int, block: int, samples: Int32, plan: Plan) -> Visit | None:
    """One stretch; None, with the seat's problem, where it did not end as it should."""
    each = seat.bench
    settings, traffic, scenario = _asked(seat, samples, plan)
    watch = Watch(
        "trial" if block < 0 else f"block {block + 1}", each.progress, planned_s=plan.block_s / 2, hang_timeout_s=each.config.hang_timeout
    )
    seat.last = measured = measure(seat.crew, scenario, settings, traffic, each.policy, watch, Keep(ANSWER_SEED))
    if measured.interrupted:
        return None
    if measured.reasons:
        seat.problem = measured.reasons[0].text
        return None
    return _as_visit(seat, place, block, measured.columns)


def _asked(seat: Seat, samples: Int32, plan: Plan) -> tuple[Settings, Traffic, Any]:
    """What a visit plays: these samples, all at once, or the scenario's own traffic for half of `block_s`."""
    scenario = seat.bench.scenario
    if not scenario.closed_loop and not scenario.paced:
        return seat.settings, accuracy.passing_traffic(samples.astype(np.int64)), None
    settings = replace(
        seat.settings, min_duration_ns=round(plan.block_s / 2 * 1e9), min_queries=LEAST_QUERIES, require_early_stopping=False
    )
    return settings, scenario.traffic(settings, len(seat.bench.task.samples)), scenario


def _as_visit(seat: Seat, place: int, block: int, columns: Columns) -> Visit:
    samples = seat.bench.task.samples
    found = summary.throughput(columns, samples, seat.bench.policy)
    if found["padding_share"] is not None:
        seat.padding.append(found["padding_share"])
    return Visit(
        block=block,
        candidate=place,
        seconds=float(columns.done_ns.max()) / 1e9,
        samples=len(columns.sample),
        tokens=int(samples.lengths[columns.sample].sum()),
        latency_ns=query_latency_ns(columns),
    )


def _warnings(plan: Plan, ended: Ended, others: float | None) -> Iterator[str]:
    if ended == "budget" and plan.budget_s:
        yield f"the budget of {plan.budget_s:g} s ended the comparison before every interval was within {plan.width:.1%}"
    if others is not None and others > interference.WORTH_SAYING:
        yield f"other processes used {others:.0%} of this machine's cores: blocks cancel slow drift, not bursts"


def _marks(first: Bench) -> Iterator[str]:
    """What would be on the card of a run: why these figures compare with nothing else."""
    config = first.config
    yield f"{config.rules} rules; unverified: not reviewed by MLCommons, not an MLPerf result"
    if not first.task.comparable:
        yield "built-in sample set: nothing here compares with published figures"
    if config.accuracy_target != RunConfig.model_fields["accuracy_target"].default:
        yield f"accuracy target {config.accuracy_target:.2%} of FP32"
    if config.accuracy_samples is not None:
        yield f"accuracy on {config.accuracy_samples} examples only"


def _interrupted(seats: Sequence[Seat]) -> bool:
    return any(seat.last is not None and seat.last.interrupted for seat in seats)


def _of_all(benches: Sequence[Bench]) -> list[str]:
    """What the candidates' own preparation warns of, once each."""
    return list(dict.fromkeys(line for each in benches for line in each.warnings))


# -------------------------------------------------------------------------------------------------------------------------- scoring


def _candidate(seat: Seat, *, skip: bool) -> Candidate:
    """The candidate as it took part, scored by a pass of the same loaded instances over all samples."""
    config = seat.bench.config
    scored = None
    if not (skip or seat.problem) and seat.backend["answers"] and config.accuracy and seat.last is not None:
        scored, seat.problem = gate.score(seat.bench, seat.crew, seat.last)
        if seat.last.interrupted:
            scored, seat.problem = None, ""
    return Candidate(
        name=seat.name,
        settings=config.model_dump(mode="json"),
        backend=seat.backend,
        policy=asdict(seat.bench.policy),
        accuracy=scored,
        padding_share=float(np.median(seat.padding)) if seat.padding else None,
        problem=seat.problem,
    )
