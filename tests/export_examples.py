"""Run folders as `assay run` and `assay audit test01` leave them, and a checker of submissions written from the published rules."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import store
from harness.core import Run
from harness.mlperf import rounds

NAMES = {"offline": "Offline", "single-stream": "SingleStream", "multi-stream": "MultiStream", "server": "Server"}
SCORES = {"exact_match": 83.68968779564806, "f1": 90.87487229720105, "examples": 10570}
MODES = {"performance": "PerformanceOnly", "accuracy": "AccuracyOnly", "submission": "SubmissionRun"}
ANSWERS = 10_833

# ------------------------------------------------------------------------------------------------------------------------------ runs


def detail(scenario: str, mode: str, round_: str, **changed: Any) -> dict[str, Any]:
    """Keys of a detail log that passes."""
    seeds = rounds.seeds(round_)
    values = {
        "loadgen_version": "6.0.17 @ d6147c7eb7",
        "sut_name": "Assay",
        "qsl_reported_total_count": 10_833,
        "effective_scenario": NAMES[scenario],
        "effective_test_mode": MODES[mode],
        "effective_samples_per_query": 13_200 if scenario == "offline" else 1,
        "effective_target_qps": 20.0,
        "effective_min_duration_ms": 600_000,
        "effective_max_duration_ms": 0,
        "effective_qsl_rng_seed": seeds.qsl,
        "effective_sample_index_rng_seed": seeds.sample_index,
        "effective_schedule_rng_seed": seeds.schedule,
        "effective_accuracy_log_rng_seed": 0,
        "effective_accuracy_log_sampling_target": 0,
        "effective_performance_issue_unique": False,
        "effective_performance_issue_same": False,
        "effective_performance_sample_count": 10_833,
        "effective_accuracy_sample_count": 10_833,
    }
    if mode != "accuracy":
        values |= {
            "result_validity": "VALID",
            "result_min_duration_met": True,
            "result_min_queries_met": True,
            "early_stopping_met": True,
            "early_stopping_result": "",
            "result_samples_per_second": 20.0,
            "early_stopping_latency_ss": 51_000_000,
            "early_stopping_latency_ms": 99_000_000,
            "result_completed_samples_per_sec": 19.5,
            "num_errors": 0,
        }
    return {name: value for name, value in {**values, **changed}.items() if value is not None}


def write_detail(file: Path, values: Mapping[str, Any], errors: tuple[str, ...] = ()) -> None:
    """A detail log with these keys, and lines marked as errors."""
    entries = [(key, value, False) for key, value in values.items()] + [("error_runtime", text, True) for text in errors]
    lines = [
        ":::MLLOG " + json.dumps({"key": key, "value": value, "time_ms": 0.5, "metadata": {"is_error": failed, "is_warning": False}})
        for key, value, failed in entries
    ]
    file.write_text("\n".join(lines) + "\n")


def run_folder(
    parent: Path,
    name: str,
    scenario: str = "offline",
    mode: str = "performance",
    *,
    round_: str = "v6.1",
    log: Mapping[str, Any] = {},
    errors: tuple[str, ...] = (),
    config: Mapping[str, Any] = {},
    **changed: Any,
) -> Path:
    """The folder of a run that may be submitted, but for what is `changed` in its detail log (`log`), its config or its run.json."""
    folder = parent / name
    folder.mkdir(parents=True)
    resolved = {"min_duration_ns": 600_000_000_000, "target_qps": 20.0, "min_queries": 10_833, "performance_sample_count": 10_833}
    values: dict[str, Any] = {
        "run_id": name,
        "started_utc": "2026-08-21T10:11:12+00:00",
        "config": {
            "scenario": scenario,
            "task": "squad",
            "backend": "pytorch:fp32",
            "data": "/home/me/data",
            "model": "/home/me/bert-large-squad",
            "rules": "mlperf",
            "mode": mode,
            "engine": "mlcommons",
            "round": round_,
            "duration": None,
            "out": "results",
            "resolved": resolved,
            **config,
        },
        "verdict": {"valid": True, "metric": None, "reasons": []},
        "accuracy": {"metric": "f1", "value": SCORES["f1"], "scores": SCORES, "limited": False},
        "latency_ns": {},
        "throughput": {},
        "counts": {},
        "traffic": {},
        "early_stopping": None,
        "backend": {"runtime": "pytorch", "version": "2.6.0", "precision": "fp32", "matmul_dtype": "float32", "device": "cpu"},
        "model": {"name": "bert-large-squad", "sha256": "ab" * 32, "parameters": 334_094_338, "bytes": 1_336_377_352},
        "conditions": {
            "cpu": {"model": "Some CPU", "physical_cores": 64},
            "memory": {"total": 2**36},
            "gpus": [],
            "os": "Linux",
            "kernel": "6.8.0",
            "machine": "x86_64",
            "hostname": "elsewhere",
            "python": "3.11.7",
            "libraries": {"assay": "0.1.0", "torch": "2.6.0"},
            "git": {"commit": "c0ffee", "dirty": False},
            "data": {"name": "SQuAD v1.1 dev", "samples": 10_833, "fingerprint": "f" * 64, "comparable": True},
        },
        "telemetry": {},
        "timings": {},
        "warnings": [],
        "files": {},
        "complete": True,
        "exit_code": 0,
        **changed,
    }
    store.RunFolder(folder).write_run(Run(**values))
    write_detail(folder / "mlperf_log_detail.txt", detail(scenario, mode, round_, **log), errors)
    (folder / "mlperf_log_summary.txt").write_text("MLPerf Results Summary\n")
    (folder / "mlperf_log_accuracy.json").write_bytes(accuracy_log(0 if mode == "performance" else ANSWERS))
    return folder


def audited_folder(
    parent: Path, name: str, scenario: str = "offline", *, passed: bool = True, log: Mapping[str, Any] = {}, **changed: Any
) -> Path:
    """The folder of a TEST01 run that passes, or whose comparison fails."""
    audit = {"effective_accuracy_log_rng_seed": 720381539243781796, "effective_accuracy_log_sampling_target": 4096}
    folder = run_folder(parent, name, scenario, log={**audit, **log}, **changed)
    (folder / "verify_accuracy.txt").write_text(f"4096 of 4096 compared\nTEST {'PASS' if passed else 'FAIL'}\n")
    (folder / "verify_performance.txt").write_text("reference 20.0, audit 19.9\nTEST PASS\n")
    (folder / "mlperf_log_accuracy.json").write_bytes(accuracy_log(4000))
    return folder


def accuracy_log(answers: int) -> bytes:
    """In LoadGen's form, with short answers."""
    rows = [f'{{ "seq_id" : {number}, "qsl_idx" : {number}, "data" : "{number:08X}" }}' for number in range(answers)]
    return ("[\n" + ",\n".join(rows) + "\n]\n").encode()


def complete(parent: Path, scenario: str = "offline", **given: Any) -> list[Path]:
    """Folders of one scenario: performance, accuracy and TEST01."""
    return [
        run_folder(parent, f"{scenario}-p", scenario, **given),
        run_folder(parent, f"{scenario}-a", scenario, "accuracy", **given),
        audited_folder(parent, f"{scenario}-t", scenario, **given),
    ]


def system_file(file: Path, **changed: str) -> Path:
    """A description with what no run can tell filled in."""
    known = {
        "host_processors_per_node": "2",
        "host_processor_core_count": "32",
        "host_memory_configuration": "16x 4 GB DDR5",
        "host_storage_capacity": "2.0 TB",
        "host_storage_type": "NVMe SSD",
        "host_networking": "Ethernet 25 GbE",
        "host_network_card_count": "1",
        "host_networking_topology": "N/A",
        "cooling": "air",
    }
    file.write_text(json.dumps({**known, **changed}))
    return file


# --------------------------------------------------------------------------------------------------------------------------- checker

LOGS = {"mlperf_log_detail.txt", "mlperf_log_summary.txt"}
SCORED = {"accuracy.txt", "mlperf_log_accuracy.json"}
MEASURED = ("input_data_types", "retraining", "starting_weights_filename", "weight_data_types", "weight_transformations")
NOT_EMPTY = [
    "division",
    "submitter",
    "system_type",
    "status",
    "system_name",
    "number_of_nodes",
    "host_processor_model_name",
    "host_processors_per_node",
    "host_processor_core_count",
    "host_memory_capacity",
    "host_memory_configuration",
    "host_storage_capacity",
    "host_storage_type",
    "host_networking",
    "host_network_card_count",
    "host_networking_topology",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_memory_capacity",
    "accelerator_host_interconnect",
    "accelerator_memory_configuration",
    "accelerator_interconnect",
    "cooling",
    "framework",
    "operating_system",
    "other_software_stack",
]
MAY_BE_EMPTY = [
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "accelerator_frequency",
    "accelerator_interconnect_topology",
    "accelerator_on-chip_memories",
    "hw_notes",
    "sw_notes",
    "system_type_detail",
]


def complaints(tree: Path, round_: str) -> list[str]:
    """What the published checker would say of a tree, in our words; empty if nothing."""
    said = [f"bad name {path}" for path in tree.rglob("*") if path.name.startswith(".") or " " in path.name or path.name == "__pycache__"]
    said += [f"empty {path}" for path in tree.rglob("*") if (path.is_dir() and not any(path.iterdir())) or path.stat().st_size > 50 * 2**20]
    for division in tree.iterdir():
        if division.name not in ("open", "closed"):
            said.append(f"stray {division.name}")
            continue
        for submitter in division.iterdir():
            said += _submitter(submitter, division.name, round_)
    return said


def _submitter(root: Path, division: str, round_: str) -> list[str]:
    v6 = round_.startswith("v6")
    said = [] if (root / ("src" if v6 else "code")).is_dir() else ["no source folder"]
    if division == "closed" and not any((root / name).is_file() for name in ("calibration.md", "documentation/calibration.md")):
        said.append("no calibration.md")
    if {file.stem for file in (root / "systems").iterdir()} != {folder.name for folder in (root / "results").iterdir()}:
        said.append("systems and results differ")
    for system in (root / "results").iterdir():
        said += _system(json.loads((root / "systems" / f"{system.name}.json").read_text()), division, root.name)
        for scenario in system.glob("*/*"):
            below = scenario.relative_to(root / "results")
            measured = scenario / "measurements.json" if v6 else root / "measurements" / below / f"{system.name}_{scenario.name}.json"
            said += _measured(measured)
            said += _parts(
                scenario,
                {"measurements.json", "user.conf", "README.md", "performance", "accuracy", "TEST01"} if v6 else {"performance", "accuracy"},
            )
            if division == "closed":
                said += _audit((scenario if v6 else root / "compliance" / below) / "TEST01")
    return said


def _system(fields: dict[str, str], division: str, submitter: str) -> list[str]:
    said = [f"system: {name} is empty" for name in NOT_EMPTY if not fields.get(name)]
    said += [f"system: no {name}" for name in MAY_BE_EMPTY if name not in fields]
    said += [f"system: {name} is no text" for name, value in fields.items() if not isinstance(value, str)]
    for name in ("number_of_nodes", "accelerators_per_node", "host_processors_per_node"):
        int(fields[name])
    if (fields["division"], fields["submitter"].lower()) != (division, submitter.lower()):
        said.append("system: division or submitter differ from the folder")
    if fields["status"] not in ("available", "preview", "rdi") or fields["system_type"] not in ("edge", "datacenter", "datacenter,edge"):
        said.append("system: status or type")
    return said


def _measured(file: Path) -> list[str]:
    values = json.loads(file.read_text())
    said = [f"measurements: {name} is empty" for name in MEASURED if not values.get(name)]
    return said + [f"no {name} beside {file}" for name in ("user.conf", "README.md") if not (file.parent / name).stat().st_size]


def _parts(scenario: Path, allowed: set[str]) -> list[str]:
    said = [f"stray {entry}" for entry in scenario.iterdir() if entry.name not in allowed]
    if _names(scenario / "performance/run_1") != LOGS:
        said.append(f"{scenario.name}: files of performance")
    if _names(scenario / "accuracy") != LOGS | SCORED:
        said.append(f"{scenario.name}: files of accuracy")
    text = (scenario / "accuracy/accuracy.txt").read_text().splitlines()
    if not any(re.match(r"^\{\"exact_match\"\:\s*[\d\.]+,\s*\"f1\"\:\s*([\d\.]+)\}", line) for line in text):
        said.append(f"{scenario.name}: no line with the scores")
    return said + _hashed(scenario / "accuracy")


def _hashed(folder: Path) -> list[str]:
    lines = (folder / "accuracy.txt").read_text().splitlines()
    said = [] if len([line for line in lines if re.match(r"^hash=([\w\d]+)$", line)]) == 1 else [f"{folder}: no hash"]
    if (folder / "mlperf_log_accuracy.json").stat().st_size > 10 * 1024:
        said.append(f"{folder}: the log is not cut")
    return said


def _audit(folder: Path) -> list[str]:
    if not folder.is_dir():
        return [f"no {folder}"]
    said = _hashed(folder / "accuracy")
    if _names(folder / "performance/run_1") != LOGS or _names(folder) != {"verify_accuracy.txt", "verify_performance.txt"}:
        said.append("files of TEST01")
    compared = "TEST PASS" in (folder / "verify_accuracy.txt").read_text().splitlines()
    needed = SCORED if compared else SCORED | {"baseline_accuracy.txt", "compliance_accuracy.txt"}
    if not needed <= _names(folder / "accuracy"):
        said.append("files of TEST01/accuracy")
    if "TEST PASS" not in (folder / "verify_performance.txt").read_text():
        said.append("TEST01 performance")
    return said


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_file()}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
