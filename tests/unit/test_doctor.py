"""Each check of the doctor, from facts to a line; and the facts themselves, read from files made for the test."""

from pathlib import Path
from typing import Any

import pytest

from harness import conditions
from harness.commands import doctor as command_doctor
from harness.doctoring import examination as doctor
from harness.doctoring.lines import Level, Line
from harness.errors import ExitCode, MissingError
from harness.flags import Parser

CPU: dict[str, Any] = {
    "model": "EPYC",
    "usable_cores": 4,
    "logical_cores": 8,
    "quota_cores": None,
    "instruction_sets": ["avx2", "avx512_vnni", "avx512_bf16"],
}
GPU = {"name": "H100", "driver_version": "550", "memory.total": "81559", "persistence_mode": "Enabled"}


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (doctor.python((3, 11)), Level.OK, "3.11"),
        (doctor.python((3, 10)), Level.FAIL, "3.10 is not supported"),
        (doctor.python((3, 14)), Level.FAIL, "3.14 is not supported"),
        (doctor.cores(CPU), Level.OK, "EPYC, 4 usable cores of 8"),
        (doctor.cores(CPU | {"quota_cores": 1.5}), Level.WARN, "EPYC, 4 usable cores of 8, but the control group allows 1.5 cores of time"),
        (doctor.instruction_sets(CPU), Level.OK, "avx2 avx512_vnni avx512_bf16"),
        (
            doctor.instruction_sets(CPU | {"instruction_sets": ["avx2"]}),
            Level.OK,
            "avx2; no fast INT8 (VNNI, AMX or dot products), no fast BF16",
        ),
        (doctor.instruction_sets(CPU | {"instruction_sets": []}), Level.WARN, "none of interest found"),
        (doctor.governor(None), Level.OK, "not visible here"),
        (doctor.governor("performance"), Level.OK, "performance"),
        (doctor.governor("powersave"), Level.WARN, "powersave: the clock follows the load"),
        (doctor.load([0.2, 0, 0], 2), Level.OK, "load average 0.20 on 2 cores"),
        (doctor.load([1.7, 0, 0], 2), Level.WARN, "load average 1.70 on 2 cores"),
        (doctor.load(None, 2), Level.OK, "not visible here"),
        (doctor.memory(8_000_000_000), Level.OK, "8.00 GB available"),
        (doctor.memory(800_000_000), Level.WARN, "800 MB available"),
        (doctor.gpus([]), Level.OK, "none seen (no nvidia-smi)"),
        (doctor.gpus([GPU]), Level.OK, "H100, driver 550, 81559 MiB"),
        (doctor.gpus([GPU | {"persistence_mode": "Disabled"}]), Level.WARN, "H100, driver 550, 81559 MiB; persistence mode off"),
        (doctor.torch_device(None, 0, False), Level.FAIL, "not installed"),
        (doctor.torch_device("2.13", 0, False), Level.OK, "2.13, CPU"),
        (doctor.torch_device("2.13", 0, True), Level.WARN, "2.13 cannot use the GPU"),
        (doctor.torch_device("2.13", 2, True), Level.OK, "2.13, 2 CUDA devices"),
        (doctor.timer(50), Level.OK, "resolution 50 ns"),
        (doctor.timer(15_600_000), Level.WARN, "resolution 15.6 ms"),
        (doctor.sleep(90_000), Level.OK, "a sleep ends 90.0 µs late (median of 50)"),
        (doctor.sleep(15_000_000), Level.WARN, "a sleep ends 15.0 ms late (median of 50)"),
        (doctor.harness_cost(500.0), Level.OK, "500 ns a query, 2,000,000 queries/s at most with one worker"),
        (doctor.harness_cost(50_000.0), Level.WARN, "50.0 µs a query, 20,000 queries/s at most with one worker"),
        (doctor.disk("disk", Path("out"), 5_000_000_000), Level.OK, "5.00 GB free at out"),
        (doctor.disk("disk", Path("out"), 5_000_000), Level.WARN, "5.00 MB free at out"),
        (doctor.disk("disk", Path("out"), None), Level.FAIL, "out cannot be looked at"),
    ],
)
def test_a_fact_is_judged(line: Line, level: Level, text: str) -> None:
    """Level and text follow from the fact, and whatever is not OK has a cure."""
    assert (line.level, line.text) == (level, text)
    assert bool(line.cure) == (level is not Level.OK)


def test_the_whole_examination_ends_with_3_only_on_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """WARN leaves the exit code 0, FAIL makes it 3; cures are shown under their line."""
    lines = [Line(Level.OK, "a", "fine"), Line(Level.WARN, "bcd", "so so", "do this")]
    monkeypatch.setattr(doctor, "examine", lambda out: lines)
    parser = Parser()
    command_doctor.add_arguments(parser)
    assert command_doctor.execute(parser.parse([])) == ExitCode.OK
    assert capsys.readouterr().out == "OK    a    fine\nWARN  bcd  so so\n           cure: do this\n"
    lines.append(Line(Level.FAIL, "e", "gone", "get it"))
    assert command_doctor.execute(parser.parse([])) == ExitCode.MISSING


def test_clock_and_sleep_are_measured() -> None:
    """The clock moves, and a sleep does not end early."""
    assert 0 < doctor.timer_resolution_ns() < 1e9
    assert doctor.sleep_overshoot_ns() >= 0


def test_free_space_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    """A folder that is not there yet is on the disk of the one above it."""
    assert doctor.free_bytes(tmp_path / "not" / "yet") is not None


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    """A folder that is a file, or would have to be made in one, cannot be written: FAIL, whatever the disk has free."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        said = doctor.obstacle(folder)
        assert said == f"{tmp_path / 'file'} is not a folder"
        assert doctor.disk("disk", folder, 5_000_000_000, said).level is Level.FAIL
    assert doctor.obstacle(tmp_path) == doctor.obstacle(tmp_path / "not" / "yet") == ""


def test_a_default_model_that_is_not_here_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each default model is looked for once and without fetching; the cure prepares it."""

    def absent(*args: object, offline: bool, **kwargs: object) -> None:
        assert offline
        raise MissingError("not here")

    monkeypatch.setattr(doctor.models, "resolve", absent)
    lines = doctor.default_models(tmp_path)
    assert Line(Level.WARN, "model minilm-squad", "not here", "assay prepare --task squad") in lines
    assert {line.level for line in lines} == {Level.WARN}
    assert len({line.name for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ({"a/b/cpu.max": "100000 100000", "a/cpu.max": "200000 100000"}, 1.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
    ],
)
def test_the_control_groups_quota_is_the_least_on_the_way_up(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    """Versions 1 and 2, nested groups, and no limit."""
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/a/b\n")
    assert conditions.quota_cores(tmp_path / "cgroup", membership) == quota


def test_conditions_are_plain_and_complete() -> None:
    """Everything a comparison asks about is there, and numpy and torch are found without being imported."""
    found = conditions.collect()
    assert {"cpu", "memory", "load_average", "gpus", "os", "kernel", "python", "libraries", "git", "environment"} <= found.keys()
    assert found["cpu"]["usable_cores"] >= 1
    assert {"numpy", "torch"} <= found["libraries"].keys()


def test_gpus_are_read_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry a GPU with all fields; a line of another shape is left out, and no program means no GPU."""
    values = ["H100", "GPU-1", "550", "81559", "P0", "1980", "1980", "30", "700.00", "Enabled", "Enabled", "9.0", "5", "16"]
    monkeypatch.setattr(conditions, "_command", lambda *words: ", ".join(values) + "\nsomething else\n")
    (gpu,) = conditions.gpus()
    assert (gpu["name"], gpu["driver_version"], gpu["pcie.link.width.current"]) == ("H100", "550", "16")
    monkeypatch.setattr(conditions, "_command", lambda *words: None)
    assert conditions.gpus() == []


def test_a_checkout_is_named_by_commit(tmp_path: Path) -> None:
    """Outside a checkout there is no commit."""
    assert conditions.git(tmp_path) is None
