"""A fleet as a report: who is not like the others, a row for each machine, the figures, what differs in configuration. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from harness import units
from harness.document import Cell, Column, Document, Drawing, Folded, Table, Tone
from harness.errors import ExitCode
from harness.qualifying import outliers
from harness.qualifying.fleet_drawing import strip

Record = Mapping[str, Any]

MOST_SENTENCES, MOST_OTHERS = 12, 8
_WORDS: dict[int, tuple[str, Tone]] = {
    ExitCode.OK: ("NO OUTLIERS", "good"),
    ExitCode.QUALIFICATION: ("OUTLIERS", "bad"),
    ExitCode.NOTHING_MEASURED: ("NOT COMPARED", "doubtful"),
}
_METHOD = (
    "Each figure is held against the median of the other units, in spreads of those (1.4826 · MAD), by Student's t with 0.37 (m - 1) "
    "degrees of freedom for m others; figures of a unit are joined by Simes, units by Benjamini and Hochberg at {rate}; nothing nearer "
    "than {least} is named."
)


def document(record: Record) -> Document:
    """Of fleet.json. Raises KeyError or TypeError for a record that is none."""
    word, tone = _WORDS[record["exit_code"]]
    if record["exit_code"] == ExitCode.QUALIFICATION and not _out(record, "worse"):
        word = "REJECTED MACHINES"
    rule = record["rule"]
    method = _METHOD.format(rate=units.share(rule["rate"]), least=units.share(rule["least"]))
    return Document(
        kind="fleet",
        title="Fleet",
        word=word,
        tone=tone,
        headline=_headline(record),
        note=_note(record),
        sentences=list(_sentences(record)),
        parts=list(_parts(record)),
        folded=[
            Folded(f"Made of: {each['kind']}", {"hardware": each["hardware"], "subject": each["subject"]}) for each in record["groups"]
        ],
        footer=method,
        record=record,
    )


def _headline(record: Record) -> str:
    names = {of: {unit["name"] for group in record["groups"] if group["of"] == of for unit in group["units"]} for of in ("machine", "GPU")}
    counted = [units.plural(len(each), of) for of, each in names.items() if each]
    if not counted:
        return "no machines"
    found = len({unit["name"] for _, unit in _out(record, "worse")})
    compared = any(group["compared"] for group in record["groups"])
    said = f"{found} not like the others" if found else "none unlike the others" if compared else "too few alike"
    rejected = len({unit["name"] for group in record["groups"] for unit in group["units"] if unit["verdict"] == "REJECTED"})
    return f"{', '.join(counted)}: {said}" + (f", {rejected} rejected by its own qualification" if rejected else "")


def _note(record: Record) -> str:
    unread = f", {len(record['unread'])} more that do not count" if record["unread"] else ""
    return f"{units.plural(record['files'], 'file')}{unread}, {units.plural(len(record['groups']), 'group')}"


def _out(record: Record, direction: str) -> list[tuple[Record, Record]]:
    """Group and unit of those named, the least likely first."""
    found = [(group, unit) for group in record["groups"] for unit in group["units"] if unit[direction]]
    return sorted(found, key=lambda pair: float(pair[1]["chance"]))


# --------------------------------------------------------------------------------------------------------------------- sentences


def _sentences(record: Record) -> Iterator[str]:
    worse = _out(record, "worse")
    yield from (_outlier(group, unit, "worse") for group, unit in worse[:MOST_SENTENCES])
    if len(worse) > MOST_SENTENCES:
        yield f"and {len(worse) - MOST_SENTENCES} more: see the table"
    for group in record["groups"]:
        for unit in group["units"]:
            if unit["verdict"] == "REJECTED" and group["of"] == "machine":
                yield f"{unit['name']} was rejected by its own qualification (level {group['level']}): {', '.join(unit['failed'])}"
    for group, unit in _out(record, "better"):
        yield f"{_outlier(group, unit, 'better')}: better than its equals, so look whether it is set up like them"
    for group in record["groups"]:
        yield from _few(group, record["rule"]["fewest"])
        yield from (_disagreement(each) for each in group["configuration"])
        yield from (f"{name} is not compared: {why}" for name, why in group["left_out"].items())


def _outlier(group: Record, unit: Record, direction: str) -> str:
    listed = [f"{name} {outliers.signed(unit['places'][name]['share'])}" for name in unit[direction]]
    others = max(metric["n"] for metric in group["metrics"] if metric["name"] in unit[direction]) - 1
    return f"{unit['name']}: {', '.join(listed)} from the median of the other {others}"


def _few(group: Record, fewest: int) -> Iterator[str]:
    count, of = len(group["units"]), group["of"]
    if not group["metrics"]:
        yield f"{_where(group)}: no figures to compare"
    elif not group["compared"]:
        one = "alone of its kind" if count == 1 else f"{units.plural(count, of)}, too few"
        yield f"{_where(group)}: {one}: nothing is named with fewer than {fewest}"
    elif blunt := [each for each in group["metrics"] if each["finest"] is None or each["finest"] > 0.2]:
        listed = ", ".join(f"{each['name']} {'any' if each['finest'] is None else units.share(each['finest'])}" for each in blunt)
        yield f"{_where(group)}: {units.plural(count, of)} are few: a single one is named only from {listed} on; add more machines"


def _disagreement(each: Record) -> str:
    if each["most"] is None:
        return f"{each['what']}: {len(each['others'])} different values in {each['of']} machines"
    here = "; ".join(f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''} {_cut(value)}" for value, names in each["others"].items())
    return f"{each['what']} is {_cut(each['most'])} on {each['count']} of {each['of']} machines, but: {here}"


def _where(group: Record) -> str:
    return " · ".join(word for word in (group["level"], group["kind"], group["subject_text"]) if word)


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


# ------------------------------------------------------------------------------------------------------------------------ parts


def _parts(record: Record) -> Iterator[Table | Drawing]:
    several = len(record["groups"]) > 1
    for number, group in enumerate(record["groups"], 1):
        title = f"{group['of']}s, {_where(group)}" if several else f"{group['of']}s"
        suffix = f"-{number}" if several else ""
        yield _units(group, title[0].upper() + title[1:], f"units{suffix}")
        if (drawn := strip(group, title, f"strip{suffix}")) is not None:
            yield drawn
        if group["metrics"]:
            yield _metrics(group, f"Figures of the {title}", f"figures{suffix}", record["rule"])
        if group["configuration"]:
            yield _configuration(group, f"configuration{suffix}")
        if group["metrics"]:
            yield _all(group, f"All {title}", f"all{suffix}")
    if record["unread"]:
        columns = [Column("file"), Column("why it does not count")]
        rows = [[Cell(each["file"], each["file"]), Cell(each["reason"], each["reason"])] for each in record["unread"]]
        yield Table("unread", "Files that do not count", columns, rows)


def _units(group: Record, title: str, name: str) -> Table:
    """The odd ones, and as many of the others as a screen has room for, those first that are furthest to the bad side."""
    odd = [unit for unit in group["units"] if _odd(unit)]
    others = sorted((unit for unit in group["units"] if not _odd(unit)), key=lambda unit: -_furthest(unit)[0])
    shown = [*sorted(odd, key=lambda unit: (not unit["worse"], unit["chance"] or 1.0)), *others[:MOST_OTHERS]]
    own = [Column("own verdict")] if group["of"] == "machine" else []
    columns = [Column(group["of"]), Column("compared"), *own, Column("furthest"), Column("from the others", "1")]
    left = len(group["units"]) - len(shown)
    caption = f"{units.plural(left, 'more ' + group['of'])} nearer to the others" if left else ""
    return Table(name, title, columns, [_row(unit) for unit in shown], caption)


def _odd(unit: Record) -> bool:
    return bool(unit["worse"] or unit["better"] or unit["verdict"] == "REJECTED")


def _furthest(unit: Record) -> tuple[float, str]:
    """Spreads to the bad side, and the figure."""
    far = [(math.inf if each["spreads"] is None else float(each["spreads"]), name) for name, each in unit["places"].items()]
    return max(far, default=(0.0, ""))


def _row(unit: Record) -> list[Cell]:
    named = [*unit["worse"], *unit["better"]]
    name = named[0] if named else _furthest(unit)[1]
    share = unit["places"][name]["share"] if name else None
    own = Cell(unit["verdict"], unit["verdict"], ", ".join(unit["failed"]), "bad" if unit["verdict"] == "REJECTED" else "plain")
    return [
        Cell(unit["name"], unit["name"]),
        _compared(unit),
        *([own] if unit["verdict"] else []),
        Cell(name or "none", name or None),
        Cell("none" if share is None else outliers.signed(share), share),
    ]


def _compared(unit: Record) -> Cell:
    if unit["worse"]:
        return Cell("OUTLIER", "outlier", tone="bad")
    if unit["better"]:
        return Cell("unusually good", "unusually good", tone="doubtful")
    return Cell("like the others", "like the others", tone="good") if unit["places"] else Cell("not compared", "not compared")


def _all(group: Record, title: str, name: str) -> Table:
    columns = [Column(group["of"]), *(Column(each["name"], each["unit"]) for each in group["metrics"]), Column("files")]
    rows = [
        [
            Cell(unit["name"], unit["name"]),
            *(_value(unit, each) for each in group["metrics"]),
            Cell(str(len(unit["files"])), len(unit["files"])),
        ]
        for unit in group["units"]
    ]
    return Table(name, title, columns, rows, "beside each figure its distance from the median of the others", detail=True)


def _value(unit: Record, metric: Record) -> Cell:
    name = metric["name"]
    if name not in unit["values"]:
        return Cell("none")
    value, place = unit["values"][name], unit["places"].get(name)
    text = _quantity(value, metric["unit"])
    if place is None:
        return Cell(text, value)
    tone: Tone = "bad" if name in unit["worse"] else "doubtful" if name in unit["better"] else "plain"
    return Cell(text, value, outliers.signed(place["share"]), tone, more={f"{name} from the others": place["share"]})


def _quantity(value: float, unit: str) -> str:
    if unit == "ns":
        return units.time_ns(value)
    if unit in ("bytes", "bytes/s"):
        return units.size(value) + unit.removeprefix("bytes")
    return f"{units.scaled(value) if value >= 1e6 else units.number(value)} {unit}".strip()


def _metrics(group: Record, title: str, name: str, rule: Record) -> Table:
    columns = [
        Column("figure"),
        Column("better"),
        Column("n"),
        Column("median"),
        Column("spread", "1"),
        Column("a single one is named from", "1"),
    ]
    rows = [
        [
            Cell(each["name"], each["name"]),
            Cell(each["better"], each["better"]),
            Cell(str(each["n"]), each["n"]),
            Cell(_quantity(each["median"], each["unit"]), each["median"], more={"unit": each["unit"]}),
            Cell("none" if each["spread"] is None else units.share(each["spread"]), each["spread"]),
            Cell("never" if each["finest"] is None else units.share(each["finest"]), each["finest"]),
        ]
        for each in group["metrics"]
    ]
    caption = f"spread: 1.4826 · MAD of the logarithms; with fewer than {rule['fewest']} values nothing is named"
    return Table(name, title, columns, rows, caption)


def _configuration(group: Record, name: str) -> Table:
    columns = [Column("setting"), Column("most have"), Column("others have"), Column("machines")]
    rows = [
        [
            Cell(each["what"], each["what"]),
            Cell(_cut(each["most"] or "no majority"), each["most"], f"{each['count']} of {each['of']}" if each["most"] else ""),
            Cell(_cut(value), value),
            Cell(", ".join(names), ", ".join(names)),
        ]
        for each in group["configuration"]
        for value, names in each["others"].items()
    ]
    return Table(name, "Configuration in which they differ", columns, rows)
