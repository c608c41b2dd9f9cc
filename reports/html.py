"""One self-contained page with figures: verdict first, then what is behind it. No network, light and dark, phone and print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import card, figures, limits, steady, units
from harness.core import Columns, Run
from harness.document import Drawing
from harness.stats import percentile_interval
from harness.validity import query_latency_ns

REQUIRES: tuple[str, ...] = ("jinja2", "plotly")
EXTENSION = "html"

_TEMPLATES = Path(__file__).parent / "templates"


def render(run: Run, columns: Columns | None = None) -> str:
    """The page. Some 4.9 MB of it are plotly.js, embedded so that it opens anywhere; without a ledger there are neither figures
    nor script."""
    drawings = figures.of(run, columns) if columns is not None else []
    found = _steady(run, columns)
    made = card.make(run)
    page: str = _template().render(
        card=made,
        unstable=found is not None and not found.stable,
        interval=_interval(run, columns),
        accuracy=dict(made.rows).get("accuracy"),
        limits=limits.sentences(run, columns),
        drawings=drawings,
        steady=_settled(found),
        config=_folded(run.config),
        backend=_folded({"backend": run.backend, "model": run.model}),
        conditions=_folded({"conditions": run.conditions, "timings": run.timings, "traffic": run.traffic}),
        run_id=run.run_id,
        started=run.started_utc,
        data=_embedded(drawings) if drawings else "",
        plotly=_plotly() if drawings else "",
    )
    return page


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("run.html")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def _embedded(drawings: list[Drawing]) -> str:
    """JSON inside a script element: `<` is written so that no text can end it."""
    plain = [{"name": each.name, "traces": each.traces, "layout": each.layout} for each in drawings]
    return json.dumps(plain, allow_nan=False).replace("<", "\\u003c")


def _interval(run: Run, columns: Columns | None) -> str:
    """95 % interval of the headline, where the ledger gives one: order statistics of a latency, batch means of a rate."""
    metric = run.verdict.get("metric")
    if columns is None or not metric or not columns.served.any():
        return ""
    if metric["unit"] == "ns":
        ordered = query_latency_ns(columns)
        ordered.sort()
        low, high = percentile_interval(ordered, float((run.early_stopping or {}).get("percentile") or 0.9))
        ends = [units.time_ns(end) if end is not None else "?" for end in (low, high)]
        return f"95 % interval {ends[0]} to {ends[1]}"
    spread = steady.rate_spread(columns)
    return f"± {spread:.1%} within the run (95 %, batch means)" if spread is not None else ""


def _steady(run: Run, columns: Columns | None) -> steady.Steady | None:
    """Not of offline: its longest samples go first, so that its rate in samples rises by itself."""
    if columns is None or run.config.get("scenario") == "offline":
        return None
    return steady.look(columns, paced=bool(run.traffic.get("latency_bound")))


def _settled(found: steady.Steady | None) -> str:
    if found is None:
        return ""
    word = "steady" if found.stable else "UNSTABLE"
    return (
        f"{word} {found.figure}: drift {found.drift:+.1%} from begin to end (Theil-Sen; Mann-Kendall p = {found.p:.2g}); the first "
        f"{found.settled_share:.0%} of the run (MSER-5) differ by {found.start:+.1%} from the rest"
    )


def _folded(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
