"""The figures of a run that a history keeps, each with its unit, its direction and, where the ledger is there, its interval. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness import steady
from harness.core import Columns, Run
from harness.errors import ExitCode
from harness.history.records import Figure
from harness.stats import percentile_interval
from harness.validity import query_latency_ns

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_WHY: dict[int, str] = {
    ExitCode.INVALID: "INVALID",
    ExitCode.ACCURACY: "accuracy below its target",
    ExitCode.FAILED: "failed",
    ExitCode.INTERRUPTED: "interrupted",
}


def figures(run: Run, columns: Columns | None = None) -> list[Figure]:
    """Headline first, then latency, rates, accuracy and memory; a name comes once. What is not known is left out."""
    found: dict[str, Figure] = {}
    for figure in (*_headline(run, columns), *_latency(run, columns), *_rates(run, columns), *_accuracy(run), *_memory(run)):
        found.setdefault(figure.name, figure)
    return list(found.values())


def why_not(run: Run) -> str:
    """What keeps a run from being a point of a trend; "" for one that counts."""
    if run.exit_code == ExitCode.OK and not run.complete:
        return "not complete"
    if run.exit_code == ExitCode.OK:
        return "" if run.verdict.get("metric") else "no headline figure"
    word = _WHY.get(run.exit_code, f"exit code {run.exit_code}")
    codes = [str(reason["code"]) for reason in run.verdict.get("reasons") or ()]
    return f"{word}: {', '.join(codes)}" if codes else word


def _headline(run: Run, columns: Columns | None) -> Iterator[Figure]:
    if metric := run.verdict.get("metric"):
        low, high = _within(run, columns, metric["unit"], float(metric["value"]))
        yield Figure(metric["name"], float(metric["value"]), metric["unit"], metric["better"], True, run.counts.get("queries"), low, high)


def _within(run: Run, columns: Columns | None, unit: str, value: float) -> tuple[float | None, float | None]:
    """95 % interval within the run: order statistics of a latency, batch means of a rate."""
    if columns is None or not columns.served.any():
        return None, None
    if unit == "ns":
        return _order_statistics(columns, float((run.early_stopping or {}).get("percentile") or 0.9))
    spread = steady.rate_spread(columns, steady.read(run.steady))
    return (None, None) if spread is None else (value * (1 - spread), value * (1 + spread))


def _latency(run: Run, columns: Columns | None) -> Iterator[Figure]:
    for name, share in _PERCENTILES.items():
        value = run.latency_ns.get(name)
        if value is not None:
            low, high = _order_statistics(columns, share) if columns is not None and columns.served.any() else (None, None)
            yield Figure(f"latency_{name}", float(value), "ns", "lower", False, run.counts.get("queries"), low, high)


def _order_statistics(columns: Columns, share: float) -> tuple[float | None, float | None]:
    ordered = query_latency_ns(columns)
    ordered.sort()
    low, high = percentile_interval(ordered, share)
    return None if low is None else float(low), None if high is None else float(high)


def _rates(run: Run, columns: Columns | None) -> Iterator[Figure]:
    for name, unit in (("samples_per_second", "samples/s"), ("tokens_per_second", "tokens/s")):
        value = run.throughput.get(name)
        if value is not None:
            low, high = _within(run, columns, unit, value)
            yield Figure(name, value, unit, "higher", False, run.counts.get("samples"), low, high)


def _accuracy(run: Run) -> Iterator[Figure]:
    if scored := run.accuracy:
        low, high = scored.get("interval") or (None, None)
        yield Figure(f"accuracy_{scored['metric']}", float(scored["value"]), "points", "higher", False, scored.get("samples"), low, high)


def _memory(run: Run) -> Iterator[Figure]:
    value = (run.model or {}).get("bytes_in_memory")
    if value is not None:
        yield Figure("model_bytes_in_memory", float(value), "B", "lower")
