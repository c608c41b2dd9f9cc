"""When the queries of Server are asked: LoadGen's Poisson process in integer nanoseconds, drawn in chunks, without end. Pure."""

from __future__ import annotations

import numpy as np

from harness.core import SECOND_NS, Int64
from harness.errors import UsageError
from harness.rng import CHUNK, Engine, exponential_gaps_ns

MAX_ROWS = 2**31 - 1
"""Most rows a ledger can number: its batch column is 32 bits wide."""


class Arrivals:
    """Scheduled offsets: query 0 at 0, then one exponential gap after each query, truncated to whole ns before it is added.

    `next_ns` is the offset of the next query not yet drawn.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self._engine = Engine(seed)
        self._rate = rate
        self._ahead: Int64 = np.empty(0, np.int64)  # drawn, not yet handed out
        self.next_ns = 0

    @property
    def following_ns(self) -> int:
        """Offset of the next query not yet handed out."""
        return int(self._ahead[0]) if len(self._ahead) else self.next_ns

    def take(self, count: int) -> Int64:
        """Offsets of the next `count` queries, ascending: (count,)."""
        offsets = np.empty(count, np.int64)
        filled = min(count, len(self._ahead))
        offsets[:filled] = self._ahead[:filled]
        self._ahead = self._ahead[filled:]
        while filled < count:
            filled = self._draw(offsets, filled)
        return offsets

    def until(self, duration_ns: int, count: int, step: int = 1) -> Int64:
        """Offsets up to and including the first query that lies at or beyond `duration_ns` and has index `count` - 1 or more; where
        `step` is more than 1, the number of queries is `count` plus a multiple of it. The first call on a fresh sequence.

        Raises UsageError if that is more rows than a ledger can number.
        """
        offsets = np.empty(self._room(duration_ns, count), np.int64)
        filled = wanted = 0
        while filled == 0 or wanted > filled:
            if filled == len(offsets):
                offsets = np.concatenate([offsets, np.empty(max(CHUNK, filled // 2), np.int64)])
            filled = self._draw(offsets, filled)
            late = int(np.searchsorted(offsets[:filled], duration_ns))
            wanted = _stepped(late + 1, count, step)
        self._ahead = offsets[wanted:filled].copy()
        return offsets[:wanted]

    def _room(self, duration_ns: int, count: int) -> int:
        """Rows to make room for: the expected number and six standard deviations; pages never written cost no memory."""
        expected = duration_ns / SECOND_NS * self._rate
        rows = max(float(count), expected + 6 * expected**0.5) + 1024
        if rows > MAX_ROWS:
            length = f"{duration_ns / SECOND_NS:g} s and at least {count:,} queries"
            raise UsageError(
                f"{self._rate:g} queries/s for {length} are more than {MAX_ROWS:,} rows",
                cure="Lower --target-qps, --duration or --min-queries.",
            )
        return int(rows)

    def _draw(self, offsets: Int64, filled: int) -> int:
        """Fill one more chunk of `offsets` from index `filled`; gives how far it is filled then."""
        tail = min(filled + CHUNK, len(offsets))
        gaps = exponential_gaps_ns(self._engine, self._rate, tail - filled)
        fresh = offsets[filled:tail]
        np.cumsum(gaps, out=gaps)
        fresh[0] = 0
        fresh[1:] = gaps[:-1]
        fresh += self.next_ns
        self.next_ns += int(gaps[-1])
        return tail


def _stepped(at_least: int, count: int, step: int) -> int:
    """The least `count` + k * `step` (k >= 0) that is `at_least`."""
    return count + -(-max(0, at_least - count) // step) * step
