"""benchmarks/gpu.py: what it plans, that one step's failure costs nothing else, and one real run through it on this CPU."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.plugins import find_backend

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_script"] = module
    spec.loader.exec_module(module)
    return module


def _options(**changes: Any) -> argparse.Namespace:
    defaults = {"device": "cuda", "duration": 4.0, "task": "squad", "model": None, "data": None, "calibration": None}
    return argparse.Namespace(**(defaults | {"backend": None, "set": {}, "budget": 470.0} | changes))


def test_the_plan_is_broad_first(gpu: ModuleType) -> None:
    """Tests and peaks, then offline for every backend, the contract suites, and the other scenarios; each run has the same batching."""
    names = [step.name for step in gpu.steps(_options())]
    count = len(gpu.BACKENDS["cuda"])
    assert names[:3] == ["gpu tests", "peaks", "offline pytorch:fp32"]
    order = ["offline"] * count + ["contract"] * 3 + ["single-stream"] * count + ["server"] * count
    assert [name.split()[0] for name in names[2:]] == order
    settings = [json.loads(step.words[1]) for step in gpu.steps(_options()) if step.words[0] == "measure"]
    assert {(each["max_batch"], each["pad_to"]) for each in settings} == {(128, "64,128,192,256,320,384")}


def test_every_precision_of_the_issue_is_in_the_plan(gpu: ModuleType) -> None:
    """PyTorch in four precisions and two options, ONNX Runtime in three precisions and on TensorRT, TensorRT in three."""
    wanted = {"pytorch:fp32", "pytorch:tf32", "pytorch:amp-fp16", "pytorch:amp-bf16", "pytorch:amp-fp16+compile", "pytorch:amp-fp16+packed"}
    wanted |= {"onnxruntime:fp32", "onnxruntime:fp16", "onnxruntime:int8", "onnxruntime:fp16+tensorrt"}
    assert wanted | {"tensorrt:fp32", "tensorrt:fp16", "tensorrt:int8"} <= set(gpu.BACKENDS["cuda"])


def test_every_backend_in_the_plan_exists(gpu: ModuleType) -> None:
    """Names, precisions and options are what the plugins declare, so that none is listed as missing for a typing error."""
    for name in {*gpu.BACKENDS["cuda"], *gpu.BACKENDS["cpu"]}:
        assert find_backend(name).info.name in name


def test_settings_given_by_hand_win(gpu: ModuleType) -> None:
    """--set, --data and --backend reach every run; a CPU keeps the defaults of batching."""
    options = _options(device="cpu", backend=["null"], data="folder", set={"threads": 1})
    found = [json.loads(step.words[1]) for step in gpu.steps(options) if step.words[0] == "measure"]
    assert [each["scenario"] for each in found] == list(gpu.SCENARIOS)
    assert {(each["backend"], each["data"], each["threads"], "max_batch" in each) for each in found} == {("null", "folder", 1, False)}


def test_a_crash_a_hang_and_a_spent_budget_are_listed(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each is one entry with its message; the file is there after every step."""
    crash = gpu.Step("crash", ("measure", "no JSON"))
    late = gpu.Step("late", ("measure", "{}"))
    monkeypatch.setattr(gpu, "steps", lambda _options: [crash, late])
    monkeypatch.setattr(gpu, "LEAST_S", 3.9)
    report = gpu.Report(tmp_path / "gpu.json")
    told: list[str] = []
    played: list[float] = []

    def play(_step: Any, limit: float) -> dict[str, Any]:
        played.append(limit)
        time.sleep(0.2)
        found: dict[str, Any] = gpu.answered(1, "", "Traceback\nValueError: no JSON")
        return found

    monkeypatch.setattr(gpu, "play", play)
    gpu.play_all(_options(budget=4.0), report, told.append)
    assert len(played) == 1
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["steps"]
    assert found["crash"] == {"outcome": "crashed", "message": "exit code 1: Traceback\nValueError: no JSON"}
    assert found["late"] == {"outcome": "not reached", "message": "the budget was spent"}
    assert told[0].startswith("crash ")


def test_a_child_that_hangs_is_stopped(gpu: ModuleType) -> None:
    """Well before it would have ended by itself."""
    started = time.monotonic()
    found = gpu.play(gpu.Step("hang", ("measure", '{"backend": "null:10s", "duration": 100}')), 1.0)
    assert found["outcome"] == "timed out"
    assert found["message"] == "not done after 1 s"
    assert time.monotonic() - started < 30


def test_a_missing_thing_is_told_with_its_cure(gpu: ModuleType) -> None:
    """A backend that does not exist is an error entry in Assay's own words."""
    found = gpu.measure({"backend": "tensorflow"})
    assert (found["outcome"], found["error"]) == ("error", "UsageError")
    assert "tensorflow" in found["message"]
    assert found["cure"]


def test_a_real_run_comes_back_through_a_child(gpu: ModuleType) -> None:
    """The null backend on the built-in samples, measured in a process of its own."""
    settings = {"backend": "null", "scenario": "single-stream", "duration": 0.2, "task": "sst2", "offline": True}
    found = gpu.play(gpu.Step("null", ("measure", json.dumps(settings))), 100.0)
    if found["outcome"] == "error":
        pytest.skip(found["message"])  # no tokenizer here: the embedded model cannot be had
    assert found["outcome"] == "measured"
    assert found["verdict"]["metric"]["unit"] == "ns"
    assert found["backend"]["runtime"] == "null"
    assert gpu.line("null", found).split()[2] == "ms"


def test_test_results_are_counted(gpu: ModuleType) -> None:
    """Failures and errors by name, skips apart."""
    cases = {"a": [], "b": ["skipped"], "c": ["failure"], "d": ["error"], "e": []}
    assert gpu.counted(cases) == {"passed": 2, "skipped": 1, "failed": 2, "failures": ["c", "d"]}


def test_what_nvidia_smi_saw_is_summarised(gpu: ModuleType) -> None:
    """Median and highest of each column; what a GPU does not tell is left out, a line cut short counts as far as it goes."""
    lines = ["1980, 650.5, 60, 97, 4000", "1755, [N/A], 62, 99, 4100", "1980, 70"]
    assert gpu.summarised(lines) == {
        "clocks.sm": {"median": 1980, "highest": 1980, "n": 3},
        "power.draw": {"median": 360.25, "highest": 650.5, "n": 2},
        "temperature.gpu": {"median": 61, "highest": 62, "n": 2},
        "utilization.gpu": {"median": 98, "highest": 99, "n": 2},
        "memory.used": {"median": 4050, "highest": 4100, "n": 2},
    }
    assert gpu.summarised([]) == {}


def test_facts_say_what_is_installed(gpu: ModuleType) -> None:
    """torch is there, and what is not there is None rather than left out."""
    found = gpu.facts()
    assert found["packages"]["torch"]
    assert set(found["packages"]) == set(gpu.PACKAGES)
