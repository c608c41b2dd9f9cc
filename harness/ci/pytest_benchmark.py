"""Runs as the JSON of pytest-benchmark, which `pytest-benchmark compare` reads beside that of any test suite. Pure.

A round is a query; where a single query asks for everything (Offline) it is one of 50 equal parts of the run and an iteration is a sample,
so that `ops` is samples a second. The statistics are pytest-benchmark's own (its stats.py): quartiles by the median of halves, outliers by
Tukey's fences.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import card
from harness.core import Columns, Run
from harness.errors import MissingError
from harness.validity import query_latency_ns

Floats = NDArray[np.float64]

VERSION = "5.3.1"
"""The version of pytest-benchmark whose layout this is; it writes its own version here, and reads any."""

PARTS = 50
MOST_ROUNDS = 10_000
"""More are put together by time: pytest-benchmark's own arithmetic takes a second for a million rounds."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured: seconds an iteration took in each round (rounds,), and iterations in a round (mean, where they differ)."""

    seconds: Floats
    iterations: int


def rounds(run: Run, columns: Columns | None) -> Rounds | None:
    """None where nothing was served, or the ledger is not there."""
    if columns is None or not columns.served.all() or not len(columns.sample):
        return None
    if run.config.get("scenario") == "offline":
        return _parts(columns)
    return thinned(query_latency_ns(columns) / 1e9)


def thinned(seconds: Floats) -> Rounds:
    """At most `MOST_ROUNDS`: means of as many neighbours each, the rest in the last."""
    each = math.ceil(len(seconds) / MOST_ROUNDS)
    if each == 1:
        return Rounds(seconds, 1)
    starts = np.arange(0, len(seconds), each)
    return Rounds(np.add.reduceat(seconds, starts) / np.diff(starts, append=len(seconds)), each)


def _parts(columns: Columns) -> Rounds:
    """Seconds a sample in equal parts by the order of the answers; their mean is the time of the run over its samples. Answers of one
    call come at once, so that parts end with calls."""
    done = np.sort(columns.done_ns)
    ends, counts = np.unique(done, return_counts=True)
    wanted = np.searchsorted(np.cumsum(counts), len(done) * np.arange(1, PARTS + 1) / PARTS - 0.5)
    ends_at = np.unique(np.minimum(wanted, len(ends) - 1))
    samples = np.diff(np.cumsum(counts)[ends_at], prepend=0)
    took = np.diff(ends[ends_at], prepend=0) / 1e9
    return Rounds(took / samples, max(1, round(float(samples.mean()))))


# --------------------------------------------------------------------------------------------------------------------- the file


def render(runs: Sequence[Run], columns: Sequence[Columns | None]) -> str:
    """The file. Raises MissingError where no run is VALID, or its ledger is gone."""
    counting = [(run, found) for run, ledger in zip(runs, columns, strict=True) if card.make(run).counts and (found := rounds(run, ledger))]
    if not counting:
        said = ", ".join(f"{run.run_id}: {card.make(run).word}" for run in runs)
        raise MissingError(f"no run has rounds to export ({said})", "export runs that are VALID and still have their queries.parquet")
    newest = max((run for run, _ in counting), key=lambda run: run.started_utc)
    made = {
        "machine_info": _machine(newest.conditions),
        "commit_info": _commit(newest),
        "benchmarks": [_benchmark(run, found) for run, found in counting],
        "datetime": newest.started_utc,
        "version": VERSION,
    }
    return json.dumps(made, indent=4, ensure_ascii=True, allow_nan=False) + "\n"


def _benchmark(run: Run, found: Rounds) -> dict[str, Any]:
    settings = run.config
    params = {key: str(settings[key]) for key in ("scenario", "task", "backend", "name") if settings.get(key)}
    name = f"assay[{'-'.join(params.values())}]"
    made = card.make(run)
    extra: dict[str, Any] = {"run": run.run_id, "marks": list(made.marks), "machine": made.machine, "iteration": iteration(run)}
    if made.headline:
        extra["headline"] = f"{made.headline.name}: {made.headline.text} ({made.headline.note})"
    if run.accuracy:
        extra["accuracy"] = {key: run.accuracy.get(key) for key in ("metric", "value", "target", "passed")}
    return {
        "group": f"{settings.get('scenario')} {settings.get('task')}",
        "name": name,
        "fullname": f"assay::{name}",
        "params": params,
        "param": "-".join(params.values()),
        "extra_info": extra,
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": len(found.seconds), "warmup": True},
        "stats": stats(found),
    }


def iteration(run: Run) -> str:
    """What one iteration is."""
    return "seconds for a sample" if run.config.get("scenario") == "offline" else "latency of a query, from when it was due"


def stats(found: Rounds) -> dict[str, Any]:
    """The fields of pytest-benchmark's `Stats`, in seconds, from (rounds,) values, at least one."""
    ordered = np.sort(found.seconds)
    count, mean = len(ordered), float(ordered.mean())
    deviation = float(ordered.std(ddof=1)) if count > 1 else 0.0
    q1, q3 = _quartiles(ordered)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = int(np.count_nonzero(np.abs(ordered - mean) > deviation))
    outliers = int(np.count_nonzero((ordered < low) | (ordered > high)))
    return {
        "min": float(ordered[0]),
        "max": float(ordered[-1]),
        "mean": mean,
        "stddev": deviation,
        "rounds": count,
        "median": float(np.median(ordered)),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outliers,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outliers}",
        "ld15iqr": float(ordered[np.searchsorted(ordered, low, "left")]),
        "hd15iqr": float(ordered[np.searchsorted(ordered, high, "right") - 1]),
        "ops": 1 / mean if mean else 0.0,
        "total": float(ordered.sum()),
        "iterations": found.iterations,
    }


def _quartiles(ordered: Floats) -> tuple[float, float]:
    """Method 2 of three (medians of the halves) for an even number, else method 3, as pytest-benchmark has them."""
    count = len(ordered)
    if count == 1:
        return float(ordered[0]), float(ordered[0])
    if count % 2 == 0:
        return float(np.median(ordered[: count // 2])), float(np.median(ordered[count // 2 :]))
    n, rest = divmod(count, 4)
    if rest == 1:
        return float(0.25 * ordered[n - 1] + 0.75 * ordered[n]), float(0.75 * ordered[3 * n] + 0.25 * ordered[3 * n + 1])
    return float(0.75 * ordered[n] + 0.25 * ordered[n + 1]), float(0.25 * ordered[3 * n + 1] + 0.75 * ordered[3 * n + 2])


def _machine(conditions: Mapping[str, Any]) -> dict[str, Any]:
    cpu = conditions.get("cpu") or {}
    return {
        "node": conditions.get("hostname"),
        "processor": cpu.get("model"),
        "machine": conditions.get("machine"),
        "python_implementation": "CPython",
        "python_version": conditions.get("python"),
        "release": conditions.get("kernel"),
        "system": conditions.get("os"),
        "cpu": {"brand_raw": cpu.get("model"), "count": cpu.get("logical_cores")},
    }


def _commit(run: Run) -> dict[str, Any]:
    git = run.conditions.get("git") or {}
    return {"id": git.get("commit"), "time": run.started_utc, "dirty": git.get("dirty"), "project": "assay", "branch": git.get("branch")}
