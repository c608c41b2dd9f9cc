"""Operations by formula: exactly what PyTorch counts, for every family and head, and the figures that are known from elsewhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.model_facts import call_operations, each_operations, mean_operations, operations
from tests.tiny_models import ARCHITECTURES, POSITIONS

MINILM = {"model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}
LARGE = {"model_type": "bert", "num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096}

_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 120}
_DISTILLED = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 120}
_RELATIVE = {"relative_attention": True, "type_vocab_size": 0}
FAMILIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    **{name: (each.prefix, each.settings) for name, each in ARCHITECTURES.items()},
    "electra-wide": ("Electra", {"embedding_size": 32}),
    "albert-groups": ("Albert", {"embedding_size": 16, "num_hidden_groups": 2, "inner_group_num": 2}),
    "xlm-roberta": ("XLMRoberta", {}),
    "camembert": ("Camembert", {}),
    "ernie": ("Ernie", {}),
    "megatron-bert": ("MegatronBert", {}),
    "deberta-plain": ("Deberta", {"type_vocab_size": 0}),
    "deberta": ("Deberta", {**_RELATIVE, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-short-span": ("Deberta", {**_RELATIVE, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8}),
    "deberta-narrow": ("Deberta", {**_RELATIVE, "pos_att_type": ["p2c"], "embedding_size": 16}),
    "deberta-v2-plain": ("DebertaV2", {"type_vocab_size": 0}),
    "deberta-v2": ("DebertaV2", {**_RELATIVE, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-v3": ("DebertaV2", {**_RELATIVE, "pos_att_type": "p2c|c2p", "position_buckets": 8, "share_att_key": True}),
    "deberta-v2-xlarge": ("DebertaV2", {**_RELATIVE, "pos_att_type": ["c2p"], "conv_kernel_size": 3, "conv_act": "gelu"}),
}
ENDINGS = ("ForQuestionAnswering", "ForSequenceClassification")


def tiny(architecture: str, settings: Mapping[str, Any]) -> Any:
    """A random model of two layers, evaluating, with attention as matrix products."""
    import transformers

    model_class = getattr(transformers, architecture)
    sizes = _DISTILLED if architecture.startswith("DistilBert") else _SIZES
    config = model_class.config_class(**{**sizes, "max_position_embeddings": POSITIONS, **settings})
    config.architectures = [architecture]
    config._attn_implementation = "eager"
    return model_class(config).eval().requires_grad_(False)


def counted(model: Any, rows: int, length: int) -> int:
    """Operations that PyTorch's counter sees in one call on (rows, length) tokens."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.full((rows, length), 7)
    counter = FlopCounterMode(display=False)
    with counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return int(counter.get_total_flops())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_formula_is_what_pytorch_counts(name: str, ending: str) -> None:
    """For any batch and length: samples times their operations, and once what the call shares."""
    prefix, settings = FAMILIES[name]
    model = tiny(prefix + ending, {**settings, "num_labels": 2 if ending == "ForQuestionAnswering" else 3})
    config = json.loads(model.config.to_json_string())
    for rows, length in ((1, 13), (3, POSITIONS // 2)):
        assert counted(model, rows, length) == rows * operations(config, length) + call_operations(config, length)


@pytest.mark.parametrize(
    ("config", "length", "giga"),
    [(MINILM, 384, 9.5127), (MINILM, 128, 2.8689), (LARGE, 384, 246.4237)],
)
def test_known_models(config: dict[str, Any], length: int, giga: float) -> None:
    """MiniLM-L6 and BERT-Large at the lengths of GLUE and SQuAD, encoder alone, by hand: layers · L · (8 h² + 4 h i + 4 L h)."""
    assert operations(config, length) / 1e9 == pytest.approx(giga, abs=5e-5)


def test_the_head_is_named_or_read() -> None:
    """Two numbers a token for spans; a dense layer and the labels, once, for classes; nothing without a head."""
    bare = operations(MINILM, 10)
    assert operations(MINILM, 10, "question-answering") - bare == 2 * 10 * 384 * 2
    assert operations({**MINILM, "architectures": ["BertForQuestionAnswering"]}, 10) - bare == 2 * 10 * 384 * 2
    three = {**MINILM, "id2label": {"0": "a", "1": "b", "2": "c"}}
    assert operations(three, 10, "sequence-classification") - bare == 2 * 384 * (384 + 3)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=20))
def test_the_mean_is_of_the_samples(lengths: list[int]) -> None:
    """Mean operations are the mean over the samples, not those of the mean length."""
    each = [operations(MINILM, length) for length in lengths]
    assert mean_operations(MINILM, lengths) == pytest.approx(sum(each) / len(each), rel=1e-12)
    assert np.array_equal(each_operations(MINILM, np.array(lengths)), each)


@given(st.integers(1, 511))
def test_padding_is_never_free(length: int) -> None:
    """A longer input needs more operations, and two samples less than one of their joint length."""
    assert operations(MINILM, length + 1) > operations(MINILM, length)
    assert 2 * operations(MINILM, length) < operations(MINILM, 2 * length)


@pytest.mark.parametrize("config", [{}, {"model_type": "t5"}, {"model_type": "bert", "hidden_size": 8}])
def test_what_is_not_known_is_an_error(config: dict[str, Any]) -> None:
    """A kind of model without a formula, or one without its sizes, gets no number."""
    with pytest.raises(DataError):
        operations(config, 8)


def test_no_samples_have_no_mean() -> None:
    """The mean of nothing is an error, not a NaN."""
    with pytest.raises(ValueError, match="no samples"):
        mean_operations(MINILM, [])


@pytest.mark.data
@pytest.mark.model
def test_the_official_questions_need_4_13_giga_operations(official_data: Path, default_model: Path) -> None:
    """The mean over the 10,833 windows of SQuAD v1.1 dev with the embedded model; padded to 384 tokens each would need 9.51."""
    from harness.config import load
    from harness.inputs import find_model, make_task
    from harness.models import default_cache

    config = load({"task": "squad", "data": str(official_data)})
    model = find_model(config, cache=default_cache())
    lengths = make_task(config, model, cache=default_cache()).samples.lengths
    shape = json.loads((default_model / "config.json").read_text(encoding="utf-8"))
    assert len(lengths) == 10_833
    assert round(mean_operations(shape, lengths) / 1e9, 3) == 4.127
    assert round(operations(shape, 384) / 1e9, 3) == 9.513
