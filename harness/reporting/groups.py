"""Which runs can be held against each other: the same questions, asked alike, and unless asked otherwise on the same machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import card
from harness.core import Run
from harness.intervals import Interval


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored run. `label`: what it is called beside the others; `where`: the folder it was read from."""

    label: str
    where: str
    run: Run
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Group:
    """Runs in the order given. `asked`: what they were asked, in words; `machine` is empty where several were asked for."""

    asked: str
    machine: str
    entries: tuple[Entry, ...]


def groups(entries: Sequence[Entry], *, across_machines: bool) -> list[Group]:
    """Entries by what they were asked and, unless `across_machines`, where; first come, first shown."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        found.setdefault((asked(entry.run), "" if across_machines else machine(entry.run)), []).append(entry)
    return [Group(*key, tuple(members)) for key, members in found.items()]


def asked(run: Run) -> str:
    """Scenario, task, data, rules, mode and the bound: what must be alike. Not the rate of server: the highest that meets its bound is what
    systems are held against each other by."""
    config, data, bound = run.config, run.conditions.get("data") or {}, run.traffic.get("latency_bound") or {}
    parts = [config.get("scenario"), config.get("task"), data.get("name"), _samples(data), _rules(config)]
    if config.get("mode") not in (None, "performance"):
        parts.append(f"mode {config['mode']}")
    if bound.get("ns"):
        parts.append(f"p{100 * bound['percentile']:g} within {bound['ns'] / 1e6:g} ms")
    return " · ".join(str(part) for part in parts if part)


def _samples(data: Any) -> str:
    return f"{data['samples']:,} samples" if data.get("samples") else ""


def _rules(config: Any) -> str:
    return f"{config['rules']} rules" if config.get("rules") else ""


def machine(run: Run) -> str:
    """Host, processor, cores and GPUs: what must be alike for a ratio."""
    cpu = run.conditions.get("cpu") or {}
    cores = f"{cpu['usable_cores']} cores" if cpu.get("usable_cores") else None
    gpus = [gpu.get("name") for gpu in run.conditions.get("gpus") or ()]
    return " · ".join(str(part) for part in (run.conditions.get("hostname"), cpu.get("model"), cores, *gpus) if part) or "unknown machine"


def best(group: Group) -> Entry | None:
    """The run with the best headline among those that count; None where fewer than two do, or their headlines differ in kind."""
    counting = [entry for entry in group.entries if card.make(entry.run).counts and (entry.run.verdict.get("metric") or {}).get("value")]
    kinds = {(entry.run.verdict["metric"]["name"], entry.run.verdict["metric"]["unit"]) for entry in counting}
    if len(counting) < 2 or len(kinds) > 1:
        return None
    higher = counting[0].run.verdict["metric"]["better"] == "higher"
    return (max if higher else min)(counting, key=lambda entry: float(entry.run.verdict["metric"]["value"]))


def reference(group: Group) -> Entry | None:
    """What ratios are to: the first run that counts and is in FP32, else the first that counts."""
    counting = [entry for entry in group.entries if card.make(entry.run).counts]
    return next((entry for entry in counting if entry.run.backend.get("precision") == "fp32"), counting[0] if counting else None)
