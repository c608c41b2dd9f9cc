"""Identical inputs, again and again, in a worker: every answer is compared with the first one, bit for bit.

Calls alternate between batches as large as those of a run (they load the machine as a run does) and batches of a few tokens a row, which
give many answers a second. Both are compared. The same rows are always asked in the same batch: other company may change the last bits.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.batching import Policy, collate
from harness.core import Batch, Int64, Output, Samples
from harness.worker import Worker

SHORT_TOKENS = 4
"""Tokens of a short row. What is asked need make no sense to have a known answer."""
SHORT_BATCHES = 2
SHORT_SHARE = 2.0
"""Short batches get this many times the time of the full ones."""
FULL_LENGTHS = (0.0, 0.5, 1.0)
"""Quantiles of the task's lengths that full batches are made of."""
MOST_TOLD = 20
"""Mismatches of one call of `repeat` that are described; all are counted."""

Answers = Mapping[str, NDArray[Any]]


@runtime_checkable
class HoldsWeights(Protocol):
    """What a backend may add: with it, a weight that changed in memory is found even if no answer shows it."""

    def weights(self) -> Mapping[str, str]:
        """Digest of each tensor as it is held now, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Inputs:
    """Known inputs. `samples`: their rows; `origin`: (rows,) the task's sample each row is, or was cut from; `full`, `short`: batches as
    rows of `samples`."""

    samples: Samples
    origin: Int64
    full: tuple[Int64, ...]
    short: tuple[Int64, ...]

    @property
    def batches(self) -> tuple[Int64, ...]:
        return (*self.full, *self.short)


@dataclass(frozen=True, slots=True)
class First:
    """The first answers of one worker, by batch. `refused`: why a batch has none, by its number; `cores` that its threads may use; `device`
    that it computes on, as the backend says, empty for a CPU."""

    answers: tuple[Answers | None, ...]
    refused: Mapping[int, str]
    cores: tuple[int, ...]
    device: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An answer that is not the first one. `values` differ of it, by `largest` at most (inf: a NaN); `persistent`: asked again at once, it
    still was another one; `at_ns` monotonic, `utc_ns` wall time."""

    worker: int
    cores: tuple[int, ...]
    device: str
    sample: int
    tokens: int
    call: int
    at_ns: int
    utc_ns: int
    values: int
    largest: float
    persistent: bool

    @property
    def where(self) -> str:
        return place(self.worker, self.cores, self.device)


def place(worker: int, cores: Sequence[int], device: str) -> str:
    """A worker and what it computes on, in words."""
    listed = f"cores {', '.join(map(str, cores))}" if cores else "cores not told"
    return f"worker {worker} ({device or listed})"


@dataclass(frozen=True, slots=True)
class Repeated:
    """What one worker did in some seconds. `full_s`: time of all full batches together, one for each cycle; `full_rows` rows each."""

    worker: int
    calls: int
    answers: int
    full_rows: int
    full_s: tuple[float, ...]
    wrong: int
    mismatches: tuple[Mismatch, ...] = ()
    weights: Mapping[str, str] | None = field(default=None, repr=False)


# -------------------------------------------------------------------------------------------------------------------------- inputs


def inputs(samples: Samples, policy: Policy) -> Inputs:
    """Known inputs of a task: full batches around some lengths, and short ones cut from its first samples."""
    ascending = np.argsort(samples.lengths, kind="stable")
    full = []
    for quantile in FULL_LENGTHS:
        middle = round(quantile * (len(ascending) - 1))
        rows = policy.most_rows(int(samples.lengths[ascending[middle]]))
        start = max(0, min(middle, len(ascending) - rows))
        full.append(ascending[start : start + rows])
    count = policy.most_rows(SHORT_TOKENS)
    short = [np.resize(np.arange(len(samples)), (number + 1) * count)[-count:] for number in range(SHORT_BATCHES)]
    return _joined(samples, full, short)


def _joined(samples: Samples, full: Sequence[Int64], short: Sequence[Int64]) -> Inputs:
    rows: list[tuple[int, int]] = []
    batches: list[Int64] = []
    for group, most in ((full, None), (short, SHORT_TOKENS)):
        for batch in group:
            batches.append(np.arange(len(rows), len(rows) + len(batch), dtype=np.int64))
            rows += [(int(sample), min(int(samples.lengths[sample]), most or samples.max_length)) for sample in batch]
    places = [np.arange(samples.offsets[sample], samples.offsets[sample] + length) for sample, length in rows]
    every = np.concatenate(places)
    offsets = np.concatenate([[0], np.cumsum([length for _, length in rows])]).astype(np.int64)
    cut = Samples(samples.input_ids[every], samples.token_type_ids[every], offsets, samples.pad_id, samples.max_length)
    return Inputs(cut, np.array([sample for sample, _ in rows], np.int64), tuple(batches[: len(full)]), tuple(batches[len(full) :]))


# ---------------------------------------------------------------------------------------------------------------------- in a worker


def first(worker: Worker, asked: Inputs) -> First:
    """Ask every batch twice and keep the second answers: the first call of a shape may choose its kernels."""
    found: list[Answers | None] = []
    refused: dict[int, str] = {}
    for number, rows in enumerate(asked.batches):
        batch = _batch(worker, asked, rows)
        try:
            _asked(worker, batch)
            found.append(_asked(worker, batch))
        except Exception as error:
            found.append(None)
            refused[number] = f"{type(error).__name__}: {error}"
    return First(tuple(found), refused, _cores(worker), _device(worker))


def repeat(worker: Worker, asked: Inputs, known: Sequence[First], seconds: float, tolerance: float) -> Repeated:
    """Ask known batches for some seconds, at least each of them once. `known`: by worker; `tolerance`: 0 for bit for bit, else how far an
    answer may be off as a share of the batch's largest value."""
    mine = known[worker.spec.worker]
    batches = [(rows, _batch(worker, asked, rows), mine.answers[number]) for number, rows in enumerate(asked.batches)]
    full, short = batches[: len(asked.full)], batches[len(asked.full) :]
    loop = _Loop(worker, asked, mine, tolerance)
    deadline = time.monotonic() + seconds
    cycles: list[float] = []
    while not cycles or time.monotonic() < deadline:
        spent = sum(loop.ask(*each) for each in full)
        cycles.append(spent)
        rest = SHORT_SHARE * spent
        while any(known is not None for _, _, known in short) and rest > 0:
            rest -= max(1e-6, sum(loop.ask(*each) for each in short))
    return loop.told(sum(len(rows) for rows, _, known in full if known is not None), cycles)


class _Loop:
    """Counts what was asked and keeps what was wrong."""

    def __init__(self, worker: Worker, asked: Inputs, first: First, tolerance: float) -> None:
        self.worker, self.inputs, self.first, self.tolerance = worker, asked, first, tolerance
        self.calls = self.answers = self.wrong = 0
        self.mismatches: list[Mismatch] = []

    def ask(self, rows: Int64, batch: Batch, known: Answers | None) -> float:
        """Seconds of one call; 0 for a batch that the backend refuses."""
        if known is None:
            return 0.0
        start = time.monotonic_ns()
        found = _asked(self.worker, batch)
        end = time.monotonic_ns()
        self.calls += 1
        self.answers += len(rows)
        if not _equal(found, known):
            self._look_closer(rows, batch, found, known, end)
        return (end - start) / 1e9

    def _look_closer(self, rows: Int64, batch: Batch, found: Answers, known: Answers, at_ns: int) -> None:
        off = _off(found, known, len(rows), self.tolerance)
        if not any(values for values, _ in off):
            return
        again = _off(_asked(self.worker, batch), known, len(rows), self.tolerance)
        for place, (values, largest) in enumerate(off):
            if values:
                self.wrong += 1
                self._note(int(rows[place]), int(batch.lengths[place]), at_ns, values, largest, persistent=again[place][0] > 0)

    def _note(self, row: int, tokens: int, at_ns: int, values: int, largest: float, *, persistent: bool) -> None:
        if len(self.mismatches) < MOST_TOLD:
            sample, call = int(self.inputs.origin[row]), self.calls
            wall = time.time_ns() - (time.monotonic_ns() - at_ns)
            who = (self.worker.spec.worker, self.first.cores, self.first.device)
            self.mismatches.append(Mismatch(*who, sample, tokens, call, at_ns, wall, values, largest, persistent))

    def told(self, full_rows: int, cycles: Sequence[float]) -> Repeated:
        held = weights(self.worker)
        return Repeated(
            self.worker.spec.worker, self.calls, self.answers, full_rows, tuple(cycles), self.wrong, tuple(self.mismatches), held
        )


def weights(worker: Worker) -> Mapping[str, str] | None:
    """Digests of the weights as the backend holds them; None where it does not show them."""
    return worker.backend.weights() if isinstance(worker.backend, HoldsWeights) else None


def _cores(worker: Worker) -> tuple[int, ...]:
    """Cores that this worker's threads may use."""
    if worker.spec.cores is not None:
        return tuple(worker.spec.cores)
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def _device(worker: Worker) -> str:
    """What is no CPU, with its name."""
    described = worker.backend.describe() if worker.backend is not None else {}
    device, name = str(described.get("device") or "cpu"), described.get("device_name")
    return "" if device.lower().startswith("cpu") else f"{device}, {name}" if name else device


def _batch(worker: Worker, asked: Inputs, rows: Int64) -> Batch:
    return collate(asked.samples, rows, worker.spec.policy)


def _asked(worker: Worker, batch: Batch) -> Answers:
    """What the backend answers at the real tokens; what stands at padding is nobody's answer, and 0 here."""
    assert worker.backend is not None
    outputs = worker.backend.predict(batch)
    return {output.name: _real(np.asarray(outputs[output.name]), output, batch) for output in worker.spec.outputs}


def _real(values: NDArray[Any], output: Output, batch: Batch) -> NDArray[Any]:
    if output.per_token and int(batch.lengths.min()) < values.shape[1]:
        values = np.where(np.arange(values.shape[1]) < batch.lengths[:, None], values, values.dtype.type(0))
    return np.array(values, order="C")


# ----------------------------------------------------------------------------------------------------------------------- comparing


def _equal(found: Answers, known: Answers) -> bool:
    """Bit for bit: 0 and -0 are two answers, a NaN equals itself."""
    return all(found[name].dtype == values.dtype and found[name].tobytes() == values.tobytes() for name, values in known.items())


def same(left: First, right: First) -> bool:
    """Whether two workers gave equal first answers, bit for bit."""
    pairs = zip(left.answers, right.answers, strict=True)
    return all(mine is not None and other is not None and _equal(mine, other) for mine, other in pairs if mine is not other)


def digest(first: First) -> str:
    """SHA-256 of all first answers of a worker, to tell whether another process gives the same."""
    content = hashlib.sha256()
    for answers in first.answers:
        for name, values in sorted((answers or {}).items()):
            content.update(f"{name} {values.dtype.str} {values.shape} ".encode())
            content.update(values.tobytes())
    return content.hexdigest()


def _off(found: Answers, known: Answers, rows: int, tolerance: float) -> list[tuple[int, float]]:
    """For each row, how many values are off and by how much at most."""
    counts, largest = np.zeros(rows, np.int64), np.zeros(rows)
    for name, values in known.items():
        bits_differ = (_bits(found[name]) != _bits(values)).any(axis=-1).reshape(rows, -1)
        apart = np.abs(found[name].astype(np.float64) - values.astype(np.float64)).reshape(rows, -1)
        apart = np.where(np.isnan(apart) & bits_differ, np.inf, np.nan_to_num(apart, nan=0.0))
        allowed = tolerance * float(np.abs(values.astype(np.float64)).max(initial=0.0))
        wrong = bits_differ if tolerance == 0 else apart > allowed
        counts += wrong.sum(axis=1)
        largest = np.maximum(largest, np.where(wrong, apart, 0.0).max(axis=1, initial=0.0))
    return [(int(count), float(most)) for count, most in zip(counts, largest, strict=True)]


def _bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """(..., bytes of one value)."""
    return values.view(np.uint8).reshape(*values.shape, values.dtype.itemsize)
