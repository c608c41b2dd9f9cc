"""What a control group (a container's limits) does to the run: time it was stopped for its quota, memory against its limit. Linux."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.telemetry.sources import Places, Rate, Reading, number, pairs, text

_NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit of memory."""


@dataclass(frozen=True, slots=True)
class Group:
    """Folders of the group that a process is in, by controller; None where there is none."""

    cpu: Path | None
    memory: Path | None


def group(places: Places, pid: int) -> Group:
    """From /proc/PID/cgroup (cgroups(7)): version 2 has one line beginning with `0::`, version 1 one for each controller. In a container
    the path may be that of the host: then the mount's root is the group."""
    root = places.sys / "fs/cgroup"
    found: dict[str, Path] = {}
    for line in (text(places.proc / str(pid) / "cgroup") or "").splitlines():
        _, controllers, inner = line.split(":", 2)
        for name in controllers.split(",") if controllers else ("cpu", "memory"):
            mounted = root / controllers if controllers and (root / controllers).is_dir() else root / name if controllers else root
            folder = mounted / inner.strip("/")
            found.setdefault(name, folder if folder.is_dir() else mounted)
    return Group(found.get("cpu"), found.get("memory"))


class ControlGroup:
    """Share of the usable cores' time that the quota took away, and bytes of memory held."""

    def __init__(self, places: Places, pid: int, cores: int) -> None:
        self._group, self._cores, self._stopped = group(places, pid), max(1, cores), Rate()
        self.units: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.facts: dict[str, float] = {}
        if self._stopped_ns() is None:
            self.missing["cgroup_throttled_share"] = "the control group has no quota of CPU time, or its cpu.stat is not visible"
        else:
            self.units["cgroup_throttled_share"] = "1"
        if self._held() is None:
            self.missing["cgroup_memory_bytes"] = "the control group does not tell its memory here"
        else:
            self.units["cgroup_memory_bytes"] = "bytes"
        if (limit := self._limit()) is not None:
            self.facts["cgroup_memory_limit_bytes"] = limit

    def read(self, now_ns: int, _thorough: bool, /) -> Reading:
        found: Reading = {}
        if "cgroup_throttled_share" in self.units:
            rate = self._stopped.of(self._stopped_ns(), now_ns)
            found["cgroup_throttled_share"] = None if rate is None else min(1.0, rate / 1e9 / self._cores)
        if "cgroup_memory_bytes" in self.units:
            found["cgroup_memory_bytes"] = self._held()
        return found

    def _stopped_ns(self) -> float | None:
        """Summed over the cores: `throttled_usec` of version 2, `throttled_time` (ns) of version 1."""
        stat = pairs(self._group.cpu / "cpu.stat") if self._group.cpu else {}
        if "throttled_usec" in stat:
            return stat["throttled_usec"] * 1000.0
        return float(stat["throttled_time"]) if "throttled_time" in stat else None

    def _held(self) -> float | None:
        return self._first("memory.current", "memory.usage_in_bytes")

    def _limit(self) -> float | None:
        limit = self._first("memory.max", "memory.limit_in_bytes")
        return limit if limit is not None and limit < _NO_LIMIT else None

    def _first(self, *names: str) -> float | None:
        folder = self._group.memory
        found = (number(folder / name) for name in names) if folder else iter(())
        return next((value for value in found if value is not None), None)
