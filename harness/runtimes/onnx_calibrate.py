"""From calibration samples to the range of each activation: one pass over the samples, then as many ways to choose as are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from harness.core import Int64, Samples
from harness.errors import MissingError
from harness.runtimes.onnx_edit import with_outputs
from harness.runtimes.onnx_integers import Range

Feed = Mapping[str, Int64]
"""Inputs of a graph by name, (1, length) each."""

BINS = 2048
"""On each side of 0; a value is known to 1/2048 of the largest power of two that holds it."""

KEPT = 0.99999
"""Share of the values that the percentile method keeps (ONNX Runtime's default, 99.999 %)."""


class Histogram:
    """How often values of an activation occur. It grows with what it sees: a value beyond its reach doubles the reach and joins bins by
    twos, so that one pass is enough.

    counts       (2 x BINS,) int64, from -reach to reach
    low, high    least and largest value
    """

    def __init__(self) -> None:
        self.reach = 2.0**-20
        self.counts = np.zeros(2 * BINS, np.int64)
        self.low, self.high = np.inf, -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """Raises ValueError for values that are no numbers."""
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("an activation is NaN or infinite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        while max(-low, high) >= self.reach:
            self._widen()
        bins = ((values.ravel() + np.float32(self.reach)) * np.float32(BINS / self.reach)).astype(np.int64)
        self.counts += np.bincount(np.clip(bins, 0, 2 * BINS - 1), minlength=2 * BINS)

    def _widen(self) -> None:
        joined = self.counts.reshape(BINS, 2).sum(axis=1)
        self.counts = np.concatenate([np.zeros(BINS // 2, np.int64), joined, np.zeros(BINS // 2, np.int64)])
        self.reach *= 2

    @property
    def centres(self) -> NDArray[np.float64]:
        return np.asarray((np.arange(2 * BINS) + 0.5 - BINS) * (self.reach / BINS), np.float64)


# ------------------------------------------------------------------------------------------------------------------------ ranges


def min_max(seen: Histogram) -> Range:
    """All that was seen."""
    return Range(seen.low, seen.high)


def percentile(seen: Histogram) -> Range:
    """All but the outermost values: 1 - KEPT of them, shared by both ends."""
    below = np.cumsum(seen.counts) / seen.counts.sum()
    first = int(np.searchsorted(below, (1 - KEPT) / 2, side="right"))
    last = int(np.searchsorted(below, 1 - (1 - KEPT) / 2))
    half = seen.reach / BINS / 2
    low, high = np.clip([seen.centres[first] - half, seen.centres[last] + half], seen.low, seen.high)
    return Range(float(low), float(high))


def least_squares(seen: Histogram) -> Range:
    """The part of min-max, both ends cut in proportion, whose 8-bit integers lie nearest to the values: what is rounded off inside and
    clipped outside has the least mean square (as in "MSE" calibration of Nagel et al. 2021, A White Paper on Neural Network
    Quantization, 3.1)."""
    shares = [float(share) for share in np.linspace(0.05, 1.0, 96)]
    errors = [_squared_error(seen, share * seen.low, share * seen.high) for share in shares]
    best = shares[int(np.argmin(errors))]
    return Range(best * seen.low, best * seen.high)


def _squared_error(seen: Histogram, low: float, high: float) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / 255, float(np.finfo(np.float32).tiny))
    centres = seen.centres
    nearest = low + np.round((np.clip(centres, low, high) - low) / step) * step
    return float(np.dot(seen.counts, (centres - nearest) ** 2))


METHODS: Mapping[str, Callable[[Histogram], Range]] = {"min-max": min_max, "percentile": percentile, "least squares": least_squares}

# ----------------------------------------------------------------------------------------------------------------------- running


class Graph:
    """A model in ONNX Runtime on the CPU. `threads`: 0 leaves the number to it. Raises MissingError where it is not installed."""

    def __init__(self, model: onnx.ModelProto, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingError("quantising needs onnxruntime to calibrate and to check with", "pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors: its warnings are about nodes that optimisation would remove
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())
        self.outputs = tuple(entry.name for entry in self._session.get_outputs())

    def __call__(self, feed: Feed, names: Sequence[str] | None = None) -> list[NDArray[Any]]:
        return list(self._session.run(list(names or self.outputs), {name: feed[name] for name in self.inputs}))


def feeds(samples: Samples, first: int = 0, last: int | None = None) -> Iterator[Feed]:
    """Samples `first` to `last`, each alone and without padding."""
    for sample in range(first, len(samples) if last is None else last):
        begin, end = samples.offsets[sample : sample + 2]
        ids = samples.input_ids[begin:end].astype(np.int64)[None]
        types = samples.token_type_ids[begin:end].astype(np.int64)[None]
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}


def observed(model: onnx.ModelProto, activations: Sequence[str], given: Sequence[Feed]) -> dict[str, Histogram]:
    """Values of each activation over all of `given`, FP32."""
    names = sorted(set(activations))
    graph = Graph(with_outputs(model, [name for name in names if name not in {output.name for output in model.graph.output}]))
    found = {name: Histogram() for name in names}
    for feed in given:
        for name, values in zip(names, graph(feed, names), strict=True):
            found[name].add(values)
    return found
