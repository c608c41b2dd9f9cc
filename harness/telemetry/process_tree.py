"""The processes of a run: the one that was named and everything it started. Linux."""

from __future__ import annotations

import os
from pathlib import Path

from harness.telemetry.sources import text

_UTIME = 11
"""Index of utime behind the command's name in /proc/PID/stat (field 14 of proc(5)); stime, cutime and cstime follow."""


class ProcessTree:
    """`pid` and its descendants, as /proc shows them."""

    def __init__(self, proc: Path, pid: int) -> None:
        self._proc, self._root = proc, pid
        self._page = os.sysconf("SC_PAGE_SIZE")
        self.pids: tuple[int, ...] = (pid,)

    def look(self) -> None:
        """Find out anew who belongs to it. Without /proc/PID/task/TID/children (a kernel option) it is the process alone."""
        found, waiting = [self._root], [self._root]
        while waiting:
            children = self._children(waiting.pop())
            found += children
            waiting += children
        self.pids = tuple(found)

    def _children(self, pid: int) -> list[int]:
        folder = f"{self._proc}/{pid}/task"
        try:
            threads = os.listdir(folder)  # noqa: PTH208  (read every second: no objects for hundreds of threads)
        except OSError:
            return []
        return [int(word) for thread in threads for word in _words(f"{folder}/{thread}/children")]

    def ticks(self) -> int | None:
        """CPU time used so far, that of children already gone included, in clock ticks; None where the process is not seen."""
        used = [_ticks(text(self._proc / str(pid) / "stat")) for pid in self.pids]
        return None if used[0] is None else sum(each for each in used if each is not None)

    def resident_bytes(self) -> int:
        """Memory they hold; what they share is counted for each."""
        sizes = ((text(self._proc / str(pid) / "statm") or "0 0").split() for pid in self.pids)
        return sum(int(words[1]) for words in sizes if len(words) > 1) * self._page


def _ticks(stat: str | None) -> int | None:
    """utime + stime + cutime + cstime; the command's name may hold spaces and brackets, so counting begins behind the last one."""
    fields = (stat or "").rpartition(")")[2].split()
    return sum(map(int, fields[_UTIME : _UTIME + 4])) if len(fields) >= _UTIME + 4 else None


def _words(file: str) -> list[str]:
    try:
        with open(file, encoding="ascii") as stream:  # noqa: PTH123
            return stream.read().split()
    except OSError:
        return []
