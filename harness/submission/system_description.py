"""The description of a system that a submission carries (systems/<name>.json): 35 fields, filled from what is known, the rest asked for.

Fields and which of them may be empty: SYSTEM_DESC_REQUIRED_FIELDS and SYSTEM_DESC_MEANINGFUL_RESPONSE_REQUIRED_FIELDS of the submission
checker (rounds v5.0 to v6.1). Every value is text: the checker takes the number 0 for an empty answer and "0" for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import DataError, MissingError, UsageError
from harness.submission import machine as export_machine

ASKED: Mapping[str, str] = {
    "division": "open or closed",
    "submitter": "your organisation, as in --submitter",
    "system_type": "edge; BERT is in the edge suite only since v5.0",
    "status": "available, preview or rdi",
    "system_name": 'what people call the system: "R760, 2x Xeon 8592+"',
    "number_of_nodes": '"1"',
    "host_processor_model_name": '"Intel(R) Xeon(R) Platinum 8592+"',
    "host_processors_per_node": 'sockets: "2"',
    "host_processor_core_count": 'cores of one processor: "64"',
    "host_memory_capacity": '"512 GiB"',
    "host_memory_configuration": 'modules, see `dmidecode -t memory`: "16x 32 GB DDR5-5600"',
    "host_storage_capacity": '"2.0 TB"',
    "host_storage_type": '"NVMe SSD"',
    "host_networking": 'kind of network, "N/A" without one: "Ethernet 25 GbE"',
    "host_network_card_count": 'cards and what they are: "1x Intel E810", or "0"',
    "host_networking_topology": '"N/A" for a single node',
    "accelerators_per_node": '"0" without accelerators',
    "accelerator_model_name": '"N/A" without accelerators',
    "accelerator_memory_capacity": '"N/A" without accelerators',
    "accelerator_host_interconnect": '"PCIe Gen4 x16"',
    "accelerator_memory_configuration": '"HBM3"',
    "accelerator_interconnect": '"NVLink", or "N/A" with one accelerator',
    "cooling": '"air", "liquid", or "passive"',
    "framework": '"PyTorch 2.6.0"',
    "operating_system": '"Ubuntu 24.04.1 (Linux 6.8.0)"',
    "other_software_stack": 'what else decides speed: "transformers 4.48.0, CUDA 12.4"',
}
"""The 26 fields that must say something, with what belongs there."""

OPTIONAL = (
    *("host_processor_frequency", "host_processor_caches", "host_processor_interconnect", "accelerator_frequency"),
    *("accelerator_interconnect_topology", "accelerator_on-chip_memories", "hw_notes", "sw_notes", "system_type_detail"),
)
"""The 9 fields that must exist and may be empty."""

INTEGERS = ("number_of_nodes", "accelerators_per_node", "host_processors_per_node")
"""Text that the checker or its report turns into a whole number."""

STATUSES = ("available", "preview", "rdi")
SYSTEM_TYPES = ("edge", "datacenter", "datacenter,edge", "edge,datacenter")

_FRAMEWORKS = {
    "pytorch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "null": "none (no model)",
}
_NONE = "N/A"


def described(conditions: Mapping[str, Any], backend: Mapping[str, Any], *, here: bool) -> dict[str, str]:
    """All 35 fields in order, from a run's conditions and backend; what nobody told is empty. `here`: the run was made on this machine,
    so its system files may be asked too."""
    fields = dict.fromkeys((*ASKED, *OPTIONAL), "")
    fields |= {"system_type": "edge", "status": "available", "number_of_nodes": "1", "system_type_detail": _NONE}
    fields |= _processor(conditions, here) | _accelerators(conditions, backend) | _software(conditions, backend)
    if here:
        capacity, kind = export_machine.storage()
        fields |= {"host_storage_capacity": capacity, "host_storage_type": kind}
    return fields


def _processor(conditions: Mapping[str, Any], here: bool) -> dict[str, str]:
    cpu, total = conditions.get("cpu", {}), conditions.get("memory", {}).get("total")
    sockets = export_machine.sockets() if here else None
    cores = cpu.get("physical_cores")
    return {
        "host_processor_model_name": str(cpu.get("model") or ""),
        "host_processors_per_node": str(sockets or ""),
        "host_processor_core_count": str(cores // sockets) if cores and sockets else "",
        "host_processor_frequency": export_machine.frequency() if here else "",
        "host_processor_caches": export_machine.caches() if here else "",
        "host_memory_capacity": f"{total / 2**30:.1f} GiB" if total else "",
    }


def _accelerators(conditions: Mapping[str, Any], backend: Mapping[str, Any]) -> dict[str, str]:
    """Of the GPUs where the backend used one; "0" and "N/A" where it did not."""
    gpus = conditions.get("gpus") or []
    device = str(backend.get("device", "")).lower()
    if "cuda" not in device and "gpu" not in device:
        names = [name for name in ASKED if name.startswith("accelerator_")]
        unused = f"{len(gpus)} GPU(s) in the system were not used" if gpus else ""
        return dict.fromkeys(names, _NONE) | {"accelerators_per_node": "0", "hw_notes": unused}
    if not gpus:
        return {}
    first = gpus[0]
    memory = str(first.get("memory.total", ""))
    generation, width = first.get("pcie.link.gen.current"), first.get("pcie.link.width.current")
    return {
        "accelerators_per_node": str(len(gpus)),
        "accelerator_model_name": ", ".join(dict.fromkeys(gpu["name"] for gpu in gpus)),
        "accelerator_memory_capacity": f"{float(memory) / 1024:.0f} GiB" if memory.replace(".", "", 1).isdigit() else "",
        "accelerator_host_interconnect": f"PCIe Gen{generation} x{width}" if generation and width else "",
        "accelerator_interconnect": _NONE if len(gpus) == 1 else "",
        "accelerator_frequency": f"{first['clocks.max.sm']} MHz (maximum)" if first.get("clocks.max.sm") else "",
    }


def _software(conditions: Mapping[str, Any], backend: Mapping[str, Any]) -> dict[str, str]:
    libraries, gpus = conditions.get("libraries", {}), conditions.get("gpus") or []
    runtime = str(backend.get("runtime", ""))
    name = _FRAMEWORKS.get(runtime, runtime)
    stack = [f"Python {conditions['python']}"] if conditions.get("python") else []
    stack += [f"{library} {version}" for library, version in libraries.items()]
    stack += [f"CUDA {backend['cuda']}"] if backend.get("cuda") else []
    stack += [f"NVIDIA driver {gpus[0]['driver_version']}"] if gpus and gpus[0].get("driver_version") else []
    system = " ".join(str(conditions[key]) for key in ("os", "kernel", "machine") if conditions.get(key))
    return {
        "framework": f"{name} {backend.get('version', '')}".strip(),
        "operating_system": system,
        "other_software_stack": ", ".join(stack),
    }


def read(file: Path) -> dict[str, str]:
    """The fields somebody wrote, each as text. Raises MissingError and DataError for the file, UsageError for a value that is no text."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(f"--system: {file} cannot be read: {error.strerror}", "give a file that can be read") from error
    except ValueError as error:
        raise DataError(f"--system: {file} is no JSON: {error}", "correct it, or name a new file to have one written") from error
    if not isinstance(stored, dict):
        raise DataError(f"--system: {file} is no JSON object", "name a new file to have one written")
    return {name: _text(file, name, value) for name, value in stored.items()}


def _text(file: Path, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str | int | float):
        return "" if value is None else str(value).strip()
    raise UsageError(f"--system: {file}: {name} is {type(value).__name__}, not text", 'write text in quotes, such as "N/A"')


def merged(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What is known with, over it, what somebody wrote; an empty answer covers nothing. Further fields come last."""
    return {**known, **{name: value for name, value in given.items() if value or name not in known}}


def contradictions(given: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """Lines for what somebody wrote and a run contradicts: its framework (by name), and whether accelerators were used."""
    lines = []
    name = known["framework"].rpartition(" ")[0] or known["framework"]
    if given.get("framework") and name.lower() not in given["framework"].lower():
        lines.append(f"framework: it says {given['framework']!r}, the runs were made with {known['framework']}")
    used, said = known["accelerators_per_node"], given.get("accelerators_per_node", "")
    if used and said and (used == "0") != (said == "0"):
        lines.append(f"accelerators_per_node: it says {said!r}, the runs used {used}")
    return lines


def to_json(fields: Mapping[str, str]) -> str:
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def missing(fields: Mapping[str, str]) -> list[str]:
    """Lines "name: what belongs there" for each field that must say something and does not, or cannot be used as it is."""
    lines = [f"{name}: {example}" for name, example in ASKED.items() if not fields.get(name)]
    for name in INTEGERS:
        value = fields.get(name, "")
        if value and not (value.isascii() and value.isdigit() and (name != "number_of_nodes" or int(value) > 0)):
            lines.append(f"{name}: {value!r} is not a whole number such as {ASKED[name]}")
    for name, allowed in (("status", STATUSES), ("system_type", SYSTEM_TYPES)):
        if fields.get(name) and fields[name] not in allowed:
            lines.append(f"{name}: {fields[name]!r} is none of {', '.join(allowed)}")
    return lines
