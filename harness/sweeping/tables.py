"""The tables of a sweep, from the record in sweep.json: a row for each line and for each point, values as stored. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness import units
from harness.document import Cell, Column, Table, Tone
from harness.sweeping.results import SHOWN
from harness.sweeping.words import Record, accuracy, axes, between, counts, label, point_name

TONES: dict[str, Tone] = {
    "met": "good",
    "VALID": "good",
    "mixed": "doubtful",
    "not measured": "doubtful",
    "missed": "bad",
    "overloaded": "bad",
    "INVALID": "bad",
    "failed": "bad",
}


def lines(record: Record) -> Table | None:
    """Capacity and accuracy of each line; None where there is one line, which the sentences describe."""
    if len(record["lines"]) < 2 or not any(line["capacity"] for line in record["lines"]):
        return None
    columns = ["line", "capacity", "of offline", "p99 doubles at", "accuracy"]
    heads = [Column(name, unit) for name, unit in zip(columns, ("", "queries/s", "share", "queries/s", "points"), strict=True)]
    rows = [_line(record, number) for number in range(len(record["lines"]))]
    return Table("lines", "Highest rate within the bound", heads, rows, "Below a capacity: its 95 % interval.")


def _line(record: Record, number: int) -> list[Cell]:
    line = record["lines"][number]
    found, twice, struck = line["capacity"] or {}, line["doubling"], not counts(line)
    rate, offline = found.get("rate"), line["offline_samples_per_second"]
    name = label(record, number)
    return [
        Cell(name, name, line["problem"], "bad" if struck else "plain"),
        _capacity(found, struck=struck),
        Cell(units.share(rate / offline), rate / offline, struck=struck) if rate and offline else Cell("-"),
        Cell(units.number(twice["rate"]), twice["rate"], struck=struck) if twice else Cell("-"),
        _accuracy(line),
    ]


def _capacity(found: Record, *, struck: bool) -> Cell:
    if not found:
        return Cell("-")
    more = {"capacity low (queries/s)": found["low"], "capacity high (queries/s)": found["high"]}
    if found["rate"] is None:
        return Cell("none", None, f"missed at {units.number(found['missed'])}", "bad", struck=struck, more=more)
    low = units.number(found["low"]) if found["low"] is not None else "?"
    high = units.number(found["high"]) if found["high"] is not None else "?"
    return Cell(units.number(found["rate"]), found["rate"], f"{low} to {high}", struck=struck, more=more)


def _accuracy(line: Record) -> Cell:
    scored = line["accuracy"]
    if scored is None:
        return Cell("not checked")
    tone: Tone = "bad" if line["struck"] else "good" if scored["passed"] else "plain"
    return Cell(accuracy(scored), scored["value"], tone=tone)


def points(record: Record) -> Table:
    """A row for each point, as narrow as a screen wants it."""
    paced, scored, padded = _paced(record), _scored(record), any(point["padding_share"] is not None for point in record["points"])
    columns = [Column("point") if len(record["lines"]) > 1 else _axis_columns(record)[0] if axes(record) else Column("point")]
    columns += [Column("achieved", "queries/s") if paced else Column("result", _unit(record))]
    columns += [Column("p50", "ns"), Column("p99", "ns")] if _waits(record) else []
    columns += [*([Column("over", "share")] if paced else []), *([Column("padding", "share")] if padded else []), Column("busy", "share")]
    columns += [*([Column("accuracy", "points")] if scored else []), Column("verdict")]
    shown = [record["points"][number] for number in _in_order(record)]
    rows = [_point(record, point, paced=paced, scored=scored, padded=padded) for point in shown]
    return Table("points", "Points", columns, rows, _caption(record, paced))


def _waits(record: Record) -> bool:
    """Whether latency is of interest: offline asks everything at once, so that it is only a place in the queue."""
    return any(line["settings"]["scenario"] != "offline" for line in record["lines"])


def _caption(record: Record, paced: bool) -> str:
    latencies = (
        "Latencies of all visits together; below a p99 its 95 % interval (order statistics, which take queries to be independent); "
        "? marks a percentile of too few queries (p50: 11, p99: 662). "
    )
    ends = "Asked and achieved: queries/s; over: queries over the bound." if paced else "Below a result: lowest and highest visit."
    return f"{latencies if _waits(record) else ''}Busy: of the workers' time. {ends}"


def _point(record: Record, point: Record, *, paced: bool, scored: bool, padded: bool) -> list[Cell]:
    line = record["lines"][point["line"]]
    struck = not counts(line)
    name = point_name(point)
    alone = len(record["lines"]) == 1 and axes(record)
    cells = [next(_axis_cells(record, point)) if alone else Cell(name, name)]
    cells += [_number(point["achieved_qps"], struck) if paced else _result(point, struck)]
    cells += [latency(point, "p50", struck, ends=False), latency(point, "p99", struck)] if _waits(record) else []
    cells += [_share(point["over_share"], struck)] if paced else []
    cells += [_share(point["padding_share"], struck)] if padded else []
    cells += [_share(point["busy_share"], struck), *([_accuracy(line)] if scored else [])]
    return [*cells, _verdict(point, line)]


def _paced(record: Record) -> bool:
    return any(point["asked_qps"] is not None for point in record["points"])


def _scored(record: Record) -> bool:
    """Whether points differ in their accuracy, so that it belongs into their rows."""
    return len(record["lines"]) > 1 and any(line["accuracy"] for line in record["lines"])


def figures(record: Record) -> Table:
    """Every figure of every point: the rows of points.csv."""
    columns = [*_axis_columns(record), Column("verdict"), Column("queries"), Column("achieved", "queries/s")]
    columns += [Column("result", _unit(record)), *(Column(name, "ns") for name in SHOWN)]
    columns += [Column("over bound", "share"), Column("padding", "share"), Column("busy", "share"), Column("in flight", "queries")]
    columns += [Column("rate x latency", "queries"), Column("harness", "share"), Column("accuracy", "points")]
    rows = [_figures(record, record["points"][number]) for number in _in_order(record)]
    caption = "In flight and rate x latency are equal: Little's law."
    return Table("figures", "All figures of all points", columns, rows, caption, detail=True)


def _figures(record: Record, point: Record) -> list[Cell]:
    line = record["lines"][point["line"]]
    struck = not counts(line)
    shares = [_share(point[name], struck) for name in ("over_share", "padding_share", "busy_share")]
    return [
        *_axis_cells(record, point),
        replace(_verdict(point, line), more={"why": why(point)}),
        Cell(units.count(point["queries"]), point["queries"]),
        _number(point["achieved_qps"] if _waits(record) else None, struck),
        _result(point, struck),
        *(latency(point, name, struck) for name in SHOWN),
        *shares,
        _number(point["in_flight"], struck),
        _number(point["rate_times_latency"], struck),
        _share(point["harness_share"], struck),
        _accuracy(line),
    ]


def why(point: Record) -> str:
    """What speaks against a point; empty where nothing does."""
    found = (reason["text"] for visit in point["visits"] for reason in visit["reasons"])
    return str(point["problem"] or next(found, ""))


def _in_order(record: Record) -> list[int]:
    """Points by line, ascending by rate: not in the order in which they were measured."""
    keys = [(point["line"], point["asked_qps"] or 0.0, number) for number, point in enumerate(record["points"])]
    return [number for _, _, number in sorted(keys)]


def _axis_columns(record: Record) -> list[Column]:
    return [Column("asked", "queries/s") if name == "target_qps" else Column(name) for name in axes(record)]


def _unit(record: Record) -> str:
    return next((point["metric"]["unit"] for point in record["points"] if point["metric"]), "")


def _axis_cells(record: Record, point: Record) -> Iterator[Cell]:
    for name in axes(record):
        value = point["asked_qps"] if name == "target_qps" else point["values"].get(name)
        yield Cell("-") if value is None else Cell(units.number(value) if name == "target_qps" else str(value), _plain(value))


def _plain(value: Any) -> float | int | str | bool:
    return value if isinstance(value, float | int | str | bool) else str(value)


def _verdict(point: Record, line: Record) -> Cell:
    if line["struck"]:
        return Cell("accuracy missed", "accuracy missed", tone="bad")
    return Cell(point["word"], point["word"], tone=TONES[point["word"]])


def _result(point: Record, struck: bool) -> Cell:
    metric = point["metric"]
    if metric is None:
        return Cell("-")
    more = {"lowest visit": metric["low"], "highest visit": metric["high"]}
    ends = (units.quantity(metric[end], metric["unit"]) for end in ("low", "high"))
    note = between(*ends) if len(point["visits"]) > 1 else ""
    return Cell(units.quantity(metric["value"], metric["unit"]), metric["value"], note, struck=struck, more=more)


def latency(point: Record, name: str, struck: bool, *, ends: bool = True) -> Cell:
    """A percentile; `ends`: with its interval below."""
    found = point["latency"].get(name)
    if not found:
        return Cell("-")
    text = units.time_ns(found["ns"]) + ("" if found["certain"] else "?")
    if not ends:
        return Cell(text, found["ns"], struck=struck)
    more = {f"{name} low (ns)": found["low_ns"], f"{name} high (ns)": found["high_ns"]}
    note = between(*(units.time_ns(found[end]) if found[end] is not None else "?" for end in ("low_ns", "high_ns")))
    return Cell(text, found["ns"], note, struck=struck, more=more)


def _share(value: float | None, struck: bool) -> Cell:
    return Cell("-") if value is None else Cell(units.share(value), value, struck=struck)


def _number(value: float | None, struck: bool) -> Cell:
    return Cell("-") if value is None else Cell(units.number(value), value, struck=struck)


def visits(record: Record) -> Table:
    """Every visit in the order it was made: drift shows, and what a mean hides."""
    columns = [*_axis_columns(record), Column("pass"), Column("at", "s"), Column("queries"), Column("p50", "ns"), Column("p90", "ns")]
    columns += [Column("p99", "ns"), Column("result"), Column("in flight", "queries"), Column("rate x latency", "queries"), Column("ended")]
    found = [(visit["at_s"], point, visit) for point in record["points"] for visit in point["visits"]]
    rows = [_visit(record, point, visit) for _, point, visit in sorted(found, key=lambda each: each[0])]
    return Table("visits", "Visits in order", columns, rows, "In flight and rate x latency are equal where the books balance.", detail=True)


def _visit(record: Record, point: Record, visit: Record) -> list[Cell]:
    struck = not counts(record["lines"][point["line"]])
    times = [_time(visit["latency_ns"].get(name), struck) for name in ("p50", "p90", "p99")]
    metric, figures = visit["metric"], visit["figures"]
    ended = f"given up after {visit['queries']:,} of {visit['planned_queries']:,}" if visit["given_up"] else "as planned"
    return [
        *_axis_cells(record, point),
        Cell(str(visit["turn"] + 1), visit["turn"] + 1),
        Cell(units.seconds(visit["at_s"]), visit["at_s"]),
        Cell(units.count(visit["queries"]), visit["queries"]),
        *times,
        Cell(units.quantity(metric["value"], metric["unit"]), metric["value"], struck=struck),
        _number(figures["in_flight"], struck),
        _number(figures["rate_times_latency"], struck),
        Cell(ended, ended),
    ]


def _time(value: int | None, struck: bool) -> Cell:
    return Cell("-") if value is None else Cell(units.time_ns(value), value, struck=struck)
