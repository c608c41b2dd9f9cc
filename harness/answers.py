"""What every task needs to judge answers: some of its examples, and numbers that really are an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Answer, Int64
from harness.errors import BackendError, UsageError


def draw(count: int, examples: int, seed: int) -> Int64:
    """`count` of the numbers 0 to `examples` - 1, ascending, all of them if there are no more. With one seed a larger count gives the
    same numbers and some more. Raises UsageError for a count below 1."""
    if count < 1:
        raise UsageError(f"{count} examples asked for", "Ask for at least one.")
    return np.sort(np.random.default_rng(seed).permutation(examples)[:count])


def logits(answer: Answer, name: str, shape: tuple[int, ...], sample: int) -> NDArray[np.floating[Any]]:
    """Output `name` of one sample. Raises BackendError where it is absent, has another shape, is no floating point number or is NaN."""
    if name not in answer:
        raise BackendError(f"the answer to sample {sample} has no {name}", "The backend must return every output of the task.")
    values = np.asarray(answer[name])
    if values.shape != shape or not np.issubdtype(values.dtype, np.floating):
        raise BackendError(
            f"{name} of sample {sample} is {values.dtype.name} of shape {values.shape}, expected floating point of shape {shape}",
            "Check what the model returns and that answers are cut to the real tokens.",
        )
    if np.isnan(values).any():
        raise BackendError(f"{name} of sample {sample} holds NaN", "Run the same model in fp32; half precision can overflow.")
    return values
