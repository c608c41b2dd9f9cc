"""What INT8 gives and takes: one table of size, latency, throughput and accuracy.

    python benchmarks/quantisation.py [--task squad] [--data FOLDER] [--examples 600] [--rounds 5] [--json FILE]

FP32 and INT8 answer the same samples in turns, in one process: a round plays every backend once, in another order each time, so that a
busy machine slows all of them alike, and what counts is the ratio. Latency is that of one sample at a time, throughput that of batches
sorted by length; both are computed by the backends Assay runs, on the shapes it gives them. Accuracy is scored on the answers of the
throughput turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import config as configuration
from harness import inputs, models, plugins
from harness.batching import Policy, collate, padded_lengths, shapes
from harness.core import Answer, Backend, BackendOptions, Batch, Int64, Model, Task
from harness.errors import MissingError

BACKENDS = ("pytorch:fp32", "onnxruntime:fp32", "onnxruntime:int8", "onnxruntime:int8-static")
TOKENS = 1024
"""Padded tokens of a batch: what is fastest on a CPU is what its caches hold."""

SEED = 20_240_601


@dataclass
class Contender:
    """One backend, loaded; what it answered and how long it took."""

    name: str
    backend: Backend
    bytes: int
    single_s: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def load(name: str, config: configuration.RunConfig, task: Task, model: Model, policy: Policy, threads: int) -> Contender:
    """Raises MissingError where something it needs is not installed, and what loading raises."""
    info, precision, words = plugins.find_backend(name)
    options = BackendOptions(
        precision=precision,
        device="cpu",
        threads=threads,
        options=words,
        cache=models.default_cache(),
        calibration=inputs.calibration_for(config, task, precision, info.calibrated),
        shapes=shapes(task.samples, policy),
    )
    backend: Backend = plugins.load("backends", plugins.split_backend(name).plugin).create(options)
    backend.load(model)
    return Contender(name, backend, int((backend.describe().get("file") or {}).get("bytes") or model.bytes))


# --------------------------------------------------------------------------------------------------------------------- measuring


def batches(task: Task, samples: Int64, policy: Policy) -> list[Batch]:
    """All samples, longest first, as many in a batch as its tokens allow."""
    lengths = task.samples.lengths
    waiting = list(samples[np.argsort(-lengths[samples], kind="stable")])
    found = []
    while waiting:
        width = int(padded_lengths(lengths[waiting[:1]], policy, task.samples.max_length)[0])
        count = policy.most_rows(width)
        found.append(collate(task.samples, np.array(waiting[:count]), policy))
        waiting = waiting[count:]
    return found


def play_singles(contenders: Sequence[Contender], singles: Sequence[Batch]) -> None:
    """Each sample by every backend, one after the other, in another order each time."""
    for number, batch in enumerate(singles):
        for contender in _turned(contenders, number):
            start = time.perf_counter()
            contender.backend.predict(batch)
            contender.single_s.append(time.perf_counter() - start)


def play_batches(contenders: Sequence[Contender], work: Sequence[Batch], rounds: int) -> None:
    """All of `work` by every backend in each round; the answers of the first round are kept."""
    samples = sum(len(batch.lengths) for batch in work)
    for number in range(rounds):
        for contender in _turned(contenders, number):
            start = time.perf_counter()
            outputs = [contender.backend.predict(batch) for batch in work]
            contender.rate.append(samples / (time.perf_counter() - start))
            if number == 0:
                contender.answers = dict(pair for batch, found in zip(work, outputs, strict=True) for pair in _answers(batch, found))


def _turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _answers(batch: Batch, found: Mapping[str, Any]) -> Iterator[tuple[int, Answer]]:
    """Rows without their padding."""
    width = batch.input_ids.shape[1]
    for row, (sample, length) in enumerate(zip(batch.samples, batch.lengths, strict=True)):
        yield int(sample), {n: values[row, :length] if values.shape[1:] == (width,) else values[row] for n, values in found.items()}


# ----------------------------------------------------------------------------------------------------------------------- results


def result(contender: Contender, first: Contender, metric: str) -> dict[str, Any]:
    """Figures of one backend; ratios and points lost are against `first`, turn by turn."""
    singles, base = np.array(contender.single_s) * 1e3, np.array(first.single_s) * 1e3
    description = contender.backend.describe()
    return {
        "backend": contender.name,
        "bytes": contender.bytes,
        "smaller": first.bytes / contender.bytes,
        "single_p50_ms": float(np.percentile(singles, 50)),
        "single_p90_ms": float(np.percentile(singles, 90)),
        "latency_ratio": float(np.median(base / singles)),
        "samples_per_second": median(contender.rate),
        "throughput_ratio": median(mine / other for mine, other in zip(contender.rate, first.rate, strict=True)),
        "scores": contender.scores,
        "points_lost": first.scores[metric] - contender.scores[metric],
        "quantisation": description.get("quantisation"),
        "quantised_matmuls": description.get("quantised_matmuls"),
    }


def markdown(results: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    head = ["backend", "MB", "smaller", "1 sample p50 / p90, ms", "faster", "samples/s", "faster", *metrics, "points lost"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for found in results:
        cells = [
            f"`{found['backend']}`",
            f"{found['bytes'] / 1e6:.1f}",
            f"{found['smaller']:.2f}x",
            f"{found['single_p50_ms']:.1f} / {found['single_p90_ms']:.1f}",
            f"{found['latency_ratio']:.2f}x",
            f"{found['samples_per_second']:.1f}",
            f"{found['throughput_ratio']:.2f}x",
            *(f"{found['scores'][metric]:.2f}" for metric in metrics),
            f"{found['points_lost']:+.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def all_loaded(
    names: Sequence[str], config: configuration.RunConfig, task: Task, model: Model, policy: Policy, threads: int
) -> list[Contender]:
    """Those that can run here; why others cannot goes to stderr."""
    found = []
    for name in names:
        try:
            found.append(load(name, config, task, model, policy, threads))
        except MissingError as error:
            print(f"{name}: {error} ({error.cure})", file=sys.stderr)
    return found


def measure(contenders: Sequence[Contender], task: Task, samples: Int64, policy: Policy, rounds: int, singles: int) -> None:
    """Warms all, then plays batches and single samples, then scores."""
    work = batches(task, samples, policy)
    chosen = samples[:: max(1, len(samples) // singles)]
    alone = [collate(task.samples, np.array([sample]), policy) for sample in chosen]
    play_batches(contenders, work[:3], 1)
    play_singles(contenders, alone[:3])
    for contender in contenders:
        contender.rate, contender.single_s = [], []
    play_batches(contenders, work, rounds)
    play_singles(contenders, alone)
    for contender in contenders:
        contender.scores = task.score(contender.answers)


def main() -> None:
    given = _arguments()
    said = {"task": given.task, "backend": "pytorch:fp32", "device": "cpu"} | ({"data": str(given.data)} if given.data else {})
    config = configuration.load(said, origin=str)
    model = inputs.find_model(config, cache=models.default_cache())
    task = inputs.make_task(config, model, cache=models.default_cache())
    policy = Policy("sorted", max_batch=32, max_tokens=TOKENS)
    samples = task.subset(given.examples, SEED)
    contenders = all_loaded(given.backend or BACKENDS, config, task, model, policy, given.threads)
    measure(contenders, task, samples, policy, given.rounds, given.singles)
    results = [result(contender, contenders[0], task.metric) for contender in contenders]
    metrics = dict.fromkeys(name for name in ("exact_match", task.metric) if name in contenders[0].scores)
    print(f"{model.name} on {task.data_name}, {given.examples} examples as {len(samples)} samples; {given.threads} threads")
    print(f"\n{markdown(results, list(metrics))}\n")
    document = {"model": model.name, "sha256": model.sha256, "data": task.data_name, "samples": len(samples), "threads": given.threads}
    text = json.dumps(document | {"results": results})
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Size, latency, throughput and accuracy of FP32 and INT8.")
    parser.add_argument("--task", default="squad")
    parser.add_argument("--data", type=Path, default=os.environ.get("ASSAY_DATA"), help="folder with the official data")
    parser.add_argument("--examples", "--samples", type=int, default=400, help="questions to score and to play")
    parser.add_argument("--singles", type=int, default=60, help="samples to time one at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--backend", action="append", help="instead of the four; the first is what others are compared with")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
