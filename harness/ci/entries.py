"""What a project checks: `assay-ci.yaml`, a list of settings of runs, each with a name and a gate; or one check by flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import config_file
from harness.config import FIELDS, SUITES, RunConfig, flag, unknown_key
from harness.errors import UsageError

FILE = "assay-ci.yaml"
"""Looked for in the working directory where `--config` is not given."""

NAMED = ("backend", "scenario", "task", "model")
"""Flags that say what is measured: given one of them, and no `--config`, that is checked and nothing else."""

_FORM = "write `checks:` and under it a list; each item has settings of `assay run`, and may have `name` and `gate`"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to measure. `settings`: by field of RunConfig; `gate`: a share, None for the default; `origin`: where it is written."""

    name: str
    settings: Mapping[str, Any]
    gate: float | None
    origin: str

    def setting(self, field: str) -> str:
        """As given, else the default."""
        return str(self.settings.get(field, RunConfig.model_fields[field].default))

    def where(self, field: str) -> str:
        """How an error names a setting of it."""
        return f"{self.origin}: {field}" if self.origin else flag(field)


def read(file: Path, flags: Mapping[str, Any], gate: float | None) -> tuple[Entry, ...]:
    """The entries of a file; `flags` and `gate` win over them. Raises MissingError, UsageError with file and line."""
    parts = {key: (line, value) for key, line, value in config_file.read(file)}
    if wrong := next((key for key in parts if key not in ("common", "checks")), None):
        raise UsageError(f"{file}:{parts[wrong][0]}: {wrong} is neither common nor checks", _FORM)
    line, listed = parts.get("checks", (1, None))
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{file}:{line}: no list of checks", _FORM)
    common = _mapping(parts["common"][1], f"{file}:{parts['common'][0]}: common") if "common" in parts else {}
    found = []
    for number, each in enumerate(listed, start=1):
        origin = f"{file}:{line}: check {number}"
        found.append(_entry(common | _mapping(each, origin), flags, gate, origin))
    _refuse_doubles(found)
    return tuple(found)


def of_flags(flags: Mapping[str, Any], gate: float | None) -> tuple[Entry, ...]:
    """One entry. Raises UsageError."""
    return (_entry({}, flags, gate, ""),)


def percent(value: object, origin: str) -> float:
    """ "5%", "5" or 5: the share 0.05. Raises UsageError."""
    try:
        share = float(str(value).strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if isinstance(value, bool) or not 0 < share < 1:
        raise UsageError(f"{origin}: {value} is no percentage", "write a number above 0 and below 100, such as 5%")
    return share


def _entry(given: Mapping[str, Any], flags: Mapping[str, Any], gate: float | None, origin: str) -> Entry:
    settings = {key: value for key, value in given.items() if key not in ("name", "gate")} | dict(flags)
    if gate is None and given.get("gate") is not None:
        gate = percent(given["gate"], f"{origin}: gate")
    made = Entry("", settings, gate, origin)
    name = given.get("name") or " ".join(made.setting(field) for field in ("backend", "scenario", "task"))
    _refuse(made)
    return Entry(str(name), settings, gate, origin)


def _mapping(value: object, origin: str) -> dict[str, Any]:
    """Settings by field. Raises UsageError for what is no mapping, or an unknown key."""
    if not isinstance(value, dict):
        raise UsageError(f"{origin} is no mapping of settings", _FORM)
    settings = {str(key).replace("-", "_"): each for key, each in value.items()}
    if wrong := next((key for key in settings if key not in (*FIELDS, "name", "gate")), None):
        raise unknown_key(wrong, origin)
    return settings


def _refuse(entry: Entry) -> None:
    """Raises UsageError for what cannot be measured in blocks."""
    if entry.setting("task") in SUITES:
        raise UsageError(f"{entry.where('task')}: {entry.setting('task')} is several tasks", "give each task a check of its own")


def _refuse_doubles(entries: list[Entry]) -> None:
    names = [entry.name for entry in entries]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{entries[names.index(doubled)].origin}: two checks are called {doubled}", "give each a `name`")
