"""What a sampler has told so far. Pure: lines of JSON in, columns out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once, such as an XID error of a GPU. `at_ns`: monotonic."""

    at_ns: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows of telemetry.

    interval_s   seconds between readings, as asked for; 0 where nothing was sampled
    units        unit by column
    at_ns        when each row was read, on the machine's monotonic clock (`harness.clock`)
    columns      values by column, as long as `at_ns`; None where one could not be read
    cpu_ns       CPU time the sampler had used at each row
    missing      why a column, a device or everything is not there, by name
    facts        what was asked once: limits, names and serial numbers of devices
    """

    interval_s: float
    units: Mapping[str, str] = field(default_factory=dict)
    at_ns: Sequence[int] = ()
    columns: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    cpu_ns: Sequence[int] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Event] = ()

    def latest(self) -> dict[str, float | None]:
        """The last row, by column; empty before the first."""
        return {name: values[-1] for name, values in self.columns.items()} if self.at_ns else {}

    def row(self, index: int) -> dict[str, float | None]:
        """One row, by column."""
        return {name: values[index] for name, values in self.columns.items()}


class Recorder:
    """A recording that grows: fed with what the sampler writes, in pieces cut anywhere. What was read is not read again."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._rest = b""
        self._units: dict[str, str] = {}
        self._facts: dict[str, Any] = {}
        self._missing: dict[str, str] = {}
        self._events: list[Event] = []
        self._at_ns: list[int] = []
        self._cpu_ns: list[int] = []
        self._columns: dict[str, list[float | None]] = {}

    def feed(self, written: bytes) -> None:
        """More of the sampler's output. A line that is no JSON is left out: its sampler was stopped in the middle of it."""
        *lines, self._rest = (self._rest + written).split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except ValueError:
                continue

    def _take(self, line: dict[str, Any]) -> None:
        if "row" in line:
            self._at_ns.append(line["at"])
            self._cpu_ns.append(line["cpu"])
            for column, value in zip(self._columns.values(), line["row"], strict=True):
                column.append(value)
        elif "event" in line:
            self._events.append(Event(*line["event"]))
        elif "columns" in line:
            self._units, self._facts = line["columns"], line["facts"]
            self._columns = {name: [] for name in self._units}
        self._missing |= line.get("missing", {})

    def recording(self, missing: Mapping[str, str]) -> Recording:
        """Everything so far. `missing`: what the reader knows beyond it."""
        return Recording(
            self._interval_s,
            dict(self._units),
            list(self._at_ns),
            {name: list(values) for name, values in self._columns.items()},
            list(self._cpu_ns),
            self._missing | dict(missing),
            dict(self._facts),
            list(self._events),
        )
