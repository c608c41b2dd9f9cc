"""What psutil reads on systems that are not Linux: load of the cores and memory left."""

from __future__ import annotations

from harness.telemetry.sources import Reading


class Portable:
    """Busy share of all cores since the reading before, and memory available."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self.units = {"cpu_busy_share": "1", "memory_available_bytes": "bytes"}
        self.missing = {"cpu_mhz": "read on Linux only", "cpu_celsius": "read on Linux only", "cpu_throttle_events": "read on Linux only"}
        psutil.cpu_percent()

    def read(self, _now_ns: int, _thorough: bool, /) -> Reading:
        return {
            "cpu_busy_share": self._psutil.cpu_percent() / 100,
            "memory_available_bytes": float(self._psutil.virtual_memory().available),
        }
