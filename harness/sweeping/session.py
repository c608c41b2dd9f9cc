"""A sweep from beginning to end: every crew is loaded and warmed, plays its points, and its answers are scored.

The first pass goes over all points in the order given, searching for the rates of a curve as it goes; the second visits the same points in
reverse, the third forwards again. After two passes each point's mean time is the middle of the sweep, so a machine that slows down
steadily slows all of them alike, whatever the search did.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import conditions, gate, session
from harness.bench import Bench, batching_policy, prepare
from harness.config import RunConfig
from harness.errors import AssayError, Interrupted
from harness.interference import WORTH_SAYING
from harness.modes import Outcome
from harness.progress import Progress
from harness.rules import resolve
from harness.stages import Stage, run_stage
from harness.sweeping import offline, overload, rates
from harness.sweeping.crews import Crews, crew_key
from harness.sweeping.figures import as_visit
from harness.sweeping.results import Line, Point, over
from harness.telemetry.account import meanwhile, warnings
from harness.telemetry.stream import Stream, beside

BREAKS = ("worker_died", "hung")
"""Codes of reasons after which a crew is of no more use."""


@dataclass(frozen=True, slots=True)
class Course:
    """One line to be swept. `values`: what sets it apart, by setting; `rates`: those to play, None: to be searched for, () where the
    scenario has no rate of its own."""

    values: Mapping[str, Any]
    config: RunConfig
    rates: tuple[float, ...] | None = ()


@dataclass(slots=True)
class Swept:
    """All that a sweep found. `lines` are the courses, `points` in the order of their first visit."""

    lines: list[Line]
    points: list[Point] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    complete: bool = True


def run(courses: Sequence[Course], repeat: int, most_rates: int, progress: Progress) -> Swept:
    """Measure every course, `repeat` times. Raises AssayError for what makes that impossible before the first point; from then on what
    happens to a point is a result, and Ctrl-C keeps what there is."""
    with beside(os.getpid(), max(course.config.telemetry for course in courses)) as stream:
        return _swept(courses, repeat, most_rates, progress, stream)


def _swept(courses: Sequence[Course], repeat: int, most_rates: int, progress: Progress, stream: Stream) -> Swept:
    benches = _benches(courses, progress)
    lines = [_line(course, bench) for course, bench in zip(courses, benches, strict=True)]
    swept = Swept(lines, conditions=conditions.collect(session.ROOT))
    player = _Player(courses, benches, swept, most_rates)
    begun_ns = time.monotonic_ns()
    try:
        with _ended_like_ctrl_c():
            for turn in range(repeat):
                progress.note(f"pass {turn + 1} of {repeat}")
                player.first_pass() if turn == 0 else player.again(turn)
    except (Interrupted, KeyboardInterrupt):
        swept.complete = False
    finally:
        player.crews.close()
        swept.seconds = player.elapsed()
    recording, ended_ns = stream.stop(), time.monotonic_ns()
    swept.telemetry = meanwhile(recording, begun_ns, ended_ns)
    reached = {point.line for point in swept.points}
    swept.points += [Point(number, line.values) for number, line in enumerate(lines) if number not in reached]
    read = warnings(recording, begun_ns, ended_ns)
    swept.warnings += list(dict.fromkeys([*_disturbed(benches), *read, *(line for bench in benches for line in bench.warnings)]))
    return swept


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Inside, SIGTERM (time limits, service managers) keeps what was measured, between visits as well as in them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _disturbed(benches: Sequence[Bench]) -> Iterator[str]:
    most = max((bench.others_share or 0.0 for bench in benches), default=0.0)
    if most > WORTH_SAYING:
        yield (
            f"other processes used up to {most:.0%} of this machine's cores during a visit; latency suffers far more than in proportion: "
            "sweep again when the machine is quiet"
        )


def in_order(courses: Iterable[Course]) -> list[Course]:
    """Courses of one crew beside each other, crews in the order of their first course: each is loaded once a pass."""
    found = list(courses)
    first = {key: place for place, key in reversed(list(enumerate(crew_key(course.config) for course in found)))}
    return sorted(found, key=lambda course: first[crew_key(course.config)])


# -------------------------------------------------------------------------------------------------------------------------- benches


def _benches(courses: Sequence[Course], progress: Progress) -> list[Bench]:
    """What every course needs, resolved: contradictions in the settings of any point are found before the first is measured."""
    prepared: dict[tuple[Any, ...], Bench] = {}
    benches = []
    for course in courses:
        config, key = course.config, crew_key(course.config)
        if key not in prepared:
            prepared[key] = prepare(config, progress)
        benches.append(_alike(prepared[key], config))
    return benches


def _alike(first: Bench, config: RunConfig) -> Bench:
    """A bench with the same model and questions and settings of its own."""
    from harness import plugins

    scenario = plugins.load("scenarios", config.scenario).create()
    played = config if config.rules == "mlperf" else config.model_copy(update={"accuracy": False})  # a pass of its own scores a crew once
    settings = resolve(played, scenario, first.task.latency_bound_ns, sample_count=len(first.task.samples))
    return Bench(config, scenario, first.task, first.model, settings, batching_policy(config), first.progress)


def _line(course: Course, bench: Bench) -> Line:
    settings = course.config.model_dump(mode="json")
    if not bench.scenario.paced:
        return Line(course.values, settings)
    return Line(course.values, settings, bench.settings.latency_bound_ns, bench.settings.percentile)


# ------------------------------------------------------------------------------------------------------------------------- playing


class _Player:
    """Visits points and writes down what it sees."""

    def __init__(self, courses: Sequence[Course], benches: Sequence[Bench], swept: Swept, most_rates: int) -> None:
        self.courses, self.benches, self.swept, self.most_rates = courses, benches, swept, most_rates
        self.crews = Crews()
        self._begun = time.monotonic()
        self._fullest: Stage | None = None  # the largest ledger of the course being played: what its accuracy is scored from
        self._scored: dict[tuple[Any, ...], tuple[Any, str]] = {}

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def first_pass(self) -> None:
        for number, course in enumerate(self.courses):
            try:
                self._course(number, course)
            except AssayError as error:
                self._refuse(number, error)

    def again(self, turn: int) -> None:
        """All points that are no failure once more: backwards in every second pass."""
        for point in self.swept.points[::-1] if turn % 2 else self.swept.points:
            if not point.problem:
                self._revisit(point, turn)

    def _revisit(self, point: Point, turn: int) -> None:
        try:
            self._visit(point, turn)
        except Interrupted:
            raise
        except AssayError as error:
            point.problem = str(error)
            self.crews.close()

    def _refuse(self, number: int, error: AssayError) -> None:
        """A course that could not be played is a row that says so, never a missing one."""
        if isinstance(error, Interrupted):
            raise error
        self.crews.close()
        line = self.swept.lines[number]
        line.problem = str(error)
        if not any(point.line == number for point in self.swept.points):
            self.swept.points.append(Point(number, line.values, problem=str(error)))

    def _course(self, number: int, course: Course) -> None:
        bench, line = self.benches[number], self.swept.lines[number]
        crew = self.crews.at(bench, self.swept.conditions)
        line.backend = self.crews.backend
        self._fullest = None
        if course.rates is None or not (bench.scenario.closed_loop or bench.scenario.paced):
            line.offline = offline.rate(bench, crew)
        if course.rates is None:
            self._search(number)
        for rate in (None,) if course.rates == () else course.rates or ():
            self._new(number, rate)
        self._score(number)

    def _search(self, number: int) -> None:
        bench, line = self.benches[number], self.swept.lines[number]
        assert line.offline is not None
        search = rates.search(overload.askable(bench, line.offline), line.allowed, self.most_rates)
        try:
            rate = next(search)
            while True:
                point = self._new(number, rate)
                if point.problem:
                    return
                beyond, queries = over(point)
                rate = search.send(rates.Seen(rate, queries, beyond))
        except StopIteration:
            return

    def _new(self, number: int, rate: float | None) -> Point:
        line = self.swept.lines[number]
        values = dict(line.values) if rate is None else {**line.values, "target_qps": rate}
        point = Point(number, values, rate)
        self.swept.points.append(point)
        self._visit(point, 0)
        return point

    def _visit(self, point: Point, turn: int) -> None:
        """One stretch at a point. Raises Interrupted."""
        bench, line = self.benches[point.line], self.swept.lines[point.line]
        crew = self.crews.at(bench, self.swept.conditions)
        at_s, before = self.elapsed(), len(bench.warnings)
        settings = replace(bench.settings, target_qps=self._target(point, line))
        if point.rate is not None:
            settings = overload.limited(settings, bench)
        stage = run_stage(bench, crew, settings, _name(point))
        new = [text for text in bench.warnings[before:] if not text.startswith("other processes")]  # said once, of the whole sweep
        bench.warnings[before:] = [f"{_name(point)}: {text}" for text in new]
        if stage.measured.interrupted:
            raise Interrupted("interrupted by Ctrl-C")
        if problem := overload.problem(stage.measured.reasons):
            point.problem = problem
            if any(reason.code in BREAKS for reason in stage.measured.reasons):
                self.crews.close()
            return
        visit = as_visit(bench, stage, turn, at_s, packed=bool(self.crews.backend.get("packed")))
        point.visits.append(visit)
        fullest = len(self._fullest.measured.columns.sample) if self._fullest else 0
        if not visit.given_up and len(stage.measured.columns.sample) > fullest:
            self._fullest = stage

    def _target(self, point: Point, line: Line) -> float:
        bench = self.benches[point.line]
        if point.rate is not None:
            return point.rate
        return bench.settings.target_qps if bench.config.target_qps is not None else line.offline or bench.settings.target_qps

    def _score(self, number: int) -> None:
        """The accuracy of a crew, once: every line that it plays has it."""
        bench, line = self.benches[number], self.swept.lines[number]
        key = crew_key(bench.config)
        if key not in self._scored:
            if (stage := self._fullest) is None:
                return
            crew = self.crews.at(bench, self.swept.conditions)
            scored = gate.check_answers(bench, crew, Outcome(stage, [stage]), self.crews.backend)
            if stage.measured.interrupted:
                raise Interrupted("interrupted by Ctrl-C")
            self._scored[key] = scored, stage.measured.reasons[0].text if stage.measured.reasons else ""
        line.accuracy, line.problem = self._scored[key]
        for point in self.swept.points:
            if line.problem and point.line == number:
                point.problem = line.problem


def _name(point: Point) -> str:
    """ "pytorch:amp, 32/s": as it stands on the screen while it is measured."""
    others = [f"{value}" if name == "backend" else f"{name} {value}" for name, value in point.values.items() if name != "target_qps"]
    return ", ".join([*others, *([f"{point.rate:g}/s"] if point.rate is not None else [])]) or "point"
