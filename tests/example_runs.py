"""Runs as the session writes them, for tests of what is shown and stored. Figures are invented and agree with each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.core import Run
from harness.errors import ExitCode

MINIMAL = Run(
    run_id="r1",
    started_utc="2026-08-21T10:11:12+00:00",
    config={"scenario": "server"},
    verdict={"valid": True, "metric": None, "reasons": []},
    accuracy=None,
    latency_ns={"p99": 5},
    throughput={"samples_per_second": 2.5},
    counts={"queries": 3},
    traffic={},
    early_stopping=None,
    backend={},
    model=None,
    conditions={},
    telemetry={},
    timings={},
    warnings=[],
    files={},
    complete=True,
    exit_code=0,
)

_REASON = {
    "code": "latency_bound",
    "text": "p99 151 ms over the 130 ms bound at 61.2 queries/s",
    "cure": "set --target-qps to at most 48.9",
}

VALID = Run(
    run_id="20260821T101112Z-server-squad-pytorch-fp32-3fa9c1",
    started_utc="2026-08-21T10:11:12+00:00",
    config={"scenario": "server", "task": "squad", "backend": "pytorch:fp32", "rules": "quick", "batching": "sorted", "max_batch": 32},
    verdict={
        "valid": True,
        "metric": {"name": "completed_samples_per_second", "value": 61.234, "unit": "samples/s", "better": "higher"},
        "reasons": [],
    },
    accuracy={
        "metric": "f1",
        "value": 88.1234,
        "reference": 88.2,
        "target": 87.318,
        "passed": True,
        "source": "accuracy pass",
        "samples": 240,
        "scores": {"f1": 88.1234, "exact_match": 80.5, "examples": 240},
        "interval": [84.9, 91.3],
        "limited": False,
        "agreement": {"compared": 256, "different": 0},
    },
    latency_ns={
        "min": 14_200_000,
        "mean": 38_100_000,
        "p50": 35_000_000,
        "p90": 66_000_000,
        "p95": 81_000_000,
        "p97": 93_000_000,
        "p99": 121_000_000,
        "p99.9": 128_000_000,
        "max": 128_900_000,
    },
    throughput={
        "samples_per_second": 61.3,
        "queries_per_second": 61.3,
        "tokens_per_second": 10123.4,
        "padding_share": 0.0512,
        "operations_per_second": 138.5e9,
        "operations_padding_share": 0.0575,
        "peak_operations_per_second": 195.0e9,
        "peak_share": 0.7103,
    },
    counts={"queries": 1234, "samples": 1234, "errors": 0, "lost": 0},
    traffic={
        "rates": {"completed_samples_per_second": 61.234, "scheduled_samples_per_second": 61.5, "target_samples_per_second": 61.2},
        "lateness_ns": {"n": 801, "p50": 900, "p99": 4100, "max": 90_000},
        "latency_bound": {"percentile": 0.99, "ns": 130_000_000},
    },
    early_stopping={
        "percentile": 0.99,
        "met": True,
        "queries": 1234,
        "needed": 459,
        "text": "p99 is within the bound with 99 % confidence (0 of 1,234 queries over the bound)",
        "estimate_ns": None,
    },
    backend={"runtime": "pytorch", "precision": "fp32", "device": "cpu", "answers": True, "needs_inputs": True},
    model={
        "name": "minilm-squad",
        "sha256": "ab" * 32,
        "parameters": 22_566_146,
        "bytes": 90_300_000,
        "file_bytes": 90_300_000,
        "bytes_in_memory": 181_000_000,
        "memory": "resident",
        "operations_per_sample": 4.5913e9,
        "operations_at_max_length": 9.5133e9,
    },
    conditions={
        "cpu": {"model": "AMD EPYC", "usable_cores": 2},
        "libraries": {"torch": "2.13.0", "numpy": "2.4.6"},
        "gpus": [],
        "git": {"commit": "48e38a763aaaaaaaaaaa", "dirty": True},
        "data": {"name": "built-in sample set", "samples": 316, "comparable": False},
        "peak": {
            "precision": "fp32",
            "operations_per_second": 195.0e9,
            "copy_bytes_per_second": 34.7e9,
            "threads": 2,
            "library": "torch 2.13.0",
            "date": "2026-08-20T09:00:00+00:00",
            "n": 1,
            "quiet": True,
        },
    },
    telemetry={},
    timings={"export": None, "prepare": 0.4, "load": 1.25, "warm_up": 4.8, "probe": 3.1, "run": 20.1, "accuracy": 6.0},
    warnings=["rate found by a probe: asked for 80% of the highest"],
    files={"ledger": "queries.parquet", "report": "report.md", "page": "report.html"},
    complete=True,
    exit_code=0,
)


def changed(run: Run, **changes: Any) -> Run:
    """A copy with some fields replaced; mappings are merged."""
    merged = {name: {**(getattr(run, name) or {}), **value} if isinstance(value, dict) else value for name, value in changes.items()}
    return replace(run, **merged)


INVALID = changed(
    VALID,
    verdict={"valid": False, "reasons": [_REASON, {"code": "lost", "text": "3 samples were lost", "cure": ""}]},
    latency_ns={"p99": 151_000_000, "p99.9": 170_000_000, "max": 171_000_000},
    counts={"queries": 412, "samples": 412, "errors": 2, "lost": 3},
    early_stopping={"met": False, "queries": 412, "needed": 662, "text": "p99 needs 250 more queries to be certain"},
    exit_code=int(ExitCode.INVALID),
)

ACCURACY_MISSED = changed(
    VALID,
    config={"rules": "standard"},
    verdict={
        "valid": False,
        "reasons": [{"code": "accuracy", "text": "f1 61.000 is below its target 87.318", "cure": "use a precision that keeps the answers"}],
    },
    accuracy={"value": 61.0, "passed": False, "interval": [55.0, 67.0]},
    conditions={"data": {"name": "SQuAD v1.1 dev", "samples": 10_833, "comparable": True}},
    exit_code=int(ExitCode.ACCURACY),
)

INTERRUPTED = changed(
    VALID,
    config={"scenario": "single-stream"},
    verdict={
        "valid": False,
        "metric": {"name": "p90_latency", "value": 21_000_000.0, "unit": "ns", "better": "lower"},
        "reasons": [{"code": "interrupted", "text": "interrupted by Ctrl-C; what was measured until then is kept", "cure": "run it again"}],
    },
    accuracy=None,
    latency_ns={
        "min": 14_200_000,
        "mean": 18_100_000,
        "p50": 17_000_000,
        **dict.fromkeys(("p90", "p95", "p97", "p99", "p99.9")),
        "max": 22_000_000,
    },
    counts={"queries": 40, "samples": 40},
    traffic={"rates": {}, "lateness_ns": None},
    early_stopping={
        "percentile": 0.9,
        "met": False,
        "queries": 40,
        "needed": 64,
        "text": "p90 needs 24 more queries to be certain",
    },
    warnings=["accuracy was not checked: the run did not end as it should"],
    complete=False,
    exit_code=int(ExitCode.INTERRUPTED),
)

NULL = changed(
    VALID,
    config={"scenario": "offline", "backend": "null"},
    verdict={"metric": {"name": "samples_per_second", "value": 10_651_340.2, "unit": "samples/s", "better": "higher"}},
    accuracy=None,
    throughput=dict.fromkeys(VALID.throughput) | {"samples_per_second": 10_651_340.2, "queries_per_second": 0.126},
    counts={"queries": 1, "samples": 84_260_000},
    traffic={"rates": {"samples_per_second": 10_651_340.2}, "lateness_ns": {"n": 1, "p50": 5, "p99": 5, "max": 5}},
    early_stopping=None,
    backend={"runtime": "null", "answers": False, "needs_inputs": False},
    model=None,
    warnings=["the backend is no model: this measures the harness, and there is no accuracy"],
)

FAILED = changed(
    MINIMAL,
    config={"scenario": "server", "task": "squad", "backend": "mine/engine.py", "rules": "quick"},
    verdict={
        "valid": False,
        "reasons": [
            {"code": "failed", "text": "mine/engine.py failed in warm-up: ValueError: [red]x[/red] | y\nsecond line", "cure": "mend it"}
        ],
    },
    backend={"answers": True},
    complete=False,
    exit_code=int(ExitCode.FAILED),
)
FAILED = replace(FAILED, latency_ns={}, throughput={}, counts={"queries": 0, "samples": 0, "errors": 0, "lost": 0})
