"""What a sweep says in sentences, from the record in sweep.json: the capacity of each line, what is best, what was given up. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import units

Record = Mapping[str, Any]

MOST_CAPACITIES = 12
"""Lines whose capacity is said in a sentence; the table has all."""

BEHIND = 0.05
"""Share by which fewer queries a second were answered than asked, beyond three standard errors of a Poisson count, above which visits were
too short: what was still waiting at their end is no small part of them."""


def label(record: Record, number: int) -> str:
    """What a line is called: the values that set it apart, else its backend."""
    line = record["lines"][number]
    return named(line["values"]) or str(line["settings"]["backend"])


def named(values: Mapping[str, Any]) -> str:
    """ "pytorch:amp, max_batch 8"; the rate is no part of it."""
    return ", ".join(str(value) if name == "backend" else f"{name} {value}" for name, value in values.items() if name != "target_qps")


def point_name(point: Record) -> str:
    """ "pytorch:amp, 32.0/s": what sets a point apart."""
    rate = [f"{units.number(point['asked_qps'])}/s"] if point["asked_qps"] is not None else []
    return ", ".join(filter(None, [named(point["values"]), *rate])) or "the only point"


def counts(line: Record) -> bool:
    """Whether its figures are results."""
    return not (line["struck"] or line["problem"])


def best_line(record: Record) -> int | None:
    """The line that counts with the highest capacity; None where none has one."""
    rated = [(line["capacity"]["rate"], -number) for number, line in enumerate(record["lines"]) if counts(line) and _rate(line)]
    return -max(rated)[1] if rated else None


def best_point(record: Record) -> int | None:
    """Of points without a rate the one that counts and is VALID with the best headline; None where there is none."""
    good = [
        (number, point["metric"])
        for number, point in enumerate(record["points"])
        if point["word"] == "VALID" and counts(record["lines"][point["line"]])
    ]
    if not good:
        return None
    higher = good[0][1]["better"] == "higher"
    alike = [(number, metric) for number, metric in good if metric["name"] == good[0][1]["name"]]
    return (max if higher else min)(alike, key=lambda pair: pair[1]["value"])[0]


def _rate(line: Record) -> float | None:
    return line["capacity"]["rate"] if line["capacity"] else None


def bound(line: Record) -> str:
    """ "p99 within 130 ms"."""
    held = line["latency_bound"]
    return f"p{100 * held['percentile']:g} within {units.time_ns(held['ns'])}"


def headline(record: Record) -> tuple[str, str]:
    """The answer, and what qualifies it."""
    best = best_line(record)
    if best is not None:
        line = record["lines"][best]
        found = line["capacity"]
        who = f"{label(record, best)}: " if len(record["lines"]) > 1 else ""
        most = "at least " if found["missed"] is None else ""
        return f"{who}{most}{units.rate(found['rate'], 'queries/s')} with {bound(line)}", interval(found)
    place = best_point(record)
    if place is not None:
        point = record["points"][place]
        metric = point["metric"]
        ends = between(*(units.quantity(metric[end], metric["unit"]) for end in ("low", "high")))
        note = f"{ends} over its visits" if len(point["visits"]) > 1 else "one visit"
        return f"{point_name(point)}: {units.quantity(metric['value'], metric['unit'])}", note
    if any(line["latency_bound"] and line["capacity"] for line in record["lines"]):
        return "no rate that was measured meets the bound", ""
    return "no point has a result", ""


def between(low: str, high: str) -> str:
    """ "19.6 to 27.2 ms": the unit once where it is the same."""
    number, _, unit = low.partition(" ")
    return f"{number if high.endswith(f' {unit}') else low} to {high}"


def interval(found: Record) -> str:
    """ "95 % interval 58.1 to 62.4 queries/s"."""
    low = units.number(found["low"]) if found["low"] is not None else "below the lowest rate"
    high = units.number(found["high"]) if found["high"] is not None else "beyond the highest rate"
    return f"95 % interval {low} to {high}"


def sentences(record: Record) -> list[str]:
    """Most important first."""
    return [*_capacities(record), *_too_short(record), *_best(record), *_refused(record), *_given_up(record), _how(record)]


def _capacities(record: Record) -> Iterator[str]:
    lines = [(number, line) for number, line in enumerate(record["lines"]) if line["capacity"] and counts(line)]
    for number, line in lines[:MOST_CAPACITIES]:
        yield f"{label(record, number)}: {_capacity(line)}{_of_offline(line)}{_doubling(line)}"
    if len(lines) > MOST_CAPACITIES:
        yield f"{len(lines) - MOST_CAPACITIES} further lines are in the table"


def _too_short(record: Record) -> Iterator[str]:
    """Lines with a rate that meets its bound although answers fell behind: a queue that grows meets any bound for a while."""
    for number, line in enumerate(record["lines"]):
        points = [each for each in record["points"] if each["line"] == number and each["word"] == "met" and _is_behind(each)]
        if points and counts(line):
            first = min(points, key=lambda each: float(each["asked_qps"]))
            rates = f"{units.number(first['achieved_qps'])} of {units.rate(first['asked_qps'], 'queries/s')}"
            yield (
                f"{label(record, number)}: only {rates} were answered in visits of {units.seconds(first['visits'][0]['seconds'])}, too "
                "short to tell a queue that grows from one that does not: the capacity may be much lower, give a longer --duration"
            )


def _is_behind(point: Record) -> bool:
    return bool(point["achieved_qps"] < point["asked_qps"] * (1 - BEHIND - 3 / math.sqrt(max(point["queries"], 1))))


def _capacity(line: Record) -> str:
    found = line["capacity"]
    if found["rate"] is None:
        return f"no rate that was measured meets {bound(line)}; the lowest that misses it is {units.rate(found['missed'], 'queries/s')}"
    rate = units.rate(found["rate"], "queries/s")
    if found["missed"] is None:
        return f"every rate meets {bound(line)}, up to {rate}"
    return (
        f"capacity {rate} with {bound(line)} ({interval(found)}); highest rate measured that meets it "
        f"{units.number(found['met'])}, lowest that misses it {units.number(found['missed'])}"
    )


def _of_offline(line: Record) -> str:
    offline, rate = line["offline_samples_per_second"], _rate(line)
    if not offline or not rate:
        return ""
    return f"; {units.share(rate / offline)} of the {units.rate(offline, 'samples/s')} that it answers with everything asked at once"


def _doubling(line: Record) -> str:
    found = line["doubling"]
    if not found:
        return ""
    base = units.time_ns(found["base_ns"])
    between = f"between {units.number(found['after'])} and {units.number(found['before'])}"
    return f"; p99 doubles from the {base} of the lowest rate at about {units.rate(found['rate'], 'queries/s')} ({between})"


def _best(record: Record) -> Iterator[str]:
    place = best_point(record)
    if place is None:
        return
    point = record["points"][place]
    metric = point["metric"]
    if len(point["visits"]) < 2:
        yield f"best: {point_name(point)}, by one visit each, which do not say how sure that is"
        return
    close = [other for other in _others(record, place) if _overlap(other["metric"], metric)]
    if close:
        names = " and ".join(named(other["values"]) for other in close[:4])
        yield f"best: {named(point['values'])}, but its visits overlap with those of {names}; `assay compare` tells them apart"
    else:
        yield f"best: {named(point['values'])}; its visits overlap with those of no other point"


def _others(record: Record, place: int) -> list[Record]:
    metric = record["points"][place]["metric"]["name"]
    return [
        each
        for number, each in enumerate(record["points"])
        if number != place and each["word"] == "VALID" and counts(record["lines"][each["line"]]) and each["metric"]["name"] == metric
    ]


def _overlap(one: Record, other: Record) -> bool:
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def _refused(record: Record) -> Iterator[str]:
    """Lines that are no result, and why."""
    for number, line in enumerate(record["lines"]):
        if line["problem"]:
            yield f"{label(record, number)} failed: {line['problem']}"
        elif line["struck"]:
            scored = line["accuracy"]
            yield f"{label(record, number)} does not count: {scored['metric']} {scored['value']:.3f} misses {scored['target']:.3f}"
    for point in record["points"]:
        if point["problem"] and not record["lines"][point["line"]]["problem"]:
            yield f"{point_name(point)} failed: {point['problem']}"


def _given_up(record: Record) -> Iterator[str]:
    given = [point for point in record["points"] if point["word"] == "overloaded"]
    if given:
        rates = "; ".join(point_name(point) for point in given[:8])
        which = units.plural(len(given), "rate")
        yield f"{which} ({rates}) given up early: the queue had outgrown every chance to meet the bound; figures are up to then"
    if unmeasured := sum(point["word"] == "not measured" for point in record["points"]):
        yield f"{units.plural(unmeasured, 'point')} not measured: the sweep was interrupted"


def _how(record: Record) -> str:
    visited = [len(point["visits"]) for point in record["points"] if point["visits"]]
    order = record["order"] if record["complete"] else "interrupted before every point had all its visits"
    fewest, most = min(visited, default=0), max(visited, default=0)
    many = units.plural(most, "visit") if fewest == most else f"{fewest} to {most} visits"
    return f"{units.plural(len(visited), 'point')}, {many} each, in {units.seconds(record['seconds'])}; {order}"


def accuracy(scored: Record | None) -> str:
    """ "f1 88.10, 99.61 % of FP32 met"."""
    if scored is None:
        return "not checked"
    text = f"{scored['metric']} {scored['value']:.2f}"
    if scored["passed"] is None or not scored["reference"]:
        return text
    return f"{text}, {scored['value'] / scored['reference']:.2%} of FP32 {'met' if scored['passed'] else 'MISSED'}"


def axes(record: Record) -> Sequence[str]:
    """Settings that were swept, the rate last and only where points have one."""
    others = [name for name in record["swept"] if name != "target_qps"]
    return [*others, *(["target_qps"] if any(point["asked_qps"] is not None for point in record["points"]) else [])]
