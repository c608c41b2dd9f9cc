"""Which due rows go together, and how they are laid out: batching policies and collation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.core import Batch, Int64, IntArray, Samples, Shapes

PAD_MULTIPLE = 8
"""Batches are padded to the longest of their rows, rounded up to this: the width that matrix units of CPUs and GPUs like."""

WINDOW = 64
"""`sorted` looks at this many batches' worth (by rows, and by tokens of mean length) of the oldest waiting rows: beyond it similar lengths
are plentiful, and a backlog of a million rows costs no more than one of a few thousand."""

CPU_TOKENS = 1024
"""Tokens of one call on a CPU where nothing else is asked for: with more, what a layer hands to the next leaves the caches. MiniLM on one
Zen 4 core, 32 samples of SQuAD longest first, CPU time in one interleaved process: 1.95 times as fast as in one call of 32 rows in FP32,
1.80 times in BF16; from 256 to 2048 within 8 % of that."""

SMALLEST_SHARE = 8
"""Where several workers share the last of the work, calls shrink to this part of a full one and no further: a call has its own cost."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How waiting rows become batches.

    kind        sorted: the oldest row decides, rows of similar length join it; fifo: arrival order; fixed: arrival order, padded to
                the task's maximum length (what the MLPerf reference does)
    max_batch   most rows of one call
    wait_ns     how long the oldest row may wait for company
    max_tokens  most tokens of one call, padding included: rows times padded length; a longer row goes alone; 0: no limit
    pad_to      lengths that rows are padded to: a multiple, or an ascending list (beyond its last: the task's maximum length)
    """

    kind: Literal["sorted", "fifo", "fixed"] = "sorted"
    max_batch: int = 32
    wait_ns: int = 0
    max_tokens: int = 0
    pad_to: int | tuple[int, ...] = PAD_MULTIPLE

    def most_rows(self, width: int) -> int:
        """Rows of a full call that is padded to `width` tokens."""
        return max(1, min(self.max_batch, self.max_tokens // max(width, 1))) if self.max_tokens else self.max_batch


def pad_to(text: str) -> int | tuple[int, ...]:
    """`--pad-to` as a policy has it: "8" -> 8, "64,128" -> (64, 128)."""
    numbers = tuple(int(part) for part in text.split(","))
    return numbers if len(numbers) > 1 else numbers[0]


def padded_lengths(lengths: IntArray, policy: Policy, max_length: int) -> Int64:
    """Length each row would be padded to if it were alone in its batch, same shape as `lengths`."""
    if policy.kind == "fixed":
        return np.full(len(lengths), max_length, np.int64)
    longest = max(max_length, int(lengths.max(initial=0)))
    if isinstance(policy.pad_to, int):
        rounded = -(-lengths // policy.pad_to) * policy.pad_to
    else:
        rounded = np.array([*policy.pad_to, longest])[np.searchsorted(policy.pad_to, lengths)]
    return np.minimum(rounded, longest).astype(np.int64)


def fitting(widths: IntArray, max_tokens: int) -> int:
    """How many of the first rows make a batch of at most `max_tokens` tokens, at least one. `widths`: (rows,) padded lengths."""
    tokens = np.maximum.accumulate(widths) * np.arange(1, len(widths) + 1)
    return max(1, int(np.searchsorted(tokens, max_tokens, side="right")))


def fair_share(remaining: int, width: int, workers: int, policy: Policy) -> int:
    """Most rows to take where several workers share the rest of a query, longest first: a worker's part of the padded tokens left, so
    that all end together (guided self-scheduling, Polychronopoulos and Kuck, IEEE Transactions on Computers, 1987).

    remaining  padded tokens of all rows not yet handed out
    width      padded length of the first of them, which is the longest

    Where the time of a call follows its padded tokens, the last worker ends no later than `total / workers` plus the time of one call of
    the smallest size: 1 / `SMALLEST_SHARE` of a full one, or a single row.
    """
    return max(remaining // (workers * max(width, 1)), policy.most_rows(width) // SMALLEST_SHARE, 1)


def choose_similar(lengths: IntArray, limit: int) -> Int64:
    """Positions of the `limit` rows closest in length to the first (the oldest) one; ties go to the older row. The first is position 0."""
    distance = np.abs(lengths - lengths[0])
    return np.argsort(distance, kind="stable")[:limit].astype(np.int64)


def longest_first(query: IntArray, lengths: IntArray) -> Int64:
    """Order in which rows that are all due at once are served: query by query, longest rows first, so that neighbours are of similar
    length and the run ends on short ones. (rows,) positions."""
    return np.lexsort((-lengths, query)).astype(np.int64)


def shapes(samples: Samples, policy: Policy) -> Shapes:
    """What a backend can meet in a run with these samples: in warm-up, in the timed part and in an accuracy pass."""
    widths = np.unique(padded_lengths(samples.lengths, policy, samples.max_length))
    return Shapes(policy.max_batch, policy.max_tokens, tuple(widths[widths > 0].tolist()))


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
