"""What the verdicts of all scenarios have in common: the rows that count, queries out of rows, and the reasons of section 6.1 of LoadGen's
rules with what would cure them. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from harness import units
from harness.core import SECOND_NS, Columns, EarlyStopping, Int64, Reason, Settings, Status
from harness.errors import RunError


def asked(columns: Columns) -> Columns:
    """The rows that were asked: due by the end of the run, or handed out. Views, not copies. Raises RunError if there are none."""
    due = columns.due_ns
    known = (due >= 0) & ((due <= columns.end_ns) | (columns.status != Status.PENDING))
    if not known.any():
        raise RunError("nothing was measured: no query was asked", cure="Run for longer.")
    rows = len(due) - int(np.argmax(known[::-1]))
    return columns if rows == len(due) else _first(columns, rows)


def _first(columns: Columns, rows: int) -> Columns:
    return replace(
        columns,
        query=columns.query[:rows],
        sample=columns.sample[:rows],
        due_ns=columns.due_ns[:rows],
        taken_ns=columns.taken_ns[:rows],
        done_ns=columns.done_ns[:rows],
        batch=columns.batch[:rows],
        worker=columns.worker[:rows],
        status=columns.status[:rows],
    )


def query_latency_ns(columns: Columns) -> Int64:
    """Latency of each query: that of its last row. (queries,)."""
    first = np.flatnonzero(np.diff(columns.query, prepend=columns.query[:1] - 1))
    latency = columns.latency_ns
    return latency if len(first) == len(latency) else np.maximum.reduceat(latency, first)


def min_duration(reached_ns: int, settings: Settings, what: str) -> list[Reason]:
    """`reached_ns` is what LoadGen holds against the minimum duration; `what` says it in words."""
    if reached_ns >= settings.min_duration_ns:
        return []
    needed = settings.min_duration_ns / SECOND_NS
    text = f"{what} {units.seconds(reached_ns / SECOND_NS)}, needs {units.seconds(needed)}"
    if settings.issue == "unique":
        cure = (
            f"set --duration to at most {number_down(reached_ns / SECOND_NS)}, or issue samples at random: unique issue ends with the set"
        )
    elif limit := _limit(settings):
        cure = f"{limit}, until the run lasts {units.seconds(needed)}"
    else:
        cure = f"let the run go on for {units.seconds(needed)}: it was cut short"
    return [Reason("min_duration", text, cure)]


def _limit(settings: Settings) -> str:
    """What may have cut the run short, as the beginning of a cure; empty if nothing was set."""
    limits = {
        "raise --max-async or lower --target-qps": settings.max_async,
        "raise --max-queries": settings.max_queries,
        "raise --max-duration": settings.max_duration_ns,
    }
    return ", or ".join(cure for cure, given in limits.items() if given)


def min_queries(ran: int, needed: int, elapsed_ns: int, settings: Settings, noun: str = "query") -> list[Reason]:
    """`ran` of `needed` queries (or samples) in `elapsed_ns`; the cure is the time they take at the same rate, with 10 % to spare, or what
    cut the run short."""
    if ran >= needed:
        return []
    text = f"ran {units.plural(ran, noun)}, needs {needed:,}"
    if not ran:
        return [Reason("min_queries", text, "find out why nothing was answered")]
    cure = f"set --duration to at least {duration_for(needed, ran, elapsed_ns)}"
    if settings.issue == "unique":
        cure = f"set --min-queries to at most {ran}, or issue samples at random: unique issue ends with the set"
    elif limit := _limit(settings):
        cure = limit
    return [Reason("min_queries", text, cure)]


def early_stopping(result: EarlyStopping, settings: Settings, cure: str) -> list[Reason]:
    """Only where the rules require it."""
    if result.met or not settings.require_early_stopping:
        return []
    return [Reason("early_stopping", result.text, cure)]


def duration_for(needed: int, ran: int, elapsed_ns: int) -> str:
    """Time for `needed` queries where `ran` took `elapsed_ns`, with 10 % to spare, in whole seconds."""
    return f"{max(1, math.ceil(1.1 * needed * elapsed_ns / max(1, ran) / SECOND_NS))} s"


def number_down(value: float) -> str:
    """Two significant digits, rounded down and written plainly, as a value to type: 46.9 -> "46", 1234.0 -> "1200"."""
    if value <= 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    digits = max(0, -round(math.log10(step)))
    return f"{math.floor(value / step * (1 + 1e-12)) * step:.{digits}f}"
