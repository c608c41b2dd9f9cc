"""Stretches of time in which hardware, or a control group, held the run back. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.telemetry.recording import Recording
from harness.telemetry.throttle_reasons import throttling

WORTH_SAYING = 0.01
"""Share of the measured time above which a run that was throttled warns."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """`what` was throttled for `reason` between two instants, monotonic ns. `share`: how much of it; 1 where only on or off is known."""

    from_ns: int
    to_ns: int
    what: str
    reason: str
    share: float = 1.0


def stretches(recording: Recording) -> list[Stretch]:
    """All of them in order; consecutive ones of the same thing and reason are one."""
    found: list[Stretch] = []
    for name in recording.columns:
        found += _joined(list(_of(recording, name)))
    return sorted(found, key=lambda each: (each.from_ns, each.what, each.reason))


def _of(recording: Recording, name: str) -> Iterator[Stretch]:
    if name.endswith("_throttle_reasons"):
        yield from _states(recording, name, name.removesuffix("_throttle_reasons"))
    elif name == "cpu_throttle_events":
        yield from _counted(recording, name)
    elif name == "cgroup_throttled_share":
        yield from _stopped(recording, name)


def _states(recording: Recording, name: str, what: str) -> Iterator[Stretch]:
    """A state holds from its reading to the next one."""
    for (from_ns, to_ns), mask in zip(itertools.pairwise(recording.at_ns), recording.columns[name], strict=False):
        if reasons := throttling(int(mask or 0)):
            yield Stretch(from_ns, to_ns, what, ", ".join(reasons))


def _counted(recording: Recording, name: str) -> Iterator[Stretch]:
    """A counter that has grown grew at some time since the reading before."""
    spans = itertools.pairwise(zip(recording.at_ns, recording.columns[name], strict=True))
    for (from_ns, before), (to_ns, after) in spans:
        if before is not None and after is not None and after > before:
            yield Stretch(from_ns, to_ns, "cpu", "thermal throttling")


def _stopped(recording: Recording, name: str) -> Iterator[Stretch]:
    """A share of the time since the reading before."""
    for (from_ns, to_ns), share in zip(itertools.pairwise(recording.at_ns), recording.columns[name][1:], strict=True):
        if share:
            yield Stretch(from_ns, to_ns, "cpu", "quota of the control group", share)


def _joined(pieces: Sequence[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and (last.to_ns, last.what, last.reason) == (piece.from_ns, piece.what, piece.reason):
            length, more = last.to_ns - last.from_ns, piece.to_ns - piece.from_ns
            share = (last.share * length + piece.share * more) / max(1, length + more)
            joined[-1] = Stretch(last.from_ns, piece.to_ns, piece.what, piece.reason, share)
        else:
            joined.append(piece)
    return joined


def throttled_share(found: Sequence[Stretch], what: str, from_ns: int, to_ns: int) -> float:
    """Share of a time span in which `what` was throttled. One thing has one reason at a time, but for a CPU that is both hot and stopped
    for its quota: at most 1."""
    length = to_ns - from_ns
    inside = sum(max(0, min(each.to_ns, to_ns) - max(each.from_ns, from_ns)) * each.share for each in found if each.what == what)
    return min(1.0, inside / length) if length > 0 else 0.0
