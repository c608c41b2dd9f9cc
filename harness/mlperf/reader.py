"""Reads LoadGen's logs, its own invalid lines included: strings that are not escaped, `-nan` and `inf`. Pure: text in, values out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from harness.core import Int64
from harness.errors import DataError
from harness.loadgen import Effective

MARKER = ":::MLLOG "

_LINE = re.compile(
    r'\{"key": "(?P<key>[^"]*)", "value": (?P<value>.*), "time_ms": (?P<time>[0-9.]+), "namespace": .*'
    r'"is_error": (?P<error>true|false), "is_warning": (?P<warning>true|false)',
    re.DOTALL,
)

_BEGIN = re.compile(
    r'\{"name":"Sample","cat":"[^"]*","ph":"b","pid":\d+,"id":\d+,"ts":(\d+)\.(\d{3}),"args":\{"sample_seq":(\d+),"query_seq":(\d+),'
    r'"sample_idx":(\d+),"issue_start_ns":(-?\d+),"complete_ns":(-?\d+)'
)

_NUMBERS = {"-nan": -math.nan, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a detail log; `time_ms` since the log began."""

    key: str
    value: Any
    time_ms: float
    is_error: bool = False
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class TraceSamples:
    """Samples of a trace in the order of the file, which is that of completion; each array (samples,).

    sequence, query, sample  ids over the whole StartTest, and the index of the sample
    due_ns                   scheduled time since the trace began
    issue_delay_ns           how much later the query was issued
    latency_ns               from the scheduled time to the answer
    """

    sequence: Int64
    query: Int64
    sample: Int64
    due_ns: Int64
    issue_delay_ns: Int64
    latency_ns: Int64


def entries(text: str) -> list[Entry]:
    """All entries of mlperf_log_detail.txt. Raises DataError, with the line, for what is no entry."""
    return [_entry(body, number) for number, body in _bodies(text)]


def _bodies(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each entry without its marker; a value may hold a line break that LoadGen did not escape."""
    begun, lines = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(MARKER):
            if lines:
                yield begun, "\n".join(lines)
            begun, lines = number, [line[len(MARKER) :]]
        elif lines:
            lines.append(line)
        elif line.strip():
            raise DataError(f"detail log, line {number}: does not begin with {MARKER.strip()}", "give LoadGen's mlperf_log_detail.txt")
    if lines:
        yield begun, "\n".join(lines)


def _entry(body: str, number: int) -> Entry:
    body = body.rstrip()
    try:
        return _from_json(json.loads(body))
    except (ValueError, KeyError, TypeError):
        found = _LINE.match(body) if body.endswith("}}") else None
    if found is None:
        raise DataError(f"detail log, line {number}: not an entry: {body[:80]!r}", "the file is damaged or cut short: copy it again")
    flags = (found["error"] == "true", found["warning"] == "true")
    return Entry(found["key"], _value(found["value"]), float(found["time"]), *flags)


def _from_json(value: Any) -> Entry:
    metadata = value["metadata"]
    return Entry(value["key"], value["value"], float(value["time_ms"]), metadata["is_error"], metadata["is_warning"])


def _value(text: str) -> Any:
    """The value of a line that is no JSON as a whole."""
    if text in _NUMBERS:
        return _NUMBERS[text]
    try:
        return json.loads(text)
    except ValueError:
        return text[1:-1] if text.startswith('"') else text


def first(entries: Sequence[Entry]) -> dict[str, Any]:
    """The value of each key where it occurs first: what the submission checker takes."""
    values: dict[str, Any] = {}
    for entry in entries:
        values.setdefault(entry.key, entry.value)
    return values


def effective(values: Mapping[str, Any]) -> Effective:
    """The effective settings that a log tells, floats with its six digits; `values` as from `first`. Raises DataError where one is
    missing."""
    found: dict[str, Any] = {}
    for field in fields(Effective):
        key = f"effective_{field.name}"
        if key not in values:
            raise DataError(f"the detail log holds no {key}", "give the log of a run of LoadGen that started")
        found[field.name] = float(values[key]) if field.type == "float" else values[key]
    return Effective(**found)


def verdict(entries: Sequence[Entry]) -> dict[str, Any]:
    """What LoadGen decided and measured: the keys `result_*` and `early_stopping_*`; empty for an accuracy run."""
    return {key: value for key, value in first(entries).items() if key.startswith(("result_", "early_stopping_"))}


def counts(entries: Sequence[Entry]) -> tuple[int, int]:
    """Warnings and errors of a log."""
    return sum(entry.is_warning for entry in entries), sum(entry.is_error for entry in entries)


def summary(text: str) -> Mapping[str, str]:
    """mlperf_log_summary.txt by what stands before the first colon of a line ("Result is", "Scenario" ...); the first of each."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name.strip(), value.strip())
    return values


def samples(text: str) -> TraceSamples:
    """The samples of LoadGen's mlperf_log_trace.json, which is no JSON: line by line. Also reads ours. Raises DataError, with the line,
    for an event of a sample that cannot be read."""
    rows = [_sample(line, number) for number, line in enumerate(text.split("\n"), 1) if _is_begin(line)]
    columns = np.array(rows, np.int64).reshape(len(rows), 6).T
    return TraceSamples(*columns)


def _is_begin(line: str) -> bool:
    return line.startswith('{"name":"Sample"') and '"ph":"b"' in line


def _sample(line: str, number: int) -> tuple[int, ...]:
    found = _BEGIN.match(line)
    if found is None:
        raise DataError(f"trace, line {number}: not a sample: {line[:80]!r}", "the file is damaged or cut short: copy it again")
    whole, thousandth, sequence, query, sample, delay, latency = map(int, found.groups())
    return sequence, query, sample, 1000 * whole + thousandth, delay, latency
