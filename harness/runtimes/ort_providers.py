"""Execution providers of ONNX Runtime: which one a backend's options mean, with which settings, and what to install where it is missing."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from harness import conditions
from harness.core import BackendOptions, Shapes
from harness.errors import MissingError, UsageError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT, TENSORRT_RTX = "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"

BY_OPTION = {"cuda": CUDA, "tensorrt": TENSORRT, "tensorrt-rtx": TENSORRT_RTX}
"""What is written behind `+`."""

BUILDERS = (TENSORRT, TENSORRT_RTX)
"""Providers that build engines from the plain graph, for ranges of shapes."""

_RTX_MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
_CURES = {
    CUDA: "pip uninstall onnxruntime; pip install onnxruntime-gpu[cuda,cudnn]; or use --device cpu.",
    TENSORRT: "pip uninstall onnxruntime; pip install onnxruntime-gpu[cuda,cudnn] tensorrt; or use the tensorrt backend.",
    TENSORRT_RTX: 'pip install "onnxruntime>=1.24" onnxruntime-ep-nv-tensorrt-rtx (an RTX GPU from Ampere on).',
}


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider that must run the graph. `device`: index of the GPU, None on the CPU. `plugin`: what a plugin calls itself."""

    name: str
    device: int | None = None
    plugin: str = ""

    @property
    def on_gpu(self) -> bool:
        return self.device is not None

    @property
    def registered(self) -> str:
        """The name under which sessions and traces know it."""
        return self.plugin or self.name

    @property
    def short(self) -> str:
        """CUDA of CUDAExecutionProvider."""
        return self.registered.removesuffix("ExecutionProvider")


def check_words(options: BackendOptions) -> None:
    """Raises UsageError where more than one provider is named."""
    if len(options.options) > 1:
        raise UsageError(f"onnxruntime: {' and '.join(options.options)} are two providers for one graph", "Name one.")


def chosen(options: BackendOptions) -> Provider:
    """The provider that `options` and `device` mean. Raises UsageError where they contradict each other, and MissingError where this build
    of ONNX Runtime has no such provider or the machine no such GPU."""
    check_words(options)
    asked = [BY_OPTION[word] for word in options.options]
    device = _gpu(options)
    if not asked and device is None:
        return Provider(CPU)
    name = asked[0] if asked else CUDA
    if device is None and options.device == "cpu":
        raise UsageError(
            f"onnxruntime+{options.options[0]} runs on a GPU, and --device says cpu", "Use --device cuda, or leave the option out."
        )
    plugin = _need(name, options)
    return Provider(name, device or 0, plugin)


def _gpu(options: BackendOptions) -> int | None:
    """Index of the GPU that is meant, None for the CPU. `auto` is a GPU where there is one that this build can use."""
    kind, _, index = options.device.partition(":")
    if kind == "cuda" and (index.isdigit() or not index):
        return int(index or 0)
    if kind == "cpu":
        return None
    if kind != "auto" or index:
        raise UsageError(f"--device {options.device}: onnxruntime runs on cpu and cuda here", "Use auto, cpu, cuda or cuda:N.")
    gpus = conditions.gpus() if options.options or CUDA in onnxruntime.get_available_providers() else []
    return options.worker % len(gpus) if gpus else None


def _need(name: str, options: BackendOptions) -> str:
    """Raises MissingError unless this installation has the provider and the machine an NVIDIA GPU; a plugin's own name, "" of others."""
    asked = f"onnxruntime{''.join('+' + word for word in options.options)} on --device {options.device}"
    plugin = str(_register_rtx().get_ep_name()) if name == TENSORRT_RTX else ""
    if not plugin and name not in onnxruntime.get_available_providers():
        have = ", ".join(onnxruntime.get_available_providers())
        raise MissingError(f"{asked}: onnxruntime {onnxruntime.__version__} as installed has no {name} (it has {have})", _CURES[name])
    if not conditions.gpus():
        raise MissingError(f"{asked}: nvidia-smi shows no GPU", "Check the driver with nvidia-smi, or use --device cpu.")
    return plugin


def device_name(provider: Provider) -> str | None:
    """What the processor calls itself, None where the system does not tell."""
    if provider.device is None:
        found = conditions.cpu().get("model")
        return None if found is None else str(found)
    return next((gpu["name"] for gpu in conditions.gpus()[provider.device :]), None)


def _register_rtx() -> Any:
    """Loads the plugin library once for each process; the module that knows where it lies."""
    try:
        module = importlib.import_module(_RTX_MODULE)
        if all(found.ep_name != module.get_ep_name() for found in onnxruntime.get_ep_devices()):
            onnxruntime.register_execution_provider_library(module.get_ep_name(), module.get_library_path())
    except (ImportError, AttributeError, RuntimeError) as error:
        raise MissingError(f"onnxruntime+tensorrt-rtx: the plugin does not load: {error}", _CURES[TENSORRT_RTX]) from error
    return module


def attach(session_options: Any, provider: Provider, settings: dict[str, str]) -> list[Any]:
    """What InferenceSession takes as `providers`; a plugin provider is put into `session_options` instead."""
    if provider.name != TENSORRT_RTX:
        behind = [(CUDA, {"device_id": str(provider.device), "use_tf32": "0"})] if provider.name == TENSORRT else []
        return [(provider.name, settings), *behind, *([CPU] if provider.on_gpu else [])]
    devices = [found for found in onnxruntime.get_ep_devices() if found.ep_name == provider.plugin]
    if len(devices) <= (provider.device or 0):
        raise MissingError(
            f"onnxruntime+tensorrt-rtx: {len(devices)} GPUs can run it, number {provider.device} was asked for", _CURES[provider.name]
        )
    session_options.add_provider_for_devices([devices[provider.device or 0]], settings)
    return []


def settings(provider: Provider, precision: str, inputs: Sequence[str], shapes: Shapes, cache: Path) -> dict[str, str]:
    """Provider options, all as text. FP32 is FP32: TF32 is off where a provider has a switch for it."""
    if provider.name == CPU:
        return {}
    device = {"device_id": str(provider.device)}
    if provider.name == CUDA:
        return device | {"use_tf32": "0"}
    if provider.name == TENSORRT_RTX:
        return _ranges("nv_profile", inputs, shapes) | {"nv_runtime_cache_path": str(cache)}
    return device | {
        "trt_fp16_enable": str(precision == "fp16"),
        "trt_int8_enable": str(precision == "int8-static"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(cache),
        **_ranges("trt_profile", inputs, shapes),
    }


def _ranges(prefix: str, inputs: Sequence[str], shapes: Shapes) -> dict[str, str]:
    """The shapes an engine must take, and those it is tuned for: the middle one of the lengths, with as many rows as a call may have."""
    longest = shapes.lengths[-1] if shapes.lengths else 512
    middle = shapes.lengths[len(shapes.lengths) // 2] if shapes.lengths else 128
    rows = min(shapes.max_batch, max(1, shapes.max_tokens // middle)) if shapes.max_tokens else shapes.max_batch
    sizes = {"min": (1, 1), "opt": (rows, middle), "max": (shapes.max_batch, longest)}
    return {f"{prefix}_{name}_shapes": ",".join(f"{each}:{b}x{length}" for each in inputs) for name, (b, length) in sizes.items()}
