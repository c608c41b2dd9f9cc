"""Figures as other trackers read them: github-action-benchmark, Bencher and OpenMetrics. Pure.

github-action-benchmark takes a list of {name, unit, value, range, extra} (`customSmallerIsBetter`, `customBiggerIsBetter`), one
direction a file; Bencher takes its Metric Format, {benchmark: {measure: {value, lower_value, upper_value}}}; OpenMetrics 1.0 is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from harness.ci.measures import Measure
from harness.errors import MissingError

_MS = 1e6
_BENCHER_LENGTH = 1024
"""Characters of a benchmark's name there."""

_HELP = {
    "latency": ("assay_latency_seconds", "Latency of queries, from when each was due, or per sample where all are asked at once."),
    "throughput": ("assay_throughput_samples_per_second", "Samples answered per second."),
    "accuracy": ("assay_accuracy_points", "The task's primary metric, 0 to 100."),
}


def github_action_benchmark(measures: Sequence[Measure], better: Literal["higher", "lower"]) -> str:
    """The figures of which `better` is better, latencies in ms. Raises MissingError where there is none: an empty file would be read as
    success."""
    chosen = [each for each in measures if each.better == better]
    if not chosen:
        other, size = ("github-action-benchmark", "bigger") if better == "higher" else ("github-action-benchmark-bigger", "smaller")
        raise MissingError(f"there is no figure of which {size} is better", f"use the format {other}")
    return _json([_entry(each) for each in chosen])


def _entry(measure: Measure) -> dict[str, Any]:
    scale, unit = (_MS, "ms") if measure.unit == "ns" else (1.0, measure.unit)
    entry: dict[str, Any] = {"name": f"{measure.subject} {measure.figure}", "unit": unit, "value": measure.value / scale}
    if measure.low is not None and measure.high is not None:
        entry["range"] = f"± {(measure.high - measure.low) / 2 / scale:.4g}"
    return entry | {"extra": "\n".join(measure.extra)}


def bencher(measures: Sequence[Measure]) -> str:
    """Latencies in ns and throughput in samples a second, as Bencher's own measures of these names are; accuracy by its metric's name."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for each in measures:
        metric = {"value": each.value, "lower_value": each.low, "upper_value": each.high}
        of_subject = found.setdefault(each.subject[:_BENCHER_LENGTH], {})
        of_subject[_slug(each.figure)] = {name: value for name, value in metric.items() if value is not None}
    return _json(found)


def openmetrics(measures: Sequence[Measure]) -> str:
    """A gauge for each kind of figure, with subject and figure as labels; times in seconds, as the format asks. GitLab's metrics reports
    read it."""
    lines = []
    for kind, (family, told) in _HELP.items():
        chosen = [each for each in measures if each.kind == kind]
        if chosen:
            lines += [f"# TYPE {family} gauge", f"# HELP {family} {told}", *(_sample(family, each) for each in chosen)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _sample(family: str, measure: Measure) -> str:
    labels = ",".join(f'{name}="{_label(text)}"' for name, text in (("subject", measure.subject), ("figure", measure.figure)))
    return f"{family}{{{labels}}} {measure.value / 1e9 if measure.unit == 'ns' else measure.value:.9g}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _slug(figure: str) -> str:
    """ "p99 latency" -> "p99-latency"."""
    return re.sub(r"[^a-z0-9]+", "-", figure.lower()).strip("-")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
