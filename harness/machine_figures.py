"""The machine beside the run: clocks, temperature, power and load over time, as data of plotly.js, from `telemetry` of run.json. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.core import Run
from harness.document import Drawing
from harness.traces import BLUE, GREEN, GREY, ORANGE, RED, line

ROWS = (
    ("clock, MHz", ("_mhz",)),
    ("temperature, °C", ("_celsius",)),
    ("power, W", ("_watts",)),
    ("busy, share", ("_busy_share", "steal_share")),
)
"""What is drawn, from the top: the title of an axis and how the names of its columns end."""

ROW_PX, GAP = 150, 0.06

_COLOURS = (BLUE, ORANGE, GREEN, GREY, RED)
_DASHES = ("solid", "dash", "dot")


def of(run: Run) -> list[Drawing]:
    """One figure with a row for each kind of value that was read at all; none where nothing was."""
    telemetry = run.telemetry
    columns = {name: each["values"] for name, each in (telemetry.get("columns") or {}).items()}
    rows = [(title, named) for title, ends in ROWS if (named := _with_data(columns, ends))]
    if not rows:
        return []
    traces: list[dict[str, Any]] = []
    layout = _layout(len(rows))
    for place, (title, named) in enumerate(rows):
        axis = _axis(place)
        layout[f"yaxis{axis}"] |= {"title": title}
        for number, (name, values) in enumerate(named.items(), len(traces)):  # one legend: a colour and dash for each line
            colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
            traces.append(line(name, telemetry["at_s"], values, colour, dash=dash) | {"yaxis": f"y{axis}"})
    layout["shapes"] = throttled(run)
    caption = "Read beside the run, in s from the start of the measured part; where a value could not be read there is a gap."
    if layout["shapes"]:
        caption += " Shaded: throttled."
    return [Drawing("machine", "The machine meanwhile", caption, traces, layout)]


def throttled(run: Run) -> list[dict[str, Any]]:
    """Stretches in which the machine was throttled, as shaded shapes over the whole height of a figure."""
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": each["from_s"],
            "x1": each["to_s"],
            "y0": 0,
            "y1": 1,
            "fillcolor": RED,
            "opacity": 0.18,
            "line": {"width": 0},
            "layer": "below",
        }
        for each in run.telemetry.get("throttled") or ()
    ]


def _with_data(columns: Mapping[str, Any], ends: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a kind in which anything was read; null is a gap."""
    found = {}
    for name, values in columns.items():
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        if name.endswith(ends) and np.isfinite(numbers).any():
            found[name] = numbers
    return found


def _axis(place: int) -> str:
    return "" if place == 0 else str(place + 1)


def _layout(rows: int) -> dict[str, Any]:
    """Rows below each other over one axis of time."""
    each = (1 - GAP * (rows - 1)) / rows
    layout: dict[str, Any] = {"height": ROW_PX * rows + 90}
    for place in range(rows):
        top = 1 - place * (each + GAP)
        layout[f"yaxis{_axis(place)}"] = {"domain": [max(top - each, 0.0), top], "rangemode": "tozero"}
    layout["xaxis"] = {"title": "s", "anchor": "y" + _axis(rows - 1)}
    return layout
