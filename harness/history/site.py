"""A history as static pages: an index, a page for each series and run, and one that compares any two. No page asks for anything outside
the folder; plotly.js lies in it once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness import store
from harness.core import Columns, Run
from harness.document import Document
from harness.errors import AssayError, MissingError
from harness.history.database import History
from harness.history.document import Links, overview, page
from harness.history.importing import LACKING
from harness.history.records import Series
from harness.history.spread import spread
from harness.history.trend import NEWEST, Finder, Trend, noise, stands, trend

PLOTLY = "plotly.min.js"
RUNS = 50
"""Runs of each series that have a page of their own, the newest, unless another number is asked for."""

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_RATE = "samples_per_second"
_DRAWN = ("latency_p50", "latency_p99", _RATE)


class Pages(Protocol):
    """What lays pages out: the plugin `reports/html.py`. `script`: the relative address of plotly.js."""

    def render(self, run: Run, columns: Columns | None = None, *, script: str = "") -> str: ...
    def render_document(self, document: Document, *, script: str = "") -> str: ...
    def render_choice(self, data: Mapping[str, Any]) -> str: ...
    def plotly_script(self) -> str: ...


@dataclass(slots=True)
class Built:
    """How many pages were written; `left_out`: runs that could not be shown, each with the reason."""

    pages: int = 0
    left_out: list[str] = field(default_factory=list)


def build(history: History, folder: Path, pages: Pages, find: Finder | None, runs: int = RUNS) -> Built:
    """Write the pages; what else lies in the folder stays. `find`: None looks for no changes; `runs`: how many of each series have a page.
    Raises MissingError where the folder cannot be written, DataError for a damaged history, and what `find` raises."""
    try:
        return _build(history, folder, pages, find, runs)
    except OSError as error:
        raise MissingError(f"--site: {folder} cannot be written: {error.strerror}", "give a folder that can be written") from error


def _build(history: History, folder: Path, pages: Pages, find: Finder | None, runs: int) -> Built:
    built, known = Built(), history.series()
    _write(folder / PLOTLY, pages.plotly_script())
    series_pages = {each.key: f"{each.key}.html" for each in known}
    found: list[Trend] = []
    for each in known:
        made = trend(history, each, drawn(history.metrics(each.key)), find, known)
        shown = [row.run_id for row in made.rows[-runs:]] if runs else []
        written = dict(_runs(history, folder / "runs", pages, shown, built))
        links = Links(series_pages, {run_id: f"../runs/{name}" for run_id, name in written.items()}, "../index.html", "../compare.html")
        _write(folder / "series" / series_pages[each.key], pages.render_document(page(made, links), script=f"../{PLOTLY}"))
        found.append(made)
    latest = [stands(made) for made in found]
    links = Links({key: f"series/{name}" for key, name in series_pages.items()}, {}, "", "compare.html")
    index = overview(latest, history.file.name, links)
    _write(folder / "index.html", pages.render_document(index, script=PLOTLY))
    _write(folder / "compare.html", pages.render_choice(choice(history, found, runs)))
    built.pages += len(found) + 2
    return built


def drawn(metrics: Sequence[str]) -> list[str]:
    """Of the figures of a series, headline first, those that have a curve; the rate once, if the headline is one."""
    first = metrics[0] if metrics else ""
    more = [each for each in metrics[1:] if each in _DRAWN or each.startswith("accuracy")]
    return [*metrics[:1], *(each for each in more if not (each == _RATE and first.endswith(_RATE)))]


def choice(history: History, found: Sequence[Trend], runs: int) -> dict[str, Any]:
    """What the page that compares any two runs works on: series with what makes them, runs with all their figures."""
    rows = [row for made in found for row in made.rows[-runs:]] if runs else []
    used = {row.conditions for row in rows}
    return {
        "series": {made.series.key: _of(made.series) | {"noise": _noise(history, made)} for made in found},
        "conditions": {name: history.conditions(name) for name in sorted(used)},
        "runs": [asdict(row) | {"figures": [asdict(each) for each in history.figures(row.run_id)]} for row in rows],
    }


def _of(series: Series) -> dict[str, Any]:
    return {"subject": series.subject, "machine": series.machine, "parts": dict(series.parts)}


def _noise(history: History, made: Trend) -> dict[str, float]:
    """Spread of each figure as a share, where there are enough points: of its newest level, if changes were looked for."""
    shares = {curve.metric: noise(curve) for curve in made.curves if curve.points}
    for metric in history.metrics(made.series.key):
        if metric not in shares:
            shares[metric] = spread([point.value for point in history.points(made.series.key, metric, last=NEWEST)])
    return {metric: share for metric, share in shares.items() if share is not None}


def _runs(history: History, folder: Path, pages: Pages, shown: Sequence[str], built: Built) -> Iterator[tuple[str, str]]:
    """Write a page for each of these runs: (run, file name) of those that could be."""
    for run_id in shown:
        name = f"{run_id}.html"
        try:
            run, columns = _stored(history, run_id)
            text = pages.render(run, columns, script=f"../{PLOTLY}")
        except AssayError as error:
            built.left_out.append(f"{run_id}: {error}")
            continue
        except LACKING as error:
            built.left_out.append(f"{run_id}: its run.json lacks what a page shows ({type(error).__name__}: {error})")
            continue
        if not _SAFE.fullmatch(run_id):
            built.left_out.append(f"{run_id!r}: its name is no file name")
            continue
        _write(folder / name, text)
        built.pages += 1
        yield run_id, name


def _stored(history: History, run_id: str) -> tuple[Run, Columns | None]:
    """The run as it was recorded, and its ledger where its folder is still there."""
    run = history.run(run_id)
    place = history.folder(run_id)
    if not place or not (place / store.QUERIES_FILE).is_file():
        return run, None
    return run, store.read_columns(place)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
