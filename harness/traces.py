"""Lines and colours that the figures of a page share, as data of plotly.js. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

BLUE, ORANGE, GREEN, RED, GREY = "#3b7dd8", "#e08a1e", "#2e9e6b", "#d1495b", "#8a8f98"
"""Readable on light and dark, and apart from each other for most colour-blind people; every line also differs by its name or dash."""


def line(name: str, x: Any, y: Any, colour: str, *, dash: str = "solid", mode: str = "lines", text: Any = None) -> dict[str, Any]:
    """A trace through (points,) x and y; NaN is a gap."""
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": plain(x),
        "y": plain(y),
        "line": {"color": colour, "dash": dash, "width": 2},
    }
    return trace | ({"text": list(text)} if text is not None else {})


def plain(values: Any) -> list[float | None]:
    """JSON has no NaN: a gap in a line is null. Six digits are more than a screen shows."""
    return [None if not np.isfinite(value) else float(f"{value:.6g}") for value in np.asarray(values, np.float64).tolist()]
