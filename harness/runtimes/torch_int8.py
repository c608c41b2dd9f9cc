"""INT8 linear layers on the CPU, quantised dynamically: the range of the activations is taken anew for each row of each call.

Weights are symmetric S8 with a scale for each output; activations are U8 with one scale for each row of the batch, so that no row's answer
depends on its company. The products are oneDNN's, through `quantized::linear_dynamic`; what lies between them stays FP32.
"""

from __future__ import annotations

import threading
import warnings

import torch
from torch import nn

from harness.errors import MissingError
from harness.runtimes.torch_device import cpu_flags, native_int8
from harness.runtimes.torch_linear import join_projections, replace_linears
from harness.runtimes.torch_packed import split_rows

ENGINE = "onednn"
_engine = threading.Lock()  # the engine that packs weights is one setting for the process


class DynamicInt8Linear(nn.Module):
    """A linear layer with INT8 products, FP32 in and out."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.packed = _packed(quantised_weight(linear.weight.detach().float()), bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, in) or (rows, in) to (..., out)."""
        parts = [torch.ops.quantized.linear_dynamic(row, self.packed, False) for row in split_rows(inputs)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1 if inputs.dim() == 3 and inputs.shape[0] == 1 else 0)


def quantised_weight(weight: torch.Tensor) -> torch.Tensor:
    """(out, in) as S8, symmetric, one scale for each output: its largest absolute value is 127. An output of zeros keeps scale 1."""
    scales = weight.abs().amax(dim=1) / 127
    scales = torch.where(scales > 0, scales, torch.ones_like(scales))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors are announced to move to another library; the kernels stay
        return torch.quantize_per_channel(weight, scales, torch.zeros(len(scales), dtype=torch.int64), 0, torch.qint8)


def _packed(weight: torch.Tensor, bias: torch.Tensor | None) -> object:
    with _engine, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = ENGINE
        try:
            return torch.ops.quantized.linear_prepack(weight, bias)
        finally:
            torch.backends.quantized.engine = before


def check(device: torch.device) -> None:
    """Raises MissingError where INT8 products would not be what runs: another device, a CPU without such instructions, no oneDNN."""
    if device.type != "cpu":
        raise MissingError("pytorch:int8-dynamic runs on the CPU alone", "Use tensorrt:int8 or pytorch:amp on a GPU, or --device cpu.")
    if native_int8() is None:
        found = "AVX-512 without VNNI" if "avx512f" in cpu_flags() else "no VNNI, AMX or dot-product instructions"
        raise MissingError(f"this CPU has {found}: INT8 would be slower than FP32 and could overflow", "Use pytorch:fp32.")
    if ENGINE not in torch.backends.quantized.supported_engines or not hasattr(torch.ops.quantized, "linear_dynamic"):
        raise MissingError(f"this build of PyTorch ({torch.__version__}) has no INT8 products of oneDNN", "Use an x86-64 build of torch.")


def quantise(body: nn.Module) -> int:
    """Change all linear layers of `body` in place; how many are quantised."""
    join_projections(body)
    return replace_linears(body, DynamicInt8Linear)
