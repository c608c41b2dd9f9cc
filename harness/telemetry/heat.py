"""Temperature of the CPU, and how often the CPU slowed itself down for it. Linux."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from harness.telemetry.sources import Places, Reading, number, text

DRIVERS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "scpi_sensors")
"""Names under /sys/class/hwmon that are sensors of a CPU (Intel, AMD, ARM boards)."""

LABELS = ("package id", "tctl", "tdie")
"""Beginnings of the labels of a whole package; where a driver labels nothing, its first sensor is it."""

ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc_thermal")
"""Types under /sys/class/thermal, asked where hwmon has nothing."""


class Heat:
    """The hottest package, °C, and its limit."""

    def __init__(self, places: Places) -> None:
        self._files = sensors(places.sys)
        self.missing: dict[str, str] = {}
        self.units: dict[str, str] = {"cpu_celsius": "°C"} if self._files else {}
        self.facts: dict[str, float] = {}
        if not self._files:
            self.missing["cpu_celsius"] = f"no sensor under {places.sys}/class/hwmon or {places.sys}/class/thermal is a CPU's"
            return
        limits = [limit for file in self._files if (limit := number(file.with_name(file.name.replace("_input", "_crit")))) is not None]
        if limits and self._files[0].name.endswith("_input"):
            self.facts["cpu_critical_celsius"] = min(limits) / 1000

    def read(self, _now_ns: int, _thorough: bool, /) -> Reading:
        found = [value / 1000 for file in self._files if (value := number(file)) is not None]
        return {"cpu_celsius": max(found)} if found else {}


def sensors(sys: Path) -> list[Path]:
    """Files with the temperature of each CPU package, in thousandths of a degree."""
    found: list[Path] = []
    for folder in sorted((sys / "class/hwmon").glob("hwmon*")):
        if text(folder / "name") in DRIVERS:
            found += _packages(folder)
    if found:
        return found
    zones = sorted((sys / "class/thermal").glob("thermal_zone*"))
    return [zone / "temp" for zone in zones if text(zone / "type") in ZONES and number(zone / "temp") is not None]


def _packages(folder: Path) -> list[Path]:
    inputs = [file for file in sorted(folder.glob("temp*_input")) if number(file) is not None]
    labels = {file: (text(file.with_name(file.name.replace("_input", "_label"))) or "").lower() for file in inputs}
    return [file for file in inputs if labels[file].startswith(LABELS)] or inputs[:1]


class ThrottleCount:
    """How often a core or its package was slowed for heat since the first reading (Intel's counters)."""

    def __init__(self, places: Places, cores: Collection[int]) -> None:
        folders = [places.sys / f"devices/system/cpu/cpu{core}/thermal_throttle" for core in sorted(cores)]
        files = [folder / name for folder in folders for name in ("core_throttle_count", "package_throttle_count")]
        self._files = [file for file in files if number(file) is not None]
        self._first = self._count()
        self.missing: dict[str, str] = {}
        self.units: dict[str, str] = {"cpu_throttle_events": "events"} if self._files else {}
        if not self._files:
            self.missing["cpu_throttle_events"] = (
                f"no {places.sys}/devices/system/cpu/cpu*/thermal_throttle: not Intel, or a virtual machine"
            )

    def read(self, _now_ns: int, _thorough: bool, /) -> Reading:
        return {"cpu_throttle_events": self._count() - self._first} if self._files else {}

    def _count(self) -> float:
        return sum(number(file) or 0.0 for file in self._files)
