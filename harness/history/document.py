"""What is said of a history: the table of its series, and one series with its runs, changes and events. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

from harness import units
from harness.document import Cell, Column, Document, Drawing, Table
from harness.history.drawing import draw, title
from harness.history.records import Figure, Row, Series
from harness.history.trend import Change, Curve, Latest, Trend, changed, noise, successions

MOST_ROWS = 200
"""Runs listed on a page; the export has them all."""

NOT_SEARCHED = "changes of level were not looked for: that needs Apache Otava (pip install --no-deps apache-otava==0.8.0, and scipy)"

_FEW = 3


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of pages, where there are any: of a series by its key, of a run by its name, of the index, and of the page that compares
    any two runs."""

    series: Mapping[str, str]
    runs: Mapping[str, str]
    index: str = ""
    compare: str = ""

    def comparison(self, before: str, after: str) -> str:
        """Where these two runs are laid side by side; both need a page."""
        known = self.compare and before in self.runs and after in self.runs
        return f"{self.compare}#{urlencode({'a': before, 'b': after})}" if known else ""


NO_LINKS = Links({}, {})


def overview(latest: Sequence[Latest], name: str, links: Links = NO_LINKS) -> Document:
    """All series of a history; `name` is said of it in the heading."""
    runs = sum(each.series.runs for each in latest)
    points = sum(each.series.points for each in latest)
    open_ones = sum(len(each.open_changes or ()) for each in latest)
    return Document(
        kind="history",
        title=f"History {name}",
        word="HISTORY",
        tone="plain",
        headline=f"{units.count(len(latest))} series",
        note=f"{units.plural(runs, 'run')}, {units.count(points)} of them valid and on target",
        marks=[f"{units.plural(open_ones, 'change')} not accepted"] if any(each.open_changes is not None for each in latest) else [],
        sentences=_breaks([each.series for each in latest]),
        parts=[*([_series_table(latest, links)] if latest else []), *_elsewhere(links)],
        record={"kind": "history", "series": [_record(each.series) | {"latest": _plain(each.figure)} for each in latest]},
    )


def page(found: Trend, links: Links = NO_LINKS, most: int = MOST_ROWS) -> Document:
    """One series: figures over time, changes, events, runs."""
    headline = found.curves[0] if found.curves and found.curves[0].points else None
    open_ones = [change for change in (headline.changes if headline else ()) if change.accepted is None]
    return Document(
        kind="history",
        title=f"{found.series.subject} · series {found.series.key}",
        word=_word(open_ones, searched=found.searched and bool(headline)),
        tone="bad" if any(change.worse for change in open_ones[-1:]) else "plain",
        headline=_amount(headline.points[-1].figure) if headline else "no valid run",
        note=_noted(headline) if headline else "",
        marks=[units.plural(found.series.runs, "run"), f"{units.count(found.series.points)} valid and on target"],
        machine=found.series.machine,
        sentences=[*_told(found)],
        warnings=[] if found.searched else [NOT_SEARCHED],
        parts=[*_parts(found, links, most)],
        record={"kind": "history", "series": _record(found.series), "runs": [asdict(row) for row in found.rows], "curves": _curves(found)},
    )


def _word(open_ones: Sequence[Change], *, searched: bool) -> str:
    if not open_ones:
        return "NO OPEN CHANGE" if searched else "HISTORY"
    return "BECAME WORSE" if open_ones[-1].worse else "BECAME BETTER"


def _amount(figure: Figure) -> str:
    if figure.unit == "B":
        return units.size(figure.value)
    return units.score(figure.value) if figure.unit == "points" else units.quantity(figure.value, figure.unit)


def _noted(curve: Curve) -> str:
    share = noise(curve)
    by_itself = "" if share is None else f"; runs differ by ± {2 * share:.1%} by themselves"
    return f"{title(curve.metric)} in the newest run that counts{by_itself}"


def _told(found: Trend) -> list[str]:
    lines = [f"{title(curve.metric)}: {change.text}" for curve in found.curves for change in curve.changes]
    if found.before:
        lines.append(f"This series took over from {found.before[0].key}: {_few(found.before[1])}.")
    if found.after:
        lines.append(f"It ended; series {found.after[0].key} took over: {_few(found.after[1])}.")
    return lines


def _breaks(series: Sequence[Series]) -> list[str]:
    return [
        f"{new.subject}: series {old.key} ended on {old.last_utc[:10]} and {new.key} began: {_few(changed(old, new))}."
        for old, new in successions(series)
    ]


def _few(lines: Sequence[str]) -> str:
    more = f"; {units.plural(len(lines) - _FEW, 'more difference')}" if len(lines) > _FEW else ""
    return "; ".join(lines[:_FEW]) + more


def _series_table(latest: Sequence[Latest], links: Links) -> Table:
    searched = any(each.open_changes is not None for each in latest)
    names = ["series", "benchmark", "machine", "latest", "by itself", "runs", "last"]
    return Table(
        "series",
        "Series",
        [Column(name) for name in [*names, *(["changes"] if searched else [])]],
        [[*_series_row(each, links), *([_open(each)] if searched else [])] for each in latest],
        "by itself: how much neighbouring runs differ while nothing changes (2 sigma). Another machine, driver, backend, model, data, "
        "scenario, settings or rules are another series.",
    )


def _series_row(each: Latest, links: Links) -> list[Cell]:
    series, figure = each.series, each.figure
    return [
        Cell(series.key, series.key, href=links.series.get(series.key, "")),
        Cell(series.subject, series.subject),
        Cell(series.machine, series.machine),
        Cell(_amount(figure), figure.value, note=title(figure.name)) if figure else Cell("–"),
        Cell(f"± {2 * each.noise:.1%}", 2 * each.noise) if each.noise is not None else Cell("–", note="too few"),
        Cell(f"{series.points} of {series.runs}" if series.points != series.runs else str(series.runs), series.runs),
        Cell(series.last_utc[:10], series.last_utc),
    ]


def _open(each: Latest) -> Cell:
    found = each.open_changes or ()
    if not found:
        return Cell("none", 0)
    last = found[-1]
    return Cell(f"{'worse' if last.worse else 'better'} by {abs(last.share):.1%}", last.share, tone="bad" if last.worse else "good")


def _parts(found: Trend, links: Links, most: int) -> list[Table | Drawing]:
    parts: list[Table | Drawing] = [draw(curve) for curve in found.curves if curve.points]
    if any(curve.changes or curve.accepted for curve in found.curves):
        parts.insert(1, _changes(found, links))
    parts.append(_runs(found, links, most))
    if found.events:
        parts.append(_events(found, links))
    return [*parts, *_elsewhere(links)]


def _elsewhere(links: Links) -> list[Table]:
    """The way to the other pages of a site."""
    pages = (("all series", links.index), ("any two runs side by side", links.compare))
    rows = [[Cell(text, href=address)] for text, address in pages if address]
    return [Table("pages", "More pages", [Column("page")], rows)] if rows else []


def _changes(found: Trend, links: Links) -> Table:
    rows = [_change_row(curve, change, links) for curve in found.curves for change in curve.changes]
    shown = {(curve.metric, curve.points[change.index].row.run_id) for curve in found.curves for change in curve.changes}
    for curve in found.curves:
        for each in curve.accepted:
            if (curve.metric, each.run_id) not in shown:
                first = Cell(each.commit[:10] or each.run_id, each.run_id, href=links.runs.get(each.run_id, ""))
                rows.append([Cell(title(curve.metric)), first, Cell("–"), Cell("–"), Cell("–", note="not found any more"), Cell(each.note)])
    names = ("figure", "from", "before", "after", "change", "accepted")
    return Table("changes", "Changes of level", [Column(name) for name in names], rows)


def _change_row(curve: Curve, change: Change, links: Links) -> list[Cell]:
    point = curve.points[change.index]
    first = point.row.commit[:10] or point.row.run_id
    before, after = (_amount(Figure(curve.metric, mean, point.figure.unit, point.figure.better)) for mean in (change.before, change.after))
    return [
        Cell(title(curve.metric), curve.metric),
        Cell(first, point.row.run_id, note=point.row.at_utc[:10], href=links.runs.get(point.row.run_id, "")),
        Cell(before, change.before),
        Cell(after, change.after),
        Cell(f"{change.share:+.1%}", change.share, note="worse" if change.worse else "better", tone="bad" if change.worse else "good"),
        Cell("no", False) if change.accepted is None else Cell(change.accepted or "yes", change.accepted),
    ]


def _runs(found: Trend, links: Links, most: int) -> Table:
    """Newest first."""
    headline = found.curves[0] if found.curves else None
    values = {point.row.run_id: point.figure for point in (headline.points if headline else ())}
    newest = list(found.rows)[::-1]
    pairs = list(zip(newest, [*newest[1:], None], strict=True))[:most]
    rows = [_run_row(row, before, values.get(row.run_id), links) for row, before in pairs]
    left = f" The newest {units.count(most)} of {units.count(len(found.rows))}." if len(found.rows) > most else ""
    name = title(headline.metric) if headline else "figure"
    names = ["run", "time (UTC)", "commit", name, "point of the trend", *(["comparison"] if links.compare else [])]
    columns = [Column(each) for each in names]
    return Table("runs", "Runs", columns, rows, f"Newest first.{left}")


def _run_row(row: Row, before: Row | None, figure: Figure | None, links: Links) -> list[Cell]:
    beside = links.comparison(before.run_id, row.run_id) if before else ""
    cells = [
        Cell(row.run_id, row.run_id, href=links.runs.get(row.run_id, "")),
        Cell(row.at_utc[:16].replace("T", " "), row.at_utc),
        Cell((row.commit[:10] or "–") + (" with changes" if row.dirty else ""), row.commit, note=row.branch),
        Cell(_amount(figure), figure.value) if figure else Cell("–"),
        Cell("counts", True) if not row.why else Cell(row.why, False, tone="doubtful"),
    ]
    return [*cells, *([Cell("beside the one before" if beside else "–", href=beside)] if links.compare else [])]


def _events(found: Trend, links: Links) -> Table:
    rows = [
        [
            Cell(each.row.run_id, each.row.run_id, href=links.runs.get(each.row.run_id, "")),
            Cell(each.row.at_utc[:16].replace("T", " "), each.row.at_utc),
            Cell("; ".join(each.lines)),
        ]
        for each in found.events[::-1]
    ]
    columns = [Column(name) for name in ("from run", "time (UTC)", "what was other than before")]
    return Table("events", "Events", columns, rows, "Versions and settings of the machine are no part of what makes a series.")


def _curves(found: Trend) -> list[dict[str, Any]]:
    return [
        {
            "metric": curve.metric,
            "points": [{"run_id": point.row.run_id, "commit": point.row.commit, **asdict(point.figure)} for point in curve.points],
            "changes": [{"run_id": curve.points[each.index].row.run_id, "share": each.share, "text": each.text} for each in curve.changes],
            "accepted": [asdict(each) for each in curve.accepted],
        }
        for curve in found.curves
    ]


def _record(series: Series) -> dict[str, Any]:
    return {each.name: getattr(series, each.name) for each in fields(series)}


def _plain(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else asdict(figure)
