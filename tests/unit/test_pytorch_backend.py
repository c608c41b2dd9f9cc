"""What is particular to the PyTorch backend; what all backends share is in tests/contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from backends import pytorch
from harness.core import BackendOptions, Batch, Model
from harness.errors import BackendError, DataError, MissingError, UsageError
from harness.models import resolve
from harness.runtimes import torch_device, torch_linear, torch_precision
from tests.tiny_models import VOCABULARY, change_config, write_model

QA = "question-answering"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def load(model: Model | Path, precision: str = "fp32", **options: Any) -> pytorch.PyTorch:
    if isinstance(model, Path):
        model = resolve(str(model), QA, cache=model.parent / "cache")
    backend = pytorch.PyTorch(BackendOptions(**({"precision": precision, "device": "cpu"} | options)))
    backend.load(model)
    return backend


def batch(lengths: list[int], width: int) -> Batch:
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(5, VOCABULARY, mask.shape) * mask
    return Batch(ids, mask, np.zeros_like(ids), np.array(lengths), np.arange(len(lengths)))


needs_bf16 = pytest.mark.skipif(torch_device.native_bf16() is None, reason="this CPU has no BF16 instructions")


# ---------------------------------------------------------------------------------------------------------- devices and precisions


@pytest.mark.parametrize(
    ("device", "error"), [("tpu-7", UsageError), ("cuda:x", UsageError), ("meta", UsageError), ("cuda:99", MissingError)]
)
def test_bad_devices(folder: Path, device: str, error: type[Exception]) -> None:
    """A device that is no device is a usage error; one that this machine lacks is missing; both before the model is opened."""
    with pytest.raises(error, match="--device") as caught:
        load(folder, device=device)
    assert caught.value.cure  # type: ignore[attr-defined]


def test_fp16_on_cpu(folder: Path) -> None:
    """amp-fp16 insists on CUDA: emulated FP16 would not be what was asked."""
    with pytest.raises(MissingError, match="needs a CUDA device") as caught:
        load(folder, "amp-fp16")
    assert "pytorch:amp" in caught.value.cure


@pytest.mark.parametrize("precision", ["amp", "amp-bf16"])
def test_bf16_without_instructions(folder: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """BF16 on a CPU that would emulate it is refused with the cure."""
    monkeypatch.setattr(torch_device, "cpu_flags", lambda: {"avx2", "avx512f", "avx512bw"})
    with pytest.raises(MissingError, match="emulate") as caught:
        load(folder, precision)
    assert caught.value.cure == "Use pytorch:fp32."


@pytest.mark.parametrize(
    ("text", "machine", "found"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse\n", "x86_64", "avx512_bf16"),
        ("flags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n", "x86_64", "amx_bf16"),
        ("Features\t: fp asimd bf16 i8mm\n", "aarch64", "bf16"),
        ("flags\t\t: fpu bf16\n", "x86_64", None),
        ("flags\t\t: fpu avx512f\n", "x86_64", None),
        ("", "x86_64", None),
    ],
)
def test_instruction_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, machine: str, found: str | None) -> None:
    """BF16 is native with AMX, AVX-512 BF16 or ARMv8.6, read from the flags Linux shows; AVX-512 alone is not enough."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\nprocessor\t: 1\n{text}")
    flags = torch_device.cpu_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(torch_device, "cpu_flags", lambda: flags)
    monkeypatch.setattr(torch_device, "_onednn_takes_bf16", lambda: True)
    monkeypatch.setattr(torch_device.platform, "machine", lambda: machine)
    assert torch_device.native_bf16() == found


def test_fp32_is_fp32(folder: Path) -> None:
    """fp32 multiplies in float32, TF32 off, and says so."""
    said = load(folder).describe()
    assert said["matmul_dtype"] == "float32"
    assert said["tf32"] is False
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


@needs_bf16
def test_amp_multiplies_in_bf16(folder: Path) -> None:
    """amp on a CPU multiplies in bfloat16, but for the head, and its answers are near FP32 without being FP32."""
    half, full = load(folder, "amp"), load(folder)
    assert half.describe()["matmul_dtype"] == "bfloat16"
    assert half.model.qa_outputs.weight.dtype == torch.float32
    question = batch([20], 20)
    difference = np.abs(half.predict(question)["start_logits"] - full.predict(question)["start_logits"]).max()
    assert 1e-5 < difference < 0.2


@needs_bf16
def test_weights_cast_once_change_nothing(folder: Path) -> None:
    """Casting linear weights at load gives the very bits that autocast gives when it casts them on every call."""
    from transformers import AutoModelForQuestionAnswering

    plain = AutoModelForQuestionAnswering.from_pretrained(str(folder)).eval()
    plain.qa_outputs.forward = torch_precision.in_fp32(plain.qa_outputs.forward, torch.device("cpu"))
    question = batch([20, 12], 20)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        wanted = plain(
            input_ids=torch.from_numpy(question.input_ids),
            attention_mask=torch.from_numpy(question.attention_mask),
            token_type_ids=torch.from_numpy(question.token_type_ids),
        )
    assert np.array_equal(load(folder, "amp", options=("eager",)).predict(question)["end_logits"], wanted.end_logits.float().numpy())


def test_silent_fallback_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If matrix products do not run in the asked type, load raises: here autocast is switched off behind its back."""
    from contextlib import nullcontext

    monkeypatch.setattr(torch_precision, "native_bf16", lambda: "avx512_bf16")
    monkeypatch.setattr(pytorch, "cast_linears", lambda *arguments: None)
    monkeypatch.setattr(pytorch.PyTorch, "_autocast", lambda self: nullcontext())
    with pytest.raises(BackendError, match="is what runs"):
        load(folder, "amp", options=("eager",))


def test_threads(folder: Path) -> None:
    """`threads` is what PyTorch uses, and is described."""
    before = torch.get_num_threads()
    try:
        assert load(folder, threads=2).describe()["threads"] == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# -------------------------------------------------------------------------------------------------------------------- what is told


@pytest.mark.skipif(not torch_linear.can_prepare(torch.float32), reason="no prepared products in this build of PyTorch")
def test_prepared_weights_are_told(folder: Path) -> None:
    """Two layers of BERT have four prepared products each, one for three projections and one with its activation; `+eager` has none."""
    prepared, eager = load(folder).describe(), load(folder, options=("eager",)).describe()
    keys = ("prepared_weights", "joint_projections", "fused_activations")
    assert [prepared[key] for key in keys] == [8, 2, 2]
    assert [eager[key] for key in keys] == [0, 0, 0]
    assert prepared["nodes"]["mkldnn"] == 8
    assert set(eager["nodes"]) == {"aten"}
    assert "weights in oneDNN's order" in prepared["method"]
    assert eager["method"] == "eager"


@pytest.mark.skipif(torch_device.native_int8() is None, reason="this CPU has no INT8 products")
def test_int8_is_told(folder: Path) -> None:
    """Eight linear layers are quantised; the head and two attentions of two products each are not."""
    said = load(folder, "int8-dynamic").describe()
    assert said["matmul_dtype"] == "int8"
    assert said["matmul_dtypes"] == {"int8": 8, "float32": 1}
    assert said["quantised_matmuls"] == {"quantised": 8, "total": 13, "share": 0.6154}
    assert torch_device.native_int8() in said["instructions"]


@needs_bf16
def test_instructions_are_told(folder: Path) -> None:
    """The instruction set that multiplies BF16 is named where BF16 is what runs, and only there."""
    assert torch_device.native_bf16() in load(folder, "amp").describe()["instructions"]
    assert len(load(folder).describe()["instructions"]) == 1


@pytest.mark.parametrize("precision", ["fp32", pytest.param("amp", marks=needs_bf16)])
def test_pruned_checkpoint(folder: Path, precision: str) -> None:
    """A 2:4 pruned checkpoint runs as any other, with its own answers, and its zeros are told."""
    dense = load(folder, precision)
    weights = load_file(folder / "model.safetensors")
    pruned = {name: _two_of_four(values) if "layer." in name and values.ndim == 2 else values for name, values in weights.items()}
    save_file(pruned, folder / "model.safetensors", {"format": "pt"})
    sparse = load(folder, precision)
    assert dense.describe()["sparsity"] is None
    assert sparse.describe()["sparsity"] == {"zeros": 0.5, "two_of_four": 1.0, "computed": "dense"}
    question = batch([20, 12], 20)
    first, second = (backend.predict(question)["start_logits"] for backend in (dense, sparse))
    assert np.abs(first - second).max() > 0.1
    plain = load(folder, options=("eager",)).predict(question)["start_logits"]
    np.testing.assert_allclose(second, plain, atol=1e-4 if precision == "fp32" else 0.1)


def _two_of_four(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The two smaller ones of each four inputs set to zero."""
    groups = np.abs(values.reshape(-1, 4))
    kept = groups.argsort(axis=1).argsort(axis=1) >= 2
    return (values.reshape(-1, 4) * kept).reshape(values.shape).astype(values.dtype)


# ------------------------------------------------------------------------------------------------------------------------- models


def test_no_model() -> None:
    """Without a model there is nothing to load."""
    with pytest.raises(BackendError, match="needs a model"):
        pytorch.PyTorch(BackendOptions(device="cpu")).load(None)


def test_made_up_weights_are_refused(folder: Path) -> None:
    """A head that is not in the file is not filled with random numbers, as transformers would."""
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: values for name, values in weights.items() if "qa_outputs" not in name}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(DataError, match=r"weights are missing: qa_outputs\.bias, qa_outputs\.weight"):
        load(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    """A configuration that does not fit the weights is refused with the tensors' names and both shapes, and nothing is made up."""
    change_config(folder, intermediate_size=64)
    with pytest.raises(DataError, match="weights do not fit") as caught:
        load(folder)
    first = "bert.encoder.layer.0.intermediate.dense.bias is (48,) in the file and (64,) by config.json"
    assert str(caught.value).startswith(f"{folder}: weights do not fit: {first}; ")
    assert str(caught.value).endswith("(6 in all)")


def test_unknown_model_type(folder: Path) -> None:
    """A model type that transformers does not know is refused."""
    change_config(folder, model_type="nonsense", architectures=["NonsenseForQuestionAnswering"])
    with pytest.raises(DataError, match="transformers cannot open"):
        load(folder)


def test_half_precision_file(folder: Path) -> None:
    """Weights stored in float16 are widened: fp32 is float32 whatever the file holds."""
    weights = load_file(folder / "model.safetensors")
    save_file({name: values.astype(np.float16) for name, values in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    change_config(folder, dtype="float16", torch_dtype="float16")
    backend = load(folder)
    assert {parameter.dtype for parameter in backend.model.parameters()} == {torch.float32}
    assert backend.describe()["matmul_dtype"] == "float32"


def test_pickled_weights(folder: Path) -> None:
    """With allow_pickle a folder that has only pytorch_model.bin answers like its safetensors."""
    question = batch([9], 12)
    wanted = load(folder).predict(question)["start_logits"]
    weights = load_file(folder / "model.safetensors")
    torch.save({name: torch.from_numpy(values) for name, values in weights.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = resolve(str(folder), QA, cache=folder.parent / "cache", allow_pickle=True)
    assert np.array_equal(load(model).predict(question)["start_logits"], wanted)


@pytest.mark.parametrize(
    ("architecture", "settings", "takes"),
    [
        ("BertForQuestionAnswering", {}, True),
        ("RobertaForQuestionAnswering", {"type_vocab_size": 1, "pad_token_id": 1}, False),
        ("DistilBertForQuestionAnswering", {}, False),
        ("ElectraForQuestionAnswering", {"embedding_size": 32}, True),
        ("AlbertForQuestionAnswering", {"embedding_size": 32}, True),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("amp", marks=needs_bf16)])
def test_families(tmp_path: Path, architecture: str, settings: dict[str, Any], takes: bool, precision: str) -> None:
    """Other families answer too; token types go only to those that have them."""
    backend = load(write_model(tmp_path / "model", architecture, **settings), precision)
    assert backend.takes_types is takes
    question = batch([9, 14], 16)
    found = backend.predict(question)["start_logits"]
    assert found.shape == (2, 16)
    assert np.isfinite(found).all()
    assert found.std() > 0.01


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("RobertaForSequenceClassification", {"type_vocab_size": 1, "pad_token_id": 1}), ("DistilBertForSequenceClassification", {})],
)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("amp", marks=needs_bf16)])
def test_classifying_families(tmp_path: Path, architecture: str, settings: dict[str, Any], precision: str) -> None:
    """Classification heads of one or several layers stay in FP32 under amp and give one row of logits a sample."""
    folder = write_model(tmp_path / "model", architecture, num_labels=3, **settings)
    backend = load(resolve(str(folder), "sequence-classification", cache=tmp_path), precision)
    assert backend.predict(batch([9, 14], 16))["logits"].shape == (2, 3)


def test_cuda_path_waits_for_its_copies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA path, its device calls replaced, gives the CPU's answers, pins every input and synchronises its stream before it reads."""
    from contextlib import nullcontext

    calls: list[str] = []

    class Stream:
        def synchronize(self) -> None:
            calls.append("synchronize")

    empty, numpy = torch.empty, torch.Tensor.numpy
    backend, question = load(folder), batch([20, 12], 20)
    wanted = backend.predict(question)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: (calls.append("pin"), self)[1])
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory, **options: empty(*shape, **options))
    monkeypatch.setattr(torch.Tensor, "numpy", lambda self: (calls.append("read"), numpy(self))[1])
    backend.stream = Stream()  # type: ignore[assignment]
    found = backend.predict(question)
    assert calls == ["pin", "pin", "pin", "synchronize", "read", "read"]
    for name, values in found.items():
        assert np.array_equal(values, wanted[name])
        assert values.base is None, "a copy of its own: pinned memory is not kept"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "amp", "amp-fp16"])
def test_cuda(folder: Path, precision: str) -> None:
    """On a CUDA device answers are those of the CPU within the precision, and the type of the products is the asked one."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    question = batch([20, 12], 20)
    backend = load(folder, precision, device="cuda")
    wanted = load(folder).predict(question)
    for name, values in backend.predict(question).items():
        np.testing.assert_allclose(values, wanted[name], atol=1e-4 if precision == "fp32" else 0.05)
    assert backend.describe()["matmul_dtype"] == ("float32" if precision == "fp32" else "float16")


@pytest.mark.model
def test_embedded_model_answers(bert_tokenizer: Path, tmp_path: Path) -> None:
    """The embedded models know the answers to easy questions."""
    from tokenizers import Tokenizer

    model = resolve("minilm-squad", QA, cache=tmp_path)
    tokenizer, backend = Tokenizer.from_file(str(model.folder / "tokenizer.json")), load(model)
    context = "The bridge was opened in 1932 by the engineer Ada Marsh. It crosses the river Ouse and is painted green."
    for question, answer in (
        ("When was the bridge opened?", "1932"),
        ("Which river does it cross?", "Ouse"),
        ("What colour is it?", "green"),
    ):
        encoded = tokenizer.encode(question, context)
        row = {
            name: np.array([values], np.int64)
            for name, values in {"i": encoded.ids, "m": encoded.attention_mask, "t": encoded.type_ids}.items()
        }
        found = backend.predict(Batch(row["i"], row["m"], row["t"], np.array([len(encoded.ids)]), np.array([0])))
        start, end = (int(np.where(row["t"][0] == 1, found[name][0], -np.inf).argmax()) for name in ("start_logits", "end_logits"))
        assert answer in context[encoded.offsets[start][0] : encoded.offsets[end][1]]
