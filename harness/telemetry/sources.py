"""What a source of telemetry is, and how a small file of /proc or /sys is read.

A source names its columns with their units, says of what it cannot read why, and gives one reading at a time. It sets nothing, ever.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Reading = dict[str, float | None]
"""Value by column; None where it could not be read this time."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where Linux tells about itself; tests put trees of their own there."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    kernel_log: Path = Path("/dev/kmsg")


class Source(Protocol):
    """One thing to read from. `units`: unit by column; `missing`: why a column, or all of the source, cannot be read. Both may be asked
    again after each reading: a GPU can be lost in mid-run."""

    @property
    def units(self) -> Mapping[str, str]: ...

    @property
    def missing(self) -> Mapping[str, str]: ...

    def read(self, now_ns: int, thorough: bool, /) -> Reading:
        """`now_ns`: monotonic. `thorough`: what changes slowly and costs more is read as well; else its last value is given again."""
        ...


def text(file: Path) -> str | None:
    """Content without its end of line; None where there is no such file or it may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number(file: Path) -> float | None:
    """The number that a file holds; None where it holds none."""
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def pairs(file: Path) -> dict[str, int]:
    """Lines of a name and a whole number (/proc/meminfo, /proc/vmstat, cpu.stat), units left out; empty where it cannot be read."""
    lines = ((text(file) or "").replace(":", " ")).splitlines()
    words = (line.split() for line in lines)
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdecimal()}


def why_not(file: Path) -> str:
    """Why a file gives nothing."""
    if not file.exists():
        return f"there is no {file}"
    return f"{file} holds no number" if os.access(file, os.R_OK) else f"{file} may not be read by this user"


class Rate:
    """A counter's growth a second, between one reading and the next."""

    def __init__(self) -> None:
        self._before: tuple[int, float] | None = None

    def of(self, value: float | None, now_ns: int) -> float | None:
        """None for the first reading, after a reading that failed, and where the counter was set back."""
        before, self._before = self._before, None if value is None else (now_ns, value)
        if before is None or value is None or now_ns <= before[0] or value < before[1]:
            return None
        return (value - before[1]) * 1e9 / (now_ns - before[0])
