"""How much memory there is for candidates that are loaded at once: of the machine, and of the control groups this process is in."""

from __future__ import annotations

from pathlib import Path

from harness.conditions import control_groups, memory

ROOT, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

COPIES = 2.0
"""A worker holds its weights this many times while it loads, at worst: as read, and as the runtime packs them."""

WORKER_BYTES = 400_000_000
"""What a worker process takes beside its weights: interpreter, libraries, activations of a batch. Loading let a worker of pytorch:fp32 with
91 MB of weights grow by 282 MB, one of onnxruntime:fp32 by 144 MB, on top of interpreter and numpy; this is more than that."""

NO_LIMIT = 1 << 60
"""Version 1 of control groups writes a number of this size where there is no limit."""


def needed(model_bytes: int | None, workers: int) -> int:
    """Bytes that this many workers will probably take; a backend without a model takes nothing worth speaking of."""
    return 0 if model_bytes is None else round(workers * (COPIES * model_bytes + WORKER_BYTES))


def available(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes that may still be taken: the least of what the machine and each control group have left. None where nobody tells."""
    left = [_left_v2(group) for group in control_groups(root, membership)]
    left += [memory()["available"], _left(root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")]
    return min((each for each in left if each is not None), default=None)


def _left_v2(group: Path) -> int | None:
    return _left(group, "memory.max", "memory.current", "inactive_file")


def _left(group: Path, limit: str, used: str, reclaimable: str) -> int | None:
    """Limit less use, file cache that can be dropped at once not counted as use; None without a limit."""
    try:
        most, now = (group / limit).read_text().strip(), int((group / used).read_text())
        if most == "max" or int(most) >= NO_LIMIT:
            return None
        return max(0, int(most) - now + _stat(group / "memory.stat", reclaimable))
    except (OSError, ValueError):
        return None


def _stat(file: Path, key: str) -> int:
    pairs = (line.split() for line in file.read_text().splitlines())
    return next((int(value) for name, value in pairs if name == key), 0)
