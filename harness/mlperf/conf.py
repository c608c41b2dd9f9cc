"""LoadGen's configuration files: what it makes of one. Pure. `harness.mlperf.conf_problems` finds what it would ignore or misread.

A line is `model.scenario.key = value`, split at white space; `*` stands for every model or scenario. The parser, the table of keys and
the order in which keys are looked up are those of `TestSettings::FromConfig` of LoadGen 6.0.17 (test_settings_internal.cc).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.loadgen import MODES, Requested
from harness.mlperf import rounds
from harness.mlperf.c_numbers import WORD, c_double, c_integer, is_number

BUILT_IN, USER, AUDIT = 0, 1, 2
"""conf_type of FromConfig. Only `BUILT_IN` may set seeds; `USER` applies the built-in file first."""

MISSING_FILE, BAD_FILE = -2, -22
"""FromConfig's return codes beside 0: -ENOENT and -EINVAL."""

# -------------------------------------------------------------------------------------------------------------------------------- keys


def _times(factor: int) -> Callable[[str], int]:
    return lambda text: c_integer(text) * factor % WORD


def _real(factor: float) -> Callable[[str], float]:
    return lambda text: c_double(text) * factor


def _int32(text: str) -> int:
    """Through a C int: only max_async_queries."""
    low = c_integer(text) % 2**32
    return (low - 2**32 if low >= 2**31 else low) % WORD


def is_one(text: str) -> bool:
    return c_integer(text) == 1


def not_zero(text: str) -> bool:
    return c_integer(text) != 0


def mode_of(text: str) -> str | None:
    number = c_integer(text)
    return MODES[number] if number < len(MODES) else None


_WHOLE = _times(1)
MILLISECONDS = _times(1_000_000)
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
    Key("mode", "mode", mode_of),
    Key("qsl_rng_seed", "qsl_rng_seed", protected=True),
    Key("sample_index_rng_seed", "sample_index_rng_seed", protected=True),
    Key("schedule_rng_seed", "schedule_rng_seed", protected=True),
    Key("accuracy_log_probability", "accuracy_log_probability", _real(0.01), protected=True),
    Key("test05", "test05", is_one, protected=True),
    Key("test05_qsl_rng_seed", "test05_qsl_rng_seed", protected=True),
    Key("test05_sample_index_rng_seed", "test05_sample_index_rng_seed", protected=True),
    Key("test05_schedule_rng_seed", "test05_schedule_rng_seed", protected=True),
    Key("use_token_latencies", "use_token_latencies", is_one),
    Key("ttft_latency", "ttft_latency", MILLISECONDS, "Server", needs="use_token_latencies"),
    Key("tpot_latency", "tpot_latency", MILLISECONDS, "Server", needs="use_token_latencies"),
    Key("infer_token_latencies", "infer_token_latencies", is_one),
    Key("token_latency_scaling_factor", "token_latency_scaling_factor", needs="infer_token_latencies"),
    Key("target_latency_percentile", "single_stream_target_latency_percentile", _real(0.01), "SingleStream"),
    Key("target_latency_percentile", "multi_stream_target_latency_percentile", _real(0.01), "MultiStream"),
    Key("target_latency_percentile", "server_target_latency_percentile", _real(0.01), "Server"),
    Key("samples_per_query", "multi_stream_samples_per_query", scenario="MultiStream"),
    Key("target_latency", "server_target_latency_ns", MILLISECONDS, "Server"),
    Key("target_latency", "single_stream_expected_latency_ns", _REAL_MS, "SingleStream"),
    Key("target_latency", "multi_stream_expected_latency_ns", _REAL_MS, "MultiStream"),
    Key("target_qps", "server_target_qps", _real(1.0), "Server"),
    Key("target_qps", "offline_expected_qps", _real(1.0), "Offline"),
    Key("performance_issue_unique", "performance_issue_unique", not_zero),
    Key("performance_issue_same", "performance_issue_same", not_zero),
    Key("print_timestamps", "print_timestamps", not_zero),
    Key("performance_issue_same_index", "performance_issue_same_index"),
    Key("sample_concatenate_permutation", "sample_concatenate_permutation", is_one),
    Key("coalesce_queries", "server_coalesce_queries", not_zero, "Server"),
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

UNREAD = {"target_duration": "use min_duration"}
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


SPACE = re.compile(r"[ \t\n\v\f\r]+")
"""White space in C."""

MARK, WITHOUT_MARK = "\ufeff", "save it as UTF-8 without one"
_SPACES = "write `key = value` with a space on both sides of ="


def parse(text: str, origin: str = "") -> tuple[list[Entry], list[Problem]]:
    """The entries of a file in its order, and what is wrong with its lines; with a fatal problem LoadGen applies no entry."""
    entries: list[Entry] = []
    found: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        tokens = [token for token in SPACE.split(line) if token]
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
    if key.startswith(MARK):
        return "the file begins with a byte order mark: LoadGen refuses it", WITHOUT_MARK
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
        requested = with_applied(requested, applied(entries, requested, model, scenario, BUILT_IN))
        if conf_type == BUILT_IN:
            return 0, requested
    if text is None:
        return MISSING_FILE, requested
    entries, found = parse(text)
    if any(problem.fatal for problem in found):
        return BAD_FILE, requested
    return 0, with_applied(requested, applied(entries, requested, model, scenario, conf_type))


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


def with_applied(requested: Requested, values: Mapping[str, Applied]) -> Requested:
    return replace(requested, **{field: each.value for field, each in values.items()})
