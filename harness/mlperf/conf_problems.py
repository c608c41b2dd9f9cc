"""What is wrong with a configuration file of LoadGen's: everything that it would ignore or misread without a word. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

from harness.errors import UsageError
from harness.loadgen import MODES, SCENARIOS, Requested
from harness.mlperf import rounds
from harness.mlperf.c_numbers import c_double, c_integer, meant_number
from harness.mlperf.conf import (
    BUILT_IN,
    KEYS,
    MARK,
    MILLISECONDS,
    UNREAD,
    WITHOUT_MARK,
    Entry,
    Key,
    Problem,
    applied,
    from_config,
    is_one,
    mode_of,
    not_zero,
    parse,
    with_applied,
)
from harness.suggest import closest


def problems(text: str, origin: str, model: str, scenario: str, conf_type: int) -> list[Problem]:
    """Everything in the file that LoadGen would ignore or misread without a word, and what it refuses, by line.

    Lines for other models and scenarios that LoadGen knows are right, and are checked as the others are. `origin` is what the file is
    called in `Problem.where`; `model` "*" (audit files) finds no line that names a model.
    """
    entries, found = parse(text, origin)
    seen: dict[str, int] = {}
    before = from_config(Requested(), "", model, scenario, conf_type)[1]
    about = _About(model, scenario, conf_type, with_applied(before, applied(entries, before, model, scenario, conf_type)))
    for entry in entries:
        found += [Problem(f"{origin}:{entry.line}", fault, cure) for fault, cure in _faults(entry, about, seen)]
        seen[entry.key] = entry.line
    return sorted(found, key=lambda problem: int(problem.where.rpartition(":")[2]))


@dataclass(frozen=True, slots=True)
class _About:
    """What a file is read for, and the settings that come out."""

    model: str
    scenario: str
    conf_type: int
    settings: Requested


def _faults(entry: Entry, about: _About, seen: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """What is wrong with one entry, and the cure of it. `seen`: lines of the keys before it."""
    if entry.others:
        yield f"{entry.key} has several values; LoadGen takes the last, {entry.value}", "give one"
    if entry.key in seen:
        yield f"{entry.key} is given twice (first on line {seen[entry.key]}); LoadGen takes the last", "keep one of the two"
    parts = entry.key.rsplit(".", 2)
    if len(parts) < 3:
        yield f"{entry.key} is not model.scenario.key; LoadGen ignores it", _three_parts(parts)
        return
    model, scenario, name = parts
    misnamed = list(_misnamed(model, scenario, name, about.model))
    yield from misnamed or _useless(model, scenario, name, entry, about)


def _useless(model: str, scenario: str, name: str, entry: Entry, about: _About) -> Iterator[tuple[str, str]]:
    """An entry with known names that has no effect, or another than is written."""
    keys = [key for key in KEYS if key.name == name]
    usable = [key for key in keys if scenario == "*" or key.scenario in ("", scenario)]
    if keys[0].protected and about.conf_type != BUILT_IN:
        yield f"{name} cannot be set in this file; LoadGen ignores it", _protected_cure(name)
    elif not usable:
        under = ", ".join(key.scenario for key in keys)
        yield (
            f"{name} has no effect under {scenario}; LoadGen looks it up under {under} only",
            f"write it under {under}, or delete the line",
        )
    else:
        switch, under = keys[0].needs, keys[0].scenario or about.scenario
        if switch and model in ("*", about.model) and scenario in ("*", under) and not getattr(about.settings, switch):
            yield f"{name} has no effect: it needs {switch} = 1", f"set {switch}, or delete the line"
        if scenario == "*":  # what this run does not look up is not misread
            usable = [key for key in keys if key.scenario in ("", about.scenario)]
        yield from sorted({fault for key in usable if (fault := _misread(key, entry.value))})


def _three_parts(parts: list[str]) -> str:
    if len(parts) == 2 and parts[0] in SCENARIOS:
        return f"write *.{parts[0]}.{parts[1]}"
    return f"write *.*.{parts[-1]}, or name a model and a scenario"


def _misnamed(name_model: str, scenario: str, name: str, model: str) -> Iterator[tuple[str, str]]:
    """Model, scenario or key that LoadGen does not know."""
    if name_model.startswith(MARK):
        yield "the file begins with a byte order mark; LoadGen ignores the line", WITHOUT_MARK
    elif model == "*" and name_model != "*":
        yield f"model {name_model}: LoadGen reads only lines for all models here", f"write *.{scenario}.{name}"
    elif name_model not in ("*", model, *rounds.MODELS):
        near = _base_model(name_model) or closest(name_model, rounds.MODELS)
        yield f"LoadGen knows no model {name_model}; it ignores the line", f"did you mean {near}?" if near else f"write * or {model}"
    if scenario not in ("*", *SCENARIOS):
        near = closest(scenario, SCENARIOS)
        start = f"did you mean {near}? " if near else ""
        yield f"LoadGen knows no scenario {scenario}; it ignores the line", f"{start}Scenarios: *, {', '.join(SCENARIOS)}"
    if name in UNREAD:
        yield f"{name} has no effect; LoadGen does not look it up", f"{UNREAD[name]}, or delete the line"
    elif name not in {key.name for key in KEYS}:
        names = sorted({key.name for key in KEYS})
        near = closest(name, names)
        yield f"LoadGen knows no key {name}; it ignores the line", f"did you mean {near}?" if near else f"keys: {', '.join(names)}"


def _base_model(name: str) -> str | None:
    """bert-99.9 -> bert: benchmark names carry the accuracy target, LoadGen's model names do not."""
    base = re.sub(r"-99(\.9)?$", "", name)
    return base if base != name and base in rounds.MODELS else None


def _protected_cure(name: str) -> str:
    if name.endswith("_rng_seed") and not name.startswith("test05"):
        return f"use --{name.removesuffix('_rng_seed').removesuffix('_index').replace('_', '-')}-seed, or --round for a round's seeds"
    return "use --test05" if name.startswith("test05") else "use --accuracy-log-probability (a share, not percent)"


def _misread(key: Key, text: str) -> tuple[str, str] | None:
    """Where LoadGen reads another number than a person does, and the cure."""
    if key.convert in (is_one, not_zero):
        if meant_number(text) in (0, 1) and c_integer(text) == meant_number(text):
            return None
        return f"{key.name} is a switch; LoadGen reads {text} as {'on' if key.convert(text) else 'off'}", "write 1 or 0"
    if key.convert is mode_of:
        if mode_of(text) and meant_number(text) == c_integer(text):
            return None
        names = ", ".join(f"{number} {name}" for number, name in enumerate(MODES))
        return f"mode {text}: LoadGen reads {mode_of(text) or 'nothing'}", f"choose one of {names}"
    if isinstance(key.convert("0"), float):
        return None if isfinite(c_double(text)) else (f"{key.name}: {text} is not a finite number", "write one such as 95 or 0.5")
    return _misread_integer(key, text)


def _misread_integer(key: Key, text: str) -> tuple[str, str] | None:
    factor = 1_000_000 if key.convert is MILLISECONDS else 1
    meant, read = meant_number(text), key.convert(text)
    if meant is not None and meant * factor == read:
        return None
    shown = f"{read} ns" if read % factor else str(read // factor)
    place = f" under {key.scenario}" if key.scenario else ""
    return f"{key.name}{place} is an integer; LoadGen reads {text} as {shown}", _integer_cure(text, factor)


def _integer_cure(text: str, factor: int) -> str:
    unit = " of milliseconds" if factor > 1 else ""
    if text.lstrip("+-").startswith("0") and text.strip("+-0").isdigit():
        return "write it without the leading 0, which makes it octal"
    return f"write a whole number{unit} of 0 or more, with digits only"


def read(text: str, origin: str, model: str, scenario: str, conf_type: int, *, compat: bool = False) -> list[Entry]:
    """The entries of a file that may be used.

    Raises one UsageError that lists every problem (`problems`); with `compat` only those for which LoadGen itself refuses the file.
    """
    found = problems(text, origin, model, scenario, conf_type)
    if compat:
        found = [problem for problem in found if problem.fatal]
    if len(found) == 1:
        raise UsageError(f"{found[0].where}: {found[0].text}", found[0].cure)
    if found:
        raise UsageError("\n".join(map(str, found)), "" if compat else "--conf-compat reads such files as LoadGen does")
    return parse(text, origin)[0]
