"""Linear layers prepared or quantised for the CPU, zeros in weights, and what is seen of a call: small layers with known answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.core import BackendOptions
from harness.errors import MissingError
from harness.runtimes import torch_device, torch_int8, torch_linear, torch_precision
from harness.runtimes.torch_observe import observe
from harness.runtimes.torch_packed import rows_of, running, split_rows
from harness.runtimes.torch_sparsity import sparsity_of

CPU = torch.device("cpu")

needs_prepared = pytest.mark.skipif(not torch_linear.can_prepare(torch.float32), reason="no prepared products in this build of PyTorch")
needs_int8 = pytest.mark.skipif(torch_device.native_int8() is None, reason="this CPU has no INT8 products")


class Attention(nn.Module):
    """Three projections, and a feed-forward layer as BERT has it."""

    def __init__(self, activation: nn.Module, bias: bool = True) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(16, width, bias=bias) for width in (8, 8, 24))
        self.dense, self.intermediate_act_fn = nn.Linear(24, 32, bias=bias), activation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        mixed = self.query(inputs) * self.key(inputs)
        widened = torch.cat([mixed, mixed, mixed], dim=-1) + self.value(inputs)
        return self.intermediate_act_fn(self.dense(widened))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def changed(model: nn.Module, how: str) -> nn.Module:
    made = copy.deepcopy(model)
    if how == "prepared":
        torch_linear.prepare(made, torch.float32)
    else:
        torch_linear.join_projections(made)
    return made.eval()


# ----------------------------------------------------------------------------------------------------------------------- prepared


@needs_prepared
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [nn.GELU(), nn.GELU("tanh"), nn.ReLU(), nn.SiLU()], ids=["erf", "tanh", "relu", "silu"])
@pytest.mark.parametrize("how", ["prepared", "joined"])
def test_same_answers(how: str, activation: nn.Module, bias: bool) -> None:
    """Joined projections, prepared weights and fused activations give what the plain layers give, for one row and for several."""
    model = Attention(activation, bias).eval()
    other = changed(model, how)
    for shape in [(1, 5, 16), (3, 7, 16)]:
        inputs = torch.randn(shape)
        with torch.inference_mode():
            torch.testing.assert_close(other(inputs), model(inputs), atol=1e-5, rtol=1e-5)


@needs_prepared
def test_what_was_done_is_counted() -> None:
    """Two linear layers are left of four; an activation that oneDNN has is in its product, another one stays."""
    assert torch_linear.prepare(Attention(nn.GELU()), torch.float32) == torch_linear.Prepared(2, 1, 1)
    assert torch_linear.prepare(Attention(nn.SiLU()), torch.float32) == torch_linear.Prepared(2, 1, 0)


@needs_prepared
def test_a_shared_layer_is_prepared_once() -> None:
    """A layer in two places (ALBERT's are) stays one layer."""
    linear = nn.Linear(8, 8)
    model = nn.Sequential(linear, nn.ReLU(), linear)
    assert torch_linear.prepare(model, torch.float32).linears == 1
    assert model[0] is model[2]


def test_without_the_operators_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyTorch lacks the prepared products the model stays plain, and the facts say so."""
    monkeypatch.setattr(torch_linear, "can_prepare", lambda dtype: False)
    model = Attention(nn.GELU())
    assert torch_linear.prepare(model, torch.float32) == torch_linear.Prepared(0, 0, 0)
    assert type(model.query) is nn.Linear


def test_parts_follow_their_input() -> None:
    """A projection asked again, or with another input, is computed anew; nothing is kept once all parts were taken."""
    linears = [nn.Linear(4, width) for width in (2, 3)]
    joint = torch_linear.JointProjection(linears)
    first, second = torch.randn(1, 5, 4), torch.randn(1, 5, 4)
    for inputs, number in [(first, 0), (second, 1), (second, 1), (first, 1), (first, 0)]:
        torch.testing.assert_close(joint.part(inputs, number), linears[number](inputs))
    joint.part(first, 1)
    assert (joint._made, joint._inputs) == ({}, None) or set(joint._made) == {0}


# --------------------------------------------------------------------------------------------------------------------------- INT8


@given(st.integers(1, 5), st.integers(1, 16), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_quantised_weights_are_within_half_a_step(outputs: int, inputs: int, seed: int) -> None:
    """Each weight is within half a step of what it stands for, and the largest of an output is exact."""
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(outputs, inputs)).astype(np.float32))
    steps = weight.abs().amax(dim=1, keepdim=True) / 127
    error = (torch_int8.quantised_weight(weight).dequantize() - weight).abs()
    assert (error <= steps * 0.5001).all()
    largest = weight.abs().argmax(dim=1, keepdim=True)
    assert (error.gather(1, largest) <= steps * 1e-3).all()


def test_an_output_of_zeros_stays_zero() -> None:
    """A pruned output has no range to divide by."""
    weight = torch.zeros(2, 4)
    weight[0] = 1.0
    assert torch_int8.quantised_weight(weight).dequantize().tolist() == weight.tolist()


@needs_int8
def test_int8_layer_is_near_and_rows_are_apart() -> None:
    """The INT8 product is within 2 % of the FP32 one, and a row with huge values leaves the other rows' answers as they are."""
    linear = nn.Linear(64, 32)
    quantised = torch_int8.DynamicInt8Linear(linear)
    inputs = torch.randn(3, 6, 64)
    wanted, found = linear(inputs), quantised(inputs)
    assert (found - wanted).norm() / wanted.norm() < 0.02
    loud = inputs.clone()
    loud[1] *= 1000
    assert torch.equal(quantised(loud)[0], found[0])
    assert torch.equal(quantised(inputs[2:])[0], found[2])


@pytest.mark.parametrize(
    ("flags", "found"),
    [({"avx512f"}, "AVX-512 without VNNI"), ({"avx2"}, "no VNNI, AMX or dot-product instructions"), ({"avx2", "fma"}, "no VNNI")],
)
def test_int8_without_instructions(monkeypatch: pytest.MonkeyPatch, flags: set[str], found: str) -> None:
    """INT8 is refused where the CPU would be slower with it than without."""
    monkeypatch.setattr(torch_device, "cpu_flags", lambda: flags)
    monkeypatch.setattr(torch_int8, "cpu_flags", lambda: flags)
    with pytest.raises(MissingError, match=found):
        torch_int8.check(CPU)


def test_int8_on_cuda_is_refused() -> None:
    """There is no such kernel of PyTorch's own on a GPU: the cure names what has one."""
    with pytest.raises(MissingError, match="CPU alone") as caught:
        torch_int8.check(torch.device("cuda"))
    assert "tensorrt:int8" in caught.value.cure


@pytest.mark.parametrize(
    ("flag", "found"),
    [("amx_int8", "amx_int8"), ("avx512_vnni", "avx512_vnni"), ("avx_vnni", "avx_vnni"), ("asimddp", "asimddp"), ("sse2", None)],
)
def test_int8_instruction_sets(monkeypatch: pytest.MonkeyPatch, flag: str, found: str | None) -> None:
    """INT8 is native with AMX, VNNI of either width, or ARM's dot products."""
    monkeypatch.setattr(torch_device, "cpu_flags", lambda: {flag, "fpu"})
    assert torch_device.native_int8() == found


# -------------------------------------------------------------------------------------------------------------- rows and precisions


def test_rows_are_split_where_they_lie() -> None:
    """Padded inputs are split along the batch; packed ones by the offsets of the running rows."""
    assert [part.shape[0] for part in split_rows(torch.zeros(3, 4, 2))] == [1, 1, 1]
    with running(rows_of(np.array([2, 3]), 4, CPU)):
        assert [tuple(part.shape) for part in split_rows(torch.zeros(1, 5, 2))] == [(1, 2, 2), (1, 3, 2)]
        assert [tuple(part.shape) for part in split_rows(torch.zeros(2, 2))] == [(1, 2), (1, 2)]


def test_tf32_on_cpu_is_refused() -> None:
    """TF32 is a thing of GPUs."""
    with pytest.raises(MissingError, match="needs a CUDA device"):
        torch_precision.autocast_dtype("tf32", CPU)


@pytest.mark.parametrize(
    ("capability", "kind", "found"),
    [
        ((7, 5), "float16", ["sm_75", "tensor cores"]),
        ((7, 5), "bfloat16", ["sm_75"]),
        ((9, 0), "tf32", ["sm_90", "tensor cores"]),
        ((9, 0), "float32", ["sm_90"]),
    ],
)
def test_tensor_cores(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kind: str, found: list[str]) -> None:
    """A GPU's tensor cores are named for the types that they multiply from its compute capability on."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert torch_device.instructions(torch.device("cuda", 0), kind) == found


def test_auto_device_spreads_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two GPUs worker 3 is on the second one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device.device_of(BackendOptions(worker=3)) == torch.device("cuda", 1)


# --------------------------------------------------------------------------------------------------------- what is seen, and zeros


def test_observed_products() -> None:
    """Products are counted by the type of their result, attention by its kernel, also under inference_mode."""
    linear, states = nn.Linear(8, 8), torch.randn(1, 2, 5, 8)

    def call() -> None:
        with torch.inference_mode():
            linear(states)
            linear.double()(states.double())
            nn.functional.scaled_dot_product_attention(states, states, states)
        linear.float()

    seen = observe(call)
    assert dict(seen.dtypes) == {"float32": 1, "float64": 1}
    assert "flash_attention_for_cpu" in seen.attention_name
    assert seen.quantised == {"quantised": 0, "total": 4, "share": 0.0}
    assert observe(lambda: None).matmul_dtype == "none"


def test_dense_model_has_no_sparsity() -> None:
    """Chance zeros are no pruning."""
    assert sparsity_of(nn.Sequential(nn.Linear(64, 64))) is None
    assert sparsity_of(nn.ReLU()) is None


def test_two_of_four() -> None:
    """Zeros are counted; a layer has the 2:4 pattern only if every group of four inputs has two of them."""
    regular, irregular = nn.Linear(8, 4), nn.Linear(8, 4)
    with torch.no_grad():
        regular.weight[:, [0, 3, 5, 6]] = 0
        irregular.weight[:, :4] = 0
    assert sparsity_of(nn.Sequential(regular, irregular)) == {"zeros": 0.5, "two_of_four": 0.5, "computed": "dense"}
