"""Candidates against each other: measured in turn in balanced blocks, then scored.

All are loaded at once where they fit, each in processes of its own; while one is measured the others wait. Every visit asks the same
samples in the same order.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness import interference
from harness.bench import ANSWER_SEED
from harness.comparing import differences, elsewhere
from harness.comparing.blocks import Ended, Plan, play
from harness.comparing.candidates import Wanted
from harness.comparing.here import HereSeat
from harness.comparing.results import Candidate, Comparison, Figure, Visit, figures_of
from harness.comparing.seats import Seat, Stretch
from harness.comparing.turns import LONGER, Place, Turns, named
from harness.core import Int32
from harness.errors import BackendError, Interrupted
from harness.plain_runs import marks
from harness.progress import Progress
from harness.telemetry.account import meanwhile, warnings
from harness.telemetry.stream import Stream, beside

TRIAL_SAMPLES = 48
"""Samples of the stretch that tells how fast a candidate is, before the first block."""

_NUMBERS = re.compile(r"\(.*?\)|\d+")

LEAST_BATCHES, LEAST_QUERIES = 2, 32
"""Of a visit, however slow the candidate: full batches where all is asked at once (one alone would be of all lengths), else queries."""


@dataclass(slots=True)
class Compared:
    """A comparison and what else is to be told of it. `others_share`: of the cores, what other processes used meanwhile; `differences`:
    between the environments of candidates, in sentences; `marks`: why the figures compare with nothing else; `telemetry`: what was read
    beside all of it, as `harness.telemetry.account.meanwhile` tells it."""

    comparison: Comparison
    warnings: list[str]
    others_share: float | None = None
    differences: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    telemetry: Mapping[str, Any] = field(default_factory=dict)


def run(
    candidates: Sequence[Wanted], reference: int, plan: Plan, progress: Progress, floor: float = 0.0, *, alternate: bool = False
) -> Compared:
    """Measure and score `candidates`. `alternate`: never load two at once. Raises AssayError for what makes a comparison impossible; a
    candidate that fails while it is measured is a result."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(beside(os.getpid(), max(each.config.telemetry for each in candidates)))
        places = [Place(each, stack.enter_context(_seated(each, progress))) for each in candidates]
        differences.refuse([(each.name, each.facts) for each in places])
        turns = Turns(places, progress.note)
        stack.callback(turns.close)
        _make_ready(places, progress)
        turns.load_all(alternate=alternate)
        plan = replace(plan, block_s=plan.block_s * LONGER) if turns.why else plan
        return _compared(turns, reference, plan, progress, floor, stream)


@contextlib.contextmanager
def _seated(each: Wanted, progress: Progress) -> Iterator[Seat]:
    with contextlib.ExitStack() as stack:
        with named(each.name):
            if not each.elsewhere:
                seat: Seat = HereSeat(each.config, progress)
            else:
                seat = stack.enter_context(elsewhere.seated(each.name, each.config, each.python, each.project, progress))
        yield seat


def _make_ready(places: Sequence[Place], progress: Progress) -> None:
    """Before anything is loaded: exports, and searches for workers, with the machine to themselves."""
    for place in places:
        progress.phase(f"prepare {place.name}")
        with named(place.name):
            place.ready = place.seat.ready()


def _compared(turns: Turns, reference: int, plan: Plan, progress: Progress, floor: float, stream: Stream) -> Compared:
    places = turns.places
    before, begun_ns = interference.cpu_time(), time.monotonic_ns()
    visits, ended = _measured(turns, reference, plan, progress)
    ended_ns, recording = time.monotonic_ns(), stream.stop()
    others = interference.others_share(before, interference.cpu_time())
    scored = tuple(_candidate(turns, place, skip=ended == "interrupted") for place in places)
    stopped = ended == "interrupted" or any(each is None for each in scored)
    found = Comparison(
        tuple(each or _plain(place) for each, place in zip(scored, places, strict=True)),
        reference,
        _figures(places),
        visits,
        floor,
        interrupted=stopped,
        alternated=turns.why,
    )
    said = [*_warnings(plan, ended, others), *warnings(recording, begun_ns, ended_ns), *_alternated(turns, plan), *_of_all(places)]
    read = meanwhile(recording, begun_ns, ended_ns)
    return Compared(found, said, others, tuple(differences.said(found)), tuple(_marks(places)), read)


# ------------------------------------------------------------------------------------------------------------------------ measuring


def _measured(turns: Turns, reference: int, plan: Plan, progress: Progress) -> tuple[tuple[Visit, ...], Ended]:
    places = turns.places
    try:
        samples = _sized(turns, plan)
    except Interrupted:
        return (), "interrupted"

    def visit(number: int, block: int) -> Visit | None:
        progress.phase(f"block {block + 1} {places[number].name}")
        return _visit(turns, number, block, samples, plan)

    return play(len(places), reference, _figures(places), plan, visit)


def _figures(places: Sequence[Place]) -> tuple[Figure, ...]:
    facts = places[0].facts
    return figures_of(closed_loop=facts.closed_loop, paced=facts.paced)


def _sized(turns: Turns, plan: Plan) -> Int32 | None:
    """Samples of one visit where all is asked at once: enough for half of `block_s` on the fastest candidate, drawn without repetition as
    far as they go. One stretch of each candidate tells its speed, and is measured by nobody. None where the scenario asks by itself."""
    first = turns.places[0].facts
    if first.closed_loop or first.paced:
        return None
    shuffled = np.random.default_rng(ANSWER_SEED).permutation(first.samples).astype(np.int32)
    fastest = 0.0
    for number, place in enumerate(turns.places):
        visit = _visit(turns, number, -1, np.resize(shuffled, TRIAL_SAMPLES), plan)
        if visit is None:
            raise BackendError(f"{place.name}: {place.problem}", "run it alone to see more")
        fastest = max(fastest, visit.samples / visit.seconds)
    least = LEAST_BATCHES * max(int(place.facts.policy["max_batch"]) for place in turns.places)
    return np.resize(shuffled, max(least, round(fastest * plan.block_s / 2)))


def _visit(turns: Turns, number: int, block: int, samples: Int32 | None, plan: Plan) -> Visit | None:
    """One stretch; None, with the candidate's problem, where it did not end as it should. Raises Interrupted."""
    place = turns.places[number]
    label = "trial" if block < 0 else f"block {block + 1}"
    found = turns.loaded(place).visit(Stretch(label, plan.block_s / 2, LEAST_QUERIES, samples))
    if found.interrupted:
        raise Interrupted("interrupted by Ctrl-C")
    if found.problem:
        place.problem = found.problem
        return None
    if found.padding_share is not None:
        place.padding.append(found.padding_share)
    return Visit(block, number, found.seconds, found.samples, found.tokens, found.latency_ns)


def _warnings(plan: Plan, ended: Ended, others: float | None) -> Iterator[str]:
    if ended == "budget" and plan.budget_s:
        yield f"the budget of {plan.budget_s:g} s ended the comparison before every interval was within {plan.width:.1%}"
    if others is not None and others > interference.WORTH_SAYING:
        yield f"other processes used {others:.0%} of this machine's cores: blocks cancel slow drift, not bursts"


def _alternated(turns: Turns, plan: Plan) -> Iterator[str]:
    if turns.why:
        yield (
            f"whole processes alternated ({turns.why}): visits of {plan.block_s / 2:g} s on the fastest candidate, most of them after a "
            "load and a warm-up, so the parts of a block lie further apart"
        )


def _marks(places: Sequence[Place]) -> list[str]:
    """As `harness.plain_runs.marks`, and what is true of the questions and of backends that answer none."""
    facts = places[0].facts
    said = marks(facts.settings)
    silent = [place.name for place in places if place.backend.get("answers") is False]
    if not facts.comparable and len(silent) < len(places):
        said.append(f"{facts.data_name}, not comparable")
    if silent:
        said.append(f"no model, measures the harness: {', '.join(silent)}")
    return said


def _of_all(places: Sequence[Place]) -> list[str]:
    """What the candidates' own preparation warns of, once each: a warm-up in every turn warns of the same with other numbers."""
    first: dict[str, str] = {}
    for line in (line for each in places for line in each.seat.warnings):
        first.setdefault(_NUMBERS.sub("", line), line)
    return list(first.values())


# -------------------------------------------------------------------------------------------------------------------------- scoring


def _candidate(turns: Turns, place: Place, *, skip: bool) -> Candidate | None:
    """The candidate as it took part, scored; None where somebody stopped the scoring."""
    if skip or place.problem or not place.facts.settings["accuracy"] or not place.backend.get("answers"):
        return _plain(place)
    scored = turns.loaded(place).score()
    if scored.interrupted:
        return None
    return replace(_plain(place), accuracy=scored.accuracy, outcomes=scored.outcomes, problem=scored.problem)


def _plain(place: Place) -> Candidate:
    facts = place.facts
    return Candidate(
        name=place.name,
        settings=facts.settings,
        backend=place.backend,
        policy=facts.policy,
        padding_share=float(np.median(place.padding)) if place.padding else None,
        problem=place.problem,
        model=facts.model,
        conditions=facts.conditions,
        workers=place.ready.workers if place.ready is not None else {},
        place=place.wanted.place,
    )
