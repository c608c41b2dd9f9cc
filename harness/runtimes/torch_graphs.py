"""CUDA graphs: the kernels of a whole call recorded once for each shape and replayed with one launch.

A graph has fixed shapes: one is recorded for each padded length of the run and each of 1, 2, 4 ... rows; a batch is filled up with rows of
padding to the next of them. All is recorded while loading; a shape that was not is an error, not a slow call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from harness.core import Shapes
from harness.errors import BackendError, UsageError

LIMIT = 400
"""Most graphs of one instance: each takes some MB and a few tens of ms to record."""

WARM_UP = 3
"""Calls before recording, as PyTorch's documentation advises: libraries choose their kernels in the first."""

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors


def buckets(shapes: Shapes) -> list[tuple[int, int]]:
    """(rows, length) to record, largest first. Raises UsageError where the lengths are not known or there are too many shapes."""
    if not shapes.lengths:
        raise UsageError("+cuda-graphs: the lengths of this run are not known", "Give --pad-to with a few lengths, or leave it out.")
    found = [(rows, length) for length in shapes.lengths for rows in _row_buckets(_most_rows(shapes, length))]
    if len(found) > LIMIT:
        cure = "Give --pad-to with fewer lengths, or a smaller --max-batch."
        raise UsageError(f"+cuda-graphs: {len(found)} shapes to record, more than {LIMIT}", cure)
    return sorted(found, key=lambda shape: shape[0] * shape[1], reverse=True)


def _most_rows(shapes: Shapes, length: int) -> int:
    return min(shapes.max_batch, max(1, shapes.max_tokens // length)) if shapes.max_tokens else shapes.max_batch


def _row_buckets(most: int) -> list[int]:
    """1, 2, 4 ... up to the first that holds `most`."""
    return [2**power for power in range((most - 1).bit_length() + 1)]


class Graphs:
    """Recorded calls of one model on one device and stream."""

    def __init__(self, run: Callable[[Tensors], Tensors], example: Callable[[int, int], Tensors], stream: torch.cuda.Stream) -> None:
        """`run` gives outputs on the device for inputs on the device; `example` makes inputs of (rows, length) on the device."""
        self.run, self.example, self.stream = run, example, stream
        self.recorded: dict[tuple[int, int], Recorded] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def record(self, shapes: list[tuple[int, int]]) -> None:
        """Record all, largest first, so that the smaller ones fit into the same memory."""
        for shape in shapes:
            self.recorded[shape] = self._one(self.example(*shape))

    def _one(self, inputs: Tensors) -> Recorded:
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UP):
                self.run(inputs)
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: workers that are threads of this process go on calling CUDA while this one records
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            outputs = self.run(inputs)
        return Recorded(graph, inputs, outputs)

    def replay(self, inputs: Mapping[str, torch.Tensor]) -> Tensors:
        """Outputs on the device for `inputs` (rows, length) on host or device, in the current stream. Raises BackendError for a shape
        that was not recorded."""
        rows, length = inputs["input_ids"].shape
        recorded = self.recorded.get((2 ** (rows - 1).bit_length(), length))
        if recorded is None:
            cure = "Let --pad-to and --max-batch cover it, or leave +cuda-graphs out."
            raise BackendError(f"+cuda-graphs: no graph was recorded for {rows} rows of {length} tokens", cure)
        for name, values in inputs.items():
            recorded.inputs[name][:rows].copy_(values, non_blocking=True)
        recorded.graph.replay()
        return {name: values[:rows] for name, values in recorded.outputs.items()}
