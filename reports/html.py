"""One self-contained page with figures: verdict first, then what is behind it. No network, light and dark, phone and print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import card, csv_text, figures, intervals, limits
from harness.core import Columns, Run
from harness.document import Document, Drawing

REQUIRES: tuple[str, ...] = ("jinja2", "plotly")
EXTENSION = "html"

_TEMPLATES = Path(__file__).parent / "templates"


def render(run: Run, columns: Columns | None = None, *, script: str = "") -> str:
    """The page. Some 4.9 MB of it are plotly.js, embedded so that it opens anywhere; without a ledger there are neither figures
    nor script. `script`: where plotly.js lies as a file, for pages of one site; such a page does not open without it."""
    drawings = figures.of(run, columns) if columns is not None else []
    made = card.make(run)
    page: str = _template("run").render(
        card=made,
        interval=interval.words if (interval := intervals.headline(run, columns)) is not None else "",
        accuracy=dict(made.rows).get("accuracy"),
        limits=limits.sentences(run, columns),
        drawings=drawings,
        config=_folded(run.config),
        backend=_folded({"backend": run.backend, "model": run.model}),
        conditions=_folded({"conditions": run.conditions, "timings": run.timings, "traffic": run.traffic}),
        run_id=run.run_id,
        started=run.started_utc,
        tables="",
        data=_figures(drawings),
        script=script,
        plotly=plotly_script() if drawings and not script else "",
    )
    return page


def render_document(document: Document, *, script: str = "") -> str:
    """The page of anything else that has something to report. Its tables are embedded once more, as the CSV that is saved from it."""
    drawings = [each for each in document.parts if isinstance(each, Drawing)]
    tables = csv_text.named(document)
    page: str = _template("document").render(
        made=document,
        folded=[{"title": each.title, "text": _folded(each.value)} for each in document.folded],
        drawings=drawings,
        tables=_embedded(tables) if tables else "",
        data=_figures(drawings),
        script=script,
        plotly=plotly_script() if drawings and not script else "",
    )
    return page


def render_choice(data: Mapping[str, Any]) -> str:
    """The page that lays any two stored runs side by side: `data` as `harness.history.site.choice` gives it."""
    page: str = _template("choice").render(drawings=[], tables="", script="", choice=_embedded(data))
    return page


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template(f"{name}.html")


def plotly_script() -> str:
    """The text of plotly.min.js."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def _figures(drawings: Sequence[Drawing]) -> str:
    """What the page draws; no traces, no text."""
    return _embedded([{"name": each.name, "traces": each.traces, "layout": each.layout} for each in drawings]) if drawings else ""


def _embedded(value: Any) -> str:
    """JSON inside a script element: `<` is written so that no text can end it."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _folded(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
