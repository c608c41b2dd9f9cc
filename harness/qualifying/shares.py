"""A share of time or of the cores that others may take, held against a limit. Pure."""

from __future__ import annotations

from harness.qualifying.check import Finding

STOP_OTHERS = "see who it is (top), and stop it or keep cores of your own (taskset, cpuset)"


def at_most(code: str, name: str, share: float, limit: float, text: str, step: str) -> Finding:
    """PASS where `share` (0 to 1) is no more than `limit`, else FAIL with `step` as what to do next. `text`: what the share is of."""
    within = share <= limit
    return Finding(
        code=code,
        name=name,
        outcome="PASS" if within else "FAIL",
        text=text,
        measured=share,
        unit="1",
        n=1,
        expected=0.0,
        tolerance=limit,
        margin=limit - share,
        better="lower",
        next_step="" if within else step,
    )
