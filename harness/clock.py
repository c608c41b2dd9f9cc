"""Time as a parameter: the real monotonic clock here, the one you can hold in `harness.testing`.

All instants are integer nanoseconds on a clock that never goes back and is common to all processes of a machine. Wall time is only
written beside results, never subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

NAP_NS = 50_000_000
"""Longest single sleep: how soon a waiting worker notices that the run was stopped."""

SPIN_NS = 500_000
"""A spinning wait sleeps until this long before its instant. Sleeps on a virtual machine overshoot by 60 to 300 µs."""


class Clock(Protocol):
    """What a ledger needs of time. `now` is an attribute holding a callable, so that the hot loop can bind it once."""

    @property
    def now(self) -> Callable[[], int]: ...

    def wait_until(self, instant: int, spin: bool) -> None:
        """Return at `instant` or, for a wait longer than `NAP_NS`, earlier."""
        ...


class MonotonicClock:
    """The machine's monotonic clock."""

    now = staticmethod(time.monotonic_ns)

    def wait_until(self, instant: int, spin: bool) -> None:
        now = time.monotonic_ns
        remaining = instant - now()
        if remaining > NAP_NS:
            time.sleep(NAP_NS / 1e9)
            return
        if not spin:
            if remaining > 0:
                time.sleep(remaining / 1e9)
            return
        if remaining > SPIN_NS:
            time.sleep((remaining - SPIN_NS) / 1e9)
        while now() < instant:
            pass
