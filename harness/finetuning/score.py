"""Scores of a model that lies in memory, on a task: FP32, one pass over its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.batching import Policy, collate
from harness.core import Answer, Int64, Task

BATCH = 32

BEFORE = 500
"""Examples on which the untrained model is scored: its head is random, so this is chance."""

SUBSET_SEED = 1
"""Any constant: the same examples each time."""


def some(task: Task) -> Int64:
    """Samples of the examples that the untrained model is scored on."""
    return task.subset(BEFORE, SUBSET_SEED)


def every(task: Task) -> Int64:
    """All samples."""
    return np.arange(len(task.samples), dtype=np.int64)


def score(task: Task, module: Any, inputs: Sequence[str], device: str, samples: Int64, report: Callable[[int], None]) -> dict[str, float]:
    """What `task.score` makes of the answers of `module` to `samples`. `report` is told how many samples are done."""
    import torch

    answers: dict[int, Answer] = {}
    order = samples[np.argsort(-task.samples.lengths[samples], kind="stable")]  # longest first: what does not fit fails at once
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            batch = collate(task.samples, order[start : start + BATCH], Policy())
            found = module(**{name: torch.from_numpy(getattr(batch, name)).to(device) for name in inputs})
            arrays = {output.name: found[output.name].float().cpu().numpy() for output in task.outputs}
            for row, (sample, length) in enumerate(zip(batch.samples.tolist(), batch.lengths.tolist(), strict=True)):
                answers[sample] = {
                    output.name: arrays[output.name][row, :length] if output.per_token else arrays[output.name][row]
                    for output in task.outputs
                }
            report(len(answers))
    return task.score(answers)
