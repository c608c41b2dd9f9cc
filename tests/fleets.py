"""Qualifications of machines that were never built: good ones that differ by 1 to 2 %, some slow ones, for tests of fleets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.qualifying import state
from harness.qualifying.check import Finding, Qualification
from harness.qualifying.fleet_reading import Measured, of_qualification

FIGURES = {
    "gemm_fp32": ("operations/s", "higher", 1.5e12),
    "gemm_int8": ("operations/s", "higher", 5.9e12),
    "memory_copy": ("bytes/s", "higher", 21e9),
    "offline_throughput": ("samples/s", "higher", 812.0),
    "server_latency_p90": ("ns", "lower", 31e6),
}
HARDWARE = {
    "os": "Linux",
    "architecture": "x86_64",
    "cpu": {"model": "Example CPU 8000", "physical_cores": 16, "usable_cores": 32, "governor": "performance"},
    "gpus": [],
}
SUBJECT = {"backend": "onnxruntime:int8", "model": {"name": "example", "sha256": "aa"}, "data": {"task": "squad", "sha256": "bb"}}


@dataclass(frozen=True, slots=True)
class Fleet:
    """`slow`: by how much each slow machine is slower, by its name."""

    qualifications: Mapping[str, Qualification]
    slow: Mapping[str, float] = field(default_factory=dict)

    def measured(self) -> list[Measured]:
        return [of_qualification(each, f"{name}.json") for name, each in self.qualifications.items()]

    def write(self, folder: Path) -> None:
        for name, each in self.qualifications.items():
            (folder / name).mkdir(parents=True)
            state.finish(folder / name, each)


def fleet(seed: int, machines: int, slow: Sequence[float] = (), *, correlation: float = 0.5, everywhere: bool = False) -> Fleet:
    """Spreads of 1 to 2 % by figure, the figures of a machine `correlation` alike. `slow`: shares by which the first machines are slower,
    in one figure or `everywhere`."""
    random = np.random.default_rng(seed)
    spreads = random.uniform(0.01, 0.02, len(FIGURES))
    common, own = random.standard_normal((machines, 1)), random.standard_normal((machines, len(FIGURES)))
    logs = (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own) * spreads
    for number, share in enumerate(slow):
        logs[number, slice(None) if everywhere else random.integers(len(FIGURES))] += np.log(1 - share)
    names = [f"node{number:03d}" for number in range(machines)]
    made = {name: qualification(name, dict(zip(FIGURES, row.tolist(), strict=True))) for name, row in zip(names, logs, strict=True)}
    return Fleet(made, dict(zip(names, slow, strict=False)))


def qualification(name: str, logs: Mapping[str, float], **changes: object) -> Qualification:
    """`logs`: how much better each figure is than usual, as a logarithm. `changes`: other fields of the qualification."""
    findings = []
    for figure, log in logs.items():
        unit, better, usual = FIGURES[figure]
        value = usual * float(np.exp(log if better == "higher" else -log))
        findings.append(Finding("THROUGHPUT_LOW", figure, "PASS", "measured", value, unit, 5, better=better))  # type: ignore[arg-type]
    lasting = {"kernel": "6.1.0", "libraries": {"torch": "2.13.0"}, "hostname": name}
    fields = {
        "level": "standard",
        "findings": tuple(findings),
        "machine": {"hardware": HARDWARE, "hostname": name, "lasting": lasting},
        "serials": {"board": f"serial of {name}"},
        "subject": SUBJECT,
        "started_utc": "2026-11-21T10:00:00+00:00",
    }
    return Qualification(**fields | changes)  # type: ignore[arg-type]
