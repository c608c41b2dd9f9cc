"""Does a backend answer faster when the same sample is asked again? The idea of MLPerf's TEST04. Pure.

MLPerf exempts BERT from TEST04 because its samples differ in length. Here every input has the same number of real tokens and is padded
to the task's maximum, so that the work is the same whatever is asked. Blocks of different inputs and blocks of one input alternate
(A B B A ...); a pair of blocks gives one ratio, so that drift of the machine cancels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.core import Int32, Int64, Samples
from harness.errors import DataError
from harness.stats import bootstrap_interval
from harness.units import time_ns

LIMIT = 1.10
"""Same-sample runs of TEST04 may be up to 10 % faster (threshold of the kit's verify_performance.py)."""

FEWEST_PAIRS = 6
"""The interval of a median of 6 ratios is their smallest to their largest: fewer would say little."""

LENGTH_SHARE = 0.25
"""Quantile of the data's lengths that all inputs are cut to: three samples in four are long enough to be used."""

_SEED = 4
_DRAWS = 2000


# -------------------------------------------------------------------------------------------------------------------------- inputs


def input_length(samples: Samples) -> int:
    """Tokens of each input that the audit asks."""
    return max(1, int(np.quantile(samples.lengths, LENGTH_SHARE)))


def distinct_inputs(samples: Samples, count: int, seed: int) -> Samples:
    """`count` inputs, no two alike, all of the same length, in seeded order.

    Samples of the data that are long enough, cut to the length (the last token is kept), no input twice; where they are too few, more
    are made of the data's tokens between the first and the last token of such a sample. Raises DataError where the data cannot give so
    many different inputs.
    """
    generator = np.random.default_rng(seed)
    rows, types = _cut(samples, input_length(samples))
    _, first = np.unique(rows, axis=0, return_index=True)
    chosen = generator.permutation(np.sort(first))[:count]
    rows, types = rows[chosen], types[chosen]
    if len(rows) < count:
        more = _made_up(rows, samples.input_ids, count - len(rows), generator)
        types = np.concatenate([types, np.tile(types[:1], (len(more), 1))])
        rows = np.concatenate([rows, more])
    offsets = np.arange(count + 1, dtype=np.int64) * rows.shape[1]
    return Samples(rows.reshape(-1), types.reshape(-1), offsets, samples.pad_id, samples.max_length)


def _cut(samples: Samples, length: int) -> tuple[Int32, NDArray[np.int8]]:
    """Tokens and types of the samples of at least `length` tokens, (samples, length)."""
    begins = samples.offsets[:-1][samples.lengths >= length]
    places = begins[:, None] + np.arange(length)
    places[:, -1] = samples.offsets[1:][samples.lengths >= length] - 1
    return samples.input_ids[places], samples.token_type_ids[places]


def _made_up(known: Int32, tokens: Int32, count: int, generator: np.random.Generator) -> Int32:
    """`count` rows that differ from the known ones and from each other."""
    seen = {row.tobytes() for row in known}
    made: list[Int32] = []
    for _ in range(20 * count + 100):  # a draw is seldom one that is known, unless the data hardly has different tokens
        row = known[0].copy()
        row[1:-1] = generator.choice(tokens, max(0, len(row) - 2))
        if row.tobytes() not in seen:
            seen.add(row.tobytes())
            made.append(row)
        if len(made) == count:
            return np.stack(made)
    raise DataError(f"the data gives {len(seen):,} different inputs, the audit needs {len(known) + count:,}", "give more data with --data")


# --------------------------------------------------------------------------------------------------------------------------- blocks


@dataclass(frozen=True, slots=True)
class Design:
    """How much is asked: `pairs` of blocks, each of `queries` timed calls after one that is not, with `rows` inputs a call."""

    pairs: int
    queries: int
    rows: int

    @property
    def inputs(self) -> int:
        """Different inputs that `blocks` uses."""
        return self.pairs * ((self.queries + 1) * self.rows + 1)


@dataclass(frozen=True, slots=True)
class Block:
    """Calls of one kind, in order. The first fills caches of either kind and is not counted."""

    kind: Literal["unique", "same"]
    batches: tuple[Int64, ...]


def design(call_ns: float, budget_ns: float, rows: int, most: Design) -> Design:
    """Pairs first, then calls a block, as many as `budget_ns` allows at `call_ns` a call, up to `most` and not under FEWEST_PAIRS of 1."""
    calls = int(budget_ns // max(call_ns, 1.0))
    queries = min(max(calls // (2 * most.pairs) - 1, 1), most.queries)
    pairs = min(max(calls // (2 * (queries + 1)), FEWEST_PAIRS), most.pairs)
    return Design(pairs, queries, rows)


def blocks(plan: Design, first: int) -> Iterator[Block]:
    """Blocks in the order A B B A ...: A asks inputs that were never asked before, B one input (another in each block) again and again.

    `first`: number of the first input that may be used. `rows` of a same-sample call are copies of the one input.
    """
    calls, step = plan.queries + 1, plan.inputs // plan.pairs
    for pair in range(plan.pairs):
        start = first + pair * step
        fresh = np.arange(start + 1, start + step, dtype=np.int64).reshape(calls, plan.rows)
        unique = Block("unique", tuple(fresh))
        same = Block("same", (np.full(plan.rows, start, np.int64),) * calls)
        yield from (unique, same) if pair % 2 == 0 else (same, unique)


# -------------------------------------------------------------------------------------------------------------------------- verdict


@dataclass(frozen=True, slots=True)
class CachingResult:
    """Service times of different inputs and of the same one. `ratio` is unique over same, `low` and `high` its 95 % interval.

    rows               inputs of a call
    pairs, queries     pairs of blocks, and calls of a block
    unique_ns, same_ns median call
    """

    rows: int
    pairs: int
    queries: int
    unique_ns: float
    same_ns: float
    ratio: float
    low: float
    high: float

    @property
    def suspected(self) -> bool:
        """The same sample is certainly answered more than 10 % faster."""
        return self.low > LIMIT

    @property
    def uncertain(self) -> bool:
        """Nothing was found, and the times scatter too much to exclude it."""
        return self.low <= LIMIT < self.high


def judge(unique_ns: Int64, same_ns: Int64, rows: int) -> CachingResult:
    """Median over the pairs of the ratio of the blocks' medians, with a bootstrap interval over the pairs.

    `unique_ns`, `same_ns`: (pairs, queries) service times of calls with `rows` inputs. Raises ValueError where there are none.
    """
    unique, same = np.median(unique_ns, axis=1), np.median(same_ns, axis=1)
    ratios = unique / np.maximum(same, 1.0)
    low, high = bootstrap_interval(ratios, lambda drawn: float(np.median(drawn)), _SEED, _DRAWS)
    pairs, queries = unique_ns.shape
    return CachingResult(rows, pairs, queries, float(np.median(unique)), float(np.median(same)), float(np.median(ratios)), low, high)


def text(results: Sequence[CachingResult]) -> str:
    """What was compared, in lines for a terminal, and the verdict with its cure."""
    lines = [_line(each) for each in results]
    if any(each.suspected for each in results):
        lines += [
            f"FAIL  the same sample is answered more than {LIMIT - 1:.0%} faster than different ones: answers are kept",
            "      switch off what keeps or shares answers: every sample must be computed each time it is asked",
        ]
    elif any(each.uncertain for each in results):
        lines += [
            "note  the times scatter too much to be certain: raise --duration, and let nothing else run on this machine",
        ]
    return "\n".join([*lines, "caching test failed" if any(each.suspected for each in results) else "caching test passed"])


def _line(found: CachingResult) -> str:
    asked = "one by one" if found.rows == 1 else f"batches of {found.rows}"
    return (
        f"{asked:<15}different {time_ns(found.unique_ns)}, same {time_ns(found.same_ns)}: different / same {found.ratio:.3f} "
        f"(95 % {found.low:.3f} to {found.high:.3f}, {LIMIT:.2f} is allowed; {found.pairs} pairs of blocks of {found.queries})"
    )
