"""No padding: the rows of a batch lie end to end in the encoder, and attention is computed within each row.

Embeddings and head stay as they are, (batch, length); the encoder between them, where nearly all the work is, sees (1, tokens). Works for
the families of transformers whose attention can be exchanged (its AttentionInterface) and whose encoder is one module.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from harness.core import Int64
from harness.errors import BackendError, UsageError

NAME = "assay_packed"
"""The attention's name in transformers."""

ENCODERS = ("encoder", "transformer")
TOLERANCE = 1e-3
"""Largest difference between packed and padded FP32 answers at load, as a share of the largest answer."""
HALF_TOLERANCE = 0.05
"""The same where the packed ones are FP16 or BF16."""

_current = threading.local()


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of the running batch lie among its tokens.

    offsets   row i is tokens [offsets[i], offsets[i + 1]); on the host
    places    (tokens,) int64 on the device: the place of each token in the padded batch, laid out flat
    starts    `offsets` as (rows + 1,) int32 on the device, for kernels of rows of varying length
    """

    offsets: tuple[int, ...]
    places: torch.Tensor
    starts: torch.Tensor

    @property
    def longest(self) -> int:
        return max(end - start for start, end in pairwise(self.offsets))


def rows_of(lengths: Int64, width: int, device: torch.device) -> Rows:
    """Rows of `lengths` real tokens, (rows,), in a batch padded to `width`."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.flatnonzero(np.arange(width) < np.asarray(lengths)[:, None])
    to = torch.from_numpy
    return Rows(tuple(offsets.tolist()), to(places).to(device), to(offsets.astype(np.int32)).to(device))


@contextmanager
def running(rows: Rows) -> Iterator[None]:
    """The calls of this thread in here are about these rows."""
    _current.rows = rows
    try:
        yield
    finally:
        del _current.rows


def split_rows(inputs: torch.Tensor) -> list[torch.Tensor]:
    """`inputs` of a layer in parts of one row each: packed rows of (1, tokens, width) while some run, else along the batch."""
    rows: Rows | None = getattr(_current, "rows", None)
    if rows is not None and inputs.dim() == 3 and inputs.shape[0] == 1 and inputs.shape[1] == rows.offsets[-1]:
        return [inputs[:, start:end] for start, end in pairwise(rows.offsets)]
    return list(torch.split(inputs, 1))


def attention(
    _module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _mask: Any, scaling: float | None = None, **_: Any
) -> tuple[torch.Tensor, None]:
    """Attention within each row. (1, heads, tokens, width) each, gives (1, tokens, heads, width)."""
    rows: Rows = _current.rows
    return (_varlen if query.is_cuda else _row_by_row)(query, key, value, rows, scaling), None


def _row_by_row(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: Rows, scaling: float | None) -> torch.Tensor:
    """The fused kernel for one row after the other; in BF16 two products and a softmax, a sixth faster on the CPU, where the fused kernel
    spends its time in products of 32 queries. The scores of a row, (heads, tokens, tokens), stay in the cache."""
    compute = _by_products if query.dtype is torch.bfloat16 else _fused
    parts = [
        compute(query[:, :, start:end], key[:, :, start:end], value[:, :, start:end], scaling) for start, end in pairwise(rows.offsets)
    ]
    return torch.cat(parts, dim=1)


def _fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    return scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2)


def _by_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    scores = torch.bmm(query[0] * (scaling or query.shape[-1] ** -0.5), key[0].transpose(1, 2))
    return torch.bmm(scores.softmax(dim=-1), value[0]).transpose(0, 1)[None]


def _varlen(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: Rows, scaling: float | None) -> torch.Tensor:
    """One kernel for all rows (FlashAttention; FP16 and BF16 alone)."""
    from torch.nn.attention.varlen import varlen_attn

    half = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    queries, keys, values = (each[0].transpose(0, 1).to(half) for each in (query, key, value))
    made = varlen_attn(queries, keys, values, rows.starts, rows.starts, rows.longest, rows.longest, scale=scaling)
    assert isinstance(made, torch.Tensor)
    return made[None]


def pack(model: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Let `model` (FP32, one of transformers, on `device`) compute without padding from now on; its calls need `running` and no mask.

    The answers to a made-up batch before and after are compared, on CUDA within the precision of `dtype`. Raises UsageError for a family
    that cannot be packed, BackendError where the answers differ.
    """
    encoder = _encoder(model)
    lengths = np.array([7, 12, 3], np.int64)
    real = torch.from_numpy(np.arange(12) < lengths[:, None]).to(device)
    tokens = torch.arange(36, device=device).reshape(3, 12) % 90 + 10
    ids = torch.where(real, tokens, torch.full_like(tokens, model.config.pad_token_id or 0))
    with torch.inference_mode():
        wanted = model(input_ids=ids, attention_mask=real.long())
        encoder.forward = _packing(encoder.forward)
        _exchange_attention(model)
        half = torch.autocast(device.type, dtype, enabled=device.type == "cuda")  # the kernel for CUDA has no FP32
        with running(rows_of(lengths, 12, device)), half:
            found = model(input_ids=ids)
    _compare(wanted, found, real, TOLERANCE if device.type == "cpu" else HALF_TOLERANCE)


def check(dtype: torch.dtype, device: torch.device) -> None:
    """Raises UsageError where this device has no kernel for packed rows of this type."""
    if device.type != "cuda":
        return
    if dtype not in (torch.float16, torch.bfloat16):
        raise UsageError(f"+packed on CUDA: the kernel takes FP16 and BF16, not {dtype}", "Use pytorch:amp+packed.")
    try:
        importlib.import_module("torch.nn.attention.varlen")
    except ImportError as error:
        cure = "Install torch 2.10 or newer, or leave +packed out."
        raise UsageError(f"+packed on CUDA: torch {torch.__version__} has no varlen_attn", cure) from error


def _encoder(model: Any) -> nn.Module:
    family = type(model).__name__
    body = getattr(model, model.base_model_prefix)
    encoder = next((each for name in ENCODERS if isinstance(each := getattr(body, name, None), nn.Module)), None)
    if encoder is None or not getattr(type(model), "_supports_attention_backend", False):
        cure = "Leave +packed out; BERT, RoBERTa, XLM-R, ELECTRA, DistilBERT and ALBERT have it."
        raise UsageError(f"+packed: the attention of {family} cannot be exchanged in transformers", cure)
    return encoder


def _exchange_attention(model: Any) -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)


def _packing(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` of an encoder on the real tokens alone; what it returns is padded with zeros again."""

    def packed(*inputs: Any, **named: Any) -> Any:
        padded = inputs[0] if inputs else named["hidden_states"]
        rows: Rows = _current.rows
        real = padded.flatten(0, 1).index_select(0, rows.places)[None]
        found = forward(real, *inputs[1:], **named) if inputs else forward(**{**named, "hidden_states": real})
        hidden = found[0]
        shaped = hidden.new_zeros((padded.shape[0] * padded.shape[1], hidden.shape[-1])).index_copy_(0, rows.places, hidden[0])
        found["last_hidden_state"] = shaped.view(*padded.shape[:2], -1)
        return found

    return packed


def _compare(wanted: Any, found: Any, real: torch.Tensor, tolerance: float) -> None:
    """Outputs with a value for each token are compared on the real ones."""
    for name, values in wanted.items():
        first, second = (values[real], found[name][real]) if values.shape == real.shape else (values, found[name])
        difference = float((first - second.float()).abs().max())
        if not difference <= tolerance * max(1.0, float(first.abs().max())):
            raise BackendError(f"+packed: {name} differs from the padded answer by {difference:.3g}", "Leave +packed out.")
