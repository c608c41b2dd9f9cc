"""What the engine inspector's text says about the precision that really runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.errors import BackendError
from harness.runtimes.tensorrt_inspect import Layers, check, layers

FP16 = "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x32_stage4_warpsize2x2x1_tensor16x8x16"
INT8 = "sm80_xmma_gemm_i8f16_i8i32_f16_tn_n_tilesize128x128x64_stage3_warpsize2x2x1_tensor16x8x32"
TF32 = "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize64x64x16_stage4_warpsize2x2x1_tensor16x8x8"
FP32 = "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8_stage3"


def _layers(*entries: dict[str, Any] | str) -> Layers:
    return layers(json.dumps({"Layers": list(entries), "Bindings": []}))


def _gemm(tactic: str, **more: Any) -> dict[str, Any]:
    return {"Name": "gemm", "LayerType": "gemm", "TacticName": tactic} | more


@pytest.mark.parametrize(("tactic", "kind"), [(FP16, "fp16"), (INT8, "int8"), (TF32, "tf32"), (FP32, "fp32")])
def test_the_name_of_a_kernel_tells_its_type(tactic: str, kind: str) -> None:
    """INT8 with FP16 results is INT8, FP32 rounded to TF32 is TF32."""
    assert _layers(_gemm(tactic)).matmuls == {kind: 1}


def test_without_a_telling_name_the_inputs_tell() -> None:
    """Half in newer engines, "Row major linear FP16 format" in older ones; nothing at all is unknown."""
    found = _layers(
        _gemm("0x1234", Inputs=[{"Format/Datatype": "Half"}]),
        _gemm("0x1234", Inputs=[{"Format/Datatype": "Row major linear FP16 format"}]),
        _gemm("0x1234", Inputs=[{"Format/Datatype": "Int8"}]),
        _gemm("0x1234"),
    )
    assert found.matmuls == {"fp16": 2, "int8": 1, "unknown": 1}


def test_layers_are_counted_by_kind_and_only_products_as_products() -> None:
    """A fused attention kernel is a product, casts, generated kernels and bare names are none."""
    found = _layers(
        {"Name": "a", "LayerType": "kgen", "TacticName": "__myl_Fc"},
        {"Name": "b", "LayerType": "fusion", "TacticName": "_gemm_mha_v2_fp16_tensor16x8x16"},
        {"Name": "c", "LayerType": "cast"},
        "bare name",
    )
    assert found.kinds == {"cast": 1, "fusion": 1, "kgen": 1, "unnamed": 1}
    assert found.matmuls == {"fp16": 1}
    assert found.attention == 1
    assert found.tensor_cores == ("tensor16x8x16",)


def test_the_share_of_quantised_products_is_of_the_known_ones() -> None:
    """Two of three known products are INT8; the fourth tells nothing and is not counted."""
    assert _layers(_gemm(INT8), _gemm(INT8), _gemm(FP16), _gemm("")).share == {"quantised": 2, "total": 3, "share": 0.6667}
    assert _layers({"LayerType": "Myelin"}).share == {"quantised": 0, "total": 0, "share": None}


def test_the_precision_is_what_most_products_have() -> None:
    """An FP32 head does not make an FP16 engine FP32."""
    assert check("fp16", _layers(_gemm(FP16), _gemm(FP16), _gemm(FP32)), {}, typed=True) == "fp16"
    assert check("int8", _layers(_gemm(INT8), _gemm(INT8), _gemm(FP16)), {}, typed=False) == "int8"


@pytest.mark.parametrize(
    ("precision", "kernels", "told"),
    [
        ("fp16", (FP32, FP32, FP16), "1 in fp16, 2 in fp32"),
        ("int8", (FP16, FP16), "2 in fp16"),
        ("fp32", (FP32, FP32, TF32), "2 in fp32, 1 in tf32"),
    ],
)
def test_a_precision_that_was_not_used_is_an_error(precision: str, kernels: tuple[str, ...], told: str) -> None:
    """FP16 that runs in FP32, INT8 that runs in FP16, and one TF32 product in FP32 each raise, with the counts."""
    with pytest.raises(BackendError, match=told) as caught:
        check(precision, _layers(*map(_gemm, kernels)), {}, typed=True)
    assert caught.value.cure


def test_an_opaque_engine_is_judged_by_a_strongly_typed_network_alone() -> None:
    """Types of a strongly typed graph bind TensorRT; those of a weak one do not, and then the answer is unknown rather than guessed."""
    opaque = _layers({"Name": "{ForeignNode[a...b]}", "LayerType": "Myelin"})
    assert opaque.opaque == 1
    assert check("fp16", opaque, {"fp16": 48, "fp32": 1}, typed=True) == "fp16"
    assert check("fp16", opaque, {"fp32": 49}, typed=False) == "unknown"
    with pytest.raises(BackendError, match="49 in fp32"):
        check("fp16", opaque, {"fp32": 49}, typed=True)
