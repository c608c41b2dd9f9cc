"""Where PyTorch runs, and which instructions multiply there."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from harness.core import BackendOptions
from harness.errors import MissingError, UsageError, first_line
from harness.runtimes import cpu

_DEVICES = "Use auto, cpu, cuda or cuda:N."


def device_of(options: BackendOptions) -> torch.device:
    """`auto` is CUDA where there is one, workers spread over its devices in turn, else the CPU."""
    if options.device == "auto":
        return torch.device("cuda", options.worker % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(options.device)
    except RuntimeError as error:
        raise UsageError(f"--device {options.device}: no such kind of device", _DEVICES) from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise UsageError(f"--device {options.device}: pytorch runs on cpu and cuda here", _DEVICES)
    return torch.device("cuda", _cuda_index(device))


def _cuda_index(device: torch.device) -> int:
    if torch.version.cuda is None:
        cure = "Install a CUDA build of torch, or use --device cpu."
        raise MissingError(f"--device {device}: this build of PyTorch ({torch.__version__}) has no CUDA", cure)
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except RuntimeError as error:
        raise MissingError(
            f"--device {device}: CUDA does not start: {first_line(error)}", "Check nvidia-smi, or use --device cpu."
        ) from error
    index = device.index or 0
    if index >= count:
        raise MissingError(f"--device {device}: there are {count} CUDA devices", f"Use cuda:0 to cuda:{count - 1}, or --device cpu.")
    return index


def stream_of(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def native_bf16() -> str | None:
    """Instruction set that multiplies BF16 on this CPU, None if there is none that PyTorch uses.

    `torch.ops.mkldnn._is_mkldnn_bf16_supported()` is no answer: it is True wherever oneDNN can emulate (AVX-512 without BF16).
    """
    flags = cpu_flags()
    found = next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags), None)  # "bf16": ARMv8.6
    if found == "bf16" and platform.machine().lower() not in ("aarch64", "arm64"):
        found = None
    return found if found and _onednn_takes_bf16() else None


def _onednn_takes_bf16() -> bool:
    """False as well for a build of PyTorch without oneDNN, which has no fast BF16 on the CPU."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is not None and bool(asked())


def cpu_flags(path: Path = cpu.CPUINFO) -> set[str]:
    """Instruction sets of this CPU; where the system does not tell, what PyTorch finds by itself."""
    if path.exists():
        return cpu.flags(path)
    asked: dict[str, str] = {"avx512_bf16": "_is_avx512_bf16_supported"}  # no /proc: PyTorch's own look at the CPU, where it has one
    return {flag for flag, name in asked.items() if getattr(torch.cpu, name, lambda: False)()}


def native_int8() -> str | None:
    """Instruction set of this CPU that multiplies INT8 and adds in 32 bits in one step, None where there is none."""
    flags = cpu_flags()
    known = {"amx_int8": "amx_int8", "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni", "i8mm": "i8mm", "asimddp": "asimddp"}
    return next((name for flag, name in known.items() if flag in flags), None)


def instructions(device: torch.device, kind: str) -> list[str]:
    """Instruction sets that products of `kind` (float32, tf32, bfloat16, float16, int8) can use on `device`."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        since = {"float16": (7, 0), "bfloat16": (8, 0), "tf32": (8, 0), "int8": (7, 2)}.get(kind)
        tensor_cores = ["tensor cores"] if since and (major, minor) >= since else []
        return [f"sm_{major}{minor}", *tensor_cores]
    native = {"bfloat16": native_bf16, "int8": native_int8}.get(kind, lambda: None)()
    return [torch.backends.cpu.get_cpu_capability(), *([native] if native else [])]
