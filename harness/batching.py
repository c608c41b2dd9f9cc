"""Which due rows go together, and how they are laid out: batching policies and collation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.core import Batch, Int64, IntArray, Samples

PAD_MULTIPLE = 8
"""Batches are padded to the longest of their rows, rounded up to this: the width that matrix units of CPUs and GPUs like."""

WINDOW = 64
"""`sorted` looks at this many batches' worth of the oldest waiting rows: beyond it similar lengths are plentiful, and a backlog of
a million rows costs no more than one of a few thousand."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How waiting rows become batches.

    kind       sorted: the oldest row decides, rows of similar length join it; fifo: arrival order; fixed: arrival order, padded to
               the task's maximum length (what the MLPerf reference does)
    max_batch  most rows of one call
    wait_ns    how long the oldest row may wait for company
    """

    kind: Literal["sorted", "fifo", "fixed"] = "sorted"
    max_batch: int = 32
    wait_ns: int = 0


def padded_lengths(lengths: IntArray, policy: Policy, max_length: int) -> Int64:
    """Length each row would be padded to if it were alone in its batch, same shape as `lengths`."""
    if policy.kind == "fixed":
        return np.full(len(lengths), max_length, np.int64)
    return np.minimum(-(-lengths // PAD_MULTIPLE) * PAD_MULTIPLE, max(max_length, int(lengths.max(initial=0)))).astype(np.int64)


def choose_similar(lengths: IntArray, limit: int) -> Int64:
    """Positions of the `limit` rows closest in length to the first (the oldest) one; ties go to the older row. Contains position 0."""
    distance = np.abs(lengths - lengths[0])
    return np.argsort(distance, kind="stable")[:limit].astype(np.int64)


def longest_first(query: IntArray, lengths: IntArray) -> Int64:
    """Order in which rows that are all due at once are served: query by query, longest rows first, so that neighbours are of similar
    length and the run ends on short ones. (rows,) positions."""
    return np.lexsort((-lengths, query)).astype(np.int64)


def collate(samples: Samples, indices: IntArray, policy: Policy) -> Batch:
    """Lay samples out as one padded batch, in the order of `indices`."""
    starts = samples.offsets[indices]
    lengths = samples.offsets[indices + 1] - starts
    width = int(padded_lengths(lengths.max(keepdims=True), policy, samples.max_length)[0])
    columns = np.arange(width)
    real = columns < lengths[:, None]
    source = np.where(real, starts[:, None] + columns, 0)
    return Batch(
        input_ids=np.where(real, samples.input_ids[source], samples.pad_id).astype(np.int64),
        attention_mask=real.astype(np.int64),
        token_type_ids=np.where(real, samples.token_type_ids[source], 0).astype(np.int64),
        lengths=lengths,
        samples=indices,
    )
