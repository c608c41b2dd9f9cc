"""Figures of a finished ledger: rates, padding, fidelity of the traffic, and the harness's own share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.batching import Policy, padded_lengths
from harness.core import Columns, Int64, Samples, Settings, Status
from harness.stats import littles_law

HARNESS_SHARE = 0.05
"""Above this share of the workers' time spent between batches although rows were waiting, the harness is called the bottleneck."""

LITTLE_TOLERANCE = 0.02
"""In-flight and rate x latency that differ by more mean that a clock or a count is wrong (peers.md 3.8)."""


def counts(columns: Columns) -> dict[str, int]:
    """Queries, samples, and what became of them. Rows that were due and never taken count as lost."""
    status = columns.status
    return {
        "queries": len(np.unique(columns.query)),
        "samples": len(status),
        "errors": int(np.count_nonzero(status == Status.ERROR)),
        "lost": int(np.count_nonzero((status == Status.LOST) | (status == Status.PENDING))),
    }


def throughput(columns: Columns, samples: Samples, policy: Policy, *, packed: bool = False) -> dict[str, float | None]:
    """Rates over the time to the last answer (to the end, where a row was not served), real tokens only; `padding_share`:
    padding tokens over all tokens computed. `packed`: the backend computes no padding, whatever is laid out."""
    served = columns.served
    seconds = float(columns.done_ns.max(initial=0) if served.all() else columns.end_ns) / 1e9
    if seconds <= 0:
        return dict.fromkeys(("samples_per_second", "queries_per_second", "tokens_per_second", "padding_share"))
    tokens = int(samples.lengths[columns.sample[served]].sum())
    computed = sum(each.padded_tokens for each in by_length(columns, samples, policy, packed=packed))
    answered = int(np.count_nonzero(served))
    per_query = len(columns.query) / max(len(np.unique(columns.query)), 1)
    return {
        "samples_per_second": answered / seconds,
        "queries_per_second": answered / per_query / seconds,
        "tokens_per_second": tokens / seconds if tokens else None,
        "padding_share": 1 - tokens / computed if computed else None,
    }


@dataclass(frozen=True, slots=True)
class AtLength:
    """Served calls that were padded to `length` tokens. `padded_tokens`: computed ones, padding included."""

    length: int
    calls: int
    samples: int
    real_tokens: int
    padded_tokens: int


def by_length(columns: Columns, samples: Samples, policy: Policy, *, packed: bool = False) -> list[AtLength]:
    """Padding by padded length, ascending: each call counts with its rows times the length of its longest, padded; with `packed` with its
    real tokens. Empty for a backend that looks at nothing."""
    order, starts = _by_batch(columns)
    if not samples.max_length or not len(starts):
        return []
    lengths = samples.lengths[columns.sample[order]]
    rows = np.diff(np.append(starts, len(order)))
    real = np.add.reduceat(lengths, starts)
    widths, place = np.unique(padded_lengths(np.maximum.reduceat(lengths, starts), policy, samples.max_length), return_inverse=True)
    found = np.zeros((3, len(widths)), np.int64)
    for figure, values in zip(found, (np.ones(len(rows), np.int64), rows, real), strict=True):
        np.add.at(figure, place, values)
    return [
        AtLength(int(width), int(calls), int(held), int(tokens), int(tokens if packed else width * held))
        for width, calls, held, tokens in zip(widths, *found, strict=True)
    ]


def _by_batch(columns: Columns) -> tuple[Int64, Int64]:
    """Served rows in batch order, and where each batch starts among them."""
    served = np.flatnonzero(columns.served)
    order = served[np.argsort(columns.batch[served], kind="stable")]
    batch = columns.batch[order]
    starts = np.flatnonzero(np.r_[True, batch[1:] != batch[:-1]]) if len(order) else np.zeros(0, np.int64)
    return order, starts


def gaps(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """What happened between batches.

    Returns (lateness, between, busy) in ns: `lateness` of batches whose worker was waiting when their oldest row fell due (taken - due:
    how punctual the traffic is), `between` for batches that were already due when their worker finished the one before (the harness's
    own cost), and the total time inside batches.
    """
    order, starts = _by_batch(columns)
    if not len(starts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    due = np.minimum.reduceat(columns.due_ns[order], starts)
    taken, done, worker = (column[order][starts] for column in (columns.taken_ns, columns.done_ns, columns.worker))
    lateness, between = [], []
    for each in np.unique(worker):
        mine = np.flatnonzero(worker == each)
        before = np.r_[0, done[mine][:-1]]
        waiting = due[mine] >= before
        lateness.append((taken[mine] - due[mine])[waiting])
        between.append((taken[mine] - before)[~waiting])
    return np.concatenate(lateness), np.concatenate(between), int((done - taken).sum())


def traffic(columns: Columns, settings: Settings, closed_loop: bool, rates: Mapping[str, float], *, held: bool = False) -> dict[str, Any]:
    """How the traffic was asked for and how it was played: seeds, rates, punctuality, Little's law. `held`: batches were held for company,
    so that the time between them is not the harness's."""
    lateness, between, busy = gaps(columns)
    in_flight, expected = littles_law(columns)
    workers = int(columns.worker.max(initial=0)) + 1
    return {
        "seeds": asdict(settings.seeds),
        "requested_qps": None if closed_loop else settings.target_qps,
        "rates": dict(rates),
        "lateness_ns": _spread(lateness) if not closed_loop else None,
        "between_batches_ns": _spread(between),
        "harness_share": float(between.sum()) / (float(between.sum()) + busy) if busy and not held else None,
        "busy_share": busy / (workers * columns.end_ns) if columns.end_ns else None,
        "littles_law": {"in_flight": in_flight, "rate_times_latency": expected},
    }


def _spread(values: NDArray[np.int64]) -> dict[str, int | None]:
    if not len(values):
        return {"n": 0, "p50": None, "p99": None, "max": None}
    ordered = np.sort(values)
    return {"n": len(values), "p50": int(ordered[len(values) // 2]), "p99": int(ordered[int(len(values) * 0.99)]), "max": int(ordered[-1])}


def warnings(played: Mapping[str, Any], needs_inputs: bool) -> list[str]:
    """What a reader should know before believing the run: the harness as bottleneck, books that do not balance."""
    said = []
    share = played["harness_share"]
    if needs_inputs and share is not None and share > HARNESS_SHARE:
        said.append(
            f"the harness took {share:.1%} of the workers' time between batches: it limits this run; raise --max-batch or add --workers"
        )
    law = played["littles_law"]
    if law["in_flight"] and abs(law["rate_times_latency"] / law["in_flight"] - 1) > LITTLE_TOLERANCE:
        said.append(
            f"Little's law does not hold: {law['in_flight']:.3g} in flight against {law['rate_times_latency']:.3g} by rate x latency"
        )
    return said
