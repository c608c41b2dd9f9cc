"""Findings of searches for instances, kept by machine, backend, model, scenario, batching and library versions.

A file that is damaged, or made under other conditions, is as good as none: the search is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.config import MOST_WORKERS
from harness.store import write_atomically
from harness.tournament_words import Finding

SCHEMA = 1
"""Version of the files. 1: first."""

_GPU_KEYS = ("name", "driver_version", "memory.total", "power.limit")


def machine(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's conditions, those that decide which instances are best and stay as they are while nobody changes the machine."""
    cpu = {name: value for name, value in conditions["cpu"].items() if name != "mhz"}
    gpus = [{name: gpu.get(name) for name in _GPU_KEYS} for gpu in conditions["gpus"]]
    same = {name: conditions[name] for name in ("os", "machine", "hostname", "python", "libraries", "environment")}
    return {"cpu": cpu, "gpus": gpus, "memory": conditions["memory"]["total"], **same}


def path(folder: Path, key: Mapping[str, Any]) -> Path:
    """Where the finding under these conditions lies. `key`: plain JSON values."""
    return folder / f"{sha256(_canonical(key).encode()).hexdigest()[:24]}.json"


def read(folder: Path, key: Mapping[str, Any]) -> Finding | None:
    """What was found under these conditions, None where that is not known."""
    from pydantic import TypeAdapter

    try:
        stored = json.loads(path(folder, key).read_text(encoding="utf-8"))
        if stored["schema"] != SCHEMA or _canonical(stored["key"]) != _canonical(key):
            return None
        finding: Finding = TypeAdapter(Finding).validate_json(json.dumps(stored["finding"]), strict=True)
        return replace(finding, cached=True) if _sound(finding) else None
    except (OSError, ValueError, KeyError, TypeError):  # whatever a damaged file may hold; pydantic's errors are ValueErrors
        return None


def write(folder: Path, key: Mapping[str, Any], finding: Finding) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {"schema": SCHEMA, "key": key, "finding": asdict(finding)}
    write_atomically(path(folder, key), (json.dumps(stored, indent=1) + "\n").encode())


def _canonical(key: Any) -> str:
    return json.dumps(key, sort_keys=True, allow_nan=False)


def _sound(finding: Finding) -> bool:
    if not finding.trials or finding.trials[0].error or len(finding.measured_utc) < len("2026-11-21"):
        return False
    return all(1 <= each.candidate.workers <= MOST_WORKERS and each.candidate.threads >= 1 for each in finding.trials)
