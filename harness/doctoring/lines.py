"""What the doctor found, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `cure` is empty where there is nothing to do."""

    level: Level
    name: str
    text: str
    cure: str = ""
