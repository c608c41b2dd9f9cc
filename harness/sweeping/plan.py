"""What a sweep would do: its points, and about how long they take. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness import units
from harness.rules import RULES
from harness.sweeping import offline
from harness.sweeping.crews import crew_key
from harness.sweeping.rates import SHARES
from harness.sweeping.session import Course
from harness.sweeping.words import named

LOAD_S = 2.0
"""What loading is taken to last: from a fraction of a second to minutes for an engine that must be built."""


def text(courses: Sequence[Course], repeat: int, most_rates: int) -> str:
    """Lines for the screen: every point in order, then the time."""
    return "\n".join([*_points(courses, most_rates), "", *_time(courses, repeat, most_rates)])


def _points(courses: Sequence[Course], most_rates: int) -> Iterator[str]:
    for number, course in enumerate(courses, start=1):
        config = course.config
        what = named(course.values) or config.backend
        yield f"{number:3}  {config.scenario} · {config.task} · {what}{_rates(course, most_rates)}"


def _rates(course: Course, most_rates: int) -> str:
    if course.rates is None:
        shares = ", ".join(f"{100 * share:g} %" for share in SHARES)
        return f": {shares} of the offline rate, then closer around the bound, {most_rates} rates at most"
    return f": {', '.join(units.number(rate) for rate in course.rates)} queries/s" if course.rates else ""


def _time(courses: Sequence[Course], repeat: int, most_rates: int) -> Iterator[str]:
    points = sum(most_rates if course.rates is None else max(1, len(course.rates)) for course in courses)
    most = "up to " if any(course.rates is None for course in courses) else ""
    yield f"{most}{units.plural(points, 'point')}, {units.plural(repeat, 'pass').replace('passs', 'passes')}"
    yield f"expected time {most}{units.seconds(_seconds(courses, repeat, most_rates))}, without exporting models and scoring answers"
    yield "where early stopping is required or queries are few a visit takes longer"


def _seconds(courses: Sequence[Course], repeat: int, most_rates: int) -> float:
    total = 0.0
    for course in courses:
        visits = most_rates if course.rates is None else max(1, len(course.rates))
        total += repeat * visits * (course.config.duration or RULES[course.config.rules].duration_s)
        total += 0.0 if course.rates else offline.SECONDS
    keys = [crew_key(course.config) for course in courses]
    loads = len(set(keys)) * repeat - (repeat - 1)  # a pass begins with the crew that ended the one before
    return total + loads * (LOAD_S + max(course.config.warmup for course in courses) / 2)
