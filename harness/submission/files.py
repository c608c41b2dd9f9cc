"""Files of a submission that programs read: accuracy.txt, the shortened accuracy log, user.conf, measurements.json, the settings of a run.

Forms: ACC_PATTERN and REQUIRED_MEASURE of the submission checker, truncate_accuracy_log.py beside it, and LoadGen's reader of
user.conf. Each function returns bytes or text; nothing is written here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import MS_NS
from harness.errors import MissingError
from harness.submission.runs import ACCURACY, COMPLIANCE, SCORED, StoredRun

SHOWN = 4096
"""Bytes that are kept of each end of an accuracy log (VIEWABLE_SIZE of truncate_accuracy_log.py)."""

CUT = b"\n\n...\n\n"
REFERENCE_MODEL = "bert-large-squad"
"""Registered name of MLPerf's checkpoint, which nobody retrained."""

QUANTISED = ("int8", "int4", "fp8")
"""Beginnings of precisions that are set up with calibration data."""

_HASH_LINE = re.compile(r"^hash=\w+$")
_CHUNK = 2**20

_LEFT_OUT = ("resolved", "data", "out", "name", "progress")
"""Settings that say where files lay on one machine, or nothing about the measurement."""

_PATHS = ("model", "user_conf", "audit_conf", "traffic", "task", "backend")
"""Settings that may be paths of one machine; their last part is kept."""


@dataclass(frozen=True, slots=True)
class ShortLog:
    """An accuracy log as it is submitted: `sha256` of the whole file, its `size` in bytes, and what is kept of it."""

    sha256: str
    size: int
    kept: bytes


def short_log(file: Path) -> ShortLog:
    """First and last 4,096 bytes; a file of fewer than that is kept whole. Raises MissingError if it cannot be read."""
    digest, head, tail, size = hashlib.sha256(), b"", b"", 0
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                head = head or chunk
                tail = (tail + chunk)[-SHOWN:]
    except OSError as error:
        raise MissingError(f"{file} cannot be read: {error.strerror}", "give a folder that can be read") from error
    return ShortLog(digest.hexdigest(), size, head if size < SHOWN else head[:SHOWN] + CUT + tail)


def accuracy_text(scores: tuple[float, float] | None, log: ShortLog) -> str:
    """accuracy.txt: the line with exact match and F1 (points), if there are scores, and the hash of the whole log."""
    line = [] if scores is None else [f'{{"exact_match": {plain(scores[0])}, "f1": {plain(scores[1])}}}']
    return "\n".join([*line, f"hash={log.sha256}"]) + "\n"


def audited_text(stored: StoredRun, log: ShortLog) -> str:
    """accuracy.txt of a TEST01 run: what the audit wrote of the logged answers, if it scored them, and the hash of the whole log."""
    there = [stored.folder / name for name in (SCORED, COMPLIANCE) if (stored.folder / name).is_file()]
    lines = there[0].read_text(encoding="utf-8").splitlines() if there else []
    return "\n".join([*(line for line in lines if not _HASH_LINE.match(line)), f"hash={log.sha256}"]) + "\n"


def accuracy_log(stored: StoredRun) -> ShortLog:
    return short_log(stored.folder / ACCURACY)


def plain(value: float) -> str:
    """Shortest decimal that reads back as the same number, without an exponent: the checker's pattern knows digits and a point only."""
    return np.format_float_positional(value, trim="0")


# ------------------------------------------------------------------------------------------------------------------------ user.conf


def user_conf(stored: StoredRun) -> str:
    """The run's settings in LoadGen's syntax, for model `bert`. Seeds are not in it: LoadGen takes them from the round only."""
    lines = [f"# Settings of {stored.name}"]
    lines += [f"bert.{stored.scenario}.{key} = {value}" for key, value in _conf_rows(stored).items()]
    return "\n".join(lines) + "\n"


def _conf_rows(stored: StoredRun) -> dict[str, str]:
    """Key to value as LoadGen reads it: times in ms, percentiles in percent."""
    played, detail = dict(stored.run.config.get("resolved") or {}), stored.detail
    rate = float(played.get("target_qps") or detail.get("effective_target_qps") or 1.0)
    rows = {"target_qps": plain(rate)} if stored.scenario in ("Offline", "Server") else {"target_latency": plain(1000.0 / rate)}
    if stored.scenario == "Server" and (bound := played.get("latency_bound_ns") or detail.get("effective_target_latency_ns")):
        rows["target_latency"] = str(int(bound) // MS_NS)
    if stored.scenario == "MultiStream":
        rows["samples_per_query"] = str(played.get("samples_per_query") or detail.get("effective_samples_per_query") or 8)
    if (percentile := played.get("percentile")) and stored.scenario != "Offline" and percentile != _PERCENTILES[stored.scenario]:
        rows["target_latency_percentile"] = plain(100.0 * percentile)
    rows["min_duration"] = str(int(detail.get("effective_min_duration_ms", 0)))
    for key, value in (
        ("max_duration", int(detail.get("effective_max_duration_ms", 0))),
        ("min_query_count", played.get("min_queries") or 0),
        ("max_query_count", played.get("max_queries") or 0),
        ("performance_sample_count_override", played.get("performance_sample_count") or 0),
        ("performance_issue_unique", int(played.get("issue") == "unique")),
        ("performance_issue_same", int(played.get("issue") == "same")),
        ("sample_concatenate_permutation", int(bool(played.get("concatenate_permutation")))),
    ):
        rows |= {key: str(value)} if value else {}
    return rows


_PERCENTILES = {"SingleStream": 0.9, "MultiStream": 0.99, "Server": 0.99}

# ---------------------------------------------------------------------------------------------------------------- measurements.json


def precision_of(backend: Mapping[str, Any]) -> str:
    """What the products are computed in: "fp32", "bf16", "int8"."""
    names = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
    dtype = str(backend.get("matmul_dtype") or backend.get("precision") or "")
    return names.get(dtype, dtype)


def quantised(backend: Mapping[str, Any]) -> bool:
    return str(backend.get("precision") or "").startswith(QUANTISED)


def measurements(stored: StoredRun, retraining: str) -> str:
    """measurements.json: five keys, none of them empty; `retraining` is the submitter's word, for the run does not know."""
    backend, model = stored.run.backend, stored.run.model
    precision = precision_of(backend)
    transformations = backend.get("weight_transformations") or (_transformations(backend, precision) if model else "none")
    values = {
        "input_data_types": str(backend.get("input_data_types") or "int64"),
        "retraining": retraining,
        "starting_weights_filename": f"{model['name']} (sha256 of weights and configuration: {model['sha256']})" if model else "none",
        "weight_data_types": str(backend.get("weight_data_types") or precision or "none"),
        "weight_transformations": str(transformations),
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _transformations(backend: Mapping[str, Any], precision: str) -> str:
    runtime = str(backend.get("runtime") or "the backend")
    how = f" ({backend['method']})" if backend.get("method") else ""
    if precision == "fp32":
        return f"none: FP32 weights are read as they are{how}"
    return f"FP32 weights are turned into {precision or 'nothing'} by {runtime}{how}"


def settings(stored: StoredRun) -> str:
    """The run's settings as a file for `assay run --config`; JSON, which is YAML too. Where the data and the results lay is left out."""
    given = {key: value for key, value in stored.run.config.items() if value is not None and key not in _LEFT_OUT}
    given |= {key: Path(given[key]).name for key in _PATHS if str(given.get(key, "")).startswith(("/", "~"))}
    return json.dumps(given, indent=2, ensure_ascii=False) + "\n"
