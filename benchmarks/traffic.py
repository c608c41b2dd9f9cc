"""How fast traffic is made, and how fast simulated time runs.

    python benchmarks/traffic.py [--rounds 3] [--json FILE]

Every scenario generates a million queries (LoadGen's sequence, MLPerf's set of 10,833 samples); then a server and an offline run are
played in simulated time. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import plugins
from harness.batching import Policy
from harness.core import Settings, Traffic
from harness.testing import simulate

QUERIES = 1_000_000
LOADED = 10_833
SERVICE_NS = 40_000_000  # a BERT-type model on two cores


def generate(scenario: str) -> Callable[[], int]:
    """Makes the rows of a million queries; how many rows that were."""

    def once() -> int:
        settings = Settings(min_duration_ns=0, min_queries=QUERIES, target_qps=1000.0)
        traffic = plugins.load("scenarios", scenario).create().traffic(settings, LOADED)
        rows = len(traffic.sample)
        while traffic.due_ns is None and traffic.more is not None and int(traffic.query[-1]) + 1 < QUERIES:
            traffic = traffic.more(65_536)
            rows += len(traffic.sample)
        return rows

    return once


def play(scenario: str, policy: Policy, rate: float, queries: int) -> float:
    """Plays a run in simulated time; simulated seconds per real second."""
    lengths = np.random.default_rng(0).integers(41, 384, LOADED)
    settings = Settings(min_duration_ns=0, min_queries=queries, target_qps=rate)
    traffic: Traffic = plugins.load("scenarios", scenario).create().traffic(settings, LOADED)
    start = time.perf_counter()
    columns = simulate(traffic, policy, lambda rows: SERVICE_NS * len(rows), lengths=lengths)
    return columns.end_ns / 1e9 / (time.perf_counter() - start)


def seconds_of(work: Callable[[], int], rounds: int) -> tuple[float, int]:
    times, rows = [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        rows = work()
        times.append(time.perf_counter() - start)
    return median(times), rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    found: dict[str, float] = {}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians of {options.rounds} rounds")
    for scenario in ("single-stream", "multi-stream", "server", "offline"):
        seconds, rows = seconds_of(generate(scenario), options.rounds)
        found[f"{scenario} s"] = seconds
        print(f"{scenario:14} 1 M queries ({rows:,} rows) generated in {seconds:.3f} s")
    for scenario, policy in (("server", Policy("fifo", 1)), ("server", Policy("sorted", 32)), ("offline", Policy("sorted", 32))):
        speed = median(play(scenario, policy, 20.0, 100_000) for _ in range(options.rounds))
        found[f"{scenario} {policy.kind} {policy.max_batch} x"] = speed
        print(f"{scenario:14} {policy.kind}, max-batch {policy.max_batch}: simulated time runs {speed:,.0f} times as fast as real time")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
