"""The conditions a run was made under: machine, load, versions, commit. Read, never changed, and nothing heavy is imported.

A value that cannot be read on this machine is None; nothing is guessed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

CPU_FLAGS = (
    *("avx2", "fma", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "sve", "i8mm", "bf16"),
)
"""Instruction sets that decide how fast FP32, BF16 and INT8 matrix products are, as Linux names them (x86, then ARM)."""

LIBRARIES = (
    *("assay", "numpy", "torch", "transformers", "tokenizers", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt"),
    *("pyarrow", "pydantic"),
)

VARIABLES = (
    "OMP_",
    "MKL_",
    "KMP_",
    "GOMP_",
    "OPENBLAS_",
    "CUDA_",
    "NVIDIA_",
    "ORT_",
    "TORCH_",
    "PYTORCH_",
    "MALLOC_",
    "LD_PRELOAD",
    "ATEN_",
)
"""Beginnings of the names of environment variables that change speed."""

_COMMAND_TIMEOUT_S = 10
_GPU_FIELDS = (
    *("name", "uuid", "driver_version", "memory.total", "pstate", "clocks.sm", "clocks.max.sm", "temperature.gpu", "power.limit"),
    *("persistence_mode", "ecc.mode.current", "compute_cap", "pcie.link.gen.current", "pcie.link.width.current"),
)


def collect(git_root: Path | None = None) -> dict[str, Any]:
    """All conditions as plain JSON values. `git_root`: the checkout to name; the one this file lies in where it is None."""
    return {
        "cpu": cpu(),
        "memory": memory(),
        "load_average": load_average(),
        "gpus": gpus(),
        "os": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "hostname": platform.node(),
        "python": platform.python_version(),
        "libraries": libraries(),
        "git": git(git_root or Path(__file__).resolve().parent.parent),
        "environment": environment(),
    }


def cpu() -> dict[str, Any]:
    """Model, cores as the hardware, the scheduler and the control group count them, instruction sets, governor and frequency (MHz)."""
    import psutil

    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "model": info.get("model name") or platform.processor() or None,
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "quota_cores": quota_cores(),
        "instruction_sets": [flag for flag in CPU_FLAGS if flag in flags],
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "mhz": _mhz(info),
    }


def usable_cores() -> int:
    """Logical cores this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota_cores(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time the control groups allow (the least on the way up), None for no limit. Versions 1 and 2."""
    limits = [_quota_v2(folder) for folder in control_groups(root, membership)]
    limits.append(_quota_v1(root / "cpu"))
    return min((limit for limit in limits if limit is not None), default=None)


def control_groups(root: Path, membership: Path) -> list[Path]:
    """This process's control group (version 2) and its parents up to the root."""
    for line in (_read(membership) or "").splitlines():
        if line.startswith("0::"):
            inner = root / line.removeprefix("0::").strip("/")
            return [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return [root]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = (_read(folder / "cpu.max") or "max").partition(" ")
    return None if quota == "max" or not period else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return None if quota is None or period is None or int(quota) <= 0 else int(quota) / int(period)


def memory() -> dict[str, int | None]:
    """Bytes of memory, all and available."""
    import psutil

    state = psutil.virtual_memory()
    return {"total": state.total, "available": state.available}


def load_average() -> list[float] | None:
    """Runnable processes, mean over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def gpus() -> list[dict[str, str]]:
    """What nvidia-smi says of each GPU; empty without it."""
    output = _command("nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits")
    rows = [line.split(", ") for line in (output or "").splitlines()]
    return [dict(zip(_GPU_FIELDS, row, strict=True)) for row in rows if len(row) == len(_GPU_FIELDS)]


def libraries() -> dict[str, str]:
    """Installed versions of the libraries that decide speed, found without importing them."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git(root: Path) -> dict[str, Any] | None:
    """Commit of the checkout and whether tracked files differ from it; None outside a checkout."""
    if not (root / ".git").exists():
        return None
    commit = _command("git", "-C", str(root), "rev-parse", "HEAD")
    changes = _command("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit.strip(), "dirty": None if changes is None else bool(changes.strip())}


def environment() -> dict[str, str]:
    """Environment variables that change speed."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty elsewhere."""
    first, _, _ = (_read(Path("/proc/cpuinfo")) or "").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _mhz(info: dict[str, str]) -> float | None:
    try:
        return float(info["cpu MHz"])
    except (KeyError, ValueError):
        return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _command(*words: str) -> str | None:
    """Output of a command, None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
