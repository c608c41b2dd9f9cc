"""The description of a system: 35 fields, filled from a run's conditions, the rest asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, MissingError, UsageError
from harness.submission import machine as export_machine
from harness.submission import system_description as system
from tests import export_examples as examples

CONDITIONS: dict[str, Any] = {
    "cpu": {"model": "Some CPU", "physical_cores": 64},
    "memory": {"total": 2**36},
    "gpus": [],
    "os": "Linux",
    "kernel": "6.8.0",
    "machine": "x86_64",
    "python": "3.11.7",
    "libraries": {"assay": "0.1.0", "torch": "2.6.0"},
}
GPU = {
    "name": "NVIDIA H100 80GB HBM3",
    "driver_version": "550.54",
    "memory.total": "81559",
    "clocks.max.sm": "1980",
    "pcie.link.gen.current": "5",
    "pcie.link.width.current": "16",
}
CPU_BACKEND = {"runtime": "pytorch", "version": "2.6.0", "device": "cpu"}


def described(backend: dict[str, Any] = CPU_BACKEND, **changed: Any) -> dict[str, str]:
    return system.described(CONDITIONS | changed, backend, here=False)


def test_fields_are_those_of_the_checker() -> None:
    """26 fields must say something and 9 may be empty; together, and in this order, they are the description."""
    assert list(system.ASKED) == examples.NOT_EMPTY
    assert list(system.OPTIONAL) == examples.MAY_BE_EMPTY
    assert list(described()) == [*examples.NOT_EMPTY, *examples.MAY_BE_EMPTY]
    assert all(isinstance(value, str) for value in described().values())


def test_processor_memory_and_software_come_from_the_run() -> None:
    """What the conditions hold is told in the units of the examples; what they do not hold is empty."""
    fields = described()
    assert fields["host_processor_model_name"] == "Some CPU"
    assert fields["host_memory_capacity"] == "64.0 GiB"
    assert fields["framework"] == "PyTorch 2.6.0"
    assert fields["operating_system"] == "Linux 6.8.0 x86_64"
    assert fields["other_software_stack"] == "Python 3.11.7, assay 0.1.0, torch 2.6.0"
    assert (fields["host_processors_per_node"], fields["cooling"], fields["host_storage_type"]) == ("", "", "")


def test_without_accelerators_the_checker_gets_text() -> None:
    """The number of accelerators is the text "0" and all about them is "N/A": an empty answer and the number 0 are refused."""
    fields = described()
    assert fields["accelerators_per_node"] == "0"
    assert {fields[name] for name in system.ASKED if name.startswith("accelerator_")} == {"N/A"}


def test_accelerators_of_a_run_on_them() -> None:
    """With a GPU in use its name, memory and link are told; its kind of memory is asked for."""
    fields = described(CPU_BACKEND | {"device": "cuda:0", "cuda": "12.4"}, gpus=[GPU])
    assert fields["accelerators_per_node"] == "1"
    assert fields["accelerator_model_name"] == "NVIDIA H100 80GB HBM3"
    assert fields["accelerator_memory_capacity"] == "80 GiB"
    assert fields["accelerator_host_interconnect"] == "PCIe Gen5 x16"
    assert fields["accelerator_interconnect"] == "N/A"
    assert fields["accelerator_frequency"] == "1980 MHz (maximum)"
    assert fields["other_software_stack"].endswith("CUDA 12.4, NVIDIA driver 550.54")
    assert "accelerator_memory_configuration" in [line.partition(":")[0] for line in system.missing(fields)]
    assert described(CPU_BACKEND | {"device": "cuda:0"}, gpus=[GPU, GPU])["accelerator_interconnect"] == ""


def test_gpu_that_was_not_used_is_noted() -> None:
    """A run on the CPU of a machine with a GPU has no accelerators, and says that one was there."""
    fields = described(gpus=[GPU])
    assert (fields["accelerators_per_node"], fields["hw_notes"]) == ("0", "1 GPU(s) in the system were not used")


def test_what_somebody_wrote_wins() -> None:
    """Answers in the file cover what is known, empty ones do not, and further fields are kept at the end."""
    fields = system.merged(described(), {"framework": "Mine", "operating_system": "", "cooling": "air", "system_power_capacity": "800"})
    assert (fields["framework"], fields["operating_system"], fields["cooling"]) == ("Mine", "Linux 6.8.0 x86_64", "air")
    assert list(fields)[-1] == "system_power_capacity"


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"cooling": ""}, 'cooling: "air", "liquid", or "passive"'),
        ({"number_of_nodes": "0"}, "number_of_nodes: '0' is not a whole number such as \"1\""),
        ({"accelerators_per_node": "none"}, "accelerators_per_node: 'none' is not a whole number such as \"0\" without accelerators"),
        ({"status": "soon"}, "status: 'soon' is none of available, preview, rdi"),
        ({"system_type": "laptop"}, "system_type: 'laptop' is none of edge, datacenter, datacenter,edge, edge,datacenter"),
    ],
)
def test_missing_names_what_is_wrong(changed: dict[str, str], line: str) -> None:
    """Each field that is empty or cannot be used gives one line with what belongs there; a complete description gives none."""
    fields = dict.fromkeys(examples.NOT_EMPTY, "1") | {"status": "available", "system_type": "edge"}
    assert system.missing(fields) == []
    assert system.missing(fields | changed) == [line]


def test_every_answer_becomes_text(tmp_path: Path) -> None:
    """Numbers and truth values of the file become text, null becomes empty."""
    file = tmp_path / "box.json"
    file.write_text('{"number_of_nodes": 1, "is_network": false, "hw_notes": null, "cooling": " air "}')
    assert system.read(file) == {"number_of_nodes": "1", "is_network": "false", "hw_notes": "", "cooling": "air"}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("{", DataError, "is no JSON"),
        ("[1]", DataError, "is no JSON object"),
        ('{"cooling": ["air"]}', UsageError, "cooling is list, not text"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, text: str, error: type[Exception], said: str) -> None:
    """A file that is no object of text is refused with its name."""
    file = tmp_path / "box.json"
    file.write_text(text)
    with pytest.raises(error, match=f"box.json.*{said}"):
        system.read(file)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the file is no description."""
    with pytest.raises(MissingError, match="cannot be read"):
        system.read(tmp_path)


def test_json_ends_with_a_newline_and_reads_back(tmp_path: Path) -> None:
    """What is written is read back the same."""
    file = tmp_path / "box.json"
    file.write_text(system.to_json(described()))
    assert file.read_text().endswith("}\n")
    assert system.read(file) == described() == json.loads(file.read_text())


# --------------------------------------------------------------------------------------------------------------------------- machine


@pytest.fixture
def sys_folder(tmp_path: Path) -> Path:
    """System files of a machine with two sockets, an NVMe disk, a hard disk and a loop device."""
    texts = {
        "devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
        "devices/system/cpu/cpu1/topology/physical_package_id": "1\n",
        "devices/system/cpu/cpu2/topology/physical_package_id": "1\n",
        "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3400000\n",
        "devices/system/cpu/cpu0/cache/index0/level": "1\n",
        "devices/system/cpu/cpu0/cache/index0/type": "Data\n",
        "devices/system/cpu/cpu0/cache/index0/size": "32K\n",
        "devices/system/cpu/cpu0/cache/index1/level": "2\n",
        "devices/system/cpu/cpu0/cache/index1/type": "Unified\n",
        "devices/system/cpu/cpu0/cache/index1/size": "1024K\n",
        "block/nvme0n1/size": f"{2 * 10**12 // 512}\n",
        "block/sda/size": f"{10**12 // 512}\n",
        "block/sda/queue/rotational": "1\n",
        "block/loop0/size": "123456\n",
        "block/sdb/size": "0\n",
    }
    for name, text in texts.items():
        file = tmp_path / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "sys"


def test_machine_is_read_from_system_files(sys_folder: Path) -> None:
    """Sockets, frequency, caches and storage are what Linux says; devices that are no storage are passed over."""
    assert export_machine.sockets(sys_folder) == 2
    assert export_machine.frequency(sys_folder) == "3.40 GHz (maximum)"
    assert export_machine.caches(sys_folder) == "L1d 32K, L2 1024K"
    assert export_machine.storage(sys_folder) == ("3.0 TB", "NVMe SSD, HDD")


def test_machine_without_system_files_is_unknown(tmp_path: Path) -> None:
    """Where nothing can be read, nothing is told."""
    assert export_machine.sockets(tmp_path) is None
    assert (export_machine.frequency(tmp_path), export_machine.caches(tmp_path)) == ("", "")
    assert export_machine.storage(tmp_path) == ("", "")


def test_machine_is_asked_only_for_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets and storage of this machine describe a run that was made here, and no other."""
    monkeypatch.setattr(export_machine, "sockets", lambda: 2)
    monkeypatch.setattr(export_machine, "storage", lambda: ("1.0 TB", "SSD"))
    here = system.described(CONDITIONS, CPU_BACKEND, here=True)
    assert (here["host_processors_per_node"], here["host_processor_core_count"], here["host_storage_capacity"]) == ("2", "32", "1.0 TB")
    assert described()["host_storage_capacity"] == ""
