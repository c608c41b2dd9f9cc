"""What makes two runs points of one series: the machine, its driver, backend, model, data, scenario, settings and rules. Pure.

Versions of libraries, the kernel and the interpreter are no part of it: an upgrade is what a trend is watched for, so it is an event in
the series and not the end of it. The host's name is none either: a hosted runner has another one each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.core import Run

_BACKEND = ("runtime", "precision", "options", "device", "device_name")
"""Of what `describe()` says. How a runtime does it (which attention kernel) follows from its version and is an event, like that."""

_RESOLVED = (
    *("min_duration_ns", "max_duration_ns", "min_queries", "max_queries", "latency_bound_ns", "percentile", "samples_per_query"),
    *("performance_sample_count", "seeds", "issue", "same_index", "concatenate_permutation", "coalesce", "max_async"),
    *("require_early_stopping", "batching"),
)
_ASKED = ("target_qps", "find_peak", "traffic")
"""As it was asked for, not as it was resolved: a rate that a probe finds differs from run to run."""

_INSTANCES = ("workers", "threads", "mode")


def parts(run: Run, machine: str = "") -> dict[str, Any]:
    """Everything that has to be equal, by name. `machine`: a name given to the machine, where its fingerprint does not tell two apart."""
    conditions, config, described = run.conditions, run.config, run.backend
    found = {
        "machine": {"name": machine, **hardware(conditions)},
        "driver": sorted({str(gpu.get("driver_version")) for gpu in conditions.get("gpus") or ()}),
        "backend": {"as typed": typed(config.get("backend")), **_of(described, _BACKEND)},
        "environment": dict(conditions.get("environment") or {}),
        "model": _of(run.model or {}, ("name", "sha256")),
        "task": {"name": typed(config.get("task")), "data": _of(conditions.get("data") or {}, ("name", "samples", "fingerprint"))},
        "scenario": config.get("scenario"),
        "rules": {name: config.get(name) for name in ("rules", "mode", "engine")},
        "settings": {
            **_of(config.get("resolved") or {}, _RESOLVED),
            **_of(config, _ASKED),
            **_of(conditions.get("instances") or {}, _INSTANCES),
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))  # tuples are lists, as they are when read again
    return plain


def key(made_of: Mapping[str, Any]) -> str:
    """16 hexadecimal digits: among a million series two would share one with a chance of 3 in 100 million."""
    return digest(made_of)[:16]


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def subject(made_of: Mapping[str, Any]) -> str:
    """What people would call the same benchmark, whatever it runs on: "sst2 · server · pytorch:fp32"."""
    return " · ".join(str(word) for word in (made_of["task"]["name"], made_of["scenario"], made_of["backend"]["as typed"]))


def lasting(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same from one run to the next unless somebody changes it: no loads, clocks, temperatures or free memory."""
    cpu = {name: value for name, value in (conditions.get("cpu") or {}).items() if name != "mhz"}
    moving = ("pstate", "clocks.sm", "temperature.gpu", "pcie.link.gen.current", "pcie.link.width.current")
    gpus = [{name: value for name, value in gpu.items() if name not in moving} for gpu in conditions.get("gpus") or ()]
    named = _of(conditions, ("os", "kernel", "machine", "hostname", "python", "libraries", "environment"))
    found: dict[str, Any] = json.loads(json.dumps({"cpu": cpu, "gpus": gpus, **named}, default=str))
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any], within: str = "") -> Iterable[str]:
    """What differs between two nested records, a line each: "libraries.torch: 2.12.0 → 2.13.0"."""
    for name in sorted(before.keys() | after.keys()):
        old, new, where = before.get(name), after.get(name), f"{within}{name}"
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{where}.")
        else:
            yield f"{where}: {_shown(old)} → {_shown(new)}"


def typed(name: Any) -> str:
    """A plugin's name as it was typed; a file by its name alone, since a checkout may lie anywhere: "ci/toy.py:fast" is "toy.py:fast"."""
    text = str(name or "")
    return text.replace("\\", "/").rpartition("/")[2] if ".py" in text else text


def hardware(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """What the machine is made of, without the size of the memory: it differs by a little from boot to boot, and does not decide how fast a
    model is that fits."""
    cpu = conditions.get("cpu") or {}
    return {
        "os": conditions.get("os"),
        "architecture": conditions.get("machine"),
        "cpu": _of(cpu, ("model", "physical_cores", "usable_cores", "quota_cores", "instruction_sets", "governor")),
        "gpus": [_of(gpu, ("name", "memory.total", "power.limit")) for gpu in conditions.get("gpus") or ()],
    }


def _of(record: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """These entries, where there are any: a version of Assay that adds one begins no new series with it as long as it is None."""
    return {name: record[name] for name in names if record.get(name) is not None}


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return value[:40] if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
