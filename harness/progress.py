"""What the screen shows while a run goes on: one line that is rewritten, plain lines now and then, or nothing.

Plain string formatting and at most two updates a second, so that showing the run does not disturb it. Everything goes to stderr;
stdout is for the result.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from harness.units import count, number, seconds, time_ns

LINE_EVERY_S = 0.5
PLAIN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment. `planned_s` is None or 0 where the length is not known, `bound_ns` 0 where there is no bound; `rate` is
    samples a second."""

    phase: str
    elapsed_s: float
    planned_s: float | None = None
    samples_done: int = 0
    rate: float | None = None
    running_percentile_name: str = ""
    running_percentile_ns: int | None = None
    bound_ns: int = 0
    extra: str = ""


class Progress(Protocol):
    """The screen as the session sees it."""

    def phase(self, name: str) -> None:
        """A new part of the work begins: load, warm-up, probe, run, accuracy ..."""
        ...

    def update(self, snapshot: Snapshot) -> None:
        """Show the run as it is now; may be called as often as convenient."""
        ...

    def note(self, text: str) -> None:
        """Show lines that stay."""
        ...

    def close(self) -> None:
        """Leave the screen ready for the result."""
        ...


def create(mode: str, stream: TextIO | None = None) -> Progress:
    """`auto`: a live line on a terminal, plain lines elsewhere; `plain`; `none`."""
    stream = stream or sys.stderr
    if mode == "none":
        return Silent()
    if mode == "auto" and stream.isatty():
        return LiveLine(stream)
    return PlainLines(stream)


def describe(snapshot: Snapshot) -> str:
    """ "run · 12 of 20 s · 1,234 samples · 61.2/s · p99 112 ms of 130 ms · 8 s left"."""
    parts = [snapshot.phase, _time_spent(snapshot)]
    if snapshot.samples_done:
        parts.append(f"{count(snapshot.samples_done)} samples")
    if snapshot.rate is not None:
        parts.append(f"{number(snapshot.rate)}/s")
    if snapshot.running_percentile_ns is not None:
        bound = f" of {time_ns(snapshot.bound_ns)}" if snapshot.bound_ns else ""
        parts.append(f"{snapshot.running_percentile_name} {time_ns(snapshot.running_percentile_ns)}{bound}")
    if snapshot.extra:
        parts.append(snapshot.extra)
    if snapshot.planned_s:
        parts.append(f"{seconds(max(0, round(snapshot.planned_s - snapshot.elapsed_s)))} left")
    return " · ".join(parts)


def _time_spent(snapshot: Snapshot) -> str:
    if not snapshot.planned_s:
        return seconds(round(snapshot.elapsed_s))
    return f"{snapshot.elapsed_s:.0f} of {seconds(round(snapshot.planned_s))}"


class Silent:
    """Shows nothing."""

    def phase(self, name: str) -> None: ...

    def update(self, snapshot: Snapshot) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class PlainLines:
    """A line for each phase and one every 10 s, for logs."""

    def __init__(self, stream: TextIO, every_s: float = PLAIN_EVERY_S, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._every_s, self._now = stream, every_s, now
        self._next = now() + every_s

    def phase(self, name: str) -> None:
        print(name, file=self._stream, flush=True)
        self._next = self._now() + self._every_s

    def update(self, snapshot: Snapshot) -> None:
        if self._now() >= self._next:
            print(describe(snapshot), file=self._stream, flush=True)
            self._next = self._now() + self._every_s

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self) -> None: ...


class LiveLine:
    """One line, rewritten at most twice a second and cut to the width of the terminal."""

    def __init__(self, stream: TextIO, every_s: float = LINE_EVERY_S, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._every_s, self._now = stream, every_s, now
        self._next = now()
        self._shown = 0

    def phase(self, name: str) -> None:
        self._show(f"{name} ...")
        self._next = self._now() + self._every_s

    def update(self, snapshot: Snapshot) -> None:
        if self._now() >= self._next:
            self._show(describe(snapshot))
            self._next = self._now() + self._every_s

    def note(self, text: str) -> None:
        self.close()
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Clear the line."""
        self._show("")
        self._stream.write("\r")
        self._stream.flush()

    def _show(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + text.ljust(self._shown))
        self._stream.flush()
        self._shown = len(text)
