"""Qualifications that were never measured, and checks that measure nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.qualifying.check import Check, Context, Finding, Outcome, Qualification

MACHINE: dict[str, Any] = {
    "hardware": {"cpu": {"model": "Fast 9000", "usable_cores": 8}, "gpus": []},
    "fingerprint": "00112233aabbccdd",
    "described": "rack7: Fast 9000, 8 cores",
    "hostname": "rack7",
    "git": {"commit": "0123456789abcdef", "dirty": False},
    "lasting": {"os": "Linux", "kernel": "6.1", "libraries": {"torch": "2.13.0"}, "gpus": []},
}
SUBJECT: dict[str, Any] = {
    "backend": "pytorch:fp32",
    "device": "auto",
    "task": "squad",
    "settings": {"workers": 2},
    "model": {"name": "minilm-squad", "sha256": "a" * 64},
    "data": {"name": "built-in sample set", "sha256": "b" * 64},
}


def figure(name: str = "offline_throughput", value: float = 100.0, **changes: Any) -> Finding:
    """A figure that the baseline judges."""
    about: dict[str, Any] = {"unit": "samples/s", "n": 1, "better": "higher", "code": "THROUGHPUT_LOW", "outcome": "PASS"} | changes
    return Finding(about.pop("code"), name, about.pop("outcome"), f"{value:g} answers a second", value, **about)


def fact(name: str, outcome: Outcome = "PASS", *, required: bool = True, code: str = "BROKEN") -> Finding:
    """A finding that is no figure."""
    return Finding(code, name, outcome, f"{name} was looked at", required=required, next_step="mend it" if outcome != "PASS" else "")


def qualification(*findings: Finding, **changes: Any) -> Qualification:
    about: dict[str, Any] = {"machine": MACHINE, "subject": SUBJECT, "serials": {"board": "X1"}, "started_utc": "2026-11-21T10:00:00+00:00"}
    return Qualification("standard", findings or (figure(), fact("timer")), **{**about, "seconds": 180.0, **changes})


def check(name: str, does: Callable[[Context], Finding | Sequence[Finding]] | None = None, **changes: Any) -> Check:
    about: dict[str, Any] = {"code": "BROKEN", "title": name, "required": True, "levels": ("quick",), "seconds": 1.0} | changes
    return Check(name=name, run=does or (lambda context: fact(name)), **about)
