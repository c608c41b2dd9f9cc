"""Energy of the measured time, by sensors on the board. What a wall socket would show is more: losses, fans, memory, disks. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from harness.telemetry.recording import Recording

LEAST_S = 5.0
"""Shortest time that is worth a figure: counters of energy step every 20 to 100 ms, and power is averaged over up to a second."""

WORDS = "on-board sensor, not wall"


def energy(recording: Recording, from_ns: int, to_ns: int, samples: int, device: str) -> tuple[dict[str, Any] | None, str]:
    """Joules per sample between two monotonic instants, or None and why. `device`: what the backend computed on; on a GPU its own energy
    counts, and the CPU's where it can be read."""
    window_s = (to_ns - from_ns) / 1e9
    if window_s < LEAST_S:
        return None, f"measured for {window_s:.2g} s; {LEAST_S:g} s are needed"
    if not samples:
        return None, "no sample was answered"
    parts = {name: found for name in _devices(recording, device) if (found := _part(recording, name, from_ns, to_ns)) is not None}
    gpus = [name for name in parts if name != "cpu"]
    if (device.startswith("cuda") and not gpus) or not parts:
        return None, _why(recording, device)
    joules = sum(part["joules"] for part in parts.values())
    found = {"joules_per_sample": joules / samples, "joules": joules, "samples": samples, "window_s": window_s}
    return {**found, "watts": joules / window_s, "parts": parts, "source": WORDS}, ""


def _devices(recording: Recording, device: str) -> list[str]:
    """On a CPU the CPU. On a GPU those GPUs that had processes of the run on them; all of them where the driver does not tell."""
    if not device.startswith("cuda"):
        return ["cpu"]
    gpus = sorted({name.partition("_")[0] for name in recording.columns if name.startswith("gpu") and name.partition("_")[0] != "gpu"})
    used = [name for name in gpus if any(recording.columns.get(f"{name}_own_processes", ()))]
    return ["cpu", *(used or gpus)]


def _part(recording: Recording, name: str, from_ns: int, to_ns: int) -> dict[str, Any] | None:
    """Joules of one device: by its counter, else by its power; None where neither was read on both sides of the time."""
    if counted := _points(_known(recording, f"{name}_joules"), from_ns, to_ns):
        return {"joules": counted[-1][1] - counted[0][1], "by": "energy counter"}
    if power := _points(_known(recording, f"{name}_watts"), from_ns, to_ns):
        pieces = ((later - earlier) / 1e9 * (one + other) / 2 for (earlier, one), (later, other) in itertools.pairwise(power))
        return {"joules": sum(pieces), "by": "readings of power"}
    return None


def _points(known: Sequence[tuple[int, float]], from_ns: int, to_ns: int) -> list[tuple[int, float]]:
    """The readings between two instants, and what lies on the line between readings at these instants; empty where one is outside."""
    first, last = _at(known, from_ns), _at(known, to_ns)
    if first is None or last is None:
        return []
    return [(from_ns, first), *(point for point in known if from_ns < point[0] < to_ns), (to_ns, last)]


def _known(recording: Recording, name: str) -> list[tuple[int, float]]:
    values = recording.columns.get(name, ())
    return [(at, value) for at, value in zip(recording.at_ns, values, strict=False) if value is not None]


def _at(points: Sequence[tuple[int, float]], instant_ns: int) -> float | None:
    """The value at an instant, on the line between the readings around it; None outside them."""
    place = bisect.bisect_left(points, (instant_ns, float("-inf")))
    if place == len(points) or (place == 0 and points[0][0] != instant_ns):
        return None
    if points[place][0] == instant_ns:
        return points[place][1]
    (earlier, one), (later, other) = points[place - 1], points[place]
    return one + (other - one) * (instant_ns - earlier) / (later - earlier)


def _why(recording: Recording, device: str) -> str:
    missing: Mapping[str, str] = recording.missing
    names = ("gpu0_joules", "gpu0", "gpu", "sampler") if device.startswith("cuda") else ("cpu_joules", "rapl", "sampler")
    reasons = [missing[name] for name in names if name in missing]
    return reasons[0] if reasons else "no sensor of energy or power was read before and after the measured time"
