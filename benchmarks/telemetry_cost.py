"""Does telemetry slow a run down? Throughput with a sampler beside it and without, block by block in one process.

    python benchmarks/telemetry_cost.py [--blocks 20] [--seconds 3] [--interval 1] [--backend null] [--backend pytorch:fp32] [--json FILE]

A backend is loaded and warmed once; then a block is four runs of `--seconds` in the order of `harness.compare.order` (without, with, with,
without, and the other way round), so that a drift of the machine falls on both. The sampler is started, and has taken its first reading,
before its run begins. What counts is the ratio inside blocks with its 95 % interval: the whole of it is to lie within 0.5 % of 1. On a
machine that others use the interval is wide, and the benchmark says so rather than call it a difference.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import compare, conditions, session, stages
from harness.bench import Bench, make_ready, prepare
from harness.config import load
from harness.core import SECOND_NS
from harness.crew import Crew, patience
from harness.instances.auto import form_crew
from harness.progress import Silent
from harness.telemetry.account import cost
from harness.telemetry.recording import Recording
from harness.telemetry.stream import beside

BOUND = 0.005
"""Largest difference of throughput that is accepted."""

SCENARIOS = {"null": "single-stream"}
"""Offline, but for the backend that does nothing: there a query at a time shows the harness's own cost best."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`ratio`: throughput with telemetry over throughput without, and its 95 % interval; `core_share`: of one core, median of the blocks,
    by the sampler's own account."""

    backend: str
    blocks: int
    ratio: float
    low: float
    high: float
    core_share: float
    word: str


def stretch(bench: Bench, crew: Crew, interval_s: float) -> tuple[float, Recording]:
    """Samples a second of one run, and what was read beside it."""
    with beside(os.getpid(), interval_s) as stream:
        while stream.running and not stream.rows().at_ns:
            time.sleep(0.02)
        measured = stages.run_stage(bench, crew, bench.settings, "run").measured
    served = int(np.count_nonzero(measured.columns.served))
    return served / (measured.columns.end_ns / SECOND_NS), stream.rows()


def measure(backend: str, blocks: int, seconds: float, interval_s: float) -> Answer:
    """Load it, warm it, and measure block by block."""
    scenario = SCENARIOS.get(backend.partition(":")[0], "offline")
    bench = prepare(load({"backend": backend, "task": "sst2", "scenario": scenario, "duration": seconds, "accuracy": False}), Silent())
    make_ready(bench, backend)
    crew = form_crew(bench, conditions.collect(), session.LOAD_PATIENCE * 60)
    try:
        crew.call("load", tick=patience(session.LOAD_PATIENCE * 60))
        session.warm(bench, crew)
        bench.settings = replace(bench.settings, min_queries=1)
        rates, shares = _rates(bench, crew, blocks, interval_s)
    finally:
        crew.close()
    found = compare.ratio(rates[1], rates[0], seed=1)
    return Answer(backend, blocks, found.value, found.low, found.high, float(np.median(shares)), _word(found.low, found.high))


def _rates(bench: Bench, crew: Crew, blocks: int, interval_s: float) -> tuple[list[list[float]], list[float]]:
    """Rates without and with, block by block, and the sampler's shares of a core. The first block is thrown away."""
    rates: list[list[float]] = [[], []]
    shares = []
    for number in range(-1, blocks):
        seen: list[list[float]] = [[], []]
        for side in compare.order(2, max(0, number)):
            rate, recording = stretch(bench, crew, interval_s * side)
            seen[side].append(rate)
            share = cost(recording)["core_share"] if side and number >= 0 else None
            shares += [] if share is None else [share]
        if number >= 0:
            rates = [[*before, float(np.mean(now))] for before, now in zip(rates, seen, strict=True)]
        print(f"\r{bench.config.backend}: {number + 1} of {blocks}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rates, shares


def _word(low: float, high: float) -> str:
    if low >= 1 - BOUND and high <= 1 + BOUND:
        return f"within {BOUND:.1%}"
    return "a difference" if high < 1 - BOUND or low > 1 + BOUND else "not decided: more blocks, or a quieter machine"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=20, help="blocks of four runs (default 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run (default 3)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between readings (default 1)")
    parser.add_argument("--backend", action="append", help="may be given again (default: null and pytorch:fp32)")
    parser.add_argument("--json", type=Path, help="write the answers there")
    words = parser.parse_args()
    answers = []
    for backend in words.backend or ["null", "pytorch:fp32"]:
        answer = measure(backend, words.blocks, words.seconds, words.interval)
        answers.append(asdict(answer))
        print(
            f"{backend}: {answer.ratio:.4f} times the throughput with telemetry ({answer.low:.4f} to {answer.high:.4f}, "
            f"{answer.blocks} blocks): {answer.word}; the sampler used {answer.core_share:.2%} of a core"
        )
    if words.json:
        words.json.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
