"""Checks of the doctor for runtimes beside PyTorch: which are here, on which devices, and what would bring them.

They are imported in a process of their own (`python -m harness.doctoring.runtimes`): they load quarrelling native libraries, and one that
crashes must not take the doctor along.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.doctoring.lines import Level, Line

TIMEOUT_S = 60.0
ROOT = Path(__file__).resolve().parents[2]
_ORT_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")

Found = Mapping[str, Any]
"""What a runtime said: `version` and `devices`, or `error`. Empty where it is not installed."""


def onnxruntime(found: Found, gpu_present: bool, packages: Sequence[str] = ()) -> Line:
    """`packages`: installed distributions that all put their files in the same folder."""
    name = "ONNX Runtime"
    if not found:
        return Line(Level.WARN, name, "not installed", f"pip install onnxruntime{'-gpu' if gpu_present else ''}")
    if "error" in found:
        return Line(Level.WARN, name, f"does not import: {found['error']}", "pip install --force-reinstall onnxruntime")
    text = f"{found['version']}, {_list(found['devices'])}"
    if len(packages) > 1:
        cure = f"pip uninstall {' '.join(packages)}, then install one of them"
        return Line(Level.WARN, name, f"{text}; {' and '.join(packages)} overwrite each other's files", cure)
    if gpu_present and "CUDAExecutionProvider" not in found["devices"]:
        return Line(Level.WARN, name, f"{text}: no provider for the GPU", "pip uninstall onnxruntime && pip install onnxruntime-gpu")
    return Line(Level.OK, name, text)


def openvino(found: Found) -> Line:
    if not found:
        return Line(Level.WARN, "OpenVINO", "not installed", "pip install openvino, if its backend is wanted")
    if "error" in found:
        return Line(Level.WARN, "OpenVINO", f"does not import: {found['error']}", "pip install --force-reinstall openvino")
    return Line(Level.OK, "OpenVINO", f"{found['version']}, {_list(found['devices'])}")


def tensorrt(found: Found, gpu_present: bool) -> Line:
    """Without an NVIDIA GPU it has nothing to run on, and nothing is to be done."""
    if "error" in found:
        return Line(Level.WARN, "TensorRT", f"does not import: {found['error']}", "install the tensorrt that fits the driver's CUDA")
    if not found and gpu_present:
        return Line(Level.WARN, "TensorRT", "not installed", "pip install tensorrt, and cuda-python or pycuda")
    if not found:
        return Line(Level.OK, "TensorRT", "not installed; it needs an NVIDIA GPU")
    if gpu_present and not found["devices"]:
        return Line(Level.WARN, "TensorRT", f"{found['version']}, without bindings to CUDA", "pip install cuda-python, or pycuda")
    where = f"with {_list(found['devices'])}" if found["devices"] else "without bindings to CUDA"
    return Line(Level.OK, "TensorRT", f"{found['version']}, {where}{'' if gpu_present else '; no NVIDIA GPU here'}")


def _list(devices: Sequence[str]) -> str:
    return ", ".join(device.removesuffix("ExecutionProvider") for device in devices) or "no device"


def lines(gpu_present: bool) -> list[Line]:
    """A line for each runtime."""
    found = probe()
    here = found.get("installed", [])
    return [
        onnxruntime(found.get("onnxruntime", {}), gpu_present, here),
        openvino(found.get("openvino", {})),
        tensorrt(found.get("tensorrt", {}), gpu_present),
    ]


def probe() -> dict[str, Any]:
    """What `main` prints; an `error` for every runtime where it does not come to its end."""
    words = [sys.executable, "-m", "harness.doctoring.runtimes"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {name: {"error": str(error)} for name in ("onnxruntime", "openvino", "tensorrt")}
    return said


# ---------------------------------------------------------------------------------------------------------- in the other process


def _ask(module: str, devices: Callable[[Any], list[str]]) -> dict[str, Any]:
    """Import and ask; whatever a foreign library raises is an answer."""
    try:
        if importlib.util.find_spec(module) is None:
            return {}
        imported = importlib.import_module(module)
        return {"version": str(imported.__version__), "devices": devices(imported)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"}


def _openvino_devices(openvino: Any) -> list[str]:
    core = openvino.Core()
    return [f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME').strip()})" for device in core.available_devices]


def _cuda_bindings(_: Any) -> list[str]:
    """Packages through which TensorRT's backend can get device memory and streams."""
    return [name for name, module in (("cuda-python", "cuda"), ("pycuda", "pycuda")) if importlib.util.find_spec(module)]


def _installed(packages: Sequence[str]) -> list[str]:
    found = []
    for name in packages:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def main() -> None:
    """Prints what is here as one line of JSON."""
    found = {
        "onnxruntime": _ask("onnxruntime", lambda module: list(module.get_available_providers())),
        "openvino": _ask("openvino", _openvino_devices),
        "tensorrt": _ask("tensorrt", _cuda_bindings),
        "installed": _installed(_ORT_PACKAGES),
    }
    print(json.dumps(found), flush=True)
    os._exit(0)  # native libraries that crash on the way out have nothing more to say


if __name__ == "__main__":
    main()
