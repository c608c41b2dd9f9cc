"""What a search for instances chose, from where, and what the others gave, in words and as it stands in run.json. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness import units
from harness.tournament import Candidate, Trial

DISTURBED = 0.05
"""Share of the cores used by others from which a search is said to have been disturbed."""

Unit = Literal["samples/s", "queries/s", "ns"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finished search. `trials`: the chosen one first; `measure`: what was measured, in words; `measured_utc`: when (ISO 8601);
    `others_share`: of the cores, used by other processes meanwhile; `cached`: found earlier and read from a file."""

    trials: tuple[Trial, ...]
    unit: Unit
    measure: str
    measured_utc: str
    others_share: float | None = None
    cached: bool = False

    @property
    def chosen(self) -> Candidate:
        return self.trials[0].candidate


def facts(finding: Finding) -> dict[str, Any]:
    """The search in run.json, under `conditions.instances.search`."""
    return {
        "source": "cached" if finding.cached else "measured",
        "measured_utc": finding.measured_utc,
        "measure": finding.measure,
        "unit": finding.unit,
        "others_cpu_share": finding.others_share,
        "tried": [_trial(finding, trial) for trial in finding.trials],
    }


def _trial(finding: Finding, trial: Trial) -> dict[str, Any]:
    value = None if trial.error or not trial.rate else 1e9 / trial.rate if finding.unit == "ns" else trial.rate
    return {**asdict(trial.candidate), "value": value, "share": None if trial.error else trial.share, "error": trial.error or None}


def text(search: Mapping[str, Any]) -> str:
    """One line: "2 x 1 thread, throughput 41.2 samples/s, measured now; 1 x 2 threads 95 %, 1 x 1 thread 52 %"."""
    tried: Sequence[Mapping[str, Any]] = search["tried"]
    chosen, others = tried[0], tried[1:]
    value = "none" if chosen["value"] is None else units.quantity(chosen["value"], search["unit"])
    lines = [f"{_name(chosen)}, {search['measure']} {value}, {_source(search)}"]
    if slower := [f"{_name(each)} {units.share(each['share'])}" for each in others if not each["error"]]:
        lines.append(", ".join(slower))
    lines += [f"dropped {_name(each)}: {each['error']}" for each in others if each["error"]]
    return "; ".join(lines)


def _name(tried: Mapping[str, Any]) -> str:
    return str(Candidate(tried["workers"], tried["threads"], tried["mode"]))


def _source(search: Mapping[str, Any]) -> str:
    where = "measured now" if search["source"] == "measured" else f"cached, measured {search['measured_utc'][:10]}"
    others = search["others_cpu_share"]
    return where + (f" while others used {units.share(others)} of the cores" if others is not None and others > DISTURBED else "")
