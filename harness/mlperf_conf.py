"""LoadGen's configuration files: what it makes of one, and everything in it that it would ignore or misread without a word. Pure.

A line is `model.scenario.key = value`, split at white space; `*` stands for every model or scenario. The parser, the table of keys and
the order in which keys are looked up are those of `TestSettings::FromConfig` of LoadGen 6.0.17 (test_settings_internal.cc).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any

from harness import rounds
from harness.errors import UsageError
from harness.loadgen import MODES, SCENARIOS, Requested
from harness.suggest import closest

BUILT_IN, USER, AUDIT = 0, 1, 2
"""conf_type of FromConfig. Only `BUILT_IN` may set seeds; `USER` applies the built-in file first."""

MISSING_FILE, BAD_FILE = -2, -22
"""FromConfig's return codes beside 0: -ENOENT and -EINVAL."""

# ----------------------------------------------------------------------------------------------------------------------------- numbers

_SPACE = re.compile(r"[ \t\n\v\f\r]+")
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_HEX = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?([0-9]+))?", re.IGNORECASE)
_NOT_FINITE = re.compile(r"([+-]?(?:inf|nan))(?:(?<=inf)inity|(?<=nan)\([0-9a-z_]*\))?", re.IGNORECASE)
_LONGEST = 64
"""Digits of a number that is still looked at; Python refuses to read integers of thousands of digits."""

_WORD = 2**64


def is_number(text: str) -> bool:
    """Whether strtod reads all of it; whatever strtoul reads whole, strtod does too."""
    return any(form.fullmatch(text) for form in (_DECIMAL, _HEX, _NOT_FINITE))


def c_integer(text: str) -> int:
    """strtoull with base 0: 0x is hexadecimal, a leading 0 octal, a minus wraps at 2^64, it stops at the first character it cannot read
    ("2.7" is 2, "abc" is 0), and what is too large is 2^64 - 1."""
    found = _INTEGER.match(text)
    if found is None:
        return 0
    digits = found[0].lstrip("+-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    value = int(digits, base) if len(digits.lstrip("0")) <= _LONGEST else _WORD
    if value >= _WORD:
        return _WORD - 1
    return -value % _WORD if found[0][0] == "-" else value


def c_double(text: str) -> float:
    """strtod of a text that `is_number` accepts."""
    if odd := _NOT_FINITE.fullmatch(text):
        return float(odd[1])
    if _HEX.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            return float("-inf" if text[0] == "-" else "inf")
    return float(text)


def _meant(text: str) -> Fraction | None:
    """The number that a person reads there; None where it is none, or too long for one to be meant."""
    decimal = _DECIMAL.fullmatch(text)
    if len(text) > _LONGEST or (decimal and len(decimal[1] or "") > 3) or not (decimal or _HEX.fullmatch(text)):
        return None
    if decimal:
        return Fraction(text)
    return Fraction(int(text, 16)) if _INTEGER.fullmatch(text) else Fraction(c_double(text))


# -------------------------------------------------------------------------------------------------------------------------------- keys


def _times(factor: int) -> Callable[[str], int]:
    return lambda text: c_integer(text) * factor % _WORD


def _real(factor: float) -> Callable[[str], float]:
    return lambda text: c_double(text) * factor


def _int32(text: str) -> int:
    """Through a C int: only max_async_queries."""
    low = c_integer(text) % 2**32
    return (low - 2**32 if low >= 2**31 else low) % _WORD


def _is_one(text: str) -> bool:
    return c_integer(text) == 1


def _not_zero(text: str) -> bool:
    return c_integer(text) != 0


def _mode(text: str) -> str | None:
    number = c_integer(text)
    return MODES[number] if number < len(MODES) else None


_WHOLE = _times(1)
_MS = _times(1_000_000)
_REAL_MS = _real(1e6)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the file. `scenario`: always looked up under that one (empty: the one asked for); `unit`: what `convert` multiplies an
    integer by; `needs`: the switch of Requested without which it is not looked up."""

    name: str
    field: str
    convert: Callable[[str], Any] = _WHOLE
    scenario: str = ""
    protected: bool = False
    needs: str = ""


KEYS: tuple[Key, ...] = (
    Key("mode", "mode", _mode),
    Key("qsl_rng_seed", "qsl_rng_seed", protected=True),
    Key("sample_index_rng_seed", "sample_index_rng_seed", protected=True),
    Key("schedule_rng_seed", "schedule_rng_seed", protected=True),
    Key("accuracy_log_probability", "accuracy_log_probability", _real(0.01), protected=True),
    Key("test05", "test05", _is_one, protected=True),
    Key("test05_qsl_rng_seed", "test05_qsl_rng_seed", protected=True),
    Key("test05_sample_index_rng_seed", "test05_sample_index_rng_seed", protected=True),
    Key("test05_schedule_rng_seed", "test05_schedule_rng_seed", protected=True),
    Key("use_token_latencies", "use_token_latencies", _is_one),
    Key("ttft_latency", "ttft_latency", _MS, "Server", needs="use_token_latencies"),
    Key("tpot_latency", "tpot_latency", _MS, "Server", needs="use_token_latencies"),
    Key("infer_token_latencies", "infer_token_latencies", _is_one),
    Key("token_latency_scaling_factor", "token_latency_scaling_factor", needs="infer_token_latencies"),
    Key("target_latency_percentile", "single_stream_target_latency_percentile", _real(0.01), "SingleStream"),
    Key("target_latency_percentile", "multi_stream_target_latency_percentile", _real(0.01), "MultiStream"),
    Key("target_latency_percentile", "server_target_latency_percentile", _real(0.01), "Server"),
    Key("samples_per_query", "multi_stream_samples_per_query", scenario="MultiStream"),
    Key("target_latency", "server_target_latency_ns", _MS, "Server"),
    Key("target_latency", "single_stream_expected_latency_ns", _REAL_MS, "SingleStream"),
    Key("target_latency", "multi_stream_expected_latency_ns", _REAL_MS, "MultiStream"),
    Key("target_qps", "server_target_qps", _real(1.0), "Server"),
    Key("target_qps", "offline_expected_qps", _real(1.0), "Offline"),
    Key("performance_issue_unique", "performance_issue_unique", _not_zero),
    Key("performance_issue_same", "performance_issue_same", _not_zero),
    Key("print_timestamps", "print_timestamps", _not_zero),
    Key("performance_issue_same_index", "performance_issue_same_index"),
    Key("sample_concatenate_permutation", "sample_concatenate_permutation", _is_one),
    Key("coalesce_queries", "server_coalesce_queries", _not_zero, "Server"),
    Key("max_async_queries", "server_max_async_queries", _int32, "Server"),
    Key("min_duration", "min_duration_ms"),
    Key("max_duration", "max_duration_ms"),
    Key("min_query_count", "min_query_count"),
    Key("max_query_count", "max_query_count"),
    Key("performance_sample_count_override", "performance_sample_count_override"),
    Key("accuracy_sample_count_override", "accuracy_sample_count_override"),
    Key("accuracy_log_rng_seed", "accuracy_log_rng_seed"),
    Key("accuracy_log_sampling_target", "accuracy_log_sampling_target"),
)
"""In the order in which LoadGen looks them up."""

_UNREAD = {"target_duration": "use min_duration"}
"""Keys that stand in LoadGen's own mlperf.conf and that it does not look up."""

# ------------------------------------------------------------------------------------------------------------------------------ parser


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with a value, and the line it stands on, from 1. `others`: the values that stood before it on that line."""

    line: int
    key: str
    value: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that LoadGen ignores or misreads; `fatal`: for which it refuses the whole file. `where` is "FILE:LINE"."""

    where: str
    text: str
    cure: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.text} ({self.cure})"


_MARK, _WITHOUT_MARK = "\ufeff", "save it as UTF-8 without one"
_SPACES = "write `key = value` with a space on both sides of ="


def parse(text: str, origin: str = "") -> tuple[list[Entry], list[Problem]]:
    """The entries of a file in its order, and what is wrong with its lines; with a fatal problem LoadGen applies no entry."""
    entries: list[Entry] = []
    found: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        tokens = [token for token in _SPACE.split(line) if token]
        entry, problem = _line(tokens, number, f"{origin}:{number}")
        if entry:
            entries.append(entry)
        if problem:
            found.append(problem)
    return entries, found


def _line(tokens: list[str], number: int, where: str) -> tuple[Entry | None, Problem | None]:
    """The entry of one line, or what is wrong with it, or neither (empty, a comment)."""
    if not tokens or tokens[0] == "#" or (len(tokens) == 1 and tokens[0].startswith("#")):
        return None, None
    key = tokens[0]
    if len(tokens) == 1 or tokens[1] == "#":
        fault, cure = (f"{key} is one word", _SPACES) if "=" in key else (f"{key} has no value", "write `key = value`, or delete the line")
        return None, Problem(where, f"{fault}; LoadGen ignores it", cure)
    if tokens[1] != "=":
        return None, Problem(where, *_not_equals(key, tokens[1]), fatal=True)
    values = tokens[2:]
    if not values:
        return None, Problem(where, f"{key} has no value; LoadGen ignores it", "write `key = value`, or delete the line")
    for value in values:
        if not is_number(value):
            return None, Problem(where, *_not_a_number(key, value, values), fatal=True)
    return Entry(number, key, values[-1], tuple(values[:-1])), None


def _not_equals(key: str, second: str) -> tuple[str, str]:
    if key.startswith(_MARK):
        return "the file begins with a byte order mark: LoadGen refuses it", _WITHOUT_MARK
    if key.startswith("#"):
        return f"{key} is not a comment for LoadGen: it refuses the file", f"put a space behind #: `# {key.lstrip('#')} ...`"
    cure = _SPACES if "=" in key + second else "write `model.scenario.key = value`"
    return f"{second!r} stands where = must be: LoadGen refuses the file", cure


def _not_a_number(key: str, value: str, values: list[str]) -> tuple[str, str]:
    if value.startswith("#") and value != values[0]:
        return f"a comment behind the value of {key}: LoadGen refuses the file", "put the comment on a line of its own"
    return f"{key}: {value!r} is not a number: LoadGen refuses the file", "give one number, with a point and without a unit"


# -------------------------------------------------------------------------------------------------------------------------- FromConfig


@dataclass(frozen=True, slots=True)
class Applied:
    """A value that took effect, and its line (0: the built-in file)."""

    value: Any
    line: int


def from_config(
    requested: Requested,
    text: str | None,
    model: str,
    scenario: str,
    conf_type: int = USER,
    *,
    first: bool = True,
    round: str = "v6.1",  # noqa: A002  (the field's own word)
) -> tuple[int, Requested]:
    """LoadGen's `FromConfig`: its return code (0, -2: `text` is None, no such file, -22: the file is refused) and the settings then.

    `scenario` is LoadGen's name, and is not stored in the settings. `first`: no other FromConfig of `USER` came before it in the process;
    only the first applies the built-in file, of `round`. Raises UsageError for a round that is not built in.
    """
    if conf_type == BUILT_IN or (conf_type == USER and first):
        entries: Iterable[Entry] = [Entry(0, key, value) for key, value in rounds.conf(round).items()]
        requested = _with(requested, applied(entries, requested, model, scenario, BUILT_IN))
        if conf_type == BUILT_IN:
            return 0, requested
    if text is None:
        return MISSING_FILE, requested
    entries, found = parse(text)
    if any(problem.fatal for problem in found):
        return BAD_FILE, requested
    return 0, _with(requested, applied(entries, requested, model, scenario, conf_type))


def applied(entries: Iterable[Entry], requested: Requested, model: str, scenario: str, conf_type: int) -> dict[str, Applied]:
    """What the entries of one file set, by field of Requested. `requested`: the settings before, for the switches that keys need."""
    table = {entry.key: entry for entry in entries}
    result: dict[str, Applied] = {}
    for key in KEYS:
        if key.protected and conf_type != BUILT_IN:
            continue
        if key.needs and not (result[key.needs].value if key.needs in result else getattr(requested, key.needs)):
            continue
        entry = _look_up(table, model, key.scenario or scenario, key.name)
        value = None if entry is None else key.convert(entry.value)
        if entry is not None and value is not None:
            result[key.field] = Applied(value, entry.line)
    return result


def _look_up(table: Mapping[str, Entry], model: str, scenario: str, name: str) -> Entry | None:
    for prefix in (f"{model}.{scenario}", f"*.{scenario}", f"{model}.*", "*.*"):
        if entry := table.get(f"{prefix}.{name}"):
            return entry
    return None


def _with(requested: Requested, values: Mapping[str, Applied]) -> Requested:
    return replace(requested, **{field: each.value for field, each in values.items()})


# ---------------------------------------------------------------------------------------------------------------------------- problems


def problems(text: str, origin: str, model: str, scenario: str, conf_type: int) -> list[Problem]:
    """Everything in the file that LoadGen would ignore or misread without a word, and what it refuses, by line.

    Lines for other models and scenarios that LoadGen knows are right, and are checked as the others are. `origin` is what the file is
    called in `Problem.where`; `model` "*" (audit files) finds no line that names a model.
    """
    entries, found = parse(text, origin)
    seen: dict[str, int] = {}
    before = from_config(Requested(), "", model, scenario, conf_type)[1]
    about = _About(model, scenario, conf_type, _with(before, applied(entries, before, model, scenario, conf_type)))
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
    if name_model.startswith(_MARK):
        yield "the file begins with a byte order mark; LoadGen ignores the line", _WITHOUT_MARK
    elif model == "*" and name_model != "*":
        yield f"model {name_model}: LoadGen reads only lines for all models here", f"write *.{scenario}.{name}"
    elif name_model not in ("*", model, *rounds.MODELS):
        near = _base_model(name_model) or closest(name_model, rounds.MODELS)
        yield f"LoadGen knows no model {name_model}; it ignores the line", f"did you mean {near}?" if near else f"write * or {model}"
    if scenario not in ("*", *SCENARIOS):
        near = closest(scenario, SCENARIOS)
        start = f"did you mean {near}? " if near else ""
        yield f"LoadGen knows no scenario {scenario}; it ignores the line", f"{start}Scenarios: *, {', '.join(SCENARIOS)}"
    if name in _UNREAD:
        yield f"{name} has no effect; LoadGen does not look it up", f"{_UNREAD[name]}, or delete the line"
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
    if key.convert in (_is_one, _not_zero):
        if _meant(text) in (0, 1) and c_integer(text) == _meant(text):
            return None
        return f"{key.name} is a switch; LoadGen reads {text} as {'on' if key.convert(text) else 'off'}", "write 1 or 0"
    if key.convert is _mode:
        if _mode(text) and _meant(text) == c_integer(text):
            return None
        names = ", ".join(f"{number} {name}" for number, name in enumerate(MODES))
        return f"mode {text}: LoadGen reads {_mode(text) or 'nothing'}", f"choose one of {names}"
    if isinstance(key.convert("0"), float):
        return None if isfinite(c_double(text)) else (f"{key.name}: {text} is not a finite number", "write one such as 95 or 0.5")
    return _misread_integer(key, text)


def _misread_integer(key: Key, text: str) -> tuple[str, str] | None:
    factor = 1_000_000 if key.convert is _MS else 1
    meant, read = _meant(text), key.convert(text)
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


# -------------------------------------------------------------------------------------------------------------------------------- read


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
