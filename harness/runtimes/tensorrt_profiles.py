"""Which input shapes an engine is optimised for: two profiles per bucket of lengths, one for single samples and one for batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core import Shapes
from harness.errors import BackendError

MOST_BUCKETS = 6
"""TensorRT times its kernels for each profile anew (seconds to a minute each), so more lengths than this share a bucket."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes (batch, length) from `least` to `most`; kernels are chosen for `best`."""

    least: tuple[int, int]
    best: tuple[int, int]
    most: tuple[int, int]

    def holds(self, batch: int, length: int) -> bool:
        return self.least[0] <= batch <= self.most[0] and self.least[1] <= length <= self.most[1]


def profiles(shapes: Shapes, longest: int) -> tuple[Profile, ...]:
    """Profiles that together hold every batch the run can meet. `longest`: what the model can read, for a run whose lengths are unknown.

    Few known lengths are fixed, which leaves TensorRT only the batch to be general about; of many, each bucket holds those above the
    previous one. Single samples have profiles of their own, since kernels chosen for a batch of 32 are not those best for one sample.
    """
    fixed = 0 < len(shapes.lengths) <= MOST_BUCKETS
    tops = buckets(shapes.lengths or (longest,))
    found = []
    for below, top in zip((0, *tops), tops, strict=False):
        least = top if fixed else below + 1
        found.append(Profile((1, least), (1, top), (1, top)))
        batch = largest_batch(shapes, least)
        if batch > 1:
            found.append(Profile((2, least), (max(2, largest_batch(shapes, top)), top), (batch, top)))
    return tuple(found)


def largest_batch(shapes: Shapes, length: int) -> int:
    """Samples of `length` tokens that one batch may have under both budgets; at least 1, since a single sample always runs."""
    if not shapes.max_tokens:
        return shapes.max_batch
    return max(1, min(shapes.max_batch, shapes.max_tokens // length))


def buckets(lengths: Sequence[int], most: int = MOST_BUCKETS) -> tuple[int, ...]:
    """Upper ends of at most `most` buckets over ascending `lengths`: all of them where they are few, else each a fixed factor longer than
    the one before, so that no kernel runs far from the length it was chosen for."""
    if len(lengths) <= most:
        return tuple(lengths)
    first, last = lengths[0], lengths[-1]
    wanted = [first * (last / first) ** ((place + 1) / most) for place in range(most)]
    return tuple(sorted({next((length for length in lengths if length >= round(edge, 6)), last) for edge in wanted}))


def profile_for(found: Sequence[Profile], batch: int, length: int) -> int:
    """Number of the profile that holds the shape. Raises BackendError where none does."""
    for number, profile in enumerate(found):
        if profile.holds(batch, length):
            return number
    known = ", ".join(f"{profile.least} to {profile.most}" for profile in found)
    raise BackendError(
        f"tensorrt: the engine was not built for a batch of {batch} x {length} tokens (batch, length: {known})",
        "Build it for the run's own --max-batch, --max-batch-tokens and --pad-to.",
    )
