"""LoRA adapters in peft's format, merged into the weights of their base with numpy alone.

Merged weight: W + (alpha / r) * B @ A (Hu et al. 2021, "LoRA", section 4.1; peft `LoraLayer.get_delta_weight`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Weights = dict[str, NDArray[Any]]

_PREFIX = "base_model.model."
_PLAIN: Mapping[str, Any] = {
    "bias": "none",
    "fan_in_fan_out": False,
    "lora_bias": False,
    "use_dora": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
}
"""What `merge` understands. An adapter that sets any of these otherwise would be merged wrongly, so it is refused."""


def read_adapter(folder: Path) -> tuple[Weights, float]:
    """Weights of the adapter in `folder`, by name without peft's prefix, and its scale alpha / r. Raises DataError."""
    config_file, weights_file = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        scale = float(config["lora_alpha"]) / float(config["r"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise DataError(f"{config_file}: not a peft adapter ({error!r})", _AGAIN) from error
    for key, wanted in _PLAIN.items():
        if config.get(key, wanted) not in (wanted, None):
            raise DataError(
                f"{config_file}: {key} = {config[key]!r} is not supported", "Only plain LoRA is merged; merge this one with peft."
            )
    return {_strip(name, weights_file): values for name, values in read_weights(weights_file).items()}, scale


def read_weights(path: Path) -> Weights:
    """All tensors of a safetensors file. Raises DataError where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error})", _AGAIN) from error


def merge(base: Weights, adapter: Weights, scale: float) -> Weights:
    """`base` with `adapter` merged in, float32; tensors that only the adapter has (the head) are added.

    The sum is made in float64 and rounded once: the products of float16 factors are exact there, so the merged bytes are the same
    on every machine whatever its BLAS. Raises DataError where names or shapes do not fit or a number is not finite.
    """
    merged = {name: values.astype(np.float32) for name, values in base.items() if values.dtype.kind == "f"}
    for name, values in adapter.items():
        if not np.isfinite(values).all():
            raise DataError(f"adapter: {name} holds NaN or Inf", _AGAIN)
        if name.endswith(".lora_A.weight"):
            target = name.removesuffix(".lora_A.weight") + ".weight"
            merged[target] = _updated(target, merged, values, adapter, scale)
        elif not name.endswith(".lora_B.weight"):
            merged[name] = values.astype(np.float32)
        elif name.replace(".lora_B.", ".lora_A.") not in adapter:
            raise DataError(f"adapter: {name} has no lora_A beside it", _AGAIN)
    return merged


def _updated(target: str, merged: Weights, a: NDArray[Any], adapter: Weights, scale: float) -> NDArray[np.float32]:
    b = adapter.get(target.removesuffix(".weight") + ".lora_B.weight")
    if b is None or target not in merged:
        raise DataError(f"adapter: {target} is not in the base, or has no lora_B", "The adapter belongs to another base model.")
    weight = merged[target]
    if (b.shape[0], a.shape[1]) != weight.shape or b.shape[1] != a.shape[0]:
        raise DataError(
            f"adapter: {target} is {weight.shape} in the base, lora_B {b.shape} @ lora_A {a.shape}",
            "The adapter belongs to another base model.",
        )
    update = b.astype(np.float64) @ a.astype(np.float64)
    return np.asarray(weight.astype(np.float64) + scale * update, dtype=np.float32)


def _strip(name: str, path: Path) -> str:
    if not name.startswith(_PREFIX):
        raise DataError(f"{path}: tensor {name} does not begin with {_PREFIX}", "Only adapters saved by peft are understood.")
    return name.removeprefix(_PREFIX)


_AGAIN = "The file is damaged or incomplete: get it again (in a checkout: git checkout models/adapters)."
