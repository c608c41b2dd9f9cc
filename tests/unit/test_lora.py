"""Merging LoRA adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.errors import DataError
from harness.lora import merge, read_adapter

CONFIG: dict[str, Any] = {"r": 2, "lora_alpha": 4, "bias": "none", "use_dora": False, "rank_pattern": {}}
ROOT = Path(__file__).resolve().parents[2]


def write_adapter(folder: Path, weights: dict[str, np.ndarray[Any, Any]], **config: Any) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    save_file({f"base_model.model.{name}": values for name, values in weights.items()}, folder / "adapter_model.safetensors")
    return folder


def test_formula_by_hand() -> None:
    """W + (alpha / r) * B @ A, here 1 + 2 * (3 * 5) = 31 and 1 + 2 * (3 * 7) = 43."""
    base = {"x.weight": np.ones((1, 2), np.float32)}
    adapter = {"x.lora_A.weight": np.array([[5, 7]], np.float16), "x.lora_B.weight": np.array([[3]], np.float16)}
    merged = merge(base, adapter, 2.0)
    assert merged["x.weight"].tolist() == [[31.0, 43.0]]
    assert merged["x.weight"].dtype == np.float32


def test_head_is_replaced() -> None:
    """What is saved whole is taken from the adapter, what it does not mention from the base; integer buffers are dropped."""
    base = {"head.weight": np.zeros((2, 2), np.float32), "kept": np.full(3, 7, np.float32), "position_ids": np.arange(3)}
    merged = merge(base, {"head.weight": np.full((2, 2), 0.5, np.float16)}, 1.0)
    assert merged["head.weight"].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert merged["kept"].tolist() == [7, 7, 7]
    assert set(merged) == {"head.weight", "kept"}


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_rounded_once(rows: int, columns: int, rank: int, seed: int) -> None:
    """The merged weight is the exact sum, rounded once to float32, whatever the order in which the factors are summed."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(rows, columns)).astype(np.float32)
    a, b = rng.normal(size=(rank, columns)).astype(np.float16), rng.normal(size=(rows, rank)).astype(np.float16)
    merged = merge({"x.weight": weight}, {"x.lora_A.weight": a, "x.lora_B.weight": b}, 2.0)["x.weight"]
    backwards = weight.astype(np.float64) + 2.0 * sum(np.outer(b[:, k].astype(np.float64), a[k]) for k in reversed(range(rank)))
    assert merged.tobytes() == backwards.astype(np.float32).tobytes()


def test_read_back(tmp_path: Path) -> None:
    """Names lose peft's prefix, and the scale is alpha / r."""
    weights, scale = read_adapter(write_adapter(tmp_path, {"head.bias": np.zeros(2, np.float16)}))
    assert set(weights) == {"head.bias"}
    assert scale == 2.0


@pytest.mark.parametrize(
    "setting", [{"use_dora": True}, {"use_rslora": True}, {"bias": "all"}, {"rank_pattern": {"x": 8}}, {"fan_in_fan_out": True}]
)
def test_unsupported_kinds(tmp_path: Path, setting: dict[str, Any]) -> None:
    """An adapter that would be merged wrongly is refused by the name of its setting."""
    write_adapter(tmp_path, {"head.bias": np.zeros(2, np.float16)}, **setting)
    with pytest.raises(DataError, match=next(iter(setting))):
        read_adapter(tmp_path)


@pytest.mark.parametrize("config", ['{"r": 0, "lora_alpha": 1}', '{"r": 1}', "not json", "[]"])
def test_bad_config(tmp_path: Path, config: str) -> None:
    """A damaged adapter_config.json is named."""
    write_adapter(tmp_path, {"head.bias": np.zeros(2, np.float16)})
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(DataError, match=r"adapter_config\.json"):
        read_adapter(tmp_path)


def test_bad_weights(tmp_path: Path) -> None:
    """A truncated or missing weights file, and one that peft did not write, are named."""
    write_adapter(tmp_path, {"head.bias": np.zeros(200, np.float16)})
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"adapter_model\.safetensors"):
        read_adapter(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"adapter_model\.safetensors"):
        read_adapter(tmp_path)
    save_file({"bare": np.zeros(1)}, path)
    with pytest.raises(DataError, match="bare"):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"y.lora_A.weight": np.ones((1, 2)), "y.lora_B.weight": np.ones((2, 1))}, "y.weight is not in the base"),
        ({"x.lora_A.weight": np.ones((1, 2))}, "no lora_B"),
        ({"x.lora_B.weight": np.ones((2, 1))}, "no lora_A"),
        ({"x.lora_A.weight": np.ones((1, 3)), "x.lora_B.weight": np.ones((2, 1))}, r"\(2, 2\) in the base"),
        ({"head": np.array([np.nan])}, "NaN"),
    ],
)
def test_does_not_fit(adapter: dict[str, np.ndarray[Any, Any]], message: str) -> None:
    """An adapter of another base, or with half of a pair, or with NaN, is refused."""
    with pytest.raises(DataError, match=message):
        merge({"x.weight": np.ones((2, 2), np.float32)}, adapter, 1.0)


@pytest.mark.parametrize(("name", "pairs", "head"), [("squad", 36, "qa_outputs.weight"), ("sst2", 37, "classifier.weight")])
def test_shipped_adapters(name: str, pairs: int, head: str) -> None:
    """The adapters in the repository have rank 16, scale 2, six linear layers in each of six blocks (and the pooler), and their head."""
    weights, scale = read_adapter(ROOT / "models" / "adapters" / name)
    assert scale == 2.0
    assert sum(key.endswith(".lora_A.weight") for key in weights) == pairs
    assert {values.shape[0] for key, values in weights.items() if key.endswith(".lora_A.weight")} == {16}
    assert weights[head].shape == (2, 384)
