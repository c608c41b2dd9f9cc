"""A user's own checks, from YAML: a command whose output holds a number, or a run of Assay and one of its figures.

    checks:
      - name: disk_read
        title: sequential read of the data disk
        code: DISK_SLOW
        command: [./read-test.sh, /data]
        metric: 'MB/s: ([0-9.]+)'        # a regular expression with one group; a path such as a.b where the output is JSON
        unit: MB/s
        better: higher
        expected: 2000
        tolerance: 10%
        next_step: look at the controller's log

Without `expected` the figure is held against the baseline. With a run, `run:` has settings of `assay run` in place of `command`, and
`metric` is throughput, latency_p50, latency_p90, latency_p99 or accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness import config_file
from harness.config import FIELDS, unknown_key
from harness.errors import UsageError
from harness.qualifying import own_figures
from harness.qualifying.check import Check
from harness.qualifying.levels import LEVELS
from harness.qualifying.own import Own

_FORM = "write `checks:` and under it a list; each item has name, metric, and command or run"


@dataclass(frozen=True, slots=True)
class _Item:
    where: str
    value: Mapping[str, Any]


def read(file: Path) -> tuple[Check, ...]:
    """The checks of a file, for every level where they name none. Raises MissingError, UsageError with file, line and item."""
    parts = {key: (line, value) for key, line, value in config_file.read(file, "--checks")}
    if wrong := next((key for key in parts if key != "checks"), None):
        raise UsageError(f"{file}:{parts[wrong][0]}: {wrong} is not `checks`", _FORM)
    line, listed = parts.get("checks", (1, None))
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{file}:{line}: no list of checks", _FORM)
    lines = _lines(file)
    items = [
        _Item(f"{file}:{lines[place]}: check {place + 1}", _mapping(each, f"{file}:{lines[place]}")) for place, each in enumerate(listed)
    ]
    owns = [_own(item) for item in items]
    names = [own.name for own in owns]
    if again := next((place for place, name in enumerate(names) if name in names[:place]), None):
        raise UsageError(f"{items[again].where}: two checks are called {names[again]}", "rename one")
    return tuple(_check(own) for own in owns)


def _lines(file: Path) -> list[int]:
    """Where each item of the list begins."""
    node = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    listed = next(value for key, value in (node.value if node is not None else ()) if key.value == "checks")
    return [each.start_mark.line + 1 for each in listed.value]


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is no mapping", _FORM)
    return value


def _own(item: _Item) -> Own:
    try:
        own = Own(**item.value)
    except ValidationError as error:
        first = error.errors()[0]
        part = ".".join(str(each) for each in first["loc"] if each not in ("float", "int"))
        raise UsageError(f"{item.where}: {part + ': ' if part else ''}{first['msg'].removeprefix('Value error, ')}", _FORM) from None
    except TypeError as error:
        raise UsageError(f"{item.where}: {error}", _FORM) from None
    if wrong := next((level for level in own.levels or () if level not in LEVELS), None):
        raise UsageError(f"{item.where}: levels: there is no level {wrong}", f"choose of {', '.join(LEVELS)}")
    if wrong := next((key for key in own.run or {} if key.replace("-", "_") not in FIELDS), None):
        raise unknown_key(wrong, f"{item.where}: run")
    return own


def _check(own: Own) -> Check:
    levels = tuple(own.levels or LEVELS)
    limit_s = float(own.timeout) * own.repeat + 5
    seconds = min(10.0, float(own.timeout)) * own.repeat
    return Check(own.code, own.name, own.title or own.name, own.required, levels, seconds, partial(own_figures.measure, own), limit_s)
