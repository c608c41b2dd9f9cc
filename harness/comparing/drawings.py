"""The figures of a comparison, from the record in comparison.json: ratios with intervals, accuracy against speed, blocks in time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from harness.compare import EQUIVALENT
from harness.comparing.sentences import Record
from harness.comparing.tables import headed, ratio
from harness.document import Drawing
from harness.traces import BLUE, GREEN, GREY, ORANGE, RED, line

COLOURS = (BLUE, ORANGE, GREEN, "#8e63ce", "#b8860b", "#2a9db0", "#c2588f", "#6b7a3a")
"""One a candidate, at most eight; every line also has its own name and dash."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
SYMBOLS = ("circle", "diamond", "square", "triangle-up")

BAND, FLOOR = "rgba(128, 136, 148, 0.22)", "rgba(128, 136, 148, 0.16)"

_HEIGHT, _ROW = 120, 34
"""Pixels of a figure with a row for each ratio."""


def of(record: Record) -> list[Drawing]:
    """Those that the record has something for."""
    return [each for each in (ratios(record), pareto(record), blocks(record)) if each is not None]


# ------------------------------------------------------------------------------------------------------------------------- ratios


def ratios(record: Record) -> Drawing | None:
    """Every ratio as a point with its interval, further right always being better; None where there is none."""
    traces = [trace for number, figure in enumerate(record["figures"]) if (trace := _ratios(record, figure, number))["x"]]
    if not traces:
        return None
    widths = [(EQUIVALENT, BAND), *([(record["floor"], FLOOR)] if record["floor"] else [])]
    shapes = [_band(width, colour) for width, colour in widths]
    alike = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": GREY, "width": 1}}
    rows = [
        _place(record, each, figure) for each in record["candidates"] if each["name"] != record["reference"] for figure in record["figures"]
    ]
    layout = {
        "xaxis": {"title": f"times as good as {record['reference']}"},
        "yaxis": {"type": "category", "autorange": "reversed", "categoryorder": "array", "categoryarray": rows},
        "shapes": [*shapes, alike],
        "height": _HEIGHT + _ROW * len(rows),
        "showlegend": True,
    }
    floor = f"; the wider one is this machine's noise floor, {record['floor']:.1%}" if record["floor"] > EQUIVALENT else ""
    caption = (
        f"Bars are 95 % intervals; further right is better, so ratios of latencies are turned round. Shaded: within {EQUIVALENT:.0%}, "
        f"called equivalent{floor}. Hollow: does not count."
    )
    return Drawing("ratios", "Ratios to the reference", caption, traces, layout)


def _ratios(record: Record, figure: Record, number: int) -> dict[str, Any]:
    found = [(each, result) for each in record["candidates"] if (result := each["results"].get(figure["name"])) and result["ratio"]]
    ends = [_better(result["ratio"], figure["better"]) for _, result in found]
    colour = COLOURS[number % len(COLOURS)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": headed(figure["name"]),
        "x": [value for value, _, _ in ends],
        "y": [_place(record, each, figure) for each, _ in found],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, _, high in ends],
            "arrayminus": [value - low for value, low, _ in ends],
            "color": colour,
        },
        "marker": {
            "color": colour,
            "size": 10,
            "symbol": [_symbol(each, number) for each, _ in found],
            "line": {"color": colour, "width": 2},
        },
        "text": [f"{ratio(result['ratio'])} {result['word']}" for _, result in found],
    }


def _place(record: Record, candidate: Record, figure: Record) -> str:
    """Label of a ratio: with its figure where there are several."""
    return candidate["name"] if len(record["figures"]) == 1 else f"{candidate['name']}, {headed(figure['name'])}"


def _symbol(candidate: Record, number: int) -> str:
    return SYMBOLS[number % len(SYMBOLS)] + ("" if candidate["counts"] else "-open")


def _better(found: Record, better: str) -> tuple[float, float, float]:
    """Value and ends, above 1 where the candidate is the better one."""
    value, low, high = float(found["value"]), float(found["low"]), float(found["high"])
    return (value, low, high) if better == "higher" else (1 / value, 1 / high, 1 / low)


def _band(width: float, colour: str) -> dict[str, Any]:
    ends = {"x0": 1 / (1 + width), "x1": 1 + width, "y0": 0, "y1": 1}
    return {"type": "rect", **ends, "yref": "paper", "fillcolor": colour, "line": {"width": 0}, "layer": "below"}


# ------------------------------------------------------------------------------------------------------------------------- pareto


def pareto(record: Record) -> Drawing | None:
    """Accuracy against the speed that decides, with the front of those that count and the target; None with fewer than two points."""
    figure = next((each for each in record["figures"] if each["share"] is None), record["figures"][0])
    points = list(_points(record, figure))
    if len(points) < 2:
        return None
    front = pareto_front([(x, y) for x, y, each in points if each["counts"]], figure["better"])
    traces = [_pareto_point(x, y, each, number) for number, (x, y, each) in enumerate(points)]
    if len(front) > 1:
        step = "hv" if figure["better"] == "lower" else "vh"
        through = line("not bettered by any", [x for x, _ in front], [y for _, y in front], GREEN)
        traces.append(through | {"line": {"color": GREEN, "width": 2, "shape": step}})
    scores = [each["accuracy"] for _, _, each in points]
    targets = sorted({found["target"] for found in scores if found["target"] is not None})
    layout = {
        "xaxis": {"title": _axis(figure), "rangemode": "tozero"},
        "yaxis": {"title": f"{scores[0]['metric']}, points"},
        "shapes": [_level(target) for target in targets],
        "annotations": [_said(target) for target in targets],
    }
    way = "right" if figure["better"] == "higher" else "left"
    caption = f"Further {way} is faster, further up is better. Dashed: the accuracy target; what lies below it does not count."
    return Drawing("pareto", "Accuracy against speed", caption, traces, layout)


def _points(record: Record, figure: Record) -> Iterator[tuple[float, float, Record]]:
    scale = 1.0 if figure["share"] is None else 1e-6
    for each in record["candidates"]:
        result = each["results"].get(figure["name"])
        if result is not None and each["accuracy"] is not None:
            yield result["median"] * scale, each["accuracy"]["value"], each


def pareto_front(points: Sequence[tuple[float, float]], better: str) -> list[tuple[float, float]]:
    """Of (speed, accuracy) those that no other point equals or betters in both, by ascending speed figure; accuracy is better higher."""
    sign = 1 if better == "higher" else -1
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points), key=lambda point: (-sign * point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return sorted(front)


def _pareto_point(x: float, y: float, candidate: Record, number: int) -> dict[str, Any]:
    interval = candidate["accuracy"].get("interval")
    bars = {"array": [interval[1] - y], "arrayminus": [y - interval[0]]} if interval else {"array": [0.0]}
    colour = COLOURS[number % len(COLOURS)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": candidate["name"] + ("" if candidate["counts"] else " (does not count)"),
        "x": [float(f"{x:.6g}")],
        "y": [float(f"{y:.6g}")],
        "error_y": {"type": "data", "symmetric": False, "color": colour, "thickness": 1, **bars},
        "marker": {"color": colour, "size": 12, "symbol": "circle" if candidate["counts"] else "x-open"},
    }


def _level(height: float) -> dict[str, Any]:
    dashed = {"color": RED, "dash": "dash", "width": 2}
    return {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": height, "y1": height, "line": dashed}


def _said(height: float) -> dict[str, Any]:
    return {"x": 0.01, "xref": "paper", "xanchor": "left", "y": height, "yanchor": "bottom", "text": "target", "showarrow": False}


def _axis(figure: Record) -> str:
    return headed(figure["name"]) if figure["share"] is None else f"{figure['name']}, ms"


# ------------------------------------------------------------------------------------------------------------------------- blocks


def blocks(record: Record) -> Drawing | None:
    """The deciding figure of every candidate block by block, against its own median: drift and bursts show; None without blocks."""
    figure = record["figures"][0]
    traces = []
    for number, each in enumerate(record["candidates"]):
        found = values(record, number, figure)
        if len(found) > 1:
            middle = median(found)
            away = [100 * (value / middle - 1) for value in found]
            colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
            traces.append(line(each["name"], range(1, len(found) + 1), away, colour, dash=dash, mode="lines+markers"))
    if not traces:
        return None
    caption = "Each candidate against its own median. What moves all of them alike is the machine, and cancels in the ratios."
    layout = {"xaxis": {"title": "block"}, "yaxis": {"title": f"{headed(figure['name'])}, % from the median", "ticksuffix": " %"}}
    return Drawing("blocks", "Block by block", caption, traces, layout)


def values(record: Record, candidate: int, figure: Record) -> list[float]:
    """The figure in each complete block: as stored, or of older records, which keep visits only, the rate of both visits."""
    stored = (record["candidates"][candidate].get("values") or {}).get(figure["name"])
    if stored is not None:
        return [float(value) for value in stored]
    if figure["share"] is not None:
        return []
    visits = [visit for visit in record["visits"] if visit["candidate"] == candidate][: 2 * record["blocks"]]
    pairs = [visits[place : place + 2] for place in range(0, len(visits), 2)]
    return [sum(each["samples"] for each in pair) / sum(each["seconds"] for each in pair) for pair in pairs]
