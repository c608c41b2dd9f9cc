"""A run's figures as data of plotly.js (traces and layout, JSON values only), made from the points of `harness.chart_data`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness import chart_data
from harness.core import Columns, Run
from harness.document import Drawing
from harness.validity import query_latency_ns

BLUE, ORANGE, GREEN, RED, GREY = "#3b7dd8", "#e08a1e", "#2e9e6b", "#d1495b", "#8a8f98"
"""Readable on light and dark, and apart from each other for most colour-blind people; every line also differs by its name or dash."""

_NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def of(run: Run, columns: Columns) -> list[Drawing]:
    """The figures that this run has something to show in."""
    if not columns.served.any():
        return []
    return list(_all(run, columns))


def _all(run: Run, columns: Columns) -> Iterator[Drawing]:
    offline = run.config.get("scenario") == "offline"
    if not offline:
        yield _spectrum(run, columns)
        yield _split(columns)
    yield _timeline(run, columns, offline=offline)
    yield _batches(columns)


def _spectrum(run: Run, columns: Columns) -> Drawing:
    found = chart_data.spectrum(query_latency_ns(columns))
    x = 1 / (1 - found.share)
    traces = [_line("latency", x, found.latency_ms, BLUE, text=[f"p{100 * share:.6g}" for share in found.share])]
    bound = run.traffic.get("latency_bound")
    if bound:
        traces.append(_line(f"bound, p{100 * bound['percentile']:g}", [1, x[-1]], [bound["ns"] / 1e6] * 2, RED, dash="dash"))
    estimate = (run.early_stopping or {}).get("estimate_ns")
    if estimate:
        traces.append(_line("early stopping's bound", [1, x[-1]], [estimate / 1e6] * 2, ORANGE, dash="dot"))
    ticks = [share for share in _NINES if 1 / (1 - share) <= x[-1] * 1.01]
    axis = {
        "type": "log",
        "title": "percentile",
        "tickvals": [1 / (1 - share) for share in ticks],
        "ticktext": [_percent(s) for s in ticks],
    }
    return Drawing(
        "spectrum",
        "Latency by percentile",
        "Each step to the right is one more nine: the tail takes as much room as the middle.",
        traces,
        {"xaxis": axis, "yaxis": {"title": "ms", "rangemode": "tozero"}},
    )


def _percent(share: float) -> str:
    return "min" if share == 0 else f"p{100 * share:.10g}"


def _split(columns: Columns) -> Drawing:
    found = chart_data.split(columns)
    names = [f"to p{100 * share:.0f}" for share in found.share]
    traces = [
        {"type": "bar", "name": "waiting", "x": names, "y": _plain(found.waiting_ms), "marker": {"color": ORANGE}},
        {"type": "bar", "name": "computing", "x": names, "y": _plain(found.computing_ms), "marker": {"color": BLUE}},
    ]
    return Drawing(
        "split",
        "Waiting and computing",
        "Queries from the fastest to the slowest in groups of the same size: what the slow ones spend their time on.",
        traces,
        {"barmode": "stack", "yaxis": {"title": "mean ms"}, "xaxis": {"tickangle": -45}},
    )


def _timeline(run: Run, columns: Columns, *, offline: bool) -> Drawing:
    found = chart_data.timeline(columns)
    traces = [_line("samples/s", found.at_s, found.rate, BLUE)]
    layout: dict[str, Any] = {"xaxis": {"title": "s"}, "yaxis": {"title": "samples/s", "rangemode": "tozero"}}
    if not offline:
        for name, values, colour in (("p50", found.p50_ms, GREEN), ("p99", found.p99_ms, ORANGE), ("max", found.max_ms, GREY)):
            line = _line(f"{name}, ms", found.at_s, values, colour, dash="dot" if name == "max" else "solid", mode="lines+markers")
            traces.append(line | {"yaxis": "y2", "connectgaps": True, "marker": {"size": 4}})  # a stretch between two empty ones shows
        layout["yaxis2"] = {"title": "ms", "overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False}
        bound = run.traffic.get("latency_bound")
        if bound:
            ends = [found.at_s[0], found.at_s[-1]]
            traces.append(_line("bound, ms", ends, [bound["ns"] / 1e6] * 2, RED, dash="dash") | {"yaxis": "y2"})
    caption = (
        "Every point is a stretch of the run; the largest latency of each stretch is kept."
        if not offline
        else ("Every point is a stretch of the run. Longest samples are served first, so the rate rises where all is well.")
    )
    return Drawing("timeline", "Over time", caption, traces, layout)


def _batches(columns: Columns) -> Drawing:
    found = chart_data.batches(columns)
    traces = [
        {"type": "bar", "name": "batches", "x": found.size.tolist(), "y": found.count.tolist(), "marker": {"color": BLUE}},
        _line("median ms", found.size, found.median_ms, ORANGE, mode="markers+lines") | {"yaxis": "y2"},
    ]
    layout = {
        "xaxis": {"title": "samples in a batch"},
        "yaxis": {"title": "batches"},
        "yaxis2": {"title": "median ms of a batch", "overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False},
    }
    return Drawing("batches", "Batches", "How full calls were, and how long they took.", traces, layout)


def _line(name: str, x: Any, y: Any, colour: str, *, dash: str = "solid", mode: str = "lines", text: Any = None) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": _plain(x),
        "y": _plain(y),
        "line": {"color": colour, "dash": dash, "width": 2},
    }
    return trace | ({"text": list(text)} if text is not None else {})


def _plain(values: Any) -> list[float | None]:
    """JSON has no NaN: a gap in a line is null."""
    return [None if not np.isfinite(value) else float(f"{value:.6g}") for value in np.asarray(values, np.float64).tolist()]
