"""Checks of a qualification on machines that are made up: clocks, memory, cores, telemetry, GPUs, model files, runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harness.config import RunConfig
from harness.core import Model
from harness.doctoring.lines import Level, Line
from harness.interference import CpuTime
from harness.progress import Silent
from harness.qualifying import levels
from harness.qualifying.baseline import Baseline, Figure
from harness.qualifying.check import Context, Finding
from harness.qualifying.checks import environment, gpu, inference, memory, model, noise, sensors, speed, timer
from harness.qualifying.spread import Limit
from harness.telemetry.recording import Event, Recording
from tests.example_runs import ACCURACY_MISSED, NULL, VALID

S = 1_000_000_000
GB = 10**9


def _context(folder: Path, **more: Any) -> Context:
    return Context("quick", RunConfig(), folder, Silent(), 1e12, **more)


def _held(name: str, median: float, low: float | None, high: float | None) -> Baseline:
    limit = Limit(3, median, 0.01, True, 2, 5, median, low, high)
    return Baseline({}, {}, (), (Figure(name, "", "lower", True, ("quick",), limit),))


def test_every_check_has_a_name_of_its_own_and_quick_is_planned_under_half_a_minute() -> None:
    """The checks of the folder are found, named uniquely, and quick is planned to end within 30 s."""
    quick = levels.of("quick", levels.known())
    names = [check.name for check in quick]
    assert {"environment", "memory", "model_files", "timer", "noise", "speed_quick", "telemetry", "gpu"} <= set(names)
    assert sum(check.seconds for check in quick) < 30


def test_standard_is_planned_under_four_minutes() -> None:
    """The checks of standard are planned to end within 240 s."""
    assert sum(check.seconds for check in levels.of("standard", levels.known())) < 240


# -------------------------------------------------------------------------------------------------------------------------- clocks


def _clocks(step_ns: int = 5_000_000, **jump: int) -> Iterator[timer.Instant]:
    """A clock that is read every `step_ns`; from the fourth reading on, those in `jump` are off by so much."""
    for number in count():
        now = number * step_ns
        off = jump if number >= 3 else {}
        yield timer.Instant(now, now + off.get("raw", 0), now + off.get("boot", 0), now + off.get("wall", 0), 1_000)


def test_clocks_that_agree_pass() -> None:
    """Steady clocks have no jump, and the margin is what is allowed."""
    readings = [reading for reading, _ in zip(_clocks(), range(9), strict=False)]
    found = timer.told("clocks", readings)
    assert (found.outcome, found.code, found.measured) == ("PASS", "CLOCK_JUMPED", 0.0)
    assert found.tolerance == pytest.approx(2 + 0.005 + 0.002)


@pytest.mark.parametrize(("clock", "by_ns"), [("wall", -S), ("wall", 3_000_000), ("boot", 60 * S), ("raw", -3_000_000)])
def test_a_clock_that_jumps_fails(clock: str, by_ns: int) -> None:
    """Whichever clock steps, and whichever way, is named with how far."""
    readings = [reading for reading, _ in zip(_clocks(**{clock: by_ns}), range(9), strict=False)]
    found = timer.told("clocks", readings)
    assert (found.outcome, found.code, found.measured) == ("FAIL", "CLOCK_JUMPED", abs(by_ns) / 1e6)
    assert found.text.startswith(timer.NAMES[clock])


def test_a_monotonic_clock_that_goes_back_fails() -> None:
    """Time that runs backwards is a jump of the monotonic clock itself."""
    there = timer.Instant(5 * S, 5 * S, 5 * S, 5 * S, 0)
    found = timer.told("clocks", [there, timer.Instant(4 * S, 4 * S, 4 * S, 4 * S, 0)])
    assert found.outcome == "FAIL"
    assert "the monotonic clock went back by 1.00 s" in found.text


def test_a_jump_between_the_first_and_the_last_check_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened while other checks ran is seen by the check that looks back."""
    context = _context(tmp_path, keep={timer.FIRST: timer.Instant(0, 0, 0, 0, 0)})
    monkeypatch.setattr(timer, "READ", lambda: timer.Instant(60 * S, 60 * S, 60 * S, 63 * S, 0))
    assert timer.run_clocks(context).outcome == "FAIL"
    monkeypatch.setattr(timer, "READ", lambda: timer.Instant(60 * S, 60 * S, 60 * S, 60 * S + 60_000_000, 0))
    assert timer.run_clocks(context).outcome == "PASS"  # 60 ms in 60 s: steered, not set


def test_the_real_clocks_are_read_at_one_moment() -> None:
    """A reading takes less than a second, and clocks of this machine go forward."""
    before, after = timer.read(), timer.read()
    assert before.monotonic < after.monotonic
    assert before.apart < S


# --------------------------------------------------------------------------------------------------------------------------- cores


@pytest.mark.parametrize(("share", "outcome"), [(0.0, "PASS"), (0.05, "PASS"), (0.051, "FAIL"), (0.5, "FAIL")])
def test_others_on_the_cores_fail_above_a_twentieth(share: float, outcome: str) -> None:
    """A competing process has the code CPU_CONTENDED and the share it took."""
    found = noise.contended(share)
    assert (found.outcome, found.code, found.measured) == (outcome, "CPU_CONTENDED", share)
    assert found.required


def test_cores_whose_use_cannot_be_read_are_no_pass() -> None:
    """What nobody saw is skipped, and as a required finding that qualifies nothing."""
    found = noise.contended(None)
    assert (found.outcome, found.required) == ("SKIP", True)


def test_a_competing_process_is_found_by_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two readings of a made-up machine others used half of the cores."""
    readings = iter([CpuTime(0.0, 0.0, 0.0), CpuTime(8.0, 3.0, 10.0)])
    monkeypatch.setattr(noise, "READ", lambda: next(readings))
    monkeypatch.setattr(noise, "blocks", lambda: [100.0, 101.0] * 12)
    contended, spread = noise.run(_context(tmp_path))
    assert (contended.outcome, contended.measured) == ("FAIL", 0.5)
    assert spread.outcome == "PASS"
    assert spread.measured == pytest.approx(0.00995, rel=1e-3)


def test_blocks_that_differ_are_worth_a_warning() -> None:
    """Noise above a tenth warns and rejects nothing by itself."""
    found = noise.noise([100.0, 150.0] * 12)
    assert (found.outcome, found.code, found.required) == ("WARN", "NOISY", False)


# -------------------------------------------------------------------------------------------------------------------------- memory


def _memory(available: int, *, at_s: float = 0.0, swapped: int | None = 0, stalled: int | None = 0) -> memory.Reading:
    return memory.Reading(24 * GB, available, GB, swapped, stalled, at_s)


def test_memory_that_is_left_passes() -> None:
    """Room for a run, calm, and without a baseline what others hold is only told."""
    now = _memory(20 * GB)
    made = [memory.room(now, 90_000_000), memory.neighbours(now, None), memory.pressure(now, _memory(20 * GB, at_s=1.0))]
    assert [each.outcome for each in made] == ["PASS", "PASS", "PASS"]
    assert made[1].expected is None


def test_a_hungry_neighbour_fails_for_room_and_against_the_baseline() -> None:
    """One that leaves 1 GB fails by itself; one that took 5 GB more than when the baseline was learned fails against it."""
    assert memory.room(_memory(GB), 0).outcome == "FAIL"
    known = _held("memory_of_others", 2.0 * GB, None, 2.1 * GB)
    found = memory.neighbours(_memory(16 * GB), known)
    assert (found.outcome, found.code, found.measured) == ("FAIL", "MEMORY_PRESSURE", 7.0 * GB)
    assert memory.neighbours(_memory(19 * GB), known).outcome == "PASS"  # 4 GB: within a tenth of all memory


def test_a_large_model_wants_more_room() -> None:
    """Room is asked for by the model: six times its size, at least 2 GB."""
    assert memory.room(_memory(20 * GB), 4 * GB).outcome == "FAIL"


@pytest.mark.parametrize(("swapped", "stalled", "outcome"), [(100, 9_000, "PASS"), (101, 0, "FAIL"), (0, 11_000, "FAIL")])
def test_swapping_and_stalls_are_pressure(swapped: int, stalled: int, outcome: str) -> None:
    """More than 100 pages or 1 % of the time in a second."""
    found = memory.pressure(_memory(20 * GB), _memory(20 * GB, at_s=1.0, swapped=swapped, stalled=stalled))
    assert (found.outcome, found.code) == (outcome, "MEMORY_PRESSURE")


def test_pressure_that_cannot_be_read_is_skipped() -> None:
    """Neither counter is there: a skip that is not required, with the reason."""
    found = memory.pressure(_memory(GB, swapped=None, stalled=None), _memory(GB, at_s=1.0, swapped=None, stalled=None))
    assert (found.outcome, found.required) == ("SKIP", False)


# ----------------------------------------------------------------------------------------------------------------------- telemetry


def _recorded(rows: int = 10, step_s: float = 1.0, **columns: Any) -> Recording:
    units = dict.fromkeys(columns, "1")
    return Recording(1.0, units, [round(place * step_s * S) for place in range(rows)], columns, [0] * rows)


def test_telemetry_that_goes_on_passes() -> None:
    """Rows without a gap, the last one just now."""
    found = sensors.alive(_recorded(), 9 * S, running=True)
    assert (found.outcome, found.code, found.measured, found.n) == ("PASS", "TELEMETRY_LOST", 1.0, 10)


@pytest.mark.parametrize(
    ("recording", "now_s", "running"),
    [
        (_recorded(), 9, False),  # killed
        (_recorded(), 16, True),  # stands still
        (_recorded(4, 7.0), 21, True),  # rows are missing in between
        (Recording(1.0, missing={"sampler": "ended during the run with signal 9"}), 9, True),
    ],
)
def test_telemetry_that_vanishes_fails(recording: Recording, now_s: int, running: bool) -> None:
    """Gone, silent, with a hole, or never there: each is TELEMETRY_LOST."""
    found = sensors.alive(recording, now_s * S, running=running)
    assert (found.outcome, found.code, found.required) == ("FAIL", "TELEMETRY_LOST", True)


def test_telemetry_that_nobody_asked_for_is_skipped(tmp_path: Path) -> None:
    """A required skip: such a qualification accepts nothing."""
    found = sensors.run(_context(tmp_path))
    assert [(each.outcome, each.required) for each in found] == [("SKIP", True)]


def test_heat_quota_and_stolen_time_have_codes_of_their_own() -> None:
    """Each is a share of the time, and what cannot be read is skipped."""
    events = [0.0] * 5 + [3.0] * 5
    found = {each.code: each for each in sensors.held_back(_recorded(cpu_throttle_events=events, steal_share=[0.2] * 10))}
    assert {code: each.outcome for code, each in found.items()} == {"CPU_THROTTLED": "FAIL", "CPU_QUOTA": "SKIP", "CPU_STOLEN": "FAIL"}
    assert found["CPU_STOLEN"].measured == pytest.approx(0.2)


@pytest.mark.parametrize(("share", "outcome"), [(0.04, "PASS"), (0.06, "FAIL")])
def test_guests_of_the_host_may_take_as_much_as_other_processes(share: float, outcome: str) -> None:
    """5 % of the time, as `others_cpu_share`."""
    found = {each.code: each for each in sensors.held_back(_recorded(steal_share=[share] * 10))}
    assert found["CPU_STOLEN"].outcome == outcome


# ---------------------------------------------------------------------------------------------------------------------------- GPUs


def _gpu(missing: dict[str, str] | None = None, facts: dict[str, Any] | None = None, **columns: Any) -> dict[str, Finding]:
    """Findings about a GPU that idles at one reading and works at three, with these values in its columns."""
    values = {
        "busy_share": [0.0, 0.9, 0.9, 0.9],
        "sm_mhz": [210.0, 1900.0, 1950.0, 1940.0],
        "throttle_reasons": [1.0, 0.0, 4.0, 0.0],
        "ecc_uncorrected": [0.0] * 4,
        "ecc_corrected": [2.0] * 4,
        "pcie_lanes": [16.0] * 4,
        "pcie_generation": [1.0, 5.0, 5.0, 5.0],
        "other_processes": [0.0] * 4,
    } | {name: [0.0, 0.0, value, value] for name, value in columns.items()}
    known = {"name": "H100", "pcie_max_lanes": 16, "pcie_max_generation": 5, "sm_max_mhz": 1980} | (facts or {})
    named: dict[str, Any] = {f"gpu0_{name}": each for name, each in values.items()}
    recording = _recorded(4, **named)
    recording = replace(recording, facts={"gpu0": known, "nvidia_driver": "570"}, missing=missing or {})
    return {each.name: each for each in gpu.findings(recording, "gpu0")}


def test_a_sound_gpu_passes() -> None:
    """No finding fails; a power cap is told and no fault; the clock is left for the baseline to judge."""
    found = _gpu()
    assert {each.outcome for each in found.values()} == {"PASS"}
    assert "software power cap" in found["gpu0_throttled"].text
    assert (found["gpu0_sm_clock"].measured, found["gpu0_sm_clock"].expected) == (1950.0, None)


@pytest.mark.parametrize(
    ("columns", "name", "code"),
    [
        ({"throttle_reasons": 64.0}, "gpu0_throttled", "GPU_THROTTLED"),
        ({"ecc_uncorrected": 1.0}, "gpu0_ecc", "ECC_ERRORS"),
        ({"pcie_lanes": 8.0}, "gpu0_pcie_lanes", "PCIE_LINK"),
        ({"other_processes": 1.0}, "gpu0_shared", "GPU_SHARED"),
    ],
)
def test_a_faulty_gpu_fails_with_the_code_of_its_fault(columns: dict[str, Any], name: str, code: str) -> None:
    """Heat, memory errors, lost lanes, company."""
    found = _gpu(**columns)
    failed = {each.name: each.code for each in found.values() if each.outcome == "FAIL"}
    assert failed == {name: code}


def test_a_lost_gpu_fails_and_nothing_else_is_said_of_it() -> None:
    """Its last values are those of before."""
    found = _gpu(missing={"gpu0": "the GPU is lost"})
    assert [(each.code, each.outcome) for each in found.values()] == [("GPU_LOST", "FAIL")]


def test_rows_that_cannot_be_replaced_and_xid_errors_fail() -> None:
    """What the driver tells once, and what the kernel log told meanwhile."""
    assert _gpu(facts={"row_remap_failed": True})["gpu0_rows"].outcome == "FAIL"
    recording = replace(_recorded(4, gpu0_sm_mhz=[1.0] * 4), events=[Event(S, "XID 79", "GPU has fallen off the bus")])
    found = {each.name: each for each in gpu.findings(recording, "gpu0")}
    assert (found["gpu0_xid"].outcome, found["gpu0_xid"].code) == ("FAIL", "GPU_XID")


@pytest.mark.parametrize(
    ("text", "fails"),
    [("GPU 0000:3b:00: pid=12, fallen off the bus", True), ("GPU 0000:af:00: off", False), ("GPU unknown: told by the driver", True)],
)
def test_an_xid_error_accuses_the_gpu_that_it_names(text: str, fails: bool) -> None:
    """By its place on the bus, however it is written; one that names none accuses all."""
    columns = {"gpu_xid_errors": [1.0] * 4}
    recording = replace(_recorded(4, **columns), facts={"gpu0": {"bus_id": "00000000:3B:00.0"}}, events=[Event(S, "XID 79", text)])
    found = {each.name: each for each in gpu.findings(recording, "gpu0")}
    assert (found["gpu0_xid"].outcome == "FAIL", found["gpu0_xid"].measured) == (fails, float(fails))


def test_a_lost_gpu_is_shown_with_the_error_that_its_driver_told() -> None:
    """XID 79: it has fallen off the bus."""
    lost = replace(_recorded(1, gpu0_sm_mhz=[1.0]), missing={"gpu0": "the GPU is lost"}, events=[Event(S, "XID 79", "GPU 0000:3b:00: off")])
    assert [each.code for each in gpu.findings(lost, "gpu0")] == ["GPU_LOST", "GPU_XID"]


def test_a_machine_without_gpu_skips_unless_one_was_asked_for(tmp_path: Path) -> None:
    """Not required on a CPU; required with --device cuda."""
    assert [(each.outcome, each.required) for each in gpu.run(_context(tmp_path))] == [("SKIP", False)]
    assert [(each.outcome, each.required) for each in gpu.run(_context(tmp_path, device="cuda:0"))] == [("SKIP", True)]


# ------------------------------------------------------------------------------------------------------- doctor, products, model, runs


def test_lines_of_the_doctor_become_findings() -> None:
    """A failure is required, advice is not."""
    lines = [Line(Level.OK, "Python", "3.11"), Line(Level.WARN, "other work", "busy", "wait"), Line(Level.FAIL, "torch", "none", "install")]
    found = list(environment.findings(lines))
    assert [(each.name, each.outcome, each.required) for each in found] == [
        ("environment_python", "PASS", False),
        ("environment_other_work", "WARN", False),
        ("environment_torch", "FAIL", True),
    ]


def test_products_are_measured_anew_and_left_for_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of the rounds, with the rounds themselves, in a cache of their own."""
    rounds = iter([{"fp32": 9e9, "copy": 5e9}, {"fp32": 7e9, "copy": 6e9}, {"fp32": 8e9, "copy": 4e9}])
    caches = set()

    def measured(place: str, threads: int, precisions: Any, *, cache: Path, again: bool) -> Any:
        del place, threads, precisions
        assert again
        caches.add(cache)
        return next(rounds)

    monkeypatch.setattr("harness.peaks.measured", measured)
    product, copy = speed.measured("cpu", ("fp32",), 3)
    assert (product.name, product.code, product.measured, product.details["values"]) == ("gemm_fp32", "COMPUTE_LOW", 8e9, [9e9, 7e9, 8e9])
    assert (copy.name, copy.code, copy.measured, copy.expected) == ("memory_copy", "BANDWIDTH_LOW", 5e9, None)
    assert len(caches) == 3


def test_every_gpu_is_measured_under_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, or the one that was asked for."""
    monkeypatch.setattr("harness.conditions.gpus", lambda: [{}, {}])
    assert speed.places("auto") == {"cuda:0": (1, "gpu0_"), "cuda:1": (1, "gpu1_")}
    assert speed.places("cuda:1") == {"cuda:1": (1, "gpu1_")}
    assert list(speed.places("cpu")) == ["cpu"]


def test_a_model_file_that_changed_meanwhile_is_wrong() -> None:
    """Two readings of one model with two hashes."""
    known = Model("m", Path("m"), "question-answering", "a" * 64, 1, 1)
    assert model.judged(known, known).outcome == "PASS"
    found = model.judged(known, replace(known, sha256="b" * 64))
    assert (found.outcome, found.code) == ("FAIL", "MODEL_WRONG")


def test_accuracy_is_held_against_the_reference() -> None:
    """The score against the target of the run; a run without a score is no pass."""
    found = [inference.accuracy(run) for run in (VALID, ACCURACY_MISSED, NULL)]
    assert [(each.code, each.outcome, each.required) for each in found] == [
        ("ACCURACY_LOW", "PASS", True),
        ("ACCURACY_LOW", "FAIL", True),
        ("ACCURACY_LOW", "SKIP", True),
    ]


def test_company_during_a_run_fails() -> None:
    """The run itself notes what others used."""
    run = replace(VALID, conditions={**VALID.conditions, "others_cpu_share": 0.3})
    assert [(each.code, each.outcome) for each in inference.company(run, "offline")] == [("CPU_CONTENDED", "FAIL")]


def test_the_rate_of_the_baseline_is_asked_for() -> None:
    """So that each run asks as much; without a baseline a probe finds the rate."""
    assert inference.expected_rate(None) is None
    assert inference.expected_rate(_held("offline_throughput", 46.0, 44.0, None)) == 46.0
