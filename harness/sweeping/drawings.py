"""The figures of a sweep, from the record in sweep.json: latency against throughput, and results against what was swept. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness import units
from harness.document import Drawing
from harness.sweeping.words import Record, axes, counts, label, named
from harness.traces import BLUE, GREEN, GREY, ORANGE, RED

COLOURS = (BLUE, ORANGE, GREEN, "#8e63ce", "#b8860b", "#2a9db0", "#c2588f", "#6b7a3a")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

MOST_LINES = 12
"""Lines on one drawing."""


def of(record: Record) -> list[Drawing]:
    """Those that the record has something for."""
    return [each for each in (curves(record), capacities(record), results(record)) if each is not None]


# ------------------------------------------------------------------------------------------------------------------------ curves


def curves(record: Record) -> Drawing | None:
    """Latency against the rate that was answered, a curve for each line, with the bound and the capacity; None without rates."""
    numbers = [number for number in range(len(record["lines"])) if len(_rated(record, number)) > 1][:MOST_LINES]
    if not numbers:
        return None
    alone = len(numbers) == 1
    traces = [trace for place, number in enumerate(numbers) for trace in _curve(record, number, place, alone=alone)]
    left = min(min(trace["x"]) for trace in traces)
    right = max(max(trace["x"]) for trace in traces)
    bounds = sorted({record["lines"][number]["latency_bound"]["ns"] for number in numbers})
    traces += [_bound(bound, left, right) for bound in bounds]
    if alone:
        traces += list(_knee(record, numbers[0]))
    layout = {
        "xaxis": {"title": "answered, queries/s", "rangemode": "tozero"},
        "yaxis": {"title": "latency, ms", "type": "log"},
        "showlegend": True,
    }
    which = "bars are 95 % intervals" if alone else "solid p99, dotted p50"
    caption = (
        f"What a queue costs: latency grows slowly, then without end ({which}). Hollow: given up, the queue only grew; such a point moves "
        "left where less was answered than asked."
    )
    return Drawing("curves", "Latency against throughput", caption, traces, layout)


def _rated(record: Record, number: int) -> list[Record]:
    """Measured points of a line with a rate, ascending."""
    found = [each for each in record["points"] if each["line"] == number and each["asked_qps"] is not None and each["latency"]]
    return sorted(found, key=lambda each: each["asked_qps"])


def _curve(record: Record, number: int, place: int, *, alone: bool) -> Iterator[dict[str, Any]]:
    points = _rated(record, number)
    name = label(record, number) + ("" if counts(record["lines"][number]) else " (does not count)")
    if alone:
        for percentile, colour, dash in (("p99", BLUE, "solid"), ("p90", ORANGE, "dash"), ("p50", GREEN, "dot")):
            yield _percentile(points, percentile, percentile, colour, dash, bars=True)
        return
    colour = COLOURS[place % len(COLOURS)]
    yield _percentile(points, "p99", f"{name} p99", colour, "solid" if place < len(COLOURS) else "dash", bars=False)
    yield _percentile(points, "p50", f"{name} p50", colour, "dot", bars=False)


def _percentile(points: Sequence[Record], percentile: str, name: str, colour: str, dash: str, *, bars: bool) -> dict[str, Any]:
    found = [point["latency"][percentile] for point in points]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [_digits(point["achieved_qps"]) for point in points],
        "y": [_digits(each["ns"] / 1e6) for each in found],
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "size": 7, "symbol": [_symbol(point) for point in points]},
        "text": [f"asked {units.number(point['asked_qps'])}/s: {point['word']}" for point in points],
    }
    if bars:
        above = [((each["high_ns"] or each["ns"]) - each["ns"]) / 1e6 for each in found]
        below = [(each["ns"] - (each["low_ns"] or each["ns"])) / 1e6 for each in found]
        trace["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour, "thickness": 1}
    return trace


def _symbol(point: Record) -> str:
    return "circle-open" if point["word"] in ("overloaded", "failed") else "circle"


def _bound(bound_ns: int, left: float, right: float) -> dict[str, Any]:
    height = bound_ns / 1e6
    return _straight(f"bound {units.time_ns(bound_ns)}", [(0.0, height), (max(right, left), height)], RED, "dash")


def _knee(record: Record, number: int) -> Iterator[dict[str, Any]]:
    """The capacity as a line from the bottom to the top."""
    found = record["lines"][number]["capacity"]
    if not found or found["rate"] is None:
        return
    heights = [each[end] / 1e6 for point in _rated(record, number) for each in point["latency"].values() for end in ("ns",)]
    name = f"capacity {units.number(found['rate'])}/s"
    yield _straight(name, [(found["rate"], _digits(min(heights))), (found["rate"], _digits(max(heights)))], GREY, "longdash")


def _straight(name: str, ends: Sequence[tuple[float, float]], colour: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for x, _ in ends],
        "y": [y for _, y in ends],
        "line": {"color": colour, "dash": dash, "width": 2},
    }


# --------------------------------------------------------------------------------------------------------- against what was swept


def capacities(record: Record) -> Drawing | None:
    """Capacity of each line against the first setting that was swept beside the rate; None without two capacities."""
    first, others = _settings(record)
    found = [line for line in record["lines"] if line["capacity"] and line["capacity"]["rate"] is not None]
    if first is None or len(found) < 2:
        return None
    entries = [(line["values"], line["capacity"], counts(line)) for line in found]
    rows = [(values, each["rate"], each["low"] or each["rate"], each["high"] or each["rate"], ok) for values, each, ok in entries]
    caption = "The highest rate within the latency bound; bars are 95 % intervals. Hollow: does not count."
    return Drawing("capacities", f"Capacity by {first}", caption, _against(first, others, rows), _layout(first, "queries/s", rows))


def results(record: Record) -> Drawing | None:
    """The headline of points without a rate against the first setting that was swept, a line for each value of the others."""
    first, others = _settings(record)
    points = [each for each in record["points"] if each["asked_qps"] is None and each["metric"]]
    if first is None or len(points) < 2 or len({each["metric"]["name"] for each in points}) > 1:
        return None
    metric = points[0]["metric"]
    scale, unit = (1e-6, "ms") if metric["unit"] == "ns" else (1.0, metric["unit"])
    rows = [
        (
            point["values"],
            *(scale * point["metric"][key] for key in ("value", "low", "high")),
            point["word"] == "VALID" and counts(record["lines"][point["line"]]),
        )
        for point in points
    ]
    caption = f"Better is {metric['better']}; bars reach from the lowest visit to the highest. Hollow: does not count."
    return Drawing("results", f"{_headed(metric)} by {first}", caption, _against(first, others, rows), _layout(first, unit, rows))


Row = tuple[Any, float, float, float, bool]
"""Values of what was swept, figure, low, high, whether it counts."""


def _headed(metric: Record) -> str:
    return str(metric["name"]).replace("_per_second", "/s").replace("_", " ")


def _settings(record: Record) -> tuple[str | None, list[str]]:
    """The setting along the axis (the first of numbers, else the first), and the others."""
    names = [name for name in axes(record) if name != "target_qps"]
    first = next((name for name in names if all(_is_number(value) for value in record["swept"][name])), names[0] if names else None)
    return first, [name for name in names if name != first]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _against(first: str, others: Sequence[str], rows: Sequence[Row]) -> list[dict[str, Any]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(named({name: row[0][name] for name in others}), []).append(row)
    return [_group(name, group, first, place) for place, (name, group) in enumerate(groups.items())]


def _group(name: str, rows: Sequence[Row], first: str, place: int) -> dict[str, Any]:
    colour = COLOURS[place % len(COLOURS)]
    values = [row[0][first] for row in rows]
    return {
        "type": "scatter",
        "mode": "lines+markers" if all(_is_number(value) for value in values) else "markers",
        "name": name or first,
        "x": [value if _is_number(value) else str(value) for value in values],
        "y": [_digits(row[1]) for row in rows],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_digits(row[3] - row[1]) for row in rows],
            "arrayminus": [_digits(row[1] - row[2]) for row in rows],
            "color": colour,
            "thickness": 1,
        },
        "line": {"color": colour, "dash": DASHES[place % len(DASHES)], "width": 2},
        "marker": {"color": colour, "size": 8, "symbol": ["circle" if row[4] else "circle-open" for row in rows]},
    }


def _layout(first: str, unit: str, rows: Sequence[Row]) -> dict[str, Any]:
    values = [row[0][first] for row in rows]
    numbers = all(_is_number(value) and value > 0 for value in values)
    wide = numbers and max(values) >= 8 * min(values)
    axis: dict[str, Any] = {"title": first, "type": "log" if wide else "linear" if numbers else "category"}
    if wide:
        axis |= {"tickvals": sorted(set(values)), "ticktext": [f"{value:g}" for value in sorted(set(values))]}
    return {"xaxis": axis, "yaxis": {"title": unit, "rangemode": "tozero"}, "showlegend": True}


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
