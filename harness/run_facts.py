"""A run as one row of figures, with the unit in each heading: for spreadsheets, and for tables of several runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import card
from harness.core import Run

Value = float | int | str | bool | None

_CONFIG = ("scenario", "task", "backend", "rules", "workers", "threads", "max_batch", "batching")
_RATES = {"samples_per_second": "samples/s", "queries_per_second": "queries/s", "tokens_per_second": "tokens/s", "padding_share": "share"}


def of(run: Run) -> dict[str, Value]:
    """Figures by heading, the same headings for every run; None for what it does not have. `result` says whether the headline counts: no
    figure of a run that says no is one."""
    made, metric = card.make(run), run.verdict.get("metric") or {}
    return {
        "run": run.run_id,
        "started": run.started_utc,
        "verdict": made.word,
        "result": made.counts,
        **{name.replace("_", " "): _plain(run.config.get(name)) for name in _CONFIG},
        "model": (run.model or {}).get("name"),
        "data": (run.conditions.get("data") or {}).get("name"),
        "headline": metric.get("name"),
        "headline value": metric.get("value"),
        "headline unit": metric.get("unit"),
        **_accuracy(run.accuracy or {}),
        **{f"latency {name} (ns)": run.latency_ns.get(name) for name in ("min", "mean", "p50", "p90", "p95", "p97", "p99", "p99.9", "max")},
        **{f"{name.replace('_', ' ')} ({unit})": run.throughput.get(name) for name, unit in _RATES.items()},
        **{name: run.counts.get(name) for name in ("queries", "samples", "errors", "lost")},
        **_machine(run.conditions),
    }


def _accuracy(accuracy: Mapping[str, Any]) -> dict[str, Value]:
    low, high = accuracy.get("interval") or (None, None)
    return {
        "metric": accuracy.get("metric"),
        "accuracy (points)": accuracy.get("value"),
        "accuracy 95 % low (points)": low,
        "accuracy 95 % high (points)": high,
        "accuracy reference (points)": accuracy.get("reference"),
        "accuracy target (points)": accuracy.get("target"),
        "accuracy met": accuracy.get("passed"),
    }


def _machine(conditions: Mapping[str, Any]) -> dict[str, Value]:
    cpu, git = conditions.get("cpu") or {}, conditions.get("git") or {}
    return {
        "hostname": conditions.get("hostname"),
        "processor": cpu.get("model"),
        "cores": cpu.get("usable_cores"),
        "gpus": "; ".join(str(gpu.get("name")) for gpu in conditions.get("gpus") or ()) or None,
        "commit": git.get("commit"),
        "commit with changes": git.get("dirty"),
    }


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, str | int | float) else str(value)
