"""What limits a run: plain sentences from measured facts, each with the setting to try. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.core import Columns, Run

WAITING = 0.5
"""Share of the mean latency spent waiting above which waiting is what to look at."""
PADDING = 0.15
IDLE = 0.5
BUSY = 0.95
HARNESS = 0.02
PEAK = 0.7


def sentences(run: Run, columns: Columns | None) -> list[str]:
    """The most telling first; empty where nothing stands out or nothing was served."""
    return [*_waiting(run, columns), *_padding(run), *_harness(run), *_arithmetic(run), *_idle(run)]


def _waiting(run: Run, columns: Columns | None) -> Iterator[str]:
    """In a scenario that asks all at once everything waits, and that says nothing."""
    if columns is None or run.config.get("scenario") == "offline" or not columns.served.any():
        return
    served = columns.served
    waiting = float((columns.taken_ns - columns.due_ns)[served].mean())
    computing = float((columns.done_ns - columns.taken_ns)[served].mean())
    share = waiting / max(waiting + computing, 1.0)
    if share < WAITING:
        yield f"computing is {1 - share:.0%} of the mean latency: a faster backend or precision shortens it most"
        return
    busy = run.traffic.get("busy_share") or 0.0
    if busy > BUSY:
        yield f"waiting is {share:.0%} of the mean latency and the workers are busy {busy:.0%} of the time: lower --target-qps"
    else:
        size = _mean_batch(columns)
        yield (
            f"waiting is {share:.0%} of the mean latency although the workers are idle {1 - busy:.0%} of the time (batches of {size:.1f}): "
            "long calls hold up what comes behind them; lower --max-batch or add --workers"
        )


def _mean_batch(columns: Columns) -> float:
    batch = columns.batch[columns.served]
    return len(batch) / max(len(np.unique(batch)), 1)


def _padding(run: Run) -> Iterator[str]:
    share = run.throughput.get("padding_share")
    if share is None or share < PADDING:
        return
    kind = run.config.get("batching")
    limited = (run.config.get("resolved", {}).get("batching") or {}).get("max_tokens")
    tokens = "a smaller --max-batch-tokens" if limited else "--max-batch-tokens"
    cure = "use --batching sorted" if kind != "sorted" else f"give {tokens}, or a smaller --pad-to"
    yield f"{share:.0%} of the tokens computed are padding: {cure}"


def _harness(run: Run) -> Iterator[str]:
    share = run.traffic.get("harness_share")
    if share is not None and share > HARNESS:
        yield f"the harness took {share:.1%} of the workers' time between batches: raise --max-batch or add --workers"


def _arithmetic(run: Run) -> Iterator[str]:
    share: Any = run.throughput.get("peak_share")
    if share is None:
        return
    if share >= PEAK:
        yield f"arithmetic runs at {share:.0%} of this machine's measured peak: only a lower precision or a smaller model is much faster"
    elif (run.traffic.get("busy_share") or 0.0) > BUSY and share < PEAK / 2:
        yield f"arithmetic runs at {share:.0%} of this machine's measured peak: small batches, memory or the runtime hold it back"


def _idle(run: Run) -> Iterator[str]:
    busy = run.traffic.get("busy_share")
    if busy is not None and busy < IDLE and run.config.get("scenario") == "server":
        yield f"the workers were busy {busy:.0%} of the time: the machine can serve more, raise --target-qps"
