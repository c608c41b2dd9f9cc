"""The doctor on threads, memory, runtimes and peaks: each check from facts to a line, and the facts where they can be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import peaks
from harness.doctoring import runtimes as doctor_runtimes
from harness.doctoring import speed as doctor_speed
from harness.doctoring import threads as doctor_threads
from harness.doctoring.lines import Level, Line
from harness.errors import MissingError
from harness.peaks import Peak

CPU: dict[str, Any] = {"usable_cores": 8, "logical_cores": 8, "physical_cores": 8, "quota_cores": None}
ORT = {"version": "1.31", "devices": ["CPUExecutionProvider"]}
TRT = {"version": "10.9", "devices": ["cuda-python"]}
PEAK = Peak(195.4e9, 2, "2026-08-20T09:00:00+00:00", True, "torch 2.13")


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (doctor_threads.threads(CPU), Level.OK, "8 threads by default, one on each usable core"),
        (doctor_threads.threads(CPU | {"physical_cores": 4}), Level.WARN, "8 usable cores are threads of 4 physical cores"),
        (doctor_threads.threads(CPU | {"quota_cores": 2.5}), Level.WARN, "the control group allows 2.5 of 8 usable cores"),
        (
            doctor_threads.threads(CPU | {"usable_cores": 2, "physical_cores": None}),
            Level.OK,
            "2 threads by default, one on each usable core",
        ),
        (doctor_threads.thread_environment({"HOME": "/"}, 8), Level.OK, "nothing set that changes threads"),
        (
            doctor_threads.thread_environment({"OMP_NUM_THREADS": "8", "KMP_BLOCKTIME": "1"}, 8),
            Level.OK,
            "OMP_NUM_THREADS=8 KMP_BLOCKTIME=1",
        ),
        (doctor_threads.thread_environment({"OMP_NUM_THREADS": "1"}, 8), Level.WARN, "OMP_NUM_THREADS=1"),
        (doctor_threads.thread_environment({"KMP_AFFINITY": "compact"}, 8), Level.WARN, "KMP_AFFINITY=compact"),
        (doctor_threads.thread_environment({"OMP_PROC_BIND": "false"}, 8), Level.OK, "OMP_PROC_BIND=false"),
        (doctor_threads.allocator("", None), Level.OK, "the system's malloc"),
        (doctor_threads.allocator("tcmalloc", {8_000_000: 0.0}), Level.OK, "tcmalloc; keeps blocks of up to 8.00 MB for the next call"),
        (
            doctor_threads.allocator("", {8_000_000: 0.0, 64_000_000: 1.0}),
            Level.WARN,
            "the system's malloc; blocks of 64.0 MB go back to the system, and each call faults them in again",
        ),
        (doctor_threads.huge_pages(None, {}), Level.OK, "not visible here"),
        (doctor_threads.huge_pages("always", {}), Level.OK, "always"),
        (doctor_threads.huge_pages("madvise", {"THP_MEM_ALLOC_ENABLE": "1"}), Level.OK, "asked for by PyTorch"),
        (doctor_threads.huge_pages("madvise", {}), Level.OK, "on request; THP_MEM_ALLOC_ENABLE=1 has PyTorch ask for them"),
        (doctor_threads.huge_pages("never", {}), Level.WARN, "never: large activations take many small pages"),
        (doctor_runtimes.onnxruntime({}, False), Level.WARN, "not installed"),
        (doctor_runtimes.onnxruntime({"error": "ImportError: x"}, False), Level.WARN, "does not import: ImportError: x"),
        (doctor_runtimes.onnxruntime(ORT, False, ["onnxruntime"]), Level.OK, "1.31, CPU"),
        (doctor_runtimes.onnxruntime(ORT, True), Level.WARN, "1.31, CPU: no provider for the GPU"),
        (
            doctor_runtimes.onnxruntime({"version": "1.31", "devices": ["CUDAExecutionProvider", "CPUExecutionProvider"]}, True),
            Level.OK,
            "1.31, CUDA, CPU",
        ),
        (
            doctor_runtimes.onnxruntime(ORT, False, ["onnxruntime", "onnxruntime-gpu"]),
            Level.WARN,
            "1.31, CPU; onnxruntime and onnxruntime-gpu overwrite each other's files",
        ),
        (doctor_runtimes.openvino({}), Level.WARN, "not installed"),
        (doctor_runtimes.openvino({"error": "x"}), Level.WARN, "does not import: x"),
        (doctor_runtimes.openvino({"version": "2026.4", "devices": ["CPU (EPYC)"]}), Level.OK, "2026.4, CPU (EPYC)"),
        (doctor_runtimes.tensorrt({}, False), Level.OK, "not installed; it needs an NVIDIA GPU"),
        (doctor_runtimes.tensorrt({}, True), Level.WARN, "not installed"),
        (doctor_runtimes.tensorrt({"error": "x"}, True), Level.WARN, "does not import: x"),
        (doctor_runtimes.tensorrt(TRT, True), Level.OK, "10.9, with cuda-python"),
        (doctor_runtimes.tensorrt(TRT, False), Level.OK, "10.9, with cuda-python; no NVIDIA GPU here"),
        (doctor_runtimes.tensorrt(TRT | {"devices": []}, True), Level.WARN, "10.9, without bindings to CUDA"),
        (
            doctor_speed.peak("fp32", "cpu", 2, PEAK),
            Level.OK,
            "195 G operations/s (2 threads, torch 2.13, 2026-08-20, best of 2 measurements)",
        ),
        (
            doctor_speed.peak("copy", "cuda:0", 1, Peak(3.1e12, 1, "2026-08-20T09:00:00+00:00", False, "torch 2.13")),
            Level.WARN,
            "3.10 TB/s read and written (cuda:0, torch 2.13, 2026-08-20, best of 1 measurement), beside other work",
        ),
    ],
)
def test_a_fact_is_judged(line: Line, level: Level, text: str) -> None:
    """Level and text follow from the fact, and whatever is not OK has a cure."""
    assert (line.level, line.text) == (level, text)
    assert bool(line.cure) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("cpu", "threads"),
    [
        (CPU, 8),
        (CPU | {"physical_cores": 4}, 4),
        (CPU | {"physical_cores": 4, "usable_cores": 2}, 1),
        (CPU | {"quota_cores": 2.9}, 2),
        (CPU | {"quota_cores": 0.5}, 1),
        (CPU | {"physical_cores": None}, 8),
    ],
)
def test_threads_are_advised_by_physical_cores_and_quota(cpu: dict[str, Any], threads: int) -> None:
    """One for each physical core that may be used, whole cores of time only, and at least one."""
    assert doctor_threads.advised_threads(cpu) == threads


def test_another_allocator_is_seen_in_the_map_of_the_process(tmp_path: Path) -> None:
    """By the name of its library; a system without the file has none to see."""
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/libtcmalloc_minimal.so.4\n")
    assert doctor_threads.preloaded_allocator(maps) == "tcmalloc"
    assert doctor_threads.preloaded_allocator(tmp_path / "none") == ""


def test_faults_of_a_block_are_counted() -> None:
    """A share for each size, or nothing on a system where malloc is not to be found."""
    found = doctor_threads.faulted_shares((1 << 20, 64 << 20))
    assert found is None or (set(found) == {1 << 20, 64 << 20} and all(0 <= share < 2 for share in found.values()))


def test_the_chosen_word_of_the_kernel_is_read(tmp_path: Path) -> None:
    """The one in brackets; None without the file or without brackets."""
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n")
    assert doctor_threads.huge_page_setting(file) == "madvise"
    file.write_text("?")
    assert doctor_threads.huge_page_setting(file) is None
    assert doctor_threads.huge_page_setting(tmp_path / "none") is None


def test_runtimes_are_asked_in_another_process() -> None:
    """What is installed answers with a version, what is not is empty, and none is imported here."""
    found = doctor_runtimes.probe()
    assert set(found) == {"onnxruntime", "openvino", "tensorrt", "installed"}
    for name in ("onnxruntime", "openvino", "tensorrt"):
        assert not found[name] or {"version", "devices"} == found[name].keys() or {"error"} == found[name].keys()
    assert [line.name for line in doctor_runtimes.lines(False)] == ["ONNX Runtime", "OpenVINO", "TensorRT"]


def test_a_probe_that_fails_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every runtime has an error then, which becomes a WARN."""
    monkeypatch.setattr(doctor_runtimes.sys, "executable", "no-such-python")
    assert {line.level for line in doctor_runtimes.lines(True)} == {Level.WARN}


def test_a_library_that_raises_on_import_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error in one line; a module that is not there is empty."""
    (tmp_path / "broken_runtime.py").write_text("raise OSError('libx.so: not found\\nmore')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor_runtimes._ask("broken_runtime", lambda _: []) == {"error": "OSError: libx.so: not found"}
    assert doctor_runtimes._ask("no_such_runtime", lambda _: []) == {}


def test_peaks_are_lines_and_their_failure_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line for each precision; a WARN where nothing can be measured."""
    monkeypatch.setattr(peaks, "known", lambda *_, **__: {"fp32": PEAK, "copy": PEAK})
    assert [line.name for line in doctor_speed.lines("cpu", 2, tmp_path)] == ["peak FP32", "copy"]

    def fail(*_: Any, **__: Any) -> None:
        raise MissingError("no torch, no numpy")

    monkeypatch.setattr(peaks, "known", fail)
    assert doctor_speed.lines("cpu", 2, tmp_path)[0].level is Level.WARN


def test_a_gpu_is_measured_where_torch_can_use_it() -> None:
    """The CPU with its threads, and the first GPU."""
    assert doctor_speed.devices(0, 0, 4) == {"cpu": 4}
    assert doctor_speed.devices(1, 0, 4) == {"cpu": 4}
    assert doctor_speed.devices(2, 2, 4) == {"cpu": 4, "cuda:0": 1}
