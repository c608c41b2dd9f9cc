"""Model facts of one run for run.json: sizes, operations, and how much of this machine's measured peak was reached."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import conditions, model_facts, peaks
from harness.achieved import Achieved, achieved, peak_precision
from harness.batching import Policy
from harness.core import Columns, Model, Samples
from harness.errors import AssayError, DataError
from harness.peak_kernels import COPY

LEAST_BUSY_S = 5.0
"""A peak that is not in the cache takes 3 seconds: it is measured behind a run that computed for at least this long."""

_MODEL = ("file_bytes", "bytes_in_memory", "memory", "operations_per_sample", "operations_at_max_length")
_RATES = ("operations_per_second", "operations_padding_share", "peak_operations_per_second", "peak_share")


@dataclass(slots=True)
class Figures:
    """Parts of run.json by key; None where something is not known. `peak`: the peak that the share is of; `measured_s`: seconds that
    measuring it took, 0 where it was kept."""

    model: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(_MODEL))
    throughput: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(_RATES))
    peak: dict[str, Any] | None = None
    measured_s: float = 0.0
    warnings: list[str] = field(default_factory=list)


def figures(
    model: Model | None, description: Mapping[str, Any], columns: Columns, samples: Samples, policy: Policy, cache: Path
) -> Figures:
    """Everything that follows from a run. `description`: of its first worker. Measures the peak where the cache has none and the run was
    long enough."""
    found = Figures()
    if model is None:
        return found
    found.model |= sizes(model, description)
    try:
        config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
        found.model["operations_at_max_length"] = model_facts.operations(config, samples.max_length, model.head)
        done = achieved(columns, samples, policy, config, model.head, packed=bool(description.get("packed")))
    except (DataError, OSError, ValueError):  # a kind of model without a formula has no figures
        return found
    if done is not None and done.busy_s > 0:
        found.model["operations_per_sample"] = done.per_sample
        found.throughput |= {"operations_per_second": done.per_second, "operations_padding_share": done.padding_share}
        _add_peak(found, done, description, int(columns.worker.max()) + 1, cache)
    return found


def sizes(model: Model, description: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes of what the backend loads and of what it holds then. `memory`: "device" or "resident", which of the two that is."""
    memory, file = _mapping(description.get("memory")), _mapping(description.get("file"))
    device, resident = memory.get("device_bytes"), memory.get("resident_bytes")
    return {
        "file_bytes": file.get("bytes") or model.bytes,
        "bytes_in_memory": resident if device is None else device,
        "memory": "resident" if device is None else "device",
    }


def _mapping(told: object) -> Mapping[str, Any]:
    """What a backend of somebody else's tells under a name of ours may be anything."""
    return told if isinstance(told, Mapping) else {}


def _add_peak(found: Figures, done: Achieved, description: Mapping[str, Any], workers: int, cache: Path) -> None:
    precision, place = peak_precision(description), _place(description, workers)
    if precision is None or place is None:
        return
    start = time.monotonic()
    try:
        kept, measured = _kept(precision, *place, cache, done)
    except AssayError as error:
        found.warnings.append(f"{error}: no share of the peak is given; {error.cure}")
        return
    found.measured_s = time.monotonic() - start if measured else 0.0
    if precision in kept:
        found.peak = {"threads": place[1], **_told(precision, kept)}
        share = done.per_second / kept[precision].value
        found.throughput |= {"peak_operations_per_second": kept[precision].value, "peak_share": share}
        if share > peaks.STALE_SHARE:
            found.warnings.append(f"the run computed faster than the measured {precision} peak, which other work disturbed: see `doctor`")


def _place(description: Mapping[str, Any], workers: int) -> tuple[str, int] | None:
    """Device, and threads of all workers together. None where no one device is what the workers have in common."""
    device, usable = str(description.get("device") or "cpu"), conditions.usable_cores()
    if device == "cpu":
        threads = description.get("threads")
        return device, min(usable, workers * threads) if isinstance(threads, int) and threads > 0 else usable
    alone = workers == 1 or len(conditions.gpus()) == 1
    return (device, 1) if device.startswith("cuda") and alone else None


def _kept(precision: str, device: str, threads: int, cache: Path, done: Achieved) -> tuple[dict[str, peaks.Peak], bool]:
    """The kept peaks, and whether something was measured for them: what was not known yet, or too low to be true."""
    before = peaks.kept(device, threads, cache=cache)
    if done.busy_s < LEAST_BUSY_S:
        return before, False
    kept = peaks.known(device, threads, [precision], cache=cache)
    if precision in kept and done.per_second > peaks.STALE_SHARE * kept[precision].value:
        kept = peaks.known(device, threads, [precision], cache=cache, again=True)
    return kept, any(before.get(name) != peak for name, peak in kept.items())


def _told(precision: str, kept: Mapping[str, peaks.Peak]) -> dict[str, Any]:
    """The peak as conditions.peak of run.json."""
    peak = asdict(kept[precision])
    return {
        "precision": precision,
        "operations_per_second": peak.pop("value"),
        "copy_bytes_per_second": kept[COPY].value if COPY in kept else None,
        **peak,
    }
