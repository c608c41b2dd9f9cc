"""Energy of the CPU packages by RAPL (running average power limit), as Linux's powercap shows it. Often only root may read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.telemetry.sources import Places, Rate, Reading, number, text, why_not


@dataclass(slots=True)
class _Package:
    """`used`: microjoules since the first reading; the counter starts again after `wrap`."""

    file: Path
    wrap: float
    last: float
    used: float = 0.0

    def look(self) -> float:
        value = number(self.file)
        if value is not None:
            self.used += value - self.last if value >= self.last else value + self.wrap - self.last
            self.last = value
        return self.used


@dataclass(slots=True)
class Rapl:
    """Joules since the first reading and watts, summed over the packages."""

    places: Places
    missing: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    _packages: list[_Package] = field(default_factory=list)
    _power: Rate = field(default_factory=Rate)

    def __post_init__(self) -> None:
        folder = self.places.sys / "class/powercap"
        zones = [zone for zone in sorted(folder.glob("*-rapl:*")) if (text(zone / "name") or "").startswith("package")]
        for zone in zones:
            file = zone / "energy_uj"
            if (value := number(file)) is not None:
                self._packages.append(_Package(file, number(zone / "max_energy_range_uj") or 0.0, value))
        if self._packages and len(self._packages) == len(zones):
            self.units = {"cpu_joules": "J", "cpu_watts": "W"}
        else:
            self._packages = []
            self.missing["cpu_joules"] = why_not(zones[0] / "energy_uj") if zones else f"no energy counter of the CPU under {folder}"

    def read(self, now_ns: int, _thorough: bool, /) -> Reading:
        if not self._packages:
            return {}
        joules = sum(package.look() for package in self._packages) / 1e6
        return {"cpu_joules": joules, "cpu_watts": self._power.of(joules, now_ns)}
