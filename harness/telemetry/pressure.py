"""Memory left, paging, and how long work waited for a core. Linux."""

from __future__ import annotations

from pathlib import Path

from harness.telemetry.sources import Places, Rate, Reading, pairs, text, why_not


class Memory:
    """Memory that could be had without swapping, and paging a second on the whole machine."""

    def __init__(self, places: Places) -> None:
        self._meminfo, self._vmstat = places.proc / "meminfo", places.proc / "vmstat"
        self._swapped, self._faults = Rate(), Rate()
        self.units = {"memory_available_bytes": "bytes", "swap_pages_per_s": "1/s", "major_faults_per_s": "1/s"}
        self.missing: dict[str, str] = {}
        if "MemAvailable" not in pairs(self._meminfo):
            raise OSError(f"{self._meminfo} has no MemAvailable")

    def read(self, now_ns: int, _thorough: bool, /) -> Reading:
        available = pairs(self._meminfo).get("MemAvailable")
        paged = pairs(self._vmstat)
        swapped = paged["pswpin"] + paged["pswpout"] if {"pswpin", "pswpout"} <= paged.keys() else None
        return {
            "memory_available_bytes": None if available is None else available * 1024.0,
            "swap_pages_per_s": self._swapped.of(swapped, now_ns),
            "major_faults_per_s": self._faults.of(paged.get("pgmajfault"), now_ns),
        }


class Waiting:
    """Load average of a minute, and the share of time in which some work waited for a core (pressure stall information, Linux 4.20)."""

    def __init__(self, places: Places) -> None:
        self._loadavg, self._pressure = places.proc / "loadavg", places.proc / "pressure/cpu"
        self._waited = Rate()
        self.units = {"load_1min": "1"}
        self.missing: dict[str, str] = {}
        if _waited_us(self._pressure) is None:
            self.missing["cpu_waiting_share"] = f"{why_not(self._pressure)} (pressure stall information)"
        else:
            self.units["cpu_waiting_share"] = "1"

    def read(self, now_ns: int, _thorough: bool, /) -> Reading:
        words = (text(self._loadavg) or "").split()
        found: Reading = {"load_1min": float(words[0]) if words else None}
        if "cpu_waiting_share" in self.units:
            rate = self._waited.of(_waited_us(self._pressure), now_ns)
            found["cpu_waiting_share"] = None if rate is None else min(1.0, rate / 1e6)
        return found


def _waited_us(file: Path) -> float | None:
    """`some avg10=... avg60=... avg300=... total=MICROSECONDS`."""
    line = next((line for line in (text(file) or "").splitlines() if line.startswith("some ")), "")
    total = line.rpartition("total=")[2]
    return float(total) if total.isdecimal() else None
