"""This machine's measured peak: the most operations a second of a matrix product, by precision, and the bandwidth of a copy.

Measured once for a machine, device, thread count and library version, and kept in the cache. What is kept is the highest that was seen: a
measurement beside other work can only be too low. One that was disturbed is repeated on later occasions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import conditions
from harness.errors import MissingError
from harness.interference import WORTH_SAYING, cpu_time, others_share
from harness.models import default_cache
from harness.peak_kernels import COPY, PRECISIONS
from harness.store import write_atomically

STALE_SHARE = 1.05
"""A run that reaches more than this share of a peak shows that the peak was measured too low."""

ENOUGH = 5
"""A machine that is never quiet is not measured more often than this for one key."""

TIMEOUT_S = 180.0
SCHEMA = 1
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Peak:
    """`value`: operations/s, for a copy bytes/s, 0 where the device has no such product. `n`: how often it was measured, `date`: when the
    highest was; `quiet`: at least once nothing else ran."""

    value: float
    n: int
    date: str
    quiet: bool
    library: str

    def joined(self, later: Peak) -> Peak:
        """Both as one: the higher value with its date."""
        best = later if later.value > self.value else self
        return replace(best, n=self.n + later.n, quiet=self.quiet or later.quiet)


def measured(
    device: str, threads: int, precisions: Sequence[str] = PRECISIONS, *, cache: Path | None = None, again: bool = False
) -> Mapping[str, float]:
    """Peaks by precision (`fp32`, `tf32`, `bf16`, `fp16`, `int8`) in operations/s and `copy` in bytes/s; raises what `known` raises."""
    return {name: peak.value for name, peak in known(device, threads, precisions, cache=cache, again=again).items()}


def known(
    device: str, threads: int, precisions: Sequence[str] = PRECISIONS, *, cache: Path | None = None, again: bool = False
) -> dict[str, Peak]:
    """What is kept of `precisions` and `copy` for this device (`cpu`, `cuda`, `cuda:1`), measured first where something lacks.

    `cache`: None for the default one; `again`: measured whatever is kept. A precision that the device lacks is absent. Raises MissingError
    where nothing can be measured.
    """
    file = _file(device, threads, cache)
    found, wanted = read(file), [*precisions, COPY]
    due = [name for name in wanted if again or _due(found.get(name))]
    if due:
        found = _keep(file, _measured_now(device, threads, [name for name in due if name != COPY]), device, threads)
    return {name: found[name] for name in wanted if found[name].value > 0}


def kept(device: str, threads: int, *, cache: Path | None = None) -> dict[str, Peak]:
    """What is known without measuring."""
    return {name: peak for name, peak in read(_file(device, threads, cache)).items() if peak.value > 0}


def _file(device: str, threads: int, cache: Path | None) -> Path:
    return (cache or default_cache()) / "peaks" / f"{_key(device, threads)}.json"


def _due(peak: Peak | None) -> bool:
    return peak is None or (not peak.quiet and peak.n < ENOUGH)


# -------------------------------------------------------------------------------------------------------------------------- cache


def read(file: Path) -> dict[str, Peak]:
    """What the file holds; empty where it is missing or damaged: it can be measured again."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return {name: Peak(**each) for name, each in stored["peaks"].items()} if stored["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _keep(file: Path, new: Mapping[str, Peak], device: str, threads: int) -> dict[str, Peak]:
    """The kept peaks with the new ones; written whole, and not at all where the disk does not allow it: a cache is no result."""
    joined = dict(read(file))
    for name, peak in new.items():
        joined[name] = joined[name].joined(peak) if name in joined else peak
    about = {"schema": SCHEMA, "machine": _machine(device, threads), "peaks": {name: asdict(peak) for name, peak in joined.items()}}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(about, indent=1) + "\n").encode())
    except OSError:
        pass
    return joined


def _key(device: str, threads: int) -> str:
    return sha256(json.dumps(_machine(device, threads), sort_keys=True).encode()).hexdigest()[:16]


def _machine(device: str, threads: int) -> dict[str, Any]:
    """All that decides a peak."""
    cpu = conditions.cpu()
    gpus = [(each["name"], each["driver_version"]) for each in conditions.gpus()] if device != "cpu" else []
    return {
        "device": device,
        "gpus": gpus,
        "cpu": [cpu[name] for name in ("model", "usable_cores", "quota_cores", "instruction_sets")],
        "threads": threads,
        "library": _library(),
    }


def _library() -> str:
    """What measures: PyTorch, or numpy where there is none."""
    for name in ("torch", "numpy"):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return ""


# ---------------------------------------------------------------------------------------------------------------------- measuring


def _measured_now(device: str, threads: int, precisions: Sequence[str]) -> dict[str, Peak]:
    """`precisions` and the copy, measured now."""
    before = cpu_time()
    said = _measure(device, threads, precisions)
    share = others_share(before, cpu_time())
    quiet, date = (share or 0.0) <= WORTH_SAYING, datetime.now(UTC).isoformat(timespec="seconds")
    values = dict.fromkeys(precisions, 0.0) | said["peaks"]
    return {name: Peak(value, 1, date, quiet or not value, said["library"]) for name, value in values.items()}


def _measure(device: str, threads: int, precisions: Sequence[str]) -> dict[str, Any]:
    """What `harness.peak_kernels` prints. Raises MissingError where it fails."""
    words = [sys.executable, "-m", "harness.peak_kernels", device, str(threads), *precisions]
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    try:
        done = subprocess.run(words, cwd=ROOT, env={**os.environ, **limits}, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        raise MissingError(f"the peak of {device} cannot be measured: {_last_line(error.stderr)}", _CURE) from error
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise MissingError(f"the peak of {device} cannot be measured: {error}", _CURE) from error
    return said


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it ended without a word"])[-1][:300]


_CURE = "run `assay doctor` to see what this machine lacks"
