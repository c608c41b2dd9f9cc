"""A curve as a figure: points with their intervals, levels between changes, the band of noise, and what was accepted. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.document import Drawing
from harness.history.records import Point
from harness.history.spread import band
from harness.history.trend import Change, Curve, levels, noise
from harness.traces import BLUE, GREEN, GREY, ORANGE, RED

MOST_TICKS = 12
_SIGMAS = 2.0
_SCALES = {"ns": (1e-6, "ms"), "B": (1e-6, "MB")}


def draw(curve: Curve) -> Drawing:
    """One figure over the runs of a series, in the order of their commits."""
    scale, unit = _SCALES.get(curve.points[0].figure.unit, (1.0, curve.points[0].figure.unit))
    better = "higher is better" if curve.points[0].figure.better == "higher" else "lower is better"
    return Drawing(
        f"trend_{curve.metric}",
        f"{title(curve.metric)} over time",
        f"{unit}, {better}. {_band_words(curve)}",
        [*_traces(curve, scale)],
        {
            "xaxis": {"title": "run", **_ticks(curve), "range": [0.5, len(curve.points) + 0.5]},
            "yaxis": {"title": unit},
            "shapes": [*_shapes(curve, scale)],
        },
    )


def title(metric: str) -> str:
    """ "latency_p99" -> "latency p99"."""
    return metric.replace("_", " ")


def _traces(curve: Curve, scale: float) -> Iterator[dict[str, Any]]:
    yield _runs(curve, scale)
    for number, (first, end) in enumerate(levels(curve)):
        values = [point.value for point in curve.points[first:end]]
        mean = scale * sum(values) / len(values)
        line = {"color": GREY, "width": 2, "dash": "solid"}
        yield _line("level", [first + 0.6, end + 0.4], [mean, mean], line, shown=number == 0)
    for name, colour, symbol, changes in _marks(curve):
        if changes:
            x = [change.index + 1 for change in changes]
            y = [scale * curve.points[change.index].value for change in changes]
            marker = {"color": colour, "symbol": symbol, "size": 13, "line": {"width": 1}}
            yield {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "text": [c.text for c in changes], "marker": marker}


def _marks(curve: Curve) -> Iterator[tuple[str, str, str, list[Change]]]:
    open_ones = [change for change in curve.changes if change.accepted is None]
    yield "change for the worse", RED, "triangle-down", [change for change in open_ones if change.worse]
    yield "change for the better", GREEN, "triangle-up", [change for change in open_ones if not change.worse]
    yield "accepted change", ORANGE, "diamond", [change for change in curve.changes if change.accepted is not None]


def _runs(curve: Curve, scale: float) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": title(curve.metric),
        "x": list(range(1, len(curve.points) + 1)),
        "y": [scale * point.value for point in curve.points],
        "text": [_hover(point) for point in curve.points],
        "marker": {"color": BLUE, "size": 6},
        "line": {"color": BLUE, "width": 1},
    }
    if any(point.figure.low is not None for point in curve.points):
        above = [None if p.figure.high is None else scale * (p.figure.high - p.value) for p in curve.points]
        below = [None if p.figure.low is None else scale * (p.value - p.figure.low) for p in curve.points]
        made["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1, "width": 2}
    return made


def _hover(point: Point) -> str:
    return f"{point.row.at_utc[:10]} {point.row.commit[:10] or point.row.run_id}"


def _line(name: str, x: list[float], y: list[float], line: dict[str, Any], *, shown: bool) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line, "showlegend": shown, "hoverinfo": "skip"}


def _shapes(curve: Curve, scale: float) -> Iterator[dict[str, Any]]:
    """The band of each level that has enough points for one."""
    for first, end in levels(curve):
        found = band([point.value for point in curve.points[first:end]], _SIGMAS)
        if found is not None:
            low, high = (scale * value for value in found)
            place = {"x0": first + 0.6, "x1": end + 0.4, "y0": low, "y1": high}
            yield {"type": "rect", **place, "fillcolor": GREY, "opacity": 0.15, "line": {"width": 0}, "layer": "below"}


def _band_words(curve: Curve) -> str:
    share = noise(curve)
    if share is None:
        return "Too few runs to say how much they differ by themselves."
    return f"Grey: where 95 % of runs lie as long as nothing changes (± {_SIGMAS * share:.1%} now)."


def _ticks(curve: Curve) -> dict[str, Any]:
    step = -(-len(curve.points) // MOST_TICKS)
    places = list(range(0, len(curve.points), step))
    words = [curve.points[place].row.commit[:7] or curve.points[place].row.at_utc[:10] for place in places]
    return {"tickvals": [place + 1 for place in places], "ticktext": words}
