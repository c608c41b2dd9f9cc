"""Stored runs as an export sees them: run.json, LoadGen's logs beside it, and what each run is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from harness.core import Run
from harness.errors import DataError, MissingError, UsageError
from harness.loadgen import NAMES
from harness.mlperf import reader as mlperf_reader
from harness.store import accuracy_logs, read_run

SUMMARY, DETAIL, ACCURACY = "mlperf_log_summary.txt", "mlperf_log_detail.txt", "mlperf_log_accuracy.json"
VERIFY_ACCURACY, VERIFY_PERFORMANCE = "verify_accuracy.txt", "verify_performance.txt"
BASELINE, COMPLIANCE, SCORED = "baseline_accuracy.txt", "compliance_accuracy.txt", "accuracy.txt"

Part = Literal["performance", "accuracy", "test01"]
PARTS: tuple[Part, ...] = get_args(Part)

_SERVES: Mapping[str, tuple[Part, ...]] = {
    "performance": ("performance",),
    "accuracy": ("accuracy",),
    "submission": ("performance", "accuracy"),
}


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run folder.

    scenario   LoadGen's name
    serves     which parts of a submission it can be
    detail     first value of each key of the detail log
    errors     texts of the lines that the detail log marks as errors
    """

    folder: Path
    run: Run
    scenario: str
    serves: tuple[Part, ...]
    detail: Mapping[str, Any]
    errors: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.run.run_id

    @property
    def parameters(self) -> int:
        """Of the model; 0 for a backend without one."""
        return int(self.run.model["parameters"]) if self.run.model else 0


@dataclass(frozen=True, slots=True)
class Entry:
    """What there is of one scenario of a submission."""

    scenario: str
    performance: StoredRun | None
    accuracy: StoredRun | None
    test01: StoredRun | None

    @property
    def parts(self) -> dict[Part, StoredRun]:
        """The runs that are there, by part, in order."""
        found: dict[Part, StoredRun | None] = {"performance": self.performance, "accuracy": self.accuracy, "test01": self.test01}
        return {part: stored for part, stored in found.items() if stored is not None}


def read(folder: Path) -> StoredRun:
    """The run of a folder with its logs. Raises MissingError for a file that is not there, DataError for a damaged one, UsageError for a
    scenario that LoadGen does not have."""
    run = read_run(folder)
    folder = folder.parent if folder.suffix == ".json" else folder
    scenario = str(run.config.get("scenario"))
    if scenario not in NAMES:
        raise UsageError(f"{folder}: LoadGen has no scenario {scenario}", f"export a run of {', '.join(sorted(NAMES))}")
    mode = str(run.config.get("mode", "performance"))
    serves: tuple[Part, ...] = ("test01",) if (folder / VERIFY_ACCURACY).exists() else _SERVES.get(mode, ())
    more = {"test01": (VERIFY_PERFORMANCE,), "accuracy": () if accuracy_logs(folder) != folder else (ACCURACY,)}
    _need(folder, SUMMARY, DETAIL, *(name for part in serves for name in more.get(part, ())))
    detail, errors = read_detail(folder / DETAIL)
    return StoredRun(folder, run, NAMES[scenario], serves, detail, errors)


def read_parts(folder: Path) -> list[StoredRun]:
    """A run folder as the parts it serves: two where its accuracy logs lie apart from the others. Raises as `read` does."""
    stored = read(folder)
    aside = accuracy_logs(stored.folder)
    if aside == stored.folder or "accuracy" not in stored.serves:
        return [stored]
    _need(aside, SUMMARY, DETAIL, ACCURACY)
    detail, errors = read_detail(aside / DETAIL)
    accuracy = replace(stored, folder=aside, serves=("accuracy",), detail=detail, errors=errors)
    return [replace(stored, serves=tuple(part for part in stored.serves if part != "accuracy")), accuracy]


def _need(folder: Path, *names: str) -> None:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise MissingError(f"{folder}: no {', '.join(missing)}", "export the folder of a run that wrote LoadGen's log files")


def read_detail(file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """First value of each key, which is the one that the checker takes, and the texts of the lines marked as errors. Raises MissingError,
    and DataError with the line."""
    try:
        entries = mlperf_reader.entries(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{file} cannot be read: {error}", "export the folder of a run that wrote LoadGen's log files") from error
    except DataError as error:
        raise DataError(f"{file}: {error}", error.cure) from error
    return mlperf_reader.first(entries), tuple(f"{entry.key}: {entry.value}" for entry in entries if entry.is_error)


def grouped(runs: Sequence[StoredRun]) -> list[Entry]:
    """Runs by scenario, in the order in which they were named. Raises UsageError where two runs are good for one part, or one for none."""
    found: dict[str, dict[Part, StoredRun]] = {}
    if not runs:
        raise UsageError("no runs to export", "name the folders of runs")
    for stored in runs:
        if not stored.serves:
            raise UsageError(f"{stored.folder}: mode {stored.run.config.get('mode')} is no part of a submission", "leave it out")
        entry = found.setdefault(stored.scenario, {})
        for part in stored.serves:
            if part in entry:
                both = f"{entry[part].folder} and {stored.folder}"
                raise UsageError(f"two runs for {stored.scenario}, {part}: {both}", "name one of the two")
            entry[part] = stored
    return [Entry(scenario, *(parts.get(part) for part in PARTS)) for scenario, parts in found.items()]


def metric(scenario: str, detail: Mapping[str, Any]) -> tuple[float, str] | None:
    """The figure that the submission checker takes from a performance log, with its unit; None where it is not there."""
    key, scale, unit = _METRICS[scenario]
    value = detail.get(key)
    return (value / scale, unit) if isinstance(value, int | float) and not isinstance(value, bool) else None


_METRICS = {
    "Offline": ("result_samples_per_second", 1.0, "samples/s"),
    "SingleStream": ("early_stopping_latency_ss", 1e6, "ms"),
    "MultiStream": ("early_stopping_latency_ms", 1e6, "ms"),
    "Server": ("result_completed_samples_per_sec", 1.0, "queries/s"),
}
"""Key of the detail log, what to divide by, unit (RESULT_FIELD of the submission checker)."""
