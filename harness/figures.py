"""A run's figures as data of plotly.js (traces and layout, JSON values only), made from the points of `harness.chart_data`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness import chart_data, machine_figures, steady, units
from harness.core import Columns, Run
from harness.document import Drawing
from harness.traces import BLUE, GREEN, GREY, ORANGE, RED, line, plain
from harness.validity import query_latency_ns

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
    if (found := steady.read(run.steady)) is not None:
        yield _steadiness(found, run)
    yield from machine_figures.of(run)
    yield _batches(columns)
    if by_length := run.throughput.get("by_length"):
        yield _padding(by_length)


def _spectrum(run: Run, columns: Columns) -> Drawing:
    found = chart_data.spectrum(query_latency_ns(columns))
    x = 1 / (1 - found.share)
    traces = [
        *_band("95 % interval", x, found.low_ms, found.high_ms, BLUE),
        line("early stopping's bound", x, found.bound_ms, ORANGE, dash="dot"),
        line("latency", x, found.latency_ms, BLUE, text=[f"p{100 * share:.6g}" for share in found.share]),
    ]
    traces += _bound(run, x[[0, -1]], found.latency_ms[-1])
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
        "Each step to the right is one more nine: the tail takes as much room as the middle. Beside it the 95 % interval of each "
        "percentile by order statistics, and what it is at most with 99 % confidence by early stopping; both end where the queries do not "
        "suffice.",
        traces,
        {"xaxis": axis, "yaxis": {"title": "ms"} | _range(run, found.latency_ms[-1])},
    )


def _percent(share: float) -> str:
    return "min" if share == 0 else f"p{100 * share:.10g}"


def _split(columns: Columns) -> Drawing:
    found = chart_data.split(columns)
    names = [f"to p{100 * share:.0f}" for share in found.share]
    traces = [
        {"type": "bar", "name": "waiting for a worker", "x": names, "y": plain(found.queueing_ms), "marker": {"color": ORANGE}},
        {"type": "bar", "name": "waiting for company", "x": names, "y": plain(found.filling_ms), "marker": {"color": GREEN}},
        {"type": "bar", "name": "computing", "x": names, "y": plain(found.computing_ms), "marker": {"color": BLUE}},
    ]
    return Drawing(
        "split",
        "Waiting, batching, computing",
        "Queries from the fastest to the slowest in groups of the same size: what the slow ones spend their time on. Waiting for company: "
        "a worker was free, and the batch was held for more (--batch-wait).",
        traces,
        {"barmode": "stack", "yaxis": {"title": "mean ms"}, "xaxis": {"tickangle": -45}},
    )


def _timeline(run: Run, columns: Columns, *, offline: bool) -> Drawing:
    found = chart_data.timeline(columns)
    traces = [line("samples/s", found.at_s, found.rate, BLUE)]
    layout: dict[str, Any] = {"xaxis": {"title": "s"}, "yaxis": {"title": "samples/s", "rangemode": "tozero"}}
    if (plateau := _plateau(run, columns)) is not None and not offline:
        traces.append(line("plateau, samples/s", plateau[0], plateau[1], BLUE, dash="longdash"))
    if not offline:
        largest = float(np.nanmax(found.max_ms))
        traces += [each | {"yaxis": "y2"} for each in [*_latencies(found), *_bound(run, found.at_s[[0, -1]], largest)]]
        layout["yaxis2"] = {"title": "ms", "overlaying": "y", "side": "right", "showgrid": False} | _range(run, largest)
    caption = (
        "Every point is a stretch of the run; the least and the largest latency of each stretch are kept."
        if not offline
        else "Every point is a stretch of the run. Longest samples are served first, so the rate rises where all is well."
    )
    if plateau is not None and not offline:
        caption += f" Plateau: what was served from {plateau[0][0]:.3g} s on, where MSER-5 says that the start is over."
    if shapes := machine_figures.throttled(run):
        layout["shapes"] = shapes
        caption += " Shaded: the machine was throttled."
    return Drawing("timeline", "Over time", caption, traces, layout)


def _latencies(found: chart_data.Timeline) -> Iterator[dict[str, Any]]:
    lines = (("min", found.min_ms, GREY), ("p50", found.p50_ms, GREEN), ("p99", found.p99_ms, ORANGE), ("max", found.max_ms, GREY))
    for name, values, colour in lines:
        dash = "dot" if colour == GREY else "solid"
        marked = line(f"{name}, ms", found.at_s, values, colour, dash=dash, mode="lines+markers")
        yield marked | {"connectgaps": True, "marker": {"size": 4}}  # a stretch between two empty ones shows


def _bound(run: Run, ends: Any, largest_ms: float) -> list[dict[str, Any]]:
    """The bound as a line from end to end, where there is one; it may lie above what is shown, and says so."""
    bound = run.traffic.get("latency_bound")
    if not bound:
        return []
    above = ", above the figure" if _is_far(bound["ns"] / 1e6, largest_ms) else ""
    name = f"bound, p{100 * bound['percentile']:g}: {units.time_ns(bound['ns'])}{above}"
    return [line(name, ends, [bound["ns"] / 1e6] * 2, RED, dash="dash")]


def _range(run: Run, largest_ms: float) -> dict[str, Any]:
    """Of an axis of latencies: from 0 up to the bound, unless it is so far away that nothing else could be told apart."""
    bound = run.traffic.get("latency_bound")
    return {"range": [0, 1.1 * largest_ms]} if bound and _is_far(bound["ns"] / 1e6, largest_ms) else {"rangemode": "tozero"}


def _is_far(bound_ms: float, largest_ms: float) -> bool:
    return bound_ms > 3 * largest_ms > 0


def _plateau(run: Run, columns: Columns) -> tuple[list[float], list[float]] | None:
    """From where the run had settled to its last answer, s, and the rate there, samples/s; both as the ends of a line."""
    settled = steady.read(run.steady)
    if settled is None:
        return None
    done = columns.done_ns[columns.served]
    begin, end = settled.settled_share * float(done.max()), float(done.max())
    rate = float(np.count_nonzero(done > begin)) / max(end - begin, 1.0) * 1e9
    return [begin / 1e9, end / 1e9], [rate, rate]


def _steadiness(found: steady.Steady, run: Run) -> Drawing:
    """What the verdict on steadiness was made from: the figure in each part, its fitted drift, and the mean once it had settled."""
    scale, unit = {steady.RATE: (1.0, "samples/s"), steady.WEIGHED: (1.0, "1: as in warm-up"), steady.LATENCY: (1e-6, "ms")}[found.figure]
    at_s, values = np.array(found.at_s), np.array(found.values) * scale
    middle = float(np.median(values))
    ends = [middle * (1 - found.drift / 2), middle * (1 + found.drift / 2)]
    rest = np.arange(len(values)) >= round(found.settled_share * len(values))
    traces = [
        line(found.figure, at_s, values, BLUE, mode="lines+markers") | {"marker": {"size": 5}},
        line("drift", at_s[[0, -1]], ends, RED if not found.stable else GREY, dash="dash"),
        line("plateau", at_s[rest][[0, -1]], [values[rest].mean()] * 2, GREEN, dash="longdash"),
    ]
    layout = {"xaxis": {"title": "s"}, "yaxis": {"title": unit, "rangemode": "tozero"}, "shapes": machine_figures.throttled(run)}
    title = "Steady or not" if found.stable else "UNSTABLE"
    return Drawing("steady", title, f"{steady.sentence(found)}. Plateau: the mean after MSER-5's cut.", traces, layout)


def _batches(columns: Columns) -> Drawing:
    found = chart_data.batches(columns)
    traces = [
        {"type": "bar", "name": "batches", "x": found.size.tolist(), "y": found.count.tolist(), "marker": {"color": BLUE}},
        line("median ms", found.size, found.median_ms, ORANGE, mode="markers+lines") | {"yaxis": "y2"},
    ]
    layout = {
        "xaxis": {"title": "samples in a batch"},
        "yaxis": {"title": "batches"},
        "yaxis2": {"title": "median ms of a batch", "overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False},
    }
    return Drawing("batches", "Batches", "How full calls were, and how long they took.", traces, layout)


def _padding(by_length: Sequence[Mapping[str, int]]) -> Drawing:
    """By padded length: where the computed tokens went."""
    x = [str(each["length"]) for each in by_length]
    real = [each["real_tokens"] for each in by_length]
    padding = [each["padded_tokens"] - each["real_tokens"] for each in by_length]
    held = [f"{each['samples']} samples in {each['calls']} calls" for each in by_length]
    traces = [
        {"type": "bar", "name": "real tokens", "x": x, "y": real, "marker": {"color": BLUE}, "text": held, "textposition": "none"},
        {"type": "bar", "name": "padding", "x": x, "y": padding, "marker": {"color": ORANGE}},
    ]
    layout = {"barmode": "stack", "xaxis": {"title": "tokens that a call was padded to", "type": "category"}, "yaxis": {"title": "tokens"}}
    return Drawing("padding", "Padding by length", "What was computed at each length, and how much of it was padding.", traces, layout)


def _band(name: str, x: Any, low: Any, high: Any, colour: str) -> list[dict[str, Any]]:
    """Both ends where both are known, and what lies between them shaded."""
    both = np.isfinite(low) & np.isfinite(high)
    x, low, high = (np.asarray(each)[both] for each in (x, low, high))
    edge = {"line": {"width": 0, "color": colour}, "showlegend": False}
    return [
        line(f"{name}, low", x, low, colour) | edge,
        line(f"{name}, high", x, high, colour) | {**edge, "fill": "tonexty", "fillcolor": f"{colour}40", "name": name, "showlegend": True},
    ]
