"""Which machine it is: what it is made of, what runs on it, and the serial numbers that tell it from its equals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import conditions
from harness.bench import Bench
from harness.config import RunConfig
from harness.history.series_key import digest, hardware, lasting, typed
from harness.telemetry.recording import Recording

_SERIALS = {
    "product": Path("/sys/class/dmi/id/product_serial"),
    "board": Path("/sys/class/dmi/id/board_serial"),
}
"""Readable by root alone on most systems."""
_SETTINGS = ("workers", "threads", "batching", "max_batch", "max_batch_tokens", "pad_to", "batch_wait")
_MACHINE_ID = Path("/etc/machine-id")


def facts() -> dict[str, Any]:
    """`hardware`, its `fingerprint` (equal for machines of one kind), `described` in one line, and what else stays the same."""
    seen = conditions.collect()
    made = hardware(seen)
    described = {"hardware": made, "fingerprint": digest(made)[:16], "described": _described(seen)}
    return {**described, "hostname": seen["hostname"], "git": seen["git"], "lasting": lasting(seen)}


def serials(recording: Recording | None) -> dict[str, str]:
    """By what they are on. The id of the installation is hashed: it is meant to stay confidential (man 5 machine-id)."""
    found = {name: text for name, file in _SERIALS.items() if (text := _read(file))}
    if text := _read(_MACHINE_ID):
        found["installation"] = hashlib.sha256(f"assay {text}".encode()).hexdigest()[:16]
    for name, gpu in (recording.facts if recording else {}).items():
        if isinstance(gpu, Mapping):
            found |= {f"{name} {word}": str(gpu[word]) for word in ("serial", "uuid") if gpu.get(word)}
    return found


def asked(config: RunConfig) -> dict[str, Any]:
    """What the user says is to run; `settings`: of batching and workers, where they are not left to Assay."""
    given = {name: getattr(config, name) for name in _SETTINGS}
    fields = RunConfig.model_fields
    settings = {name: value for name, value in given.items() if value != fields[name].default}
    return {"backend": typed(config.backend), "device": config.device, "task": typed(config.task), "settings": settings}


def subject(bench: Bench) -> dict[str, Any]:
    """What runs, with the hashes of the model and the data."""
    model = bench.model
    return {
        **asked(bench.config),
        "model": {"name": model.name, "sha256": model.sha256} if model else {},
        "data": {"task": typed(bench.config.task), "name": bench.task.data_name, "sha256": bench.task.fingerprint},
    }


def _described(seen: Mapping[str, Any]) -> str:
    cpu, gpus = seen["cpu"], seen["gpus"]
    parts = [str(cpu["model"] or "unknown CPU"), f"{cpu['usable_cores']} cores", *(gpu["name"] for gpu in gpus)]
    return f"{seen['hostname']}: {', '.join(parts)}"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
