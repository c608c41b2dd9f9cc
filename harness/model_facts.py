"""How much arithmetic an encoder needs: operations of one sample by its length, from config.json alone.

An operation is a multiplication or an addition of a matrix product: a product of (m, k) with (k, n) has 2 m k n of them. Linear layers, the
products of attention, the projection of narrow embeddings and the head are counted; embeddings, biases, softmax, activations and layer
norms, about 1 % of the time and no matrix products, are not. Zeros of a pruned checkpoint count like any other weight. With L tokens,
hidden width h and intermediate width i, a layer of BERT has 2 L (4 h² + 2 h i) + 4 L² h (Devlin et al. 2019, figure 1; Vaswani et al. 2017,
3.2 and 3.3). tests/unit/test_model_facts.py holds each family against PyTorch's own counter, exactly.

Pure: mappings and numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Head = Literal["question-answering", "sequence-classification"]

SPANS = 2
"""Outputs of a question answering head: start and end."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """What decides the arithmetic of an encoder; widths in numbers of floats.

    layers      layers that are computed, not stored: ALBERT shares its weights between them
    projected   width of embeddings that a linear layer brings to `hidden`; 0: none does
    kernel      width of DeBERTa-v2's convolution over tokens, per group of channels; 0: there is none
    relations   kinds of DeBERTa's relative attention (content to position, position to content)
    span        positions to either side that they tell apart
    bounded     whether a shorter input has a shorter span (DeBERTa v1)
    projections how often a layer projects the table of relative positions
    """

    layers: int
    hidden: int
    intermediate: int
    projected: int = 0
    kernel: float = 0.0
    relations: int = 0
    span: int = 0
    bounded: bool = False
    projections: int = 0

    def positions(self, length: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of the table of relative positions that an input of `length` tokens is compared with."""
        return 2 * (np.minimum(length, self.span) if self.bounded else np.full_like(length, self.span))

    def sample(self, length: NDArray[np.float64]) -> NDArray[np.float64]:
        """Operations of the encoder for each of `length`, tokens of one sample."""
        linear = 4 * self.hidden**2 + 2 * self.hidden * self.intermediate
        attention = (2 * length + self.relations * self.positions(length)) * self.hidden
        once = (self.projected + self.kernel * self.hidden) * self.hidden
        return 2 * length * (self.layers * (linear + attention) + once)


def operations(config: Mapping[str, Any], length: int, head: Head | None = None) -> float:
    """Operations for one sample of `length` tokens, padding not among them. `config`: config.json; `head`: None reads it from the
    architecture there. Raises DataError for a kind of model that has no formula here."""
    return float(each_operations(config, np.array([length]), head)[0])


def mean_operations(config: Mapping[str, Any], lengths: Iterable[int], head: Head | None = None) -> float:
    """Mean over samples with these many tokens; raises what `operations` raises, and ValueError without samples."""
    each = each_operations(config, np.fromiter(lengths, np.int64), head)
    if not len(each):
        raise ValueError("no samples")
    return float(each.mean())


def each_operations(config: Mapping[str, Any], lengths: NDArray[np.integer[Any]], head: Head | None = None) -> NDArray[np.float64]:
    """Operations of samples with `lengths` tokens, (samples,) each. Raises what `operations` raises."""
    made, tokens = encoder(config), np.asarray(lengths, np.float64)
    return made.sample(tokens) + _head_operations(config, made.hidden, tokens, head or _head_of(config))


def call_operations(config: Mapping[str, Any], length: int) -> float:
    """What a call computes once for all its samples, `length` being the longest: DeBERTa's projections of relative positions.

    They depend on the weights alone, a runtime may keep them, and no sample is charged for them.
    """
    made = encoder(config)
    return float(2 * made.layers * made.projections * made.positions(np.array([float(length)]))[0] * made.hidden**2)


def encoder(config: Mapping[str, Any]) -> Encoder:
    """Raises DataError for a kind of model that has no formula here, or that lacks one of its sizes."""
    kind = str(config.get("model_type"))
    if kind not in _FAMILIES:
        raise DataError(f"operations of model type {kind} are not known", f"known are {', '.join(sorted(_FAMILIES))}")
    try:
        return _FAMILIES[kind](config)
    except KeyError as error:
        raise DataError(f"config.json of model type {kind} has no {error}", "give a folder that save_pretrained wrote") from error


# ---------------------------------------------------------------------------------------------------------------------- families


def _bert(config: Mapping[str, Any]) -> Encoder:
    return Encoder(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])


def _electra(config: Mapping[str, Any]) -> Encoder:
    """Embeddings as wide as the layers need no projection (ElectraModel: `embedding_size != hidden_size`)."""
    width, hidden = config.get("embedding_size", 128), config["hidden_size"]
    return Encoder(config["num_hidden_layers"], hidden, config["intermediate_size"], projected=0 if width == hidden else width)


def _albert(config: Mapping[str, Any]) -> Encoder:
    """The projection is there even where it changes no width; a group may hold several layers (AlbertLayerGroup)."""
    layers = config["num_hidden_layers"] * config.get("inner_group_num", 1)
    return Encoder(layers, config["hidden_size"], config["intermediate_size"], projected=config.get("embedding_size", 128))


def _distilbert(config: Mapping[str, Any]) -> Encoder:
    return Encoder(config["n_layers"], config["dim"], config["hidden_dim"])


def _deberta(config: Mapping[str, Any]) -> Encoder:
    """Disentangled attention (He et al. 2021): every token against 2 x span relative positions, for each kind of relation."""
    return replace(_deberta_body(config), bounded=True)


def _deberta_v2(config: Mapping[str, Any]) -> Encoder:
    """Buckets of positions instead of positions; with `share_att_key` both projections are made whatever is used."""
    made = _deberta_body(config)
    buckets = int(config.get("position_buckets", -1))
    return replace(
        made,
        kernel=(config.get("conv_kernel_size") or 0) / config.get("conv_groups", 1),
        span=buckets if buckets > 0 else made.span,
        projections=2 if made.relations and config.get("share_att_key", False) else made.projections,
    )


def _deberta_body(config: Mapping[str, Any]) -> Encoder:
    relations = len(_relations(config))
    return replace(_bert(config), projected=_wide(config), relations=relations, projections=relations, span=_most_positions(config))


def _wide(config: Mapping[str, Any]) -> int:
    """Width of embeddings that DeBERTa projects to the hidden width, 0 where they have it."""
    hidden = config["hidden_size"]
    width = int(config.get("embedding_size", hidden))
    return 0 if width == hidden else width


def _relations(config: Mapping[str, Any]) -> set[str]:
    """Written as a list or as "c2p|p2c"."""
    kinds = config.get("pos_att_type") or ()
    if not config.get("relative_attention", False):
        return set()
    return {"c2p", "p2c"} & set(kinds.split("|") if isinstance(kinds, str) else kinds)


def _most_positions(config: Mapping[str, Any]) -> int:
    most = int(config.get("max_relative_positions", -1))
    return most if most > 0 else int(config["max_position_embeddings"])


_BERT_LIKE = ("bert", "camembert", "ernie", "megatron-bert", "mpnet", "roberta", "xlm-roberta")
_FAMILIES: Mapping[str, Callable[[Mapping[str, Any]], Encoder]] = {
    **dict.fromkeys(_BERT_LIKE, _bert),
    "albert": _albert,
    "deberta": _deberta,
    "deberta-v2": _deberta_v2,
    "distilbert": _distilbert,
    "electra": _electra,
}


# -------------------------------------------------------------------------------------------------------------------------- head


def _head_of(config: Mapping[str, Any]) -> Head | None:
    name = next(iter(config.get("architectures") or ()), "")
    endings: dict[str, Head] = {"ForQuestionAnswering": "question-answering", "ForSequenceClassification": "sequence-classification"}
    return next((head for ending, head in endings.items() if name.endswith(ending)), None)


def _head_operations(config: Mapping[str, Any], hidden: int, lengths: NDArray[np.float64], head: Head | None) -> NDArray[np.float64]:
    """Two numbers for each token, or a dense layer and the labels for the first token; all these families agree on it."""
    if head == "question-answering":
        return 2 * lengths * hidden * SPANS
    if head == "sequence-classification":
        return np.full_like(lengths, 2 * hidden * (hidden + _labels(config)))
    return np.zeros_like(lengths)


def _labels(config: Mapping[str, Any]) -> int:
    return len(config.get("id2label") or ()) or int(config.get("num_labels", 2))
