"""Artificial faults, each through the real check: every one is found and has a reason code of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench import prepare
from harness.config import RunConfig
from harness.progress import Silent
from harness.qualifying import judging
from harness.qualifying.baseline import learn
from harness.qualifying.check import Context, Finding, Qualification
from harness.qualifying.checks import answers, memory, model, noise, sensors, timer
from harness.telemetry.stream import beside
from tests.tiny_models import write_model

AGING = str(Path(__file__).resolve().parents[1] / "faulty" / "aging.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of memory and cores on Linux")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny classifier with two labels."""
    return write_model(tmp_path_factory.mktemp("tiny") / "model", "BertForSequenceClassification", num_labels=2)


def _context(folder: Path, tiny: Path | None = None, **more: Any) -> Context:
    config = RunConfig(task="sst2", backend=AGING, model=str(tiny), threads=1, device="cpu") if tiny else RunConfig()
    return Context("standard", config, folder, Silent(), time.monotonic() + 120, **more)


@pytest.fixture
def asked(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The check of answers with a fault, for as long as 12,000 answers take: by code, whatever is not a PASS."""
    for name, value in (("LEAST_S", 0.0), ("ENOUGH", 12_000), ("SLICE_S", 0.2), ("MOST_S", 60.0)):
        monkeypatch.setattr(answers, name, value)

    def run(fault: str) -> dict[str, Finding]:
        monkeypatch.setenv("ASSAY_FAULT", fault)
        monkeypatch.setenv("ASSAY_FAULT_AFTER", "60")
        found = answers.run(_context(tmp_path, tiny))
        return {each.code: each for each in found if each.outcome != "PASS" and each.required}

    return run


def test_a_healthy_backend_passes(asked: Any) -> None:
    """Without a fault nothing that is required fails."""
    assert asked("") == {}


def test_one_answer_in_10000_that_is_altered_is_found(asked: Any) -> None:
    """The last bit of one value of one row in 10,000: ANSWERS_CHANGED, with worker, cores, sample and time."""
    found = asked("altered")
    assert set(found) == {"ANSWERS_CHANGED"}
    (wrong, *_) = found["ANSWERS_CHANGED"].details["mismatches"]
    assert (wrong["worker"], wrong["values"], wrong["persistent"]) == (0, 1, False)
    assert wrong["cores"]
    assert abs(wrong["utc_ns"] / 1e9 - time.time()) < 120


def test_one_bit_flipped_in_one_weight_in_mid_run_is_found(asked: Any) -> None:
    """The lowest bit of one weight: WEIGHTS_CHANGED names the tensor, whether or not an answer shows it."""
    found = asked("bit")
    assert "WEIGHTS_CHANGED" in found
    (changed,) = found["WEIGHTS_CHANGED"].details["changed"]
    assert changed["tensors"] == ("bert.embeddings.position_embeddings.weight",)


def test_a_worker_slowed_by_a_tenth_is_rejected(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend sleeps a tenth of each call, and a rate lower by that tenth fails against a baseline of three measurements that differ
    by 1 %. The sleep is counted and not timed: this machine may be busy."""
    from harness.batching import Policy, collate
    from harness.core import BackendOptions
    from harness.plugins import load

    context = _context(tmp_path, tiny)
    slept: list[float] = []
    bench = prepare(context.config, Silent())
    monkeypatch.setenv("ASSAY_FAULT", "slow")
    backend = load("backends", AGING).create(BackendOptions("fp32", "cpu"))
    backend.load(bench.model)
    monkeypatch.setattr(time, "sleep", slept.append)
    start = time.perf_counter()
    backend.predict(collate(bench.task.samples, bench.task.subset(4, 0), Policy()))
    assert 0 < slept[0] <= 0.1 * (time.perf_counter() - start)
    known = None
    for number, rate in enumerate((100.0, 101.0, 99.5)):
        known = learn(known, _measured(rate), str(number))
    healthy, slowed = (judging.judge(_measured(rate).findings, known, "standard")[0] for rate in (99.0, 100.0 / 1.1))
    assert healthy.outcome == "PASS"
    assert (slowed.code, slowed.outcome) == ("THROUGHPUT_LOW", "FAIL")


def test_a_worker_that_is_slow_by_itself_is_named(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two real workers at the same work, one sleeps as long as it computes: WORKER_SLOW names it, with no baseline. By a tenth, it is
    found on simulated workers and, on a machine of its own, by hand: tests of a busy machine measure nothing so fine."""
    monkeypatch.setattr(answers, "LEAST_S", 3.0)
    monkeypatch.setattr(answers, "ENOUGH", 1)
    monkeypatch.setattr(answers, "SLICE_S", 0.25)
    for name, value in (("ASSAY_FAULT", "slow"), ("ASSAY_FAULT_WORKER", "1"), ("ASSAY_FAULT_SLOWER", "1.0")):
        monkeypatch.setenv(name, value)
    context = _context(tmp_path, tiny)
    config = context.config.model_copy(update={"workers": 2, "threads": 2})
    found = {each.name: each for each in answers.run(replace(context, config=config))}["workers_speed"]
    assert (found.code, found.outcome) == ("WORKER_SLOW", "FAIL")
    assert found.text.startswith("worker 1 (cores ")
    assert found.measured is not None
    assert found.measured < -0.25


def _measured(rate: float) -> Qualification:
    """A qualification with what a standard one holds against a baseline, all about as steady as `rate`."""
    names = ("repeat_throughput", "offline_throughput", "gemm_fp32", "gemm_int8", "memory_copy")
    found = [
        Finding("THROUGHPUT_LOW", name, "PASS", name, rate + 0.2 * place, "samples/s", 9, better="higher")
        for place, name in enumerate(names)
    ]
    return Qualification("standard", tuple(found), machine={"hardware": {}})


def test_a_wrong_model_file_is_found(tmp_path: Path) -> None:
    """One byte of the weights that changed since the qualification began: MODEL_WRONG."""
    folder = write_model(tmp_path / "model", "BertForSequenceClassification", num_labels=2)
    context = _context(tmp_path, folder)
    context.keep["bench"] = prepare(context.config, Silent())
    assert model.run(context).outcome == "PASS"
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = model.run(context)
    assert (found.code, found.outcome) == ("MODEL_WRONG", "FAIL")


def test_a_competing_process_on_the_cores_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is none of ours computes beside the check: CPU_CONTENDED."""
    monkeypatch.setattr(noise, "BLOCKS", 8)
    busy = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    # The shell ends at once, so that the process is no child of this one.
    started = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >/dev/null 2>&1 & echo $!', sys.executable, busy], capture_output=True, text=True, check=True
    )
    try:
        contended, _ = noise.run(_context(tmp_path))
    finally:
        os.kill(int(started.stdout), 9)
    assert (contended.code, contended.outcome) == ("CPU_CONTENDED", "FAIL")


def test_a_memory_hungry_neighbour_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leaves 1 GB and makes the machine swap: MEMORY_PRESSURE, twice."""
    monkeypatch.setattr(memory, "WATCH_S", 0.0)
    readings = iter([memory.Reading(24 * 10**9, 10**9, 10**8, 0, 0, 0.0), memory.Reading(24 * 10**9, 10**9, 10**8, 5000, 500_000, 1.0)])
    monkeypatch.setattr(memory, "READ", lambda: next(readings))
    found = [each for each in memory.run(_context(tmp_path)) if each.required]
    assert [(each.code, each.outcome) for each in found] == [("MEMORY_PRESSURE", "FAIL")] * 2


def test_a_clock_that_jumps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock is set back by two seconds in the middle of the check: CLOCK_JUMPED."""
    monkeypatch.setattr(timer, "WATCH_S", 0.2)
    true = timer.read
    start = time.monotonic()

    def jumping() -> timer.Instant:
        now = true()
        off = -2_000_000_000 if time.monotonic() > start + 0.1 else 0
        return timer.Instant(now.monotonic, now.raw, now.boot, now.wall + off, now.apart)

    monkeypatch.setattr(timer, "READ", jumping)
    found = {each.code: each.outcome for each in timer.run_timer(_context(tmp_path))}
    assert found["CLOCK_JUMPED"] == "FAIL"


def test_telemetry_that_vanishes_is_found(tmp_path: Path) -> None:
    """The real sampler is killed in mid-run: TELEMETRY_LOST; before that the check passes."""
    with beside(os.getpid(), 0.1) as stream:
        context = _context(tmp_path, stream=stream)
        before = sensors.run(context)[0]
        assert stream._process is not None
        stream._process.kill()
        stream._process.wait()
        after = sensors.run(context)[0]
    assert (before.code, before.outcome) == ("TELEMETRY_LOST", "PASS")
    assert (after.code, after.outcome) == ("TELEMETRY_LOST", "FAIL")
