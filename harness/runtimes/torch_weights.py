"""Digests of what a module of PyTorch holds now, wherever it lies: parameters, buffers and prepared weights, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import torch
from torch import nn


def digests(module: nn.Module) -> dict[str, str]:
    """sha256 of each tensor by name, sparing those that are another's memory under a second name."""
    return {name: _digest(held) for name, held in tensors(module)}


def tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, and tensors that a module keeps as plain attributes: weights in oneDNN's order are such. Not what a forward
    pass leaves behind, whose names begin with an underscore."""
    seen: set[int] = set()
    for path, each in module.named_modules():
        plain = {name: held for name, held in vars(each).items() if isinstance(held, torch.Tensor) and not name.startswith("_")}
        for name, held in (each._parameters | each._buffers | plain).items():
            if held is not None and id(held) not in seen:
                seen.add(id(held))
                yield f"{path}.{name}".lstrip("."), held


def _digest(held: torch.Tensor) -> str:
    dense = held.detach() if held.layout is torch.strided else held.detach().to_dense()
    return sha256(dense.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
