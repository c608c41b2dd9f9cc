"""Many machines' results: what is read, how it is grouped, what the record and its report say, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import plugins, store
from harness.cli import main
from harness.qualifying import fleet, fleet_document, fleet_reading, state
from harness.qualifying.check import Finding, Qualification
from tests import example_runs
from tests.fleets import FIGURES, HARDWARE, Fleet, qualification
from tests.fleets import fleet as simulated


def record(*found: Qualification) -> dict[str, Any]:
    made = fleet.record([fleet_reading.of_qualification(each, f"{number}.json") for number, each in enumerate(found)], [])
    return json.loads(json.dumps(made, allow_nan=False))  # type: ignore[no-any-return]


def machine(name: str, off: float = 0.0, **changes: object) -> Qualification:
    number = sum(map(ord, name))
    return qualification(
        name, {figure: off + 0.001 * ((number * prime) % 11 - 5) for prime, figure in zip((3, 5, 7, 2, 9), FIGURES, strict=True)}, **changes
    )


def eight(**changes: object) -> list[Qualification]:
    return [machine(f"node{letter}", **changes) for letter in "abcdefgh"]


# ---------------------------------------------------------------------------------------------------------------------- reading


def test_files_are_found_however_deep_and_each_once(tmp_path: Path) -> None:
    """Folders of results, collected single files and a path that is named twice: every machine once."""
    made = simulated(1, 3).qualifications
    state.finish(_folder(tmp_path / "rack" / "left" / "node000"), made["node000"])
    state.finish(_folder(tmp_path / "node001"), made["node001"])
    state.finish(_folder(tmp_path / "x"), made["node002"])
    (tmp_path / "x" / state.FILE).rename(tmp_path / "node002.json")
    (tmp_path / "x").rmdir()
    found, unread = fleet_reading.read([tmp_path, tmp_path / "node001"])
    assert sorted(each.machine for each in found) == ["node000", "node001", "node002"]
    assert unread == []


def test_what_lies_in_a_result_belongs_to_it(tmp_path: Path) -> None:
    """Runs and other files in the folder of a qualification are neither machines nor strangers."""
    Fleet({"a": machine("a")}).write(tmp_path)
    (tmp_path / "a" / "runs" / "one").mkdir(parents=True)
    (tmp_path / "a" / "runs" / "one" / "run.json").write_text("{}")
    (tmp_path / "a" / "soak.json").write_text("{}")
    found, unread = fleet_reading.read([tmp_path])
    assert ([each.machine for each in found], unread) == (["a"], [])


def test_what_does_not_count_is_listed_with_its_reason(tmp_path: Path) -> None:
    """Damaged, changed, unfinished and foreign files each stand in the list."""
    Fleet({name: machine(name) for name in ("good", "broken", "changed", "future")}).write(tmp_path)
    broken, changed, future = (tmp_path / name / state.FILE for name in ("broken", "changed", "future"))
    broken.write_text(broken.read_text()[:200])
    changed.write_text(changed.read_text().replace('"measured": ', '"measured": 1'))
    future.write_text(future.read_text().replace('"schema": 1', '"schema": 7'))
    state.keep(_folder(tmp_path / "stopped"), machine("stopped"))
    (tmp_path / "notes.txt").write_text("rack 7")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "other.json").write_text('{"kind": "fleet"}')
    found, unread = fleet_reading.read([tmp_path])
    reasons = {str(Path(each.file).relative_to(tmp_path)): each.reason for each in unread}
    assert [each.machine for each in found] == ["good"]
    assert "cannot be read" in reasons.pop("broken/qualification.json")
    assert "was changed since it was written" in reasons.pop("changed/qualification.json")
    assert "schema 7" in reasons.pop("future/qualification.json")
    assert "--resume" in reasons.pop("stopped/partial.json")
    assert reasons.pop("notes.txt") == "no JSON"
    assert "cannot be read" in reasons.pop("bytes.json")
    assert set(reasons.items()) == {(name, "neither a qualification nor a run") for name in ("list.json", "other.json")}


def test_runs_are_compared_by_headline_and_accuracy(tmp_path: Path) -> None:
    """A folder of run folders is a fleet too; a run that is INVALID is listed and does not count."""
    for name in ("a", "b"):
        run = replace(example_runs.VALID, run_id=name)
        store.RunFolder(_folder(tmp_path / name)).write_run(replace(run, conditions={**run.conditions, "hostname": name}))
    store.RunFolder(_folder(tmp_path / "c")).write_run(example_runs.INVALID)
    found, unread = fleet_reading.read([tmp_path])
    assert [(each.machine, each.level, each.verdict) for each in found] == [("a", "run", "VALID"), ("b", "run", "VALID")]
    assert len(found[0].values) == 2
    assert "no result: INVALID" in unread[0].reason


def test_figures_that_a_check_has_judged_itself_are_not_compared() -> None:
    """Noise and other facts with limits of their own say nothing by how they rank."""
    noise = Finding("CPU_CONTENDED", "noise", "PASS", "quiet", 0.01, "1", 5, expected=0.0, tolerance=0.05, better="lower")
    told = Finding("TIMER", "timer", "PASS", "80 ns", 80.0, "ns", 5)
    skipped = Finding("THROUGHPUT_LOW", "gone", "SKIP", "not measured", 1.0, "1", 1, better="higher")
    found = machine("a")
    read = fleet_reading.of_qualification(replace(found, findings=(*found.findings, noise, told, skipped)), "a.json")
    assert {each.name for each in read.values} == set(FIGURES)


# --------------------------------------------------------------------------------------------------------------------- grouping


def test_only_the_same_is_compared() -> None:
    """Another level, another processor or another model makes a group of its own; another governor does not."""
    other_cpu = {**HARDWARE, "cpu": {**HARDWARE["cpu"], "model": "Example CPU 9000"}}  # type: ignore[dict-item]
    governor = {**HARDWARE, "cpu": {**HARDWARE["cpu"], "governor": "powersave"}}  # type: ignore[dict-item]
    made = record(
        *eight(),
        machine("b1", level="quick"),
        machine("b2", machine={"hardware": other_cpu, "hostname": "b2", "lasting": {}}),
        machine("b3", subject={"model": {"sha256": "cc"}}),
        machine("b4", machine={"hardware": governor, "hostname": "b4", "lasting": {}}),
    )
    assert [len(group["units"]) for group in made["groups"]] == [9, 1, 1, 1]
    settings = {each["what"]: each for each in made["groups"][0]["configuration"]}
    assert settings["cpu.governor"]["others"] == {"powersave": ["b4"]}
    assert (settings["cpu.governor"]["most"], settings["cpu.governor"]["count"]) == ("performance", 8)


def test_several_files_of_a_machine_are_one_machine() -> None:
    """Three qualifications of one serial number count once, with their medians and the newest verdict."""
    failed = Finding("ECC_ERRORS", "ecc", "FAIL", "errors")
    again = [machine("nodea", off, started_utc=f"2026-11-2{day}T10:00:00+00:00") for day, off in ((2, 0.0), (3, 0.3), (4, 0.01))]
    again[1] = replace(again[1], findings=(*again[1].findings, failed))
    made = record(*again, *eight()[1:])
    unit = next(each for each in made["groups"][0]["units"] if each["name"] == "nodea")
    assert len(made["groups"][0]["units"]) == 8
    assert (len(unit["files"]), unit["verdict"], unit["worse"]) == (3, "ACCEPTED", [])
    middle = {value.name: value.value for value in fleet_reading.of_qualification(again[2], "").values}
    assert unit["values"]["gemm_fp32"] == pytest.approx(middle["gemm_fp32"])


def test_machines_with_one_name_are_told_apart() -> None:
    """Two machines that nobody gave a name are two, by their serial numbers."""
    made = record(machine("localhost", serials={"board": "1"}), machine("localhost", serials={"board": "2"}))
    names = {unit["name"] for unit in made["groups"][0]["units"]}
    assert len(names) == 2
    assert all(name.startswith("localhost (") for name in names)


def test_figures_without_ratios_are_left_out_by_name() -> None:
    """A count that is 0 on most machines has no ratio: it is not compared, and the record says whose differs."""

    def with_errors(found: Qualification, count: float) -> Qualification:
        return replace(found, findings=(*found.findings, Finding("ERRORS", "errors", "PASS", "", count, "errors", 1, better="lower")))

    made = record(*(with_errors(each, 3.0 if number == 2 else 0.0) for number, each in enumerate(eight())))
    assert "nodec not equal to the median" in made["groups"][0]["left_out"]["errors"]


# ------------------------------------------------------------------------------------------------------------------------- GPUs


def with_gpus(name: str, slow: int | None = None) -> Qualification:
    """Eight GPUs within 1 % of each other, and one at 60 %."""
    findings = [
        Finding(
            "COMPUTE_LOW",
            f"gpu{gpu}_{figure}",
            "PASS",
            "",
            value * (0.6 if gpu == slow else 1 + 0.001 * ((gpu * 3 + len(name)) % 7)),
            "1",
            3,
            better="higher",
        )
        for gpu in range(8)
        for figure, value in (("gemm_fp16", 7e14), ("memory_copy", 2.5e12))
    ]
    return replace(machine(name), findings=tuple(findings))


def test_gpus_of_all_machines_are_compared_with_each_other() -> None:
    """Two machines are too few, their sixteen GPUs are not: the slow one is named with its machine and number."""
    made = record(with_gpus("a"), with_gpus("b", slow=5))
    assert [(group["of"], len(group["units"]), group["compared"]) for group in made["groups"]] == [("machine", 2, False), ("GPU", 16, True)]
    assert [unit["name"] for unit in made["groups"][1]["units"] if unit["worse"]] == ["b GPU 5"]
    assert made["exit_code"] == 8
    assert "b GPU 5: gemm_fp16 −4" in fleet_document.document(made).sentences[0]


# ----------------------------------------------------------------------------------------------------------- verdict and report


def test_exit_codes() -> None:
    """0 when all are alike, 8 for an outlier and for a machine that its own qualification rejected, 9 for nothing to compare."""
    rejected = replace(machine("nodei"), findings=(*machine("nodei").findings, Finding("ECC_ERRORS", "ecc", "FAIL", "12 errors")))
    assert record(*eight())["exit_code"] == 0
    assert record(*eight(), machine("slow", -0.3))["exit_code"] == 8
    assert record(*eight(), rejected)["exit_code"] == 8
    assert record(*eight()[:3])["exit_code"] == 9
    assert record()["exit_code"] == 9


def test_a_machine_that_is_better_is_pointed_out_and_not_refused() -> None:
    """Faster by a third: a sentence, no exit code."""
    made = record(*eight(), machine("fast", 0.3))
    assert made["exit_code"] == 0
    assert any(text.startswith("fast: ") and "set up like them" in text for text in fleet_document.document(made).sentences)


def test_report_says_who_and_by_how_much() -> None:
    """Verdict, sentence, table and figure all name the slow machine."""
    made = fleet_document.document(record(*eight(), machine("slow", -0.3)))
    assert (made.word, made.tone, made.headline) == ("OUTLIERS", "bad", "9 machines: 1 not like the others")
    assert made.sentences[0].startswith("slow: ")
    assert "from the median of the other 8" in made.sentences[0]
    for name in ("terminal", "markdown", "html", "csv"):
        assert "slow" in plugins.load("reports", name).render_document(made)


def test_report_of_nothing() -> None:
    """No files at all make a report that says so, in every format."""
    made = fleet_document.document(record())
    assert (made.word, made.headline) == ("NOT COMPARED", "no machines")
    for name in ("terminal", "markdown", "html", "csv"):
        plugins.load("reports", name).render_document(made)


def test_report_of_few_says_from_where_on_one_is_named() -> None:
    """With five machines a single one has to be far off, and the report says how far; with three it says that they are too few."""
    few = " ".join(fleet_document.document(record(*eight()[:5])).sentences)
    assert "5 machines are few: a single one is named only from" in few
    assert "3 machines, too few: nothing is named with fewer than 5" in " ".join(fleet_document.document(record(*eight()[:3])).sentences)


# ---------------------------------------------------------------------------------------------------------------------- command


def test_command_keeps_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--out` has JSON, page, Markdown and CSV; `report` shows the record again as it was shown."""
    Fleet({each.machine["hostname"]: each for each in (*eight(), machine("slow", -0.3))}).write(tmp_path / "in")
    assert main(["qualify", "fleet", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 8
    shown = capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["fleet.json", "report.csv", "report.html", "report.md"]
    assert json.loads((tmp_path / "out" / "fleet.json").read_text())["exit_code"] == 8
    assert main(["report", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == shown.strip()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["/nowhere/at/all"], 3, "/nowhere/at/all is not there"),
        (["{}", "--least", "100"], 2, "--least 100"),
        (["{}", "--format", "junit"], 2, "--format junit"),
        (["{}", "--to", "{}"], 3, "cannot be written"),
        (["{}"], 9, ""),
    ],
)
def test_command_refuses(words: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong word has its own message and exit code; an empty folder is nothing measured."""
    assert main(["qualify", "fleet", *(word.format(tmp_path) for word in words)]) == code
    assert said in capsys.readouterr().err


def test_ending_of_the_file_says_the_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--to fleet.csv` writes CSV, and nothing to the screen."""
    Fleet({each.machine["hostname"]: each for each in eight()}).write(tmp_path / "in")
    assert main(["qualify", "fleet", str(tmp_path / "in"), "--to", str(tmp_path / "fleet.csv")]) == 0
    assert capsys.readouterr().out == ""
    assert "gemm_fp32 (operations/s)" in (tmp_path / "fleet.csv").read_text()


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
