"""The harness's own cost, side by side with the official LoadGen.

    python benchmarks/overhead.py [--rounds 5] [--json FILE]

Ours: the real ledger, worker loop and scenarios with the null backend. LoadGen: `mlcommons-loadgen` with a Python SUT that completes
every query in its callback. Each figure comes from a process of its own; ours and LoadGen's alternate, and what counts is the ratio of
the medians: absolute times on a shared machine say little. The conditions are the easiest for both: no trace, no model, one worker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SINGLE_STREAM_QUERIES = 1_000_000
SERVER_QPS = 20_000.0
SERVER_SECONDS = 10
OFFLINE_SAMPLES = 2_000_000
OFFLINE_BATCH = 8192
SCHEDULE_QUERIES = 10_000_000
LOADED = 10_833

# -------------------------------------------------------------------------------------------------------------------------- ours


def _serve(scenario: str, max_batch: int, **settings: Any) -> tuple[Any, float]:
    """Play a scenario with the null backend in this thread; its ledger and the seconds it took."""
    from harness import plugins
    from harness.batching import Policy
    from harness.clock import MonotonicClock
    from harness.core import BackendOptions, Settings
    from harness.ledger import Ledger
    from harness.worker import Report, serve_null

    backend = plugins.load("backends", "null").create(BackendOptions())
    backend.load(None)
    traffic = plugins.load("scenarios", scenario).create().traffic(Settings(**settings), LOADED)
    ledger = Ledger(
        traffic, Policy("fifo", max_batch), MonotonicClock(), feed=lambda _columns: traffic.more(65_536) if traffic.more else None
    )
    if traffic.due_ns is not None:
        ledger.final = True
    start = time.perf_counter()
    serve_null(ledger, backend, Report(0))
    seconds = time.perf_counter() - start
    return ledger.columns(1 << 62), seconds


def ours_single_stream() -> dict[str, float]:
    columns, seconds = _serve("single-stream", 1, min_duration_ns=0, min_queries=SINGLE_STREAM_QUERIES)
    return {"ns_per_query": seconds * 1e9 / len(columns.query)}


def ours_server() -> dict[str, float]:
    columns, _ = _serve("server", 1, min_duration_ns=SERVER_SECONDS * 10**9, target_qps=SERVER_QPS)
    latency = np.sort(columns.latency_ns)
    return {"p50_ns": float(latency[len(latency) // 2]), "p99_ns": float(latency[int(len(latency) * 0.99)])}


def ours_offline() -> dict[str, float]:
    columns, seconds = _serve("offline", OFFLINE_BATCH, min_duration_ns=0, min_queries=OFFLINE_SAMPLES)
    return {"samples_per_second": len(columns.query) / seconds}


def ours_schedule() -> dict[str, float]:
    """From asking for 10 million queries to holding the first one; then play them all and see what they took in memory."""
    from harness import plugins
    from harness.batching import Policy
    from harness.clock import MonotonicClock
    from harness.core import BackendOptions, Settings
    from harness.ledger import Ledger
    from harness.worker import Report, serve_null

    backend = plugins.load("backends", "null").create(BackendOptions())
    scenario = plugins.load("scenarios", "server").create()
    before = _peak_bytes()
    start = time.perf_counter()
    settings = Settings(target_qps=SCHEDULE_QUERIES / 10, min_duration_ns=10 * 10**9)
    ledger = Ledger(scenario.traffic(settings, LOADED), Policy("fifo", 1), MonotonicClock())
    ledger.join()
    ledger.complete(ledger.take())  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    serve_null(ledger, backend, Report(0))
    return {"seconds_to_first_query": seconds, "bytes_per_query": (_peak_bytes() - before) / ledger.rows, "queries": ledger.rows}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ----------------------------------------------------------------------------------------------------------------------- LoadGen


def _loadgen(scenario: str, on_first: Callable[[], None] | None = None, **fields: Any) -> dict[str, float]:
    """Run the official LoadGen with a do-nothing SUT; the figures of its summary."""
    import mlperf_loadgen as lg

    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    for name, value in fields.items():
        setattr(settings, name, value)

    def issue(samples: list[Any]) -> None:
        if on_first is not None:
            on_first()
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])

    with tempfile.TemporaryDirectory() as folder:
        log = lg.LogSettings()
        log.enable_trace = False
        log.log_output.outdir = folder
        sut = lg.ConstructSUT(issue, lambda: None)
        qsl = lg.ConstructQSL(LOADED, LOADED, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, qsl, settings, log)
        text = (Path(folder) / "mlperf_log_summary.txt").read_text()
    return {name.strip(): float(value) for name, value in re.findall(r"^(.*?)\s*:\s*([\d.e+]+)$", text, re.MULTILINE)}


def loadgen_single_stream() -> dict[str, float]:
    found = _loadgen(
        "SingleStream",
        min_duration_ms=0,
        min_query_count=SINGLE_STREAM_QUERIES,
        max_query_count=SINGLE_STREAM_QUERIES,
    )
    return {"ns_per_query": 1e9 / found["QPS w/ loadgen overhead"]}


def loadgen_server() -> dict[str, float]:
    found = _loadgen("Server", min_duration_ms=SERVER_SECONDS * 1000, server_target_qps=SERVER_QPS, server_target_latency_ns=10**9)
    return {"p50_ns": found["50.00 percentile latency (ns)"], "p99_ns": found["99.00 percentile latency (ns)"]}


def loadgen_offline() -> dict[str, float]:
    found = _loadgen("Offline", min_duration_ms=0, min_query_count=OFFLINE_SAMPLES)
    return {"samples_per_second": found["Samples per second"]}


def loadgen_schedule() -> dict[str, float]:
    start = time.perf_counter()

    def first() -> None:
        print(json.dumps({"seconds_to_first_query": time.perf_counter() - start, "peak_bytes": _peak_bytes()}), flush=True)
        os._exit(0)  # 10 million queries in LoadGen's Python path would take half a minute more and add nothing

    _loadgen("Server", first, min_duration_ms=10_000, server_target_qps=SCHEDULE_QUERIES / 10)
    return {}


# ---------------------------------------------------------------------------------------------------------------------- the table

CASES = ("single_stream", "server", "offline", "schedule")

# figure: (case, key, target for ours / LoadGen, what it means)
TARGETS: dict[str, tuple[str, str, float, str]] = {
    "single-stream cost per query": ("single_stream", "ns_per_query", 1 / 3, "ns"),
    f"server {SERVER_QPS:,.0f}/s added latency p50": ("server", "p50_ns", 1 / 20, "ns"),
    f"server {SERVER_QPS:,.0f}/s added latency p99": ("server", "p99_ns", 1.0, "ns"),
    "offline cost per sample": ("offline", "ns_per_sample", 1 / 10, "ns"),
    "10 M server queries: start to first query": ("schedule", "seconds_to_first_query", 1 / 5, "s"),
}

BYTES_TARGET = 64


def _child(name: str) -> dict[str, float]:
    """Run one measurement in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--case", name], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    if "samples_per_second" in found:
        found["ns_per_sample"] = 1e9 / found["samples_per_second"]
    return found


def compare(rounds: int) -> dict[str, Any]:
    """All cases, ours and LoadGen's in alternation, `rounds` times."""
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(rounds):
        for case in CASES:
            sides = ("ours", "loadgen") if turn % 2 == 0 else ("loadgen", "ours")
            for side in sides:
                found.setdefault(f"{side}_{case}", []).append(_child(f"{side}_{case}"))
    rows = []
    for figure, (case, key, target, unit) in TARGETS.items():
        ours, theirs = ([each[key] for each in found[f"{side}_{case}"]] for side in ("ours", "loadgen"))
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        rows.append(
            {
                "figure": figure,
                "unit": unit,
                "ours": median(ours),
                "loadgen": median(theirs),
                "ratio": median(ours) / median(theirs),
                "ratio_min": ratios[0],
                "ratio_max": ratios[-1],
                "target": target,
            }
        )
    memory = median(each["bytes_per_query"] for each in found["ours_schedule"])
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "rounds": rounds,
        "rows": rows,
        "bytes_per_query": memory,
        "met": all(row["ratio"] <= row["target"] for row in rows) and memory <= BYTES_TARGET,
    }


def table(result: dict[str, Any]) -> str:
    """The comparison for people."""
    lines = [
        f"{result['machine']}; medians of {result['rounds']} alternating rounds",
        f"{'':46}{'ours':>14}{'LoadGen':>14}{'ratio':>9}{'(min to max)':>18}{'target':>9}",
    ]
    for row in result["rows"]:
        spread = f"{row['ratio_min']:.3f} to {row['ratio_max']:.3f}"
        ours, theirs = (f"{row[side]:,.2f} {row['unit']}" for side in ("ours", "loadgen"))
        lines.append(f"{row['figure']:46}{ours:>14}{theirs:>14}{row['ratio']:>9.3f}{spread:>18}{row['target']:>9.3f}")
    lines.append(f"{'10 M server queries: memory of the run':46}{result['bytes_per_query']:>8.1f} B/query{'':>39}{BYTES_TARGET:>9}")
    lines.append("all targets met" if result["met"] else "TARGETS MISSED")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(globals()[options.case]()))
        return 0
    result = compare(options.rounds)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
