"""In which type PyTorch multiplies: what each precision means on each device, and what is done to a model for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from harness.errors import MissingError, UsageError, first_line
from harness.runtimes.torch_device import native_bf16

PRECISIONS = ("fp32", "tf32", "amp", "amp-bf16", "amp-fp16", "int8-dynamic")


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Type of the products that autocast chooses; float32 where there is no autocast. Raises MissingError for what the device would only
    emulate, UsageError for a precision that is none."""
    if precision not in PRECISIONS:
        raise UsageError(f"pytorch has no precision {precision}", f"Use one of {', '.join(PRECISIONS)}.")
    if precision in ("fp32", "int8-dynamic"):
        return torch.float32
    if precision == "tf32":
        return _tf32(device)
    if precision == "amp-fp16" or (precision == "amp" and device.type == "cuda"):
        return _fp16(device)
    return _bf16(device)


def _tf32(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        raise MissingError("tf32 needs a CUDA device; a CPU has no TF32 units", "Use pytorch:fp32, or pytorch:amp for BF16 on the CPU.")
    _needs_ampere(device, "TF32", "Use pytorch:fp32 or pytorch:amp-fp16.")
    return torch.float32


def _fp16(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.float16
    raise MissingError("amp-fp16 needs a CUDA device; this CPU would emulate FP16", "Use pytorch:amp (BF16 on CPU) or pytorch:fp32.")


def _bf16(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        _needs_ampere(device, "BF16", "Use pytorch:amp-fp16.")
    elif native_bf16() is None:
        raise MissingError("this CPU has no BF16 instructions; it would emulate them, slower than FP32", "Use pytorch:fp32.")
    return torch.bfloat16


def _needs_ampere(device: torch.device, what: str, cure: str) -> None:
    if torch.cuda.get_device_capability(device) < (8, 0):
        raise MissingError(f"{torch.cuda.get_device_name(device)} has no {what} (compute capability below 8.0)", cure)


def set_tf32(allowed: bool) -> None:
    """One switch for the whole process: FP32 means FP32 unless TF32 was asked for."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def moved(opened: nn.Module, device: torch.device) -> nn.Module:
    """The model on `device`, copies finished, so that any stream may use it. Raises MissingError where it does not fit."""
    try:
        opened.to(device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError as error:  # out of memory, driver trouble
        raise MissingError(f"the model does not fit on {device}: {first_line(error)}", "Use another --device or fewer workers.") from error
    return opened


def body_of(opened: Any) -> nn.Module:
    """The encoder with its embeddings, without the head."""
    body: nn.Module = getattr(opened, opened.base_model_prefix)
    return body


def cast_linears(body: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of linear layers once; autocast would cast them on every call."""
    for module in body.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)


def keep_head_in_fp32(opened: Any, device: torch.device) -> None:
    """Let everything behind the body compute in FP32 under autocast."""
    for name, child in opened.named_children():
        if name != opened.base_model_prefix:
            child.forward = in_fp32(child.forward, device)


def in_fp32(forward: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`forward` without autocast, on inputs widened to FP32."""

    def plain(*inputs: Any, **named: Any) -> Any:
        with torch.autocast(device.type, enabled=False):
            return forward(*(_widened(value) for value in inputs), **{key: _widened(value) for key, value in named.items()})

    return plain


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
