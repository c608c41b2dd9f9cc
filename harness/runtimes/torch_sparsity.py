"""How many weights of a model are zero, and whether they lie as 2:4 hardware wants them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

NOTABLE = 0.01
"""A density of zeros below this is no pruning."""


def sparsity_of(body: nn.Module) -> dict[str, Any] | None:
    """Facts about the zeros in the linear weights, None for a dense model. Zeros are multiplied like any number: what runs is dense.

    zeros        share of the weights that are zero
    two_of_four  share of the layers in which each group of 4 inputs has at least 2 zeros
    """
    weights = [module.weight.detach() for module in body.modules() if isinstance(module, nn.Linear)]
    count = sum(weight.numel() for weight in weights)
    zeros = sum(int((weight == 0).sum()) for weight in weights) / count if count else 0.0
    if zeros < NOTABLE:
        return None
    patterned = sum(_two_of_four(weight) for weight in weights) / len(weights)
    return {"zeros": round(zeros, 4), "two_of_four": round(patterned, 4), "computed": "dense"}


def _two_of_four(weight: torch.Tensor) -> bool:
    if weight.shape[1] % 4:
        return False
    return bool(((weight == 0).reshape(-1, 4).sum(dim=1) >= 2).all())
