"""Clock frequency of the usable cores. Linux.

On a virtual machine /proc/cpuinfo often gives one number that never changes: then it says nothing about throttling.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from harness.telemetry.sources import Places, Reading, number, text, why_not

MOST_CORES = 8
"""Cores that are asked, evenly spread: the kernel may have to ask each core itself."""


class Frequency:
    """Mean and lowest clock of some usable cores, MHz."""

    def __init__(self, places: Places, cores: Collection[int]) -> None:
        chosen = _spread(sorted(cores), MOST_CORES)
        folder = places.sys / "devices/system/cpu"
        files = [folder / f"cpu{core}/cpufreq/scaling_cur_freq" for core in chosen]
        self._files = [file for file in files if number(file) is not None]
        self._cpuinfo = places.proc / "cpuinfo"
        self.missing: dict[str, str] = {}
        self.units: dict[str, str] = {}
        if self._files or _listed(self._cpuinfo):
            self.units = {"cpu_mhz": "MHz", "cpu_lowest_mhz": "MHz"}
        else:
            self.missing["cpu_mhz"] = f"{why_not(files[0])}, and {self._cpuinfo} names no clock"

    def read(self, _now_ns: int, _thorough: bool, /) -> Reading:
        if not self.units:
            return {}
        found = [value / 1000 for file in self._files if (value := number(file)) is not None] or _listed(self._cpuinfo)
        return {"cpu_mhz": sum(found) / len(found), "cpu_lowest_mhz": min(found)} if found else {}


def _listed(cpuinfo: Path) -> list[float]:
    """MHz of every core in /proc/cpuinfo."""
    lines = (line.partition(":") for line in (text(cpuinfo) or "").splitlines() if line.startswith("cpu MHz"))
    return [float(value) for _, _, value in lines if value.strip()]


def _spread(cores: list[int], most: int) -> list[int]:
    step = max(1, -(-len(cores) // most))
    return cores[::step]
