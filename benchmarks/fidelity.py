"""Do native runs and runs of the official LoadGen agree? The same settings, both engines, in turn; verdict, p50 and p90.

    python benchmarks/fidelity.py                        # null:2ms, null and pytorch:fp32 (sst2), all four scenarios, about 20 minutes
    python benchmarks/fidelity.py --backend null:2ms --rounds 3
    python benchmarks/fidelity.py --out docs/results/fidelity.json

Each run is a process of its own. Rounds alternate which engine goes first, so that a drift of the machine meets both. A figure agrees where
the medians of the two engines lie no further apart than runs of one engine do (the larger of the two ranges), or than what LoadGen's own
work for each call explains (OWN_NS, OWN_SHARE).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

OWN_NS = 400_000
"""What a generator of one callback a query may add to a latency: LoadGen wakes up some 100 µs late, and then a worker has to wake up."""

OWN_SHARE = 0.05
"""And to a long one, where it adds something to every call: telling LoadGen of 32 answers takes some 80 µs of a batch of 2 ms."""

SCENARIOS: dict[str, list[str]] = {
    "single-stream": ["--duration", "8"],
    "multi-stream": ["--duration", "8", "--min-queries", "662"],
    "server": ["--duration", "8"],
    "offline": ["--duration", "8"],
}


@dataclass(frozen=True)
class Setup:
    """A backend, what it is asked, and rates that it can serve: of Server, and to expect in the others."""

    backend: str
    task: list[str]
    server_qps: float
    stream_qps: dict[str, float]
    offline_qps: float
    batch: int = 32


SETUPS = {
    "null": Setup("null", [], 500, {"single-stream": 60_000, "multi-stream": 40_000}, 300_000),
    "null:2ms": Setup("null:2ms", [], 100, {"single-stream": 500, "multi-stream": 500}, 20_000),
    "pytorch:fp32": Setup("pytorch:fp32", ["--task", "sst2"], 20, {"single-stream": 250, "multi-stream": 80}, 500),
}


def run(setup: Setup, scenario: str, engine: str, out: Path) -> dict[str, Any]:
    """run.json of one run, started as a user would."""
    rate = {"server": setup.server_qps, "offline": setup.offline_qps, **setup.stream_qps}[scenario]
    extra = ["--min-queries", "500", "--duration", str(max(8, round(520 / setup.server_qps)))] if scenario == "server" else []
    command = [
        *(sys.executable, str(ROOT / "run_bench.py"), "run", "--scenario", scenario, "--backend", setup.backend, *setup.task),
        *("--engine", engine, "--target-qps", str(rate), "--max-batch", str(setup.batch), "--out", str(out), "--progress", "none"),
        *SCENARIOS[scenario],
        *extra,
    ]
    if setup.backend.startswith("null"):
        command += ["--no-accuracy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found = sorted(out.glob("*/run.json"))
    if not found:
        raise SystemExit(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
    stored: dict[str, Any] = json.loads(found[-1].read_text())
    return stored


def figures(stored: dict[str, Any]) -> dict[str, Any]:
    official = stored["traffic"].get("official") or {}
    return {
        "valid": stored["verdict"]["valid"],
        "reasons": [reason["code"] for reason in stored["verdict"]["reasons"]],
        "p50": stored["latency_ns"]["p50"],
        "p90": stored["latency_ns"]["p90"],
        "metric": stored["verdict"]["metric"],
        "disagreements": official.get("disagreements", []),
        "others": stored["conditions"]["others_cpu_share"],
    }


def compare(setup: Setup, scenario: str, rounds: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {"native": [], "mlcommons": []}
    for round_ in range(rounds):
        for engine in ("native", "mlcommons") if round_ % 2 == 0 else ("mlcommons", "native"):
            with tempfile.TemporaryDirectory() as folder:
                found[engine].append(figures(run(setup, scenario, engine, Path(folder))))
    return {"backend": setup.backend, "scenario": scenario, "runs": found, **{name: agree(found, name) for name in ("p50", "p90")}}


def agree(found: dict[str, list[dict[str, Any]]], name: str) -> dict[str, Any]:
    """Medians of both engines, the larger range of runs of one engine, and whether the difference is within it."""
    values = {engine: [each[name] for each in runs] for engine, runs in found.items()}
    medians = {engine: statistics.median(each) for engine, each in values.items()}
    noise = max(max(each) - min(each) for each in values.values())
    difference = medians["mlcommons"] - medians["native"]
    return {
        **medians,
        "noise": noise,
        "difference": difference,
        "agrees": abs(difference) <= max(noise, OWN_NS, OWN_SHARE * medians["native"]),
    }


def row(result: dict[str, Any]) -> str:
    runs = result["runs"]
    valid = {engine: [each["valid"] for each in runs[engine]] for engine in runs}
    verdict = "same" if all(valid["native"]) == all(valid["mlcommons"]) and any(valid["native"]) == any(valid["mlcommons"]) else "DIFFERENT"
    word = "VALID" if all(valid["native"]) else "INVALID"
    cells = [f"`{result['backend']}`", result["scenario"], f"{verdict}: {word}"]
    for name in ("p50", "p90"):
        each = result[name]
        cells.append(f"{each['native'] / 1e6:.4g} / {each['mlcommons'] / 1e6:.4g} ms")
        cells.append(f"{each['difference'] / 1e3:+.3g} (noise {each['noise'] / 1e3:.3g}) µs{'' if each['agrees'] else ' NO'}")
    cells.append(str(sum(len(each["disagreements"]) for each in runs["mlcommons"])))
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", choices=list(SETUPS), help="default: all")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    print("| backend | scenario | verdict | p50 native / LoadGen | difference | p90 native / LoadGen | difference | disagreements |")
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for name in arguments.backend or SETUPS:
        for scenario in arguments.scenario or SCENARIOS:
            results.append(compare(SETUPS[name], scenario, arguments.rounds))
            print(row(results[-1]), flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
