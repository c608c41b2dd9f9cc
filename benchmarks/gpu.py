"""Everything Assay does on one GPU, in one call: facts, gpu tests, peaks, and every backend in three scenarios. JSON out.

    python benchmarks/gpu.py --json gpu.json [--budget 470] [--data FOLDER] [--task squad] [--model bert-large-squad]

Each step is a process of its own with a time limit, and the file is written anew after each: a step that crashes, hangs or lacks something
is listed with its message and costs nothing but its own figures. What the budget leaves no time for is listed as not reached; offline runs
come first, for all backends, then single-stream, then server. All backends get the same batching. `--device cpu` plays it without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SCHEMA = 1

BACKENDS = {
    "cuda": (
        "pytorch:fp32",
        "pytorch:amp-fp16",
        "tensorrt:fp16",
        "onnxruntime:fp16",
        "tensorrt:int8",
        "pytorch:tf32",
        "pytorch:amp-bf16",
        "onnxruntime:fp32",
        "tensorrt:fp32",
        "onnxruntime:int8-static",
        "onnxruntime:fp16+tensorrt",
        "pytorch:amp-fp16+packed",
        "pytorch:amp-fp16+cuda-graphs",
        "pytorch:amp-fp16+compile",
        "pytorch:int8-dynamic",
        "onnxruntime:int8",
    ),
    "cpu": ("pytorch:fp32", "onnxruntime:fp32", "onnxruntime:int8"),
}
"""In the order in which they are run: what the budget cuts off comes last."""

CONTRACTS = ("tensorrt", "onnxruntime", "pytorch")
"""Backends whose contract suite is played on the GPU, once the offline runs are done."""

SCENARIOS = ("offline", "single-stream", "server")
SETTINGS = {"max_batch": 128, "max_batch_tokens": 0, "pad_to": "64,128,192,256,320,384", "warmup": 20.0, "accuracy_samples": 500}
"""The same for all; few lengths, because TensorRT builds and CUDA graphs capture for each. Only `--device cuda`; the CPU keeps defaults."""

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13", "cuda-python")
QUERY = ("clocks.sm", "power.draw", "temperature.gpu", "utilization.gpu", "memory.used")
STEP_S = 100.0
"""Most seconds for one step: an engine that takes longer to build is prepared beforehand (`assay prepare`)."""

LEAST_S = 12.0
"""With less than this left no further step is begun: importing PyTorch and loading a model takes that long."""


@dataclass(frozen=True, slots=True)
class Step:
    """A child process: `words` behind this file's name. Its last line of output is JSON."""

    name: str
    words: tuple[str, ...]
    limit_s: float = STEP_S


# ------------------------------------------------------------------------------------------------------------------------- facts


def facts() -> dict[str, Any]:
    """The machine and what is installed; None for what is not there."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "nvidia_smi": nvidia_smi(
            "name", "driver_version", "memory.total", "compute_cap", "clocks.max.sm", "power.limit", "pcie.link.gen.max"
        ),
        "commit": _output("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _output(*words: str) -> str | None:
    """What a command prints, None where it is not there or fails."""
    if shutil.which(words[0]) is None:
        return None
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def nvidia_smi(*fields: str) -> list[dict[str, str]] | None:
    """One mapping for each GPU, None without nvidia-smi."""
    text = _output("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    return None if text is None else [dict(zip(fields, map(str.strip, line.split(",")), strict=False)) for line in text.splitlines()]


@contextmanager
def telemetry(into: dict[str, Any]) -> Iterator[None]:
    """Fills `into` with what nvidia-smi saw twice a second; leaves it empty without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        yield
        return
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits", "--loop-ms=500"]
    with tempfile.TemporaryFile("w+") as seen:
        watching = subprocess.Popen(command, stdout=seen, stderr=subprocess.DEVNULL, text=True)
        try:
            yield
        finally:
            watching.terminate()
            watching.wait(timeout=10)
            seen.seek(0)
            into.update(summarised(seen.read().splitlines()))


def summarised(lines: Iterable[str]) -> dict[str, Any]:
    """Median and highest of each column; columns that a GPU does not tell ("[N/A]") are left out."""
    columns: dict[str, list[float]] = {}
    for line in lines:
        for name, text in zip(QUERY, line.split(","), strict=False):
            try:
                columns.setdefault(name, []).append(float(text))
            except ValueError:
                continue
    return {name: {"median": median(values), "highest": max(values), "n": len(values)} for name, values in columns.items() if values}


# ---------------------------------------------------------------------------------------------------------------- steps: children


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """One run through the public Python API; what is worth keeping of it. An error is told with its cure."""
    import assay
    from harness.errors import AssayError

    with tempfile.TemporaryDirectory() as out:
        try:
            run = assay.run(out=out, **settings)
        except AssayError as error:
            return {"outcome": "error", "error": type(error).__name__, "message": str(error), "cure": error.cure}
        kept = ("verdict", "accuracy", "latency_ns", "throughput", "counts", "backend", "model", "timings", "telemetry", "warnings")
        return {"outcome": "measured", "exit_code": int(run.exit_code)} | {name: getattr(run, name) for name in kept}


def tests(which: str) -> dict[str, Any]:
    """Counts of the tests that `which` chooses, words for pytest, and the names of those that failed."""
    from xml.etree import ElementTree

    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *shlex.split(which)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            return {"outcome": "error", "message": (done.stdout + done.stderr)[-2000:]}
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    return {"outcome": "measured"} | counted(
        {f"{case.get('classname')}::{case.get('name')}": [child.tag for child in case] for case in cases}
    )


def counted(cases: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`cases`: for each test the tags of its JUnit entry; none means passed."""
    failed = sorted(name for name, tags in cases.items() if {"failure", "error"} & set(tags))
    skipped = sum("skipped" in tags for tags in cases.values())
    return {"passed": len(cases) - len(failed) - skipped, "skipped": skipped, "failed": len(failed), "failures": failed}


def peaks(device: str) -> dict[str, Any]:
    """Operations/s of a matrix product in each precision, and bytes/s of a copy."""
    from harness.peaks import measured

    return {"outcome": "measured"} | dict(measured(device, os.cpu_count() or 1))


CHILDREN: dict[str, Callable[[str], dict[str, Any]]] = {
    "measure": lambda text: measure(json.loads(text)),
    "tests": tests,
    "peaks": peaks,
}


# ------------------------------------------------------------------------------------------------------------------ steps: parent


def steps(options: argparse.Namespace) -> list[Step]:
    """All of them, most wanted first."""
    found = [Step("peaks", ("peaks", options.device), 60.0)]
    if options.device != "cpu":
        found.insert(0, Step("gpu tests", ("tests", "-m gpu tests")))
    for scenario in SCENARIOS:
        if scenario == SCENARIOS[1] and options.device != "cpu":
            found += [Step(f"contract {name}", ("tests", f"tests/contract/test_backends.py -k {name}"), 150.0) for name in CONTRACTS]
        for backend in options.backend or BACKENDS[options.device.partition(":")[0]]:
            settings = {
                "scenario": scenario,
                "backend": backend,
                "task": options.task,
                "device": options.device,
                "duration": options.duration,
            }
            settings |= SETTINGS if options.device != "cpu" else {}
            settings |= {name: value for name in ("data", "model", "calibration") if (value := getattr(options, name))}
            found.append(Step(f"{scenario} {backend}", ("measure", json.dumps(settings | options.set))))
    return found


def play(step: Step, limit_s: float) -> dict[str, Any]:
    """Run a step in a process of its own; outcome measured, error, crashed or timed out."""
    start = time.monotonic()
    seen: dict[str, Any] = {}
    command = [sys.executable, str(Path(__file__).resolve()), "--child", *step.words]
    with (
        telemetry(seen),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as child,
    ):
        try:
            output, errors = child.communicate(timeout=limit_s)
            result = answered(child.returncode, output, errors)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its workers as well
            result = {"outcome": "timed out", "message": f"not done after {limit_s:.0f} s"}
    return result | {"seconds": round(time.monotonic() - start, 1), "gpu": seen}


def answered(code: int, output: str, errors: str) -> dict[str, Any]:
    """The JSON of the last line, or a crash with the end of what was said."""
    lines = output.strip().splitlines()
    if code == 0 and lines and lines[-1].startswith("{"):
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    return {"outcome": "crashed", "message": f"exit code {code}: {(errors or output).strip()[-1500:]}"}


@dataclass(slots=True)
class Report:
    """What is known so far; `save` writes it whole."""

    path: Path | None
    content: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, result: dict[str, Any]) -> None:
        self.content.setdefault("steps", {})[name] = result
        self.save()

    def save(self) -> None:
        if self.path is not None:
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
            partial.replace(self.path)


def line(name: str, result: Mapping[str, Any]) -> str:
    """One row for people."""
    if result["outcome"] != "measured":
        return f"{name:44} {result['outcome']}: {result.get('message', '').splitlines()[0][:110]}"
    metric = (result.get("verdict") or {}).get("metric")
    if metric is None:
        return f"{name:44} " + ", ".join(f"{key} {value:.4g}" for key, value in result.items() if isinstance(value, int | float))
    accuracy = result.get("accuracy") or {}
    passed = (
        "accuracy passed" if accuracy.get("passed") else "ACCURACY MISSED" if accuracy.get("passed") is False else "accuracy not judged"
    )
    valid = "valid" if result["verdict"]["valid"] else "INVALID"
    value, unit = (metric["value"] / 1e6, "ms") if metric["unit"] == "ns" else (metric["value"], metric["unit"])
    return f"{name:44} {value:12.5g} {unit:14} {valid}, {passed}"


def play_all(options: argparse.Namespace, report: Report, tell: Callable[[str], None]) -> None:
    """Every step until the budget is spent; what is not reached is said so."""
    end = time.monotonic() + options.budget
    for step in steps(options):
        left = end - time.monotonic()
        result = play(step, min(step.limit_s, left)) if left > LEAST_S else {"outcome": "not reached", "message": "the budget was spent"}
        report.add(step.name, result)
        tell(line(step.name, result))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for everything that was found")
    parser.add_argument("--budget", type=float, default=470.0, help="seconds for all of it (default: 470)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (default: cuda)")
    parser.add_argument("--duration", type=float, default=4.0, help="seconds that each run measures (default: 4)")
    parser.add_argument("--task", default="squad")
    parser.add_argument("--model", help="registered name or folder (default: the embedded model)")
    parser.add_argument("--data", help="folder with the official data (default: the built-in sample set)")
    parser.add_argument("--calibration", help="file to calibrate INT8 with")
    parser.add_argument("--backend", action="append", help="instead of all: name[:precision][+option]; may be repeated")
    parser.add_argument("--set", type=json.loads, default={}, help="more settings of all runs, as JSON")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.child:
        print(json.dumps(CHILDREN[options.child[0]](options.child[1])))
        return 0
    start = time.monotonic()
    asked = {name: getattr(options, name) for name in ("device", "duration", "task", "model", "data", "budget", "set")}
    report = Report(options.json, {"schema": SCHEMA, "asked": asked, "facts": facts(), "settings": SETTINGS, "steps": {}})
    play_all(options, report, lambda text: print(text, flush=True))
    report.content["seconds"] = round(time.monotonic() - start, 1)
    report.save()
    if options.json is None:
        print(json.dumps(report.content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
