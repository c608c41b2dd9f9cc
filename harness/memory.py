"""How much memory a loaded backend holds: of the process, and of the device where it is another."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import psutil


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def grown(before: int, description: Mapping[str, Any]) -> dict[str, int | None]:
    """What loading took since `before` resident bytes, as `backend.memory` of run.json.

    `resident_bytes` is growth of the process: weights, the runtime's copies of them, and libraries it imports only now; workers that are
    threads of one process and load at once are counted together. None where it did not grow: what was freed before (by an export) is used
    again. `device_bytes`: what the backend says of itself under that key, else what PyTorch has allocated on a CUDA device; None on a CPU,
    or where nobody tells.
    """
    growth = resident_bytes() - before
    return {"resident_bytes": growth if growth > 0 else None, "device_bytes": _device_bytes(description)}


def _device_bytes(description: Mapping[str, Any]) -> int | None:
    told = description.get("device_bytes")
    if isinstance(told, int):
        return told
    torch, device = sys.modules.get("torch"), str(description.get("device", ""))
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.memory_allocated(device)) or None
