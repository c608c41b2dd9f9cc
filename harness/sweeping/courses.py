"""What a command line and a configuration file ask to sweep, as courses whose every point is a valid configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import plugins
from harness.config import RunConfig, flag, load
from harness.config_file import read
from harness.errors import UsageError
from harness.plain_runs import plain
from harness.sweeping import axes
from harness.sweeping.axes import KEY, MOST_POINTS, RATE, Axis
from harness.sweeping.session import Course, in_order


@dataclass(frozen=True, slots=True)
class Asked:
    """`courses` in the order they are played; `swept`: each setting and its values, as they were understood."""

    courses: list[Course]
    swept: dict[str, list[Any]]


def asked(flags: Mapping[str, Any], file: Path | None, over: Sequence[str], most_rates: int) -> Asked:
    """Courses of `--over` texts, of the `sweep:` of a file (where `--over` does not name the setting), and of settings alike for all.

    Where nothing but rates is swept and no scenario is given, it is server. Raises UsageError and MissingError, naming the value.
    """
    entries = read(file) if file is not None else []
    found = _axes(over, entries, file)
    if given := next((axis for axis in found if axis.setting in flags), None):
        raise UsageError(f"{given.origin}: {flag(given.setting)} is given as well", "give it once, or its values")
    common = dict(flags)
    named = {*flags, *(key.replace("-", "_") for key, _, _ in entries), *(axis.setting for axis in found)}
    if "scenario" not in named and not {axis.setting for axis in found} - {RATE}:
        common["scenario"] = "server"
    courses = in_order(_courses(common, file, found))
    points = sum(most_rates if course.rates is None else max(1, len(course.rates)) for course in courses)
    if points > MOST_POINTS:
        raise UsageError(f"up to {points:,} points, a sweep has {MOST_POINTS} at most", "take fewer values, or fewer --rates a curve")
    return Asked(courses, _understood(courses, found))


def _axes(over: Sequence[str], entries: Sequence[tuple[str, int, Any]], file: Path | None) -> list[Axis]:
    given = [axes.from_text(text) for text in over]
    names = {axis.setting for axis in given}
    below = [axis for key, line, value in entries if key == KEY for axis in axes.from_mapping(value, f"{file}:{line}: {KEY}")]
    return [*given, *(axis for axis in below if axis.setting not in names)]


def _courses(common: Mapping[str, Any], file: Path | None, found: Sequence[Axis]) -> list[Course]:
    axes.grid(found)  # refuses what is too large
    others = [axis for axis in found if axis.setting != RATE]
    rate = next((axis for axis in found if axis.setting == RATE), None)
    origins = {axis.setting: axis.origin for axis in found}

    def made(values: Mapping[str, Any]) -> RunConfig:
        config = load({**common, **values}, file, origin=lambda name: origins.get(name, flag(name)), apart=(KEY,))
        return plain(config, "cannot be swept: points are performance runs of one task by the native engine")

    return [_course(values, rate, made) for values in axes.grid(others)]


def _course(values: Mapping[str, Any], rate: Axis | None, made: Any) -> Course:
    configs: list[RunConfig] = [made({**values, RATE: each}) for each in rate.values] if rate else [made(values)]
    config = configs[0]
    plain = config.model_dump(mode="json")
    paced = plugins.load("scenarios", config.scenario).create().paced
    if rate and not paced:
        raise UsageError(f"{rate.origin}: {config.scenario} asks at no rate of its own", "sweep rates in --scenario server")
    played: tuple[float, ...] | None = ()
    if paced:
        played = None if config.target_qps is None else tuple(sorted(each.target_qps or 0.0 for each in configs))
    return Course({name: plain[name] for name in values}, config, played)


def _understood(courses: Sequence[Course], found: Sequence[Axis]) -> dict[str, list[Any]]:
    """Values as the schema reads them, each once, in the order given."""
    said: dict[str, list[Any]] = {}
    for axis in found:
        values = (
            [rate for course in courses for rate in course.rates or ()]
            if axis.setting == RATE
            else [course.values[axis.setting] for course in courses]
        )
        said[axis.setting] = sorted(set(values)) if axis.setting == RATE else [v for n, v in enumerate(values) if v not in values[:n]]
    return said
