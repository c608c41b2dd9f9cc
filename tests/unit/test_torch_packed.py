"""Packed rows, CUDA graphs' shapes, compiled models: what the options of the PyTorch backend do, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from backends import pytorch
from harness.core import BackendOptions, Batch, Model, Shapes
from harness.errors import BackendError, UsageError
from harness.models import resolve
from harness.runtimes import torch_compiled, torch_graphs, torch_packed
from tests.tiny_models import POSITIONS, write_architecture

QA, CLASSES = "question-answering", "sequence-classification"
CPU = torch.device("cpu")
LENGTHS = [20, 9, 40, POSITIONS, 1, 20]


def model_of(folder: Path, family: str, head: str) -> Model:
    return resolve(str(write_architecture(folder / "model", family, head, 3 if head == CLASSES else 2)), head, cache=folder / "cache")  # type: ignore[arg-type]


def loaded(model: Model, precision: str = "fp32", *words: str, **options: Any) -> pytorch.PyTorch:
    backend = pytorch.PyTorch(BackendOptions(precision=precision, device="cpu", options=words, **options))
    backend.load(model)
    return backend


def batch(lengths: list[int], width: int = POSITIONS) -> Batch:
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(5, 50, mask.shape) * mask
    return Batch(ids, mask, np.zeros_like(ids), np.array(lengths), np.arange(len(lengths)))


def real(backend: pytorch.PyTorch, asked: Batch) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs without padding."""
    found = backend.predict(asked)
    per_token = "logits" not in found
    return {name: values[asked.attention_mask == 1] if per_token else values for name, values in found.items()}


# ------------------------------------------------------------------------------------------------------------------------- packed


@pytest.mark.parametrize("head", [QA, CLASSES])
@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert", "albert"])
def test_packed_answers_are_the_padded_ones(tmp_path: Path, family: str, head: str) -> None:
    """In FP32, rows laid end to end have the answers of the padded batch, and what is said of them is that they are packed."""
    model = model_of(tmp_path, family, head)
    plain, packed = loaded(model), loaded(model, "fp32", "packed")
    asked = batch(LENGTHS)
    for name, values in real(plain, asked).items():
        np.testing.assert_allclose(real(packed, asked)[name], values, atol=2e-5, rtol=2e-5)
    assert (plain.describe()["packed"], packed.describe()["packed"]) == (False, True)


def test_packed_computes_no_padding(tmp_path: Path) -> None:
    """The first layer of the encoder sees as many tokens as there are real ones."""
    backend = loaded(model_of(tmp_path, "bert", QA), "fp32", "packed")
    seen: list[tuple[int, ...]] = []
    backend.model.bert.encoder.layer[0].register_forward_pre_hook(lambda _module, inputs: seen.append(tuple(inputs[0].shape[:2])))
    backend.predict(batch([5, 3], 16))
    assert seen == [(1, 8)]


@pytest.mark.skipif(pytorch.native_bf16() is None, reason="this CPU has no BF16 instructions")
def test_packed_amp(tmp_path: Path) -> None:
    """Packed rows in BF16 are as near to FP32 as padded ones."""
    model = model_of(tmp_path, "bert", CLASSES)
    wanted = real(loaded(model), batch(LENGTHS))["logits"]
    found = real(loaded(model, "amp", "packed"), batch(LENGTHS))["logits"]
    assert 1e-5 < np.abs(found - wanted).max() < 0.1


def test_a_family_that_cannot_be_packed(tmp_path: Path) -> None:
    """MPNet has an attention of its own, which cannot be exchanged: that is said instead of computing padding."""
    with pytest.raises(UsageError, match=r"\+packed: the attention of MPNetForQuestionAnswering cannot be exchanged"):
        loaded(model_of(tmp_path, "mpnet", QA), "fp32", "packed")


def test_packed_answers_that_differ_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attention that looks across rows does not get past load."""
    whole: Callable[..., Any] = lambda query, key, value, rows, scaling: nn.functional.scaled_dot_product_attention(  # noqa: E731
        query, key, value, scale=scaling
    ).transpose(1, 2)
    monkeypatch.setattr(torch_packed, "_row_by_row", whole)
    with pytest.raises(BackendError, match="differs from the padded answer"):
        loaded(model_of(tmp_path, "bert", QA), "fp32", "packed")


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 10))
def test_places_of_rows(lengths: list[int], more: int) -> None:
    """Every real token has one place, in order, and the rows' ends are the running sums of their lengths."""
    width = max(lengths) + more
    rows = torch_packed.rows_of(np.array(lengths), width, CPU)
    assert rows.places.tolist() == [row * width + column for row, length in enumerate(lengths) for column in range(length)]
    assert rows.offsets == (0, *np.cumsum(lengths).tolist())
    assert rows.starts.tolist() == list(rows.offsets)
    assert rows.longest == max(lengths)


def test_packed_on_cuda_needs_half_precision() -> None:
    """The kernel for rows of varying length has no FP32."""
    with pytest.raises(UsageError, match="takes FP16 and BF16"):
        torch_packed.check(torch.float32, torch.device("cuda"))
    torch_packed.check(torch.float32, CPU)


# -------------------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("precision", "words", "said"),
    [
        ("fp32", ("compile", "packed"), "compile and packed do not go together"),
        ("amp", ("eager", "compile"), "compile and eager do not go together"),
        ("fp32", ("packed", "cuda-graphs"), "packed and cuda-graphs do not go together"),
        ("int8-dynamic", ("compile",), "int8-dynamic and compile do not go together"),
        ("fp32", ("fast",), r"no option \+fast"),
        ("fp32", ("cuda-graphs",), "needs a CUDA device"),
    ],
)
def test_words_that_do_not_go(tmp_path: Path, precision: str, words: tuple[str, ...], said: str) -> None:
    """Options that are none, or cannot both be had, are refused before the model is opened."""
    nowhere = Model("none", tmp_path / "none", QA, "", 0, 0)
    with pytest.raises(UsageError, match=said):
        loaded(nowhere, precision, *words)


# ------------------------------------------------------------------------------------------------------------------------- graphs


def test_graph_shapes() -> None:
    """Each length is recorded for 1, 2, 4 ... rows up to what the run can meet at that length, the largest first."""
    found = torch_graphs.buckets(Shapes(max_batch=6, max_tokens=256, lengths=(32, 128)))
    assert found == [(8, 32), (2, 128), (4, 32), (1, 128), (2, 32), (1, 32)]
    assert torch_graphs.buckets(Shapes(max_batch=1, lengths=(512,))) == [(1, 512)]


@given(st.integers(1, 70), st.integers(0, 5000), st.lists(st.integers(1, 512), min_size=1, max_size=5, unique=True))
def test_graph_shapes_hold_every_batch(most: int, tokens: int, lengths: list[int]) -> None:
    """Every batch that the run can meet fits into a recorded shape of its length."""
    shapes = Shapes(most, tokens, tuple(sorted(lengths)))
    recorded = set(torch_graphs.buckets(shapes))
    for length in lengths:
        for rows in range(1, most + 1):
            if rows == 1 or not tokens or rows * length <= tokens:
                assert (2 ** (rows - 1).bit_length(), length) in recorded


@pytest.mark.parametrize(("shapes", "said"), [(Shapes(), "are not known"), (Shapes(32, 0, tuple(range(8, 8000, 8))), "5994 shapes")])
def test_graph_shapes_that_cannot_be(shapes: Shapes, said: str) -> None:
    """Unknown lengths and thousands of shapes are refused with the flag that helps."""
    with pytest.raises(UsageError, match=said) as caught:
        torch_graphs.buckets(shapes)
    assert "--pad-to" in caught.value.cure


def test_an_unrecorded_shape_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay looks its shape up; what was not recorded does not run some slower way."""
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    graphs = torch_graphs.Graphs(lambda inputs: inputs, lambda rows, length: {}, None)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="no graph was recorded for 3 rows of 16 tokens"):
        graphs.replay({"input_ids": torch.zeros(3, 16)})


def test_replay_fills_and_cuts() -> None:
    """A batch of 3 goes into the first rows of the shape of 4, and 3 rows come back."""

    class Doubling:
        def __init__(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
            self.replay = lambda: outputs.copy_(inputs * 2)

    inputs, outputs = torch.ones(4, 2), torch.zeros(4, 2)
    graphs = torch_graphs.Graphs.__new__(torch_graphs.Graphs)
    graphs.recorded = {(4, 2): torch_graphs.Recorded(Doubling(inputs, outputs), {"input_ids": inputs}, {"logits": outputs})}  # type: ignore[arg-type]
    found = graphs.replay({"input_ids": torch.arange(6.0).reshape(3, 2)})
    assert found["logits"].tolist() == [[0, 2], [4, 6], [8, 10]]


# ------------------------------------------------------------------------------------------------------------------------ compiled


def test_a_graph_break_is_an_error(tmp_path: Path) -> None:
    """A model that leaves the graph is not run in pieces."""
    compiled = torch_compiled.Compiled(Breaking(), CPU, per_token=False)
    with pytest.raises(BackendError, match="breaks the graph"):
        compiled.compile_now(lambda rows, length: compiled(input_ids=torch.ones(rows, length)), 64)


class Breaking(nn.Module):
    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return input_ids + 1


def test_compiling_in_a_run_is_an_error() -> None:
    """A call that compiles again raises, once, so that its time is counted as an error and not as an answer."""
    backend = pytorch.PyTorch(BackendOptions())
    compiled = torch_compiled.Compiled.__new__(torch_compiled.Compiled)
    compiled.graphs = 2
    compiled.model = lambda **inputs: setattr(compiled, "graphs", 3)  # type: ignore[assignment]
    backend.graphs_allowed = 2
    inputs = {"input_ids": torch.zeros(1, 8)}
    with pytest.raises(BackendError, match=r"a batch of \(1, 8\) compiled the model again"):
        backend._run_compiled(compiled, inputs)
    assert backend._run_compiled(compiled, inputs) is None


@pytest.mark.parametrize("per_token", [True, False])
def test_a_single_token_is_computed_as_two(per_token: bool) -> None:
    """A length of 1 needs no graph of its own: a masked token joins it, and its output is cut off where outputs are for tokens."""
    compiled = torch_compiled.Compiled(nn.Identity(), CPU, per_token)
    compiled.model = lambda input_ids, attention_mask: {"found": input_ids * 10 + attention_mask}  # type: ignore[assignment, misc]
    found = compiled(input_ids=torch.tensor([[7], [8]]), attention_mask=torch.ones(2, 1, dtype=torch.int64))["found"]
    assert found.tolist() == ([[71], [81]] if per_token else [[71, 0], [81, 0]])


@pytest.mark.slow
def test_compiled_answers(tmp_path: Path) -> None:
    """A compiled model answers as the eager one for any rows and lengths, from graphs that were made while loading."""
    pytest.importorskip("torch._inductor")
    model = model_of(tmp_path, "distilbert", CLASSES)
    plain, compiled = loaded(model), loaded(model, "fp32", "compile", shapes=Shapes(32, 0, (POSITIONS,)))
    facts = compiled.describe()["compile"]
    assert (facts["graph_breaks"], facts["frozen"]) == (0, True)
    for lengths, width in [(LENGTHS, POSITIONS), ([8], 8), ([17, 3], 24)]:
        wanted = real(plain, batch(lengths, width))["logits"]
        np.testing.assert_allclose(real(compiled, batch(lengths, width))["logits"], wanted, atol=2e-5, rtol=2e-5)
    assert compiled.graphs_allowed == facts["graphs"]


# ---------------------------------------------------------------------------------------------------------------------------- CUDA


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "words"), [("amp", ("packed",)), ("amp", ("cuda-graphs",)), ("fp32", ("cuda-graphs",)), ("tf32", ())]
)
def test_options_on_cuda(tmp_path: Path, precision: str, words: tuple[str, ...]) -> None:
    """On a GPU the options give the CPU's answers within the precision, twice in a row and for every number of rows."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = model_of(tmp_path, "bert", CLASSES)
    shapes = Shapes(6, 0, (24, POSITIONS))
    backend = pytorch.PyTorch(BackendOptions(precision=precision, device="cuda", options=words, shapes=shapes))
    backend.load(model)
    plain = loaded(model)
    for _ in range(2):
        for lengths, width in [(LENGTHS, POSITIONS), ([20], 24), ([24, 3, 9], 24)]:
            wanted = plain.predict(batch(lengths, width))["logits"]
            np.testing.assert_allclose(backend.predict(batch(lengths, width))["logits"], wanted, atol=0.05)
