"""A fleet as a figure: a row for each of its figures, a point for each machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.document import Drawing
from harness.traces import BLUE, GREEN, GREY, ORANGE, RED, plain

Record = Mapping[str, Any]

_ROW, _HEIGHT = 44, 150
"""Pixels of a row, and of what is around the rows."""


def strip(group: Record, title: str, name: str) -> Drawing | None:
    """A row for each figure, a point for each unit; to the right is always better. None where nothing was compared."""
    better = {metric["name"]: metric["better"] for metric in group["metrics"]}
    points: dict[str, list[tuple[float, str, str]]] = {"like the others": [], "outlier": [], "unusually good": []}
    for unit in group["units"]:
        for figure, place in unit["places"].items():
            kind = "outlier" if figure in unit["worse"] else "unusually good" if figure in unit["better"] else "like the others"
            points[kind].append((100 * place["share"] * (-1 if better[figure] == "lower" else 1), figure, unit["name"]))
    if not any(points.values()):
        return None
    looks = {"like the others": (BLUE, "circle-open", 8), "outlier": (RED, "x", 12), "unusually good": (ORANGE, "diamond", 11)}
    traces = [_points(kind, found, looks[kind]) for kind, found in points.items() if found]
    rows = list(better)
    level = {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": GREY, "width": 1}}
    layout = {
        "xaxis": {"title": "from the median of the others, %; to the right is better", "ticksuffix": " %"},
        "yaxis": {"type": "category", "autorange": "reversed", "categoryorder": "array", "categoryarray": rows, "automargin": True},
        "shapes": [level, *_ends(group)],
        "height": _HEIGHT + _ROW * len(rows),
        "showlegend": True,
    }
    caption = "Each point is one of them. Green ticks: where a single one would be named."
    return Drawing(name, f"The {title} against each other", caption, traces, layout)


def _points(kind: str, found: Sequence[tuple[float, str, str]], look: tuple[str, str, int]) -> dict[str, Any]:
    colour, symbol, size = look
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "x": plain([x for x, _, _ in found]),
        "y": [figure for _, figure, _ in found],
        "text": [unit for _, _, unit in found],
        "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"color": colour, "width": 1}},
    }


def _ends(group: Record) -> list[dict[str, Any]]:
    drawn = [(row, each) for row, each in enumerate(group["metrics"]) if each["finest"] is not None and each["finest"] < 0.5]
    return [
        {"type": "line", "x0": at, "x1": at, "y0": row - 0.3, "y1": row + 0.3, "line": {"color": GREEN, "width": 2}}
        for row, each in drawn
        for at in ([-100 * each["finest"], 100 * each["finest"]] if each["better"] == "equal" else [-100 * each["finest"]])
    ]
