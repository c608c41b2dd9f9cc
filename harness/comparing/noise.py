"""This machine's noise floor: what a comparison of a system with itself makes of it, kept by machine and scenario."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import compare, conditions
from harness.comparing.results import Comparison
from harness.store import as_json, write_atomically

SCHEMA = 1
"""Version of a stored floor. 1: first."""


MOST = 1.0
"""A floor of this much or more (a log ratio: a factor of 2.7) would call everything noise."""


@dataclass(frozen=True, slots=True)
class Floor:
    """`share`: 95 % of blocks of a system against itself differ by less (0.01: 1 %); `measured_utc`: when, ISO 8601."""

    share: float
    scenario: str
    task: str
    backend: str
    blocks: int
    measured_utc: str


def of(found: Comparison) -> float:
    """The floor by the deciding figure of a comparison of two equal candidates. Raises ValueError for fewer than two blocks."""
    figure = found.figures[0]
    pairs = zip(found.values(0, figure), found.values(1, figure), strict=True)
    return compare.noise_floor([compare.log_ratio(top, bottom) for top, bottom in pairs])


def keep(cache: Path, floor: Floor) -> Path:
    """Store it, in place of an older one of the same machine and scenario. Raises OSError."""
    file = _file(cache, floor.scenario)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, as_json({"schema": SCHEMA, **asdict(floor)}).encode())
    return file


def known(cache: Path, scenario: str) -> Floor | None:
    """The floor of this machine in this scenario, None where none was measured or the file is damaged."""
    try:
        stored: dict[str, Any] = json.loads(_file(cache, scenario).read_text(encoding="utf-8"))
        found = Floor(**{key: value for key, value in stored.items() if key != "schema"})
        return found if stored["schema"] == SCHEMA and type(found.share) is float and 0 <= found.share < MOST else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _file(cache: Path, scenario: str) -> Path:
    return cache / "noise" / f"{_machine(conditions.cpu())}-{scenario}.json"


def _machine(cpu: Mapping[str, Any]) -> str:
    """A short name for the kind of machine: processor and usable cores. The same model under another load is the same machine."""
    return hashlib.sha256(f"{cpu['model']}\n{cpu['usable_cores']}".encode()).hexdigest()[:12]
