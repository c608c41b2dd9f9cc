"""Many machines held against each other: those of one make that did the same, and their GPUs; who is not like the others. Pure.

The record that comes out is fleet.json: JSON values only, all that its report says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from harness.errors import ExitCode
from harness.history.series_key import digest
from harness.qualifying import gpus, outliers
from harness.qualifying.fleet_reading import RUN, Measured, Unread, Value

SCHEMA = 1
"""Version of fleet.json. 1: first."""

_KINDS = ("machine", "GPU")

_Key = tuple[int, str]
"""Number of a group, name of a unit."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A machine with all its files, or one of its GPUs. `values`: the median of the files, by figure."""

    name: str
    files: tuple[Measured, ...]
    values: Mapping[str, float]

    @property
    def newest(self) -> Measured:
        return max(self.files, key=lambda each: each.started_utc)


@dataclass(frozen=True, slots=True)
class Group:
    """Units that may be compared. `of`: machine or GPU; `left_out`: figures that are not, with the reason."""

    of: str
    level: str
    kind: Mapping[str, Any]
    subject: Mapping[str, Any]
    units: tuple[Unit, ...]
    metrics: tuple[outliers.Metric, ...]
    left_out: Mapping[str, str]


def record(found: Sequence[Measured], unread: Sequence[Unread], least: float = outliers.LEAST) -> dict[str, Any]:
    """fleet.json of all that was read. `least`: share below which no difference counts."""
    groups = [group for same in _alike(found) for group in _groups(same)]
    places: dict[_Key, dict[str, outliers.Place]] = {(number, unit.name): {} for number, group in enumerate(groups) for unit in group.units}
    for number, group in enumerate(groups):
        for metric in group.metrics:
            for unit, place in outliers.places(metric, least).items():
                places[number, unit][metric.name] = place
    named = _named(places)
    tested = sum(1 for each in places.values() if each)
    made = [_group(number, group, places, named, tested, least) for number, group in enumerate(groups)]
    return {
        "schema": SCHEMA,
        "kind": "fleet",
        "rule": {"rate": outliers.RATE, "least": least, "fewest": outliers.FEWEST, "tested": tested},
        "files": len(found),
        "groups": made,
        "unread": [{"file": each.file, "reason": each.reason} for each in unread],
        "exit_code": int(_exit_code(made)),
    }


def _exit_code(groups: Sequence[Mapping[str, Any]]) -> ExitCode:
    """A machine that its own qualification rejected is not made good by others that are as bad."""
    if any(unit["worse"] or unit["verdict"] == "REJECTED" for group in groups for unit in group["units"]):
        return ExitCode.QUALIFICATION
    return ExitCode.OK if any(group["compared"] for group in groups) else ExitCode.NOTHING_MEASURED


# ------------------------------------------------------------------------------------------------------------------------ groups


def _alike(found: Iterable[Measured]) -> list[list[Measured]]:
    """By what they are made of, the level, and what ran; larger groups first."""
    groups: dict[str, list[Measured]] = {}
    for each in found:
        groups.setdefault(digest([each.level, each.kind, each.subject]), []).append(each)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0].level, group[0].file))


def _groups(found: Sequence[Measured]) -> Iterator[Group]:
    """Machines, and where figures say which GPU they are of, all GPUs of these machines."""
    machines = _machines(found)
    for of in _KINDS:
        units = tuple(machines) if of == "machine" else tuple(_gpus(machines))
        if not units:
            continue
        metrics, left_out = _metrics(units, {value.name: value for each in found for value in _renamed(each.values, of)})
        if of == "machine" or metrics:
            yield Group(of, found[0].level, found[0].kind, found[0].subject, units, metrics, left_out)


def _machines(found: Sequence[Measured]) -> list[Unit]:
    files: dict[str, list[Measured]] = {}
    for each in found:
        files.setdefault(each.identity, []).append(each)
    doubled = Counter(group[0].machine for group in files.values())
    units = []
    for identity, group in files.items():
        name = group[0].machine
        shown = f"{name} ({digest(identity)[:6]})" if doubled[name] > 1 else name
        units.append(Unit(shown, tuple(group), _medians(_renamed(each.values, "machine") for each in group)))
    return sorted(units, key=lambda unit: unit.name)


def _gpus(machines: Sequence[Unit]) -> Iterator[Unit]:
    for machine in machines:
        known = {gpus.number(value.name) for each in machine.files for value in each.values}
        for number in sorted(number for number in known if number is not None):
            own = [[value for value in each.values if gpus.number(value.name) == number] for each in machine.files]
            yield Unit(f"{machine.name} GPU {number}", machine.files, _medians(_renamed(values, "GPU") for values in own))


def _renamed(values: Iterable[Value], of: str) -> list[Value]:
    """Those of machines, or those of GPUs without the number in their names."""
    if of == "machine":
        return [value for value in values if gpus.number(value.name) is None]
    return [replace(value, name=gpus.without(value.name)) for value in values if gpus.number(value.name) is not None]


def _medians(files: Iterable[Sequence[Value]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for values in files:
        for value in values:
            found.setdefault(value.name, []).append(value.value)
    return {name: median(values) for name, values in found.items()}


def _metrics(units: Sequence[Unit], known: Mapping[str, Value]) -> tuple[tuple[outliers.Metric, ...], dict[str, str]]:
    metrics, left_out = [], {}
    for name, value in known.items():
        values = {unit.name: unit.values[name] for unit in units if name in unit.values}
        if not values:
            continue
        if min(values.values()) <= 0:
            away = [unit for unit, each in values.items() if each != median(values.values())]
            left_out[name] = f"0 or less on some, so there are no ratios; {', '.join(away) or 'none'} not equal to the median"
        else:
            metrics.append(outliers.Metric(name, value.unit, value.better, values))
    return tuple(metrics), left_out


# ------------------------------------------------------------------------------------------------------------------------ record


def _named(places: Mapping[_Key, Mapping[str, outliers.Place]]) -> dict[_Key, dict[str, outliers.Named]]:
    """By unit and direction: all groups together are one family of tests."""
    keys = {f"{number}/{unit}": (number, unit) for number, unit in places}
    flat = {key: places[place] for key, place in keys.items()}
    found: dict[_Key, dict[str, outliers.Named]] = {}
    for direction in ("worse", "better"):
        for each in outliers.named(flat, direction):
            found.setdefault(keys[each.unit], {})[direction] = each
    return found


def _group(
    number: int,
    group: Group,
    places: Mapping[_Key, Mapping[str, outliers.Place]],
    named: Mapping[_Key, Mapping[str, outliers.Named]],
    tested: int,
    least: float,
) -> dict[str, Any]:
    chance = outliers.alone(tested, len(group.metrics))
    return {
        "of": group.of,
        "level": group.level,
        "kind": _kind(group.kind, group.of),
        "hardware": dict(group.kind),
        "subject": dict(group.subject),
        "subject_text": _subject(group),
        "compared": any(len(metric.values) >= outliers.FEWEST for metric in group.metrics),
        "units": [_unit(unit, group.of, places[number, unit.name], named.get((number, unit.name), {})) for unit in group.units],
        "metrics": [_metric(metric, chance, least) for metric in group.metrics],
        "left_out": dict(group.left_out),
        "configuration": _configuration(group) if group.of == "machine" else [],
    }


def _unit(unit: Unit, of: str, places: Mapping[str, outliers.Place], named: Mapping[str, outliers.Named]) -> dict[str, Any]:
    """A GPU has no verdict of its own."""
    found = {name: {"share": p.share, "spreads": p.spreads, "worse": p.worse, "better": p.better} for name, p in places.items()}
    return {
        "name": unit.name,
        "verdict": unit.newest.verdict if of == "machine" else "",
        "failed": list(unit.newest.failed) if of == "machine" else [],
        "files": [each.file for each in unit.files],
        "values": dict(unit.values),
        "places": found,
        **{direction: list(named[direction].metrics) if direction in named else [] for direction in ("worse", "better")},
        "chance": min((each.chance for each in named.values()), default=None),
    }


def _metric(metric: outliers.Metric, chance: float, least: float) -> dict[str, Any]:
    found = outliers.ground(metric, chance, least) if len(metric.values) > 1 else None
    return {
        "name": metric.name,
        "unit": metric.unit,
        "better": metric.better,
        "n": len(metric.values),
        "median": median(metric.values.values()),
        "spread": found.spread if found else None,
        "finest": found.finest if found and found.finest < 1e6 else None,
    }


def _kind(hardware: Mapping[str, Any], of: str) -> str:
    cpu = hardware.get("cpu") or {}
    gpus = Counter(str(gpu.get("name")) for gpu in hardware.get("gpus") or ())
    listed = [f"{count} × {name}" if count > 1 else name for name, count in gpus.items()]
    if of == "GPU":
        return ", ".join(gpus) or "GPU"
    return ", ".join([str(cpu.get("model") or "unknown processor"), f"{cpu.get('usable_cores') or '?'} cores", *listed])


def _subject(group: Group) -> str:
    subject = group.subject
    if group.level == RUN:
        words = [subject["task"].get("name"), subject.get("scenario"), subject["backend"].get("as typed")]
    else:
        words = [(subject.get("data") or {}).get("task"), subject.get("backend"), (subject.get("model") or {}).get("name")]
    return " · ".join(str(word) for word in words if word)


def _configuration(group: Group) -> list[dict[str, Any]]:
    """Each setting in which not all agree: what most have, and who has something else. `most` is None where no value has a majority."""
    listed = {unit.name: unit.newest.configuration for unit in group.units}
    found = []
    for name in sorted({name for each in listed.values() for name in each}):
        here = {unit: each.get(name, "none") for unit, each in listed.items()}
        value, count = Counter(here.values()).most_common(1)[0]
        if count < len(here):
            most = value if 2 * count > len(here) else None
            found.append({"what": name, "most": most, "count": count, "of": len(here), "others": _others(here, most)})
    return found


def _others(here: Mapping[str, str], most: str | None) -> dict[str, list[str]]:
    """Machines by what they have instead."""
    found: dict[str, list[str]] = {}
    for unit, value in here.items():
        if value != most:
            found.setdefault(value, []).append(unit)
    return found
