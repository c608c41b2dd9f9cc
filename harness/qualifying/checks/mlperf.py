"""MLPerf's own settings: 600 s of offline and single-stream, server at a given rate, and where that stands among published results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from harness import units
from harness.core import Run
from harness.qualifying import measured, published
from harness.qualifying.check import Check, Context, Finding
from harness.qualifying.checks.inference import accuracy, company, invalid
from harness.rules import RULES

OFFICIAL_S = RULES["mlperf"].duration_s
LIMIT_S = 8 * 3600.0
"""A processor needs hours for the 10,833 samples and three times as many queries."""

PARAMETERS = range(330_000_000, 340_000_000)
"""Of BERT-large with a head for spans, which the published results are of."""

_NS_IN_MS = 1e6


def run(scenario: str, context: Context) -> list[Finding]:
    """One scenario: whether it is valid, its figure, its accuracy, and its place among the published."""
    config = context.config
    if scenario == "server" and config.target_qps is None:
        return [_no_rate()]
    official = config.duration is None or config.duration >= OFFICIAL_S
    found = measured.run(context, **settings(scenario, config.duration, config.target_qps))
    return list(findings(found, scenario, official=official))


def settings(scenario: str, duration_s: float | None, rate: float | None) -> dict[str, Any]:
    """Those of the round, or of `--rules quick` where less time is given: MLPerf's would refuse it. The rate is that of server alone."""
    short = duration_s is not None and duration_s < OFFICIAL_S
    return {"scenario": scenario, "rules": "quick" if short else "mlperf", "target_qps": rate if scenario == "server" else None}


def findings(found: Run, scenario: str, *, official: bool) -> Iterator[Finding]:
    """Of a run that ended."""
    name = f"mlperf_{scenario.replace('-', '_')}"
    if not official:
        yield _short(found, name)
    if (wrong := invalid(found, f"{name}_run")) is not None:
        yield wrong
    yield replace(accuracy(found), name=f"{name}_accuracy")
    yield from company(found, name)
    metric = found.verdict.get("metric")
    if not metric or metric.get("value") is None:
        yield Finding("THROUGHPUT_LOW", name, "FAIL", f"{scenario}: nothing was answered", next_step="see the run")
        return
    yield _figure(found, name, scenario)
    yield _published(found, name, scenario, float(metric["value"]))


def _figure(found: Run, name: str, scenario: str) -> Finding:
    metric = found.verdict["metric"]
    return Finding(
        code="LATENCY_HIGH" if metric["better"] == "lower" else "THROUGHPUT_LOW",
        name=name,
        outcome="PASS",
        text=f"{scenario}: {units.quantity(metric['value'], metric['unit'])}; unverified, not a result reviewed by MLCommons",
        measured=float(metric["value"]),
        unit=metric["unit"],
        n=int(found.counts["queries"]),
        better=metric["better"],
        next_step="see clocks, heat and other work beside the run",
        details={"run": found.run_id},
    )


def _short(found: Run, name: str) -> Finding:
    asked_s = float(found.config.get("duration") or 0.0)
    text = (
        f"measured for {units.seconds(asked_s)}: not the official length of {OFFICIAL_S:g} s, nor MLPerf's other settings (--rules quick)"
    )
    return Finding("NOT_OFFICIAL", f"{name}_length", "WARN", text, required=False, next_step="leave --duration out")


def _no_rate() -> Finding:
    step = "give --target-qps, such as three quarters of the offline rate"
    return Finding(
        "NO_RATE", "mlperf_server", "SKIP", "server is played at a given rate, and none is given", required=False, next_step=step
    )


# ----------------------------------------------------------------------------------------------------------------------- published


def _published(found: Run, name: str, scenario: str, value: float) -> Finding:
    """PASS within or above the published ones of the same accelerator, WARN below: who published tuned for it."""
    told = partial(Finding, "PUBLISHED_BELOW", f"{name}_published", required=False)
    called = str(found.backend.get("device_name") or "")
    on_gpu = str(found.backend.get("device") or "").startswith(("cuda", "gpu"))
    if not on_gpu or not called:
        return told("SKIP", f"{published.ROUND} has no result to compare with: this ran on no accelerator")
    known = published.accelerator(called)
    if known is None:
        return told("SKIP", f"{published.ROUND} has no result of {called}")
    parameters = int((found.model or {}).get("parameters") or 0)
    if parameters not in PARAMETERS:
        step = "qualify with --model bert-large-squad"
        return told(
            "SKIP", f"published results of {called} are of BERT-large: this model has {units.count(parameters)} parameters", next_step=step
        )
    benchmark = published.benchmark(float(found.config.get("accuracy_target") or 0.0))
    against = published.of(known, benchmark, scenario)
    if not against:
        return told("SKIP", f"{published.ROUND} has no {scenario} result of {benchmark} on {known}")
    shown = value / _NS_IN_MS if scenario == "single-stream" else value
    place = published.standing(shown, against)
    return told(
        "WARN" if place.word == "below" else "PASS",
        f"{published.ROUND}, {benchmark}, {known}: {place.text}",
        measured=shown,
        unit="ms" if scenario == "single-stream" else "samples/s",
        n=1,
        expected=place.middle,
        tolerance=published.SPREAD * place.middle,
        margin=place.off,
        better="lower" if scenario == "single-stream" else "higher",
        next_step="see whether engine and precision are the published ones (TensorRT, INT8 or FP16)" if place.word == "below" else "",
        details={"nearest": place.nearest.submitter, "low": place.low, "high": place.high, "n": place.n},
    )


def _check(scenario: str, code: str) -> Check:
    named = f"mlperf_{scenario.replace('-', '_')}"
    title = f"MLPerf's {scenario}"
    return Check(code, named, title, True, ("mlperf",), OFFICIAL_S + 100, partial(run, scenario), LIMIT_S)


OFFLINE = _check("offline", "THROUGHPUT_LOW")
SINGLE_STREAM = _check("single-stream", "LATENCY_HIGH")
SERVER = _check("server", "THROUGHPUT_LOW")
