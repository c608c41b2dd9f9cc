"""What does one reading of telemetry cost the run beside it? Its speed while the sampler reads, and just before and after.

    python benchmarks/telemetry_readings.py [--seconds 100] [--interval 0.25] [--backend null] [--backend pytorch:fp32] [--json FILE]

On a shared machine two runs of two seconds differ by several per cent, and `benchmarks/telemetry_cost.py`, which compares runs with and
without a sampler, needs hours to tell half a per cent. Here both sides lie within a tenth of a second: one single-stream run with a sampler
beside it that reads every `--interval` seconds; of each reading, the work done in the `WINDOW_NS` after it began against the work in the
`AROUND_NS` before and behind. What is missing is the time that the reading took from the run. The same is asked of the instant half-way to
the next reading, where nothing is read, and taken off: what the machine does by itself falls on both. At a reading a second, the time lost
is the share that telemetry costs. Bursts of other guests of the host are many times as long as a reading: of the differences, the tenth at
each end is left out.
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
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import compare, conditions, session, stages
from harness.bench import Bench, make_ready, prepare
from harness.config import load
from harness.core import SECOND_NS
from harness.crew import Crew, patience
from harness.instances.auto import form_crew
from harness.progress import Silent
from harness.telemetry.stream import beside

WINDOW_NS = 25_000_000
"""A reading takes 1.5 to 2.5 ms of CPU time; what it displaces comes a little later."""
AROUND_NS = 50_000_000
EARLY_NS = 1_000_000
"""The window begins this much before the time of the reading, which the sampler takes as it begins."""
REACH_NS = EARLY_NS + WINDOW_NS + AROUND_NS
TRIMMED = 0.1
"""Share of the differences that is left out at each end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`lost_ms`: of the run by one reading, trimmed mean of `readings`, with its 95 % interval; `share`: of the throughput at a reading a
    second, in the same order."""

    backend: str
    readings: int
    lost_ms: tuple[float, float, float]
    share: tuple[float, float, float]


def lost_ns(taken_ns: NDArray[np.int64], done_ns: NDArray[np.int64], at_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Time that the run lost in the window of each reading, ns, (readings,). `taken_ns`, `done_ns`: of queries that were served one after
    another, (queries,) ascending; a query's work is spread evenly over its time. No reading may be nearer to an end than `REACH_NS`."""
    begin = at_ns - EARLY_NS
    during = _done(taken_ns, done_ns, begin, begin + WINDOW_NS)
    around = _done(taken_ns, done_ns, begin - AROUND_NS, begin) + _done(taken_ns, done_ns, begin + WINDOW_NS, begin + WINDOW_NS + AROUND_NS)
    rate = around / (2 * AROUND_NS)
    return np.asarray(WINDOW_NS - during / rate)


def _done(
    taken_ns: NDArray[np.int64], done_ns: NDArray[np.int64], from_ns: NDArray[np.int64], to_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Queries done between two instants, with fractions."""
    edges = np.concatenate([taken_ns[:1], done_ns])
    count = np.arange(len(edges), dtype=np.float64)
    return np.asarray(np.interp(to_ns, edges, count) - np.interp(from_ns, edges, count))


def trimmed_mean(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean without `TRIMMED` at each end, and its 95 % interval by the winsorised deviation (Tukey and McLaughlin, Sankhya A 25, 1963)."""
    ascending, cut = np.sort(values), int(TRIMMED * len(values))
    middle = float(ascending[cut : len(values) - cut].mean())
    winsorised = np.clip(ascending, ascending[cut], ascending[len(values) - cut - 1])
    error = float(winsorised.std(ddof=1)) / ((1 - 2 * TRIMMED) * len(values) ** 0.5)
    half = compare.student_quantile(0.975, len(values) - 2 * cut - 1) * error
    return middle, middle - half, middle + half


def measure(backend: str, seconds: float, interval_s: float) -> Answer:
    """Load it, warm it, and run once with a sampler beside it. A sample of the same length each time, so that all queries are alike."""
    asked = {"backend": backend, "task": "sst2", "scenario": "single-stream", "issue": "same", "duration": seconds, "accuracy": False}
    bench = prepare(load(asked), Silent())
    make_ready(bench, backend)
    crew = form_crew(bench, conditions.collect(), session.LOAD_PATIENCE * 60)
    try:
        crew.call("load", tick=patience(session.LOAD_PATIENCE * 60))
        session.warm(bench, crew)
        return _run(bench, crew, backend, interval_s)
    finally:
        crew.close()


def _run(bench: Bench, crew: Crew, backend: str, interval_s: float) -> Answer:
    with beside(os.getpid(), interval_s) as stream:
        while stream.running and not stream.rows().at_ns:
            time.sleep(0.02)
        measured = stages.run_stage(bench, crew, replace(bench.settings, min_queries=1), "run").measured
        at_ns = np.array(stream.rows().at_ns, np.int64) - measured.start_ns
    columns = measured.columns
    pairs = np.stack([at_ns[:-1], at_ns[:-1] + np.diff(at_ns) // 2])
    pairs = pairs[:, (pairs[0] >= REACH_NS) & (pairs[1] <= columns.done_ns[-1] - REACH_NS)]
    lost, nothing = (lost_ns(columns.taken_ns, columns.done_ns, at) for at in pairs)
    middle, low, high = trimmed_mean(lost - nothing)
    ms, second = 1e6, float(SECOND_NS)
    return Answer(backend, len(lost), (middle / ms, low / ms, high / ms), (middle / second, low / second, high / second))


def _text(found: Answer) -> str:
    lost, share = found.lost_ms, found.share
    return (
        f"{found.backend}: a reading costs {lost[0]:.2f} ms ({lost[1]:.2f} to {lost[2]:.2f}, {found.readings} readings), at one a second "
        f"{share[0]:.3%} of the throughput ({share[1]:.3%} to {share[2]:.3%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=100.0, help="length of a run (default 100)")
    parser.add_argument("--interval", type=float, default=0.25, help="seconds between readings (default 0.25)")
    parser.add_argument("--backend", action="append", help="may be given again (default: null and pytorch:fp32)")
    parser.add_argument("--json", type=Path, help="write the answers there")
    words = parser.parse_args()
    answers = []
    for backend in words.backend or ["null", "pytorch:fp32"]:
        answers.append(measure(backend, words.seconds, words.interval))
        print(_text(answers[-1]), flush=True)
    if words.json:
        words.json.write_text(json.dumps([asdict(each) for each in answers], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
