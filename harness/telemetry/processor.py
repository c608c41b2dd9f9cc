"""How busy the usable cores are, and with whose work. Linux."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from harness.telemetry.process_tree import ProcessTree
from harness.telemetry.sources import Places, Reading, text

_FIELDS = 8
"""user, nice, system, idle, iowait, irq, softirq, steal; the guest times behind them are part of user and nice (proc(5))."""
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


@dataclass(frozen=True, slots=True)
class Ticks:
    """Clock ticks so far: of all usable cores, by what they were spent on, and of the run's own processes."""

    total: int
    idle: int
    iowait: int
    steal: int
    own: int | None


class Processor:
    """Shares of the usable cores' time since the reading before: 1 is all of them."""

    def __init__(self, places: Places, cores: Collection[int], tree: ProcessTree) -> None:
        self._file, self._names, self._tree = places.proc / "stat", {f"cpu{core}" for core in cores}, tree
        self.missing: dict[str, str] = {}
        self.units = {
            **dict.fromkeys(("cpu_busy_share", "cpu_own_share", "cpu_others_share", "steal_share", "iowait_share"), "1"),
            "own_memory_bytes": "bytes",
        }
        self._before = self._ticks()

    def read(self, _now_ns: int, _thorough: bool, /) -> Reading:
        self._tree.look()
        before, after = self._before, self._ticks()
        self._before = after
        return {**shares(before, after), "own_memory_bytes": float(self._tree.resident_bytes()) or None}

    def _ticks(self) -> Ticks:
        lines = (line.split() for line in (text(self._file) or "").splitlines() if line.startswith("cpu"))
        spent = [[int(word) for word in words[1 : _FIELDS + 1]] for words in lines if words[0] in self._names]
        summed = [sum(column) for column in zip(*spent, strict=True)]
        if len(summed) < _FIELDS:
            raise OSError(f"{self._file} says nothing of the usable cores")
        return Ticks(sum(summed), summed[_IDLE], summed[_IOWAIT], summed[_STEAL], self._tree.ticks())


def shares(before: Ticks, after: Ticks) -> Reading:
    """Busy: neither idle nor waiting for a disk nor stolen by the hypervisor. Others': busy, and not by the run's own processes; ticks are
    counted coarsely, so it is at least 0."""
    total = after.total - before.total
    if total <= 0:
        return {}
    spent = {name: (getattr(after, name) - getattr(before, name)) / total for name in ("idle", "iowait", "steal")}
    busy = min(1.0, max(0.0, 1 - sum(spent.values())))
    found: Reading = {"cpu_busy_share": busy, "steal_share": spent["steal"], "iowait_share": spent["iowait"]}
    if before.own is None or after.own is None:
        return found
    own = min(busy, max(0.0, (after.own - before.own) / total))
    return found | {"cpu_own_share": own, "cpu_others_share": busy - own}
