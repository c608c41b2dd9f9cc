"""`telemetry` of run.json from a recording: columns thinned to a size that a page can draw, and what is to be said of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import units
from harness.telemetry import energy as energies
from harness.telemetry.recording import Recording
from harness.telemetry.throttling import WORTH_SAYING, Stretch, stretches, throttled_share

MOST_POINTS = 600
"""Points of a column in run.json; everything is in telemetry.parquet."""

_MASK = "bit mask"


def account(recording: Recording, from_ns: int, to_ns: int, *, samples: int = 0, device: str = "cpu") -> dict[str, Any]:
    """What is stored. `from_ns`, `to_ns`: the measured phase, monotonic; `samples` answered in it; `device`: what the backend computed on.
    Of a run that failed before it, both are the end."""
    if not recording.at_ns:
        return {"interval_s": recording.interval_s, **_NOTHING, "missing": dict(recording.missing)}
    spent, reason = energies.energy(recording, from_ns, to_ns, samples, device)
    made = {**thinned(recording, from_ns), **meanwhile(recording, from_ns, to_ns), "energy": spent}
    return made if spent else made | {"missing": made["missing"] | {"energy": reason}}


def meanwhile(recording: Recording, from_ns: int, to_ns: int) -> dict[str, Any]:
    """What is stored where several systems took turns: of the time as a whole, without columns, and without energy, which would be of all
    of them."""
    return {
        "interval_s": recording.interval_s,
        "summary": summary(recording, from_ns, to_ns),
        "missing": dict(recording.missing),
        "throttled": [_told(each, from_ns) for each in stretches(recording) if each.to_ns > from_ns],
        "events": [{"at_s": (each.at_ns - from_ns) / 1e9, "what": each.what, "text": each.text} for each in recording.events],
        "facts": dict(recording.facts),
        "cost": cost(recording),
    }


_NOTHING: Mapping[str, Any] = {
    "at_s": [],
    "columns": {},
    "summary": {},
    "throttled": [],
    "events": [],
    "energy": None,
    "facts": {},
    "cost": {"core_share": None, "cpu_s": None, "start_cpu_s": None, "rows": 0},
}


def thinned(recording: Recording, from_ns: int) -> dict[str, Any]:
    """`at_s` and `columns`, at most `MOST_POINTS` long: neighbours become one point, their mean; a mask has every bit that was set."""
    width = -(-len(recording.at_ns) // MOST_POINTS)
    places = [slice(first, first + width) for first in range(0, len(recording.at_ns), width)]
    at_s = [_short(_mean([(at - from_ns) / 1e9 for at in recording.at_ns[place]])) for place in places]
    columns = {
        name: {"unit": unit, "values": [_one(recording.columns[name][place], unit) for place in places]}
        for name, unit in recording.units.items()
    }
    return {"at_s": at_s, "columns": columns}


def _one(values: Sequence[float | None], unit: str) -> float | None:
    known = [value for value in values if value is not None]
    if unit == _MASK and known:
        union = 0
        for value in known:
            union |= int(value)
        return union
    return _short(_mean(known))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _short(value: float | None) -> float | None:
    """Six digits, and no decimals where there are none: what a sensor gives has no more."""
    if value is None:
        return None
    return int(value) if value == int(value) else float(f"{value:.6g}")


def summary(recording: Recording, from_ns: int, to_ns: int) -> dict[str, Any]:
    """Least, mean and most of each column in the measured phase; a column without a reading in it is left out, and so are bit masks."""
    inside = [place for place, at in enumerate(recording.at_ns) if from_ns <= at <= to_ns]
    found: dict[str, Any] = {}
    for name, unit in recording.units.items():
        values = [value for place in inside if (value := recording.columns[name][place]) is not None]
        if values and unit != _MASK:
            found[name] = {"min": _short(min(values)), "mean": _short(_mean(values)), "max": _short(max(values)), "unit": unit}
    return found


def cost(recording: Recording) -> dict[str, Any]:
    """What the sampler took. `core_share`: of one core, from its first reading to its last; starting it (`start_cpu_s`) comes before the
    model is loaded."""
    if not recording.at_ns:
        return dict(_NOTHING["cost"])
    first, last = recording.cpu_ns[0], recording.cpu_ns[-1]
    elapsed = recording.at_ns[-1] - recording.at_ns[0]
    share = (last - first) / elapsed if elapsed > 0 else None
    return {"core_share": _short(share), "cpu_s": last / 1e9, "start_cpu_s": first / 1e9, "rows": len(recording.at_ns)}


def _told(each: Stretch, zero_ns: int) -> dict[str, Any]:
    ends = {"from_s": _short((each.from_ns - zero_ns) / 1e9), "to_s": _short((each.to_ns - zero_ns) / 1e9)}
    return {**ends, "what": each.what, "reason": each.reason, "share": _short(each.share)}


def warnings(recording: Recording, from_ns: int, to_ns: int) -> list[str]:
    """What a reader of the run should know: a sentence for each thing that was throttled, was lost, had errors, or was shared."""
    found = stretches(recording)
    said = [_throttled(found, what, from_ns, to_ns) for what in dict.fromkeys(each.what for each in found)]
    said += [f"{event.what} during the run: {event.text}" for event in recording.events if event.at_ns >= from_ns]
    if reason := recording.missing.get("sampler") if recording.interval_s > 0 else None:
        said.append(f"no telemetry, or only a part of it: the sampler {reason}")
    return [each for each in [*said, *_gpu_warnings(recording, from_ns, to_ns)] if each]


def _throttled(found: Sequence[Stretch], what: str, from_ns: int, to_ns: int) -> str:
    share = throttled_share(found, what, from_ns, to_ns)
    if share <= WORTH_SAYING:
        return ""
    reasons = dict.fromkeys(each.reason for each in found if each.what == what and each.to_ns > from_ns and each.from_ns < to_ns)
    return f"{what} was throttled in {share:.0%} of the measured time ({'; '.join(reasons)}): the speed is that of the cooling or the limit"


def _gpu_warnings(recording: Recording, from_ns: int, to_ns: int) -> list[str]:
    said = []
    for name, values in recording.columns.items():
        inside = [value for at, value in zip(recording.at_ns, values, strict=True) if from_ns <= at <= to_ns and value is not None]
        gpu, _, kind = name.partition("_")
        if kind == "other_processes" and any(inside) and any(recording.columns.get(f"{gpu}_own_processes", ())):
            said.append(f"another process used {gpu} during the run: run it again when the GPU is free")
        if kind == "ecc_uncorrected" and inside and inside[-1] > inside[0]:
            errors = units.plural(int(inside[-1] - inside[0]), "uncorrected memory error")
            said.append(f"{gpu} counted {errors} during the run: its answers cannot be trusted")
        if name.endswith("_sm_mhz") and (reason := recording.missing.get(gpu)):
            said.append(f"{gpu}: {reason}")
    return said
