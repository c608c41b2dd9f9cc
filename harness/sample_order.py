"""Which samples are asked, in LoadGen's order: loadable sets, the draws of one query generation, and the selection rules. Pure.

A loaded set is a permutation of sample indices; a query asks one of its entries, or (MultiStream) a block of consecutive ones. LoadGen
makes all queries beforehand and stops when they run out; here the same sequence goes on for as long as a run needs it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.core import Int32, Int64, Settings
from harness.errors import UsageError
from harness.rng import CHUNK, Engine, shuffle, skip_shuffles


@dataclass(frozen=True, slots=True)
class LoadedSet:
    """Samples held in memory together. `indices` includes the padding of MultiStream, `distinct` is the length before it."""

    indices: Int32
    distinct: int

    def __len__(self) -> int:
        return len(self.indices)


def loadable_sets(settings: Settings, sample_count: int, block: int | None = None) -> list[LoadedSet]:
    """The sets LoadGen loads one after another: all samples in accuracy mode, only the first set in performance mode.

    `block` is the number of consecutive entries a MultiStream query asks, None where a query asks one entry. Raises UsageError for
    settings that have no traffic.
    """
    _check(settings, sample_count, block)
    size = min(performance_count(settings, sample_count), sample_count)
    order = list(range(min(settings.accuracy_sample_count or sample_count, sample_count) if settings.mode == "accuracy" else size))
    shuffle(Engine(settings.seeds.qsl), order)
    sets = [_padded(order[first : first + size], block) for first in range(0, len(order), size)]
    if settings.issue == "same" and not settings.same_index < min(loaded.distinct for loaded in sets):
        raise UsageError(
            f"same_index {settings.same_index}: a loaded set has only {min(loaded.distinct for loaded in sets)} samples",
            cure="Set same_index to a smaller number, counted from 0.",
        )
    return sets


def performance_count(settings: Settings, sample_count: int) -> int:
    """Samples of one loaded set before LoadGen cuts it to what there is."""
    return settings.performance_sample_count or sample_count


def _padded(entries: list[int], block: int | None) -> LoadedSet:
    """MultiStream appends the set's beginning, cyclically, so that a block may start at any entry."""
    indices = np.resize(np.array(entries, np.int32), len(entries) + (block or 1) - 1)
    return LoadedSet(indices, len(entries))


class QueryOrder:
    """Samples of the queries of SingleStream, Server and MultiStream for one loaded set, in order.

    length   queries there are: one per entry (or block) with unique issue and in accuracy mode; None: without end
    """

    def __init__(self, settings: Settings, loaded: LoadedSet, block: int | None = None) -> None:
        self._loaded = loaded
        self._block = block
        self._engine = Engine(settings.seeds.sample_index)
        self.length = finite_queries(settings, loaded, block)
        self._positions: Int64 | None = self._draw(settings)
        self._issued = 0

    def take(self, queries: int) -> Int32:
        """Sample indices of the next `queries` queries (fewer where the order ends), a query's samples side by side."""
        if self.length is not None:
            queries = min(queries, self.length - self._issued)
        width = self._block or 1
        samples = np.empty(queries * width, np.int32)
        for first in range(0, queries, CHUNK):
            part = min(CHUNK, queries - first)
            positions = self._next_positions(part)
            if self._block is not None:
                positions = (positions[:, None] + np.arange(self._block)).ravel()
            np.take(self._loaded.indices, positions, out=samples[first * width : (first + part) * width], mode="clip")
        return samples

    def _next_positions(self, count: int) -> Int64:
        """Where in the loaded set the next queries begin: (count,)."""
        first = self._issued
        self._issued += count
        if self._positions is None:
            return self._engine.below(self._loaded.distinct, count).astype(np.int64)
        return self._positions[np.arange(first, first + count) % len(self._positions)]

    def _draw(self, settings: Settings) -> Int64 | None:
        """The draws LoadGen makes before the first query, used or not, in its order: accuracy, unique and equal-issue order.

        Gives the positions to play (over and over where the sequence is longer), None for random ones.
        """
        entries = list(range(0, self._loaded.distinct, self._block or 1))
        accuracy_order = self._shuffled(entries) if settings.mode == "accuracy" else None
        if settings.issue == "unique":
            return self._shuffled(entries)  # what would be drawn after it is never used
        skip_shuffles(self._engine, len(entries))
        concatenate = settings.concatenate_permutation and self._block is None and settings.issue == "random"
        equal_order = self._equal_issue(settings, concatenate)
        if settings.issue == "same":
            return np.array([settings.same_index])
        return equal_order if concatenate else accuracy_order

    def _equal_issue(self, settings: Settings, wanted: bool) -> Int64 | None:
        """The whole set, shuffled again and again in place, until there is an entry for each of the minimum number of queries."""
        size = len(self._loaded)
        rounds = -(-(settings.min_queries if self.length is None else self.length) // size)
        if not wanted:
            skip_shuffles(self._engine, size, rounds)
            return None
        if rounds == 0:
            raise UsageError("concatenate_permutation needs a minimum number of queries", cure="Set --min-queries to at least 1.")
        entries = list(range(size))
        order: list[int] = []
        for _ in range(rounds):
            shuffle(self._engine, entries)
            order += entries
        return np.array(order)

    def _shuffled(self, entries: list[int]) -> Int64:
        order = list(entries)
        shuffle(self._engine, order)
        return np.array(order)


class OfflineOrder:
    """Samples of the one query of Offline: the loaded set in loaded order, over and over; without end."""

    def __init__(self, settings: Settings, loaded: LoadedSet) -> None:
        self._concatenate = settings.concatenate_permutation and settings.issue != "same"
        self._set = loaded.indices
        if settings.issue == "same":
            self._set = loaded.indices[settings.same_index : settings.same_index + 1]
        self._round = self._set
        if self._concatenate:
            self._engine = Engine(settings.seeds.sample_index)
            skip_shuffles(self._engine, len(loaded), 3 if settings.mode == "accuracy" else 2)
        self._next = len(self._round)

    def take(self, rows: int) -> Int32:
        """Sample indices of the next `rows` rows: (rows,)."""
        samples = np.empty(rows, np.int32)
        filled = 0
        while filled < rows:
            if self._next == len(self._round):
                self._begin_round()
            part = self._round[self._next : self._next + rows - filled]
            samples[filled : filled + len(part)] = part
            filled += len(part)
            self._next += len(part)
        return samples

    def _begin_round(self) -> None:
        if self._concatenate:
            order = self._set.tolist()  # afresh each time, unlike the equal-issue order
            shuffle(self._engine, order)
            self._round = np.array(order, np.int32)
        self._next = 0


def finite_queries(settings: Settings, loaded: LoadedSet, block: int | None = None) -> int | None:
    """Queries of an order that ends (accuracy mode, unique issue): LoadGen's length of the padded set div block. None: no end."""
    if settings.mode == "accuracy" or settings.issue == "unique":
        return len(loaded) // (block or 1)
    return None


def padded_queries(settings: Settings, loaded: LoadedSet) -> tuple[int, int]:
    """LoadGen's minimum number of queries, and by what it grows while the schedule is too short: concatenated permutations are always
    issued whole. Performance mode."""
    if not settings.concatenate_permutation:
        return settings.min_queries, 1
    return -(-settings.min_queries // len(loaded)) * len(loaded), len(loaded)


def offline_samples(settings: Settings, loaded: LoadedSet) -> int:
    """Samples of the one query of Offline: enough for 1.1 times the duration at the expected rate, and at least `min_queries`.

    Raises UsageError if that is none.
    """
    if settings.mode == "accuracy" or settings.issue == "unique":
        return loaded.distinct
    duration_ms = settings.min_duration_ns / 1e6
    wanted = max(settings.min_queries, math.trunc(1.1 * (duration_ms / 1000.0) * settings.target_qps))
    if wanted == 0:
        raise UsageError("the expected rate and the duration ask for less than one sample", cure="Set --min-queries to at least 1.")
    return -(-wanted // len(loaded)) * len(loaded) if settings.concatenate_permutation else wanted


def _check(settings: Settings, sample_count: int, block: int | None) -> None:
    """Raises UsageError where LoadGen would crash, hang, or read outside its lists."""
    rate = settings.target_qps
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"--target-qps {rate}: must be a number above zero", cure="Give a rate, for example --target-qps 50.")
    _check_not_negative(settings)
    if sample_count < 1:
        raise UsageError("the task has no samples", cure="Choose data with at least one sample.")
    if block is not None and block < 1:
        raise UsageError(f"samples_per_query {block}: must be at least 1", cure="MLPerf uses 8.")
    if settings.issue != "unique" and settings.mode == "performance" and settings.min_queries == settings.min_duration_ns == 0:
        raise UsageError("neither a minimum duration nor a minimum number of queries", cure="Set --duration or --min-queries.")
    if settings.concatenate_permutation and settings.issue == "unique" and block is not None:
        raise UsageError("unique issue and concatenate_permutation exclude each other in multi-stream", cure="Choose one of them.")


def _check_not_negative(settings: Settings) -> None:
    values = {
        "--duration": settings.min_duration_ns,
        "--min-queries": settings.min_queries,
        "performance_sample_count": settings.performance_sample_count,
        "accuracy_sample_count": settings.accuracy_sample_count,
        "same_index": settings.same_index,
    }
    for name, value in values.items():
        if value < 0:
            raise UsageError(f"{name} {value}: must not be negative", cure="Give zero or more.")
