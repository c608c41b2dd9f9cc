"""How much faster than the reference way is each backend? One interleaved run on SQuAD with the embedded model; a table, and JSON.

    python benchmarks/throughput.py                                  # all backends, about 10 minutes on two cores
    python benchmarks/throughput.py --backends pytorch:fp32 onnxruntime:int8 --samples 200
    python benchmarks/throughput.py --out docs/results/throughput.json

The reference way (`benchmarks/reference_way.py`) is PyTorch FP32, one sample a call, padded to 384 tokens. Each backend runs at the best of
a few settings (one worker with all cores, or a pinned worker for each; token budgets of a batch), chosen in short alternating trials. Then
it is measured in turns, each between two turns of the reference way, so that a drift of the machine meets both: offline (all samples due
at once), and single-stream (one sample at a time; always one worker with all cores). Turns take different samples of the same lengths;
together they are the subset that accuracy is judged on, against FP32 on the same samples. Without it there is no ratio.

All of it runs through Assay's own workers, ledger and batching. Where a target of the project is missed, the floor by arithmetic is given:
operations of the samples over this machine's measured peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from throughput_contest import Contest, Plan, running  # noqa: E402
from throughput_table import Result, floor, missed, table, verdicts  # noqa: E402

from harness import accuracy, conditions, config, gate, model_facts, models, peaks, references  # noqa: E402
from harness.batching import CPU_TOKENS, Policy  # noqa: E402
from harness.bench import ANSWER_SEED, Bench, prepare  # noqa: E402
from harness.checkpoint import read_config  # noqa: E402
from harness.core import Answer, Int64  # noqa: E402
from harness.errors import AssayError  # noqa: E402
from harness.interference import WORTH_SAYING, cpu_time, others_share  # noqa: E402
from harness.progress import Silent  # noqa: E402

REFERENCE = str(HERE / "reference_way.py")
BACKENDS = (
    *("pytorch:fp32", "pytorch:fp32+packed", "pytorch:amp", "pytorch:amp+packed", "pytorch:int8-dynamic"),
    *("onnxruntime:fp32", "onnxruntime:int8", "onnxruntime:int8-static"),
    *("openvino:fp32", "openvino:bf16", "openvino:int8"),
)
SHARE = 0.99


def official(given: Path | None) -> Path | None:
    """The folder with squad/, if there is one."""
    folder = given or Path(os.environ.get("ASSAY_DATA") or HERE.parent.parent / "shared" / "data")
    return folder if given or folder.is_dir() else None


def make_bench(data: Path | None) -> Bench:
    settings: dict[str, Any] = {"task": "squad", "backend": "pytorch:fp32", "device": "cpu", "scenario": "offline", "progress": "none"}
    if data is not None:
        settings["data"] = str(data)
    return prepare(config.load(settings, origin=str), Silent())


def subset_of(bench: Bench, examples: int) -> Int64:
    """Samples of `examples` questions drawn by seed, longest first: every n-th of them has the lengths of all."""
    drawn = bench.task.subset(examples, ANSWER_SEED)
    found: Int64 = drawn[bench.task.samples.lengths[drawn].argsort(kind="stable")[::-1]]
    return found


def judged(bench: Bench, answers: dict[int, Answer], subset: Int64, reference: references.Reference) -> dict[str, Any]:
    """Score on the subset, beside FP32's."""
    found = accuracy.judge(bench.task, answers, np.sort(subset), reference, SHARE, "timed run")
    return {name: getattr(found, name) for name in ("metric", "value", "reference", "target", "passed", "samples")}


def told(result: Result) -> str:
    """One line for who waits."""
    if result.error:
        return f"{result.backend}: did not run: {result.error}"
    turns = ", ".join(f"{turn.rate:.1f}/s against {turn.reference_rate:.1f}/s of the reference way" for turn in result.turns)
    return f"{result.backend}: {turns}; F1 {result.accuracy['value']:.2f}"


def measure_all(bench: Bench, plan: Plan, subset: Int64, backends: list[str]) -> list[Result]:
    """Every backend against the reference way; one that does not run is in the list with its error. Ctrl-C ends
    with those that are done."""
    cores = conditions.usable_cores()
    assert bench.model is not None
    indices = np.sort(subset)
    reference = references.find(bench.model, bench.task, indices, models.default_cache(), lambda: gate.compute_reference(bench, indices))
    results = []
    with running(bench, REFERENCE, 1, cores, Policy("fixed", 1)) as runner:
        contest = Contest(bench, runner, plan, subset, cores)
        for backend in backends:
            try:
                result, answers = contest.against(backend)
                result.accuracy = judged(bench, answers, subset, reference)
            except KeyboardInterrupt:
                print(f"stopped before {backend}: the table has what was measured until then", file=sys.stderr, flush=True)
                break
            except AssayError as error:
                result = Result(backend, error=f"{error} {error.cure}".strip())
            print(told(result), file=sys.stderr, flush=True)
            results.append(result)
    return results


def add_floors(bench: Bench, results: list[Result], subset: Int64, known: dict[str, float]) -> float:
    """Mean operations of a sample; each result gets its floor."""
    assert bench.model is not None
    operations = model_facts.mean_operations(read_config(bench.model.folder), bench.task.samples.lengths[subset].tolist())
    for result in results:
        if result.turns:
            result.floor = floor(result, operations, known, statistics.median(turn.reference_rate for turn in result.turns))
    return operations


def document(results: list[Result], **facts: Any) -> dict[str, Any]:
    """What is written as JSON."""
    told_results = [asdict(result) | _derived(result) for result in results]
    return {"schema": 1, "date": datetime.now(UTC).isoformat(timespec="seconds"), **facts, "results": told_results}


def _derived(result: Result) -> dict[str, Any]:
    if not result.turns:
        return {}
    return {"speedup": result.speedup, "latency_share": result.latency_share, "verdicts": verdicts(result)}


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the official data (default: ASSAY_DATA, else ../shared/data)")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), help="default: all")
    parser.add_argument("--samples", type=int, default=600, help="questions drawn by seed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, nargs="+", default=[CPU_TOKENS, 2 * CPU_TOKENS], help="token budgets to try")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    return parser.parse_args()


def main() -> None:
    arguments = arguments_given()
    started = cpu_time()
    bench = make_bench(official(arguments.data))
    subset = subset_of(bench, arguments.samples)
    known = dict(peaks.measured("cpu", conditions.usable_cores()))
    plan = Plan(
        rounds=arguments.rounds,
        trial=min(64, len(subset)),
        singles=min(64, len(subset)),
        reference=min(32, len(subset)),
        tokens=tuple(arguments.tokens),
    )
    results = measure_all(bench, plan, subset, arguments.backends)
    operations = add_floors(bench, results, subset, known)
    others = others_share(started, cpu_time())
    print(f"{bench.task.data_name}: {len(subset)} samples of {operations / 1e9:.2f} G operations; {arguments.rounds} turns each\n")
    print("\n".join([*table(results), "", *missed(results)]))
    if others is not None and others > WORTH_SAYING:
        print(f"\nOther processes used {others:.0%} of this machine meanwhile: measure again when it is quiet.")
    if arguments.out:
        facts = {
            "machine": conditions.collect(HERE.parent),
            "others_cpu_share": others,
            "data": bench.task.data_name,
            "samples": len(subset),
        }
        facts |= {"plan": asdict(plan), "operations_per_sample": operations, "peaks": known}
        arguments.out.write_text(json.dumps(document(results, **facts), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
