"""Watches a limit of temperature: what nobody watches is not safe."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from harness.errors import MissingError
from harness.qualifying.stop import HOT, Reason
from harness.telemetry.stream import Stream, beside

PATIENCE_S = 10.0
"""For the first reading."""

Look = Callable[[], Reason | None]


def never() -> Reason | None:
    """Where nothing is limited."""
    return None


@contextlib.contextmanager
def below(limit: float, interval_s: float = 1.0) -> Iterator[Look]:
    """A look at the temperatures, by a sampler of its own: a reason where one is over `limit`, °C. Raises MissingError where none is
    read."""
    with beside(os.getpid(), interval_s) as stream:
        patience = time.monotonic() + PATIENCE_S
        while not _hottest(stream) and stream.running and time.monotonic() < patience:
            time.sleep(0.1)
        if not _hottest(stream):
            raise MissingError("--max-celsius: no temperature can be read here", "leave it out, or make the sensors readable")
        yield lambda: _over(stream, limit)


def _over(stream: Stream, limit: float) -> Reason | None:
    found = _hottest(stream)
    if found and found[1] > limit:
        return HOT, f"{found[0]} reached {found[1]:g} °C, over the limit of {limit:g} °C"
    return None if stream.running else (HOT, "the temperature can no longer be read, so nobody watches the limit")


def _hottest(stream: Stream) -> tuple[str, float] | None:
    seen = [(name, value) for name, value in stream.rows().latest().items() if name.endswith("_celsius") and value is not None]
    return max(seen, key=lambda each: each[1], default=None)
