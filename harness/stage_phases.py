"""A stage in LoadGen's phases: one for each loaded set, as its logs tell them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.core import Columns, Part, Traffic
from harness.phases import Phase
from harness.stages import Stage


def phases(stage: Stage, mode: str, first_query: int, first_sample: int) -> list[Phase]:
    """The stage as LoadGen tells it: one phase for each loaded set, times counted from the start of each."""
    found: list[Phase] = []
    columns, row = stage.measured.columns, 0
    parts = stage.traffic.parts or (_replayed(stage.traffic),)
    for part in parts:
        rows = len(columns.query) if len(parts) == 1 else part.queries * part.samples_per_query
        piece = rows_of(columns, row, row + rows)
        if not len(piece.query):
            break
        zero_ns, zero_query = int(piece.due_ns[0]), int(piece.query[0])
        piece = _shifted(piece, zero_ns if len(parts) > 1 else 0, zero_query)
        asked = int(piece.query[-1]) + 1
        if asked > part.queries or len(piece.query) > part.queries * part.samples_per_query:  # went on beyond what LoadGen makes
            part = replace(part, queries=asked, samples_per_query=len(piece.query) // asked)
        kind = "accuracy" if stage.settings.mode == "accuracy" else "find-peak" if mode == "FindPeakPerformance" else "performance"
        found.append(
            Phase(
                kind,  # type: ignore[arg-type]
                part,
                piece,
                stage.measured.begun_ns + (zero_ns if len(parts) > 1 else 0),
                first_query + zero_query,
                first_sample + row,
                stage.messages if row + rows >= len(columns.query) else (),
            )
        )
        row += rows
    return found


def _replayed(traffic: Traffic) -> Part:
    """A recorded trace names no loaded set: the samples it asks, in the order it asks them first."""
    _, first = np.unique(traffic.sample, return_index=True)
    asked = traffic.sample[np.sort(first)]
    queries = int(traffic.query[-1]) + 1
    return Part(asked, queries, len(traffic.sample) // queries, 0 if traffic.due_ns is None else int(traffic.due_ns[-1]))


def rows_of(columns: Columns, first: int, stop: int) -> Columns:
    """Some rows of a ledger, by their place."""
    rows = slice(first, stop)
    return replace(columns, **{name: getattr(columns, name)[rows] for name in _ARRAYS})


_ARRAYS = ("query", "sample", "due_ns", "taken_ns", "done_ns", "batch", "worker", "status")


def _shifted(columns: Columns, zero_ns: int, zero_query: int) -> Columns:
    """Times and query numbers counted from here."""
    if not zero_ns and not zero_query:
        return columns
    times = {name: np.where(getattr(columns, name) < 0, -1, getattr(columns, name) - zero_ns) for name in ("due_ns", "taken_ns", "done_ns")}
    return replace(columns, query=columns.query - zero_query, end_ns=max(0, columns.end_ns - zero_ns), **times)
