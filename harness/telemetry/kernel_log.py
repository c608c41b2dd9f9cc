"""XID errors of NVIDIA's driver, from the kernel's log. Linux; readable by root, or where kernel.dmesg_restrict is 0."""

from __future__ import annotations

import os
import re

from harness.telemetry.recording import Event
from harness.telemetry.sources import Places, Reading

_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]+)\): (\d+)(?:, )?(.*)")
_RECORD_BYTES = 8192


class KernelLog:
    """How many XID errors there were since the first reading; each is an event."""

    def __init__(self, places: Places) -> None:
        self._stream = os.open(places.kernel_log, os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._stream, 0, os.SEEK_END)
        self._count = 0
        self.units = {"gpu_xid_errors": "errors"}
        self.missing: dict[str, str] = {}
        self.events: list[Event] = []

    def read(self, now_ns: int, _thorough: bool, /) -> Reading:
        for record in self._records():
            for bus, number, said in _XID.findall(record):
                self._count += 1
                self.events.append(Event(now_ns, f"XID {number}", f"GPU {bus}: {said.strip()}"))
        return {"gpu_xid_errors": float(self._count)}

    def _records(self) -> list[str]:
        """What was logged since; one record a read, as /dev/kmsg gives them (a plain file gives all at once)."""
        found: list[str] = []
        while True:
            try:
                record = os.read(self._stream, _RECORD_BYTES)
            except BrokenPipeError:  # overwritten before it was read: the next read goes on behind the gap
                continue
            except BlockingIOError:
                return found
            if not record:
                return found
            found.append(record.decode(errors="replace"))
