"""Model facts of a run: which sizes are told, when a peak is measured, and what becomes of one that was too low."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import model_figures, peaks
from harness.batching import Policy
from harness.core import Columns, Limits, Model, Samples, Traffic
from harness.errors import MissingError
from harness.model_facts import operations
from harness.model_figures import Figures, figures, sizes
from harness.peak_kernels import COPY
from harness.peaks import Peak
from harness.testing import simulate

CONFIG = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64}
SAMPLES = Samples(np.ones(40, np.int32), np.zeros(40, np.int8), np.array([0, 20, 40]), 0, 384)
EACH = operations(CONFIG, 20, "question-answering")
DESCRIPTION = {"device": "cpu", "threads": 1, "matmul_dtype": "float32", "memory": {"resident_bytes": 500, "device_bytes": None}}


def model(folder: Path, config: dict[str, Any] | None = None) -> Model:
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    return Model("tiny", folder, "question-answering", "00", 10, 40)


def ledger(seconds: float) -> Columns:
    """Two samples in one call that takes `seconds`."""
    traffic = Traffic(np.array([0, 1]), np.array([0, 1], np.int32), np.zeros(2, np.int64), Limits(0, 1))
    return simulate(traffic, Policy("fifo", 2), lambda _: round(seconds * 1e9))


class Peaks:
    """Stands for the cache: `kept` at first, and what each measurement finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
        self.values, self.kept, self.measured = list(values), {}, 0  # type: ignore[var-annotated]
        monkeypatch.setattr(peaks, "kept", lambda device, threads, cache: dict(self.kept))
        monkeypatch.setattr(peaks, "known", self.known)

    def known(self, device: str, threads: int, precisions: Sequence[str], *, cache: Path, again: bool = False) -> dict[str, Peak]:
        if again or not self.kept:
            self.measured += 1
            value = self.values.pop(0)
            self.kept = {name: Peak(value, self.measured, "2026-01-01", True, "torch 0") for name in (*precisions, COPY)}
        return dict(self.kept)


def told(tmp_path: Path, seconds: float, **description: Any) -> Figures:
    return figures(model(tmp_path), {**DESCRIPTION, **description}, ledger(seconds), SAMPLES, Policy("fifo", 2), tmp_path)


def test_a_long_run_measures_the_peak_behind_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two samples in 8 s against a peak of their operations per second: a quarter."""
    lab = Peaks(monkeypatch, EACH)
    found = told(tmp_path, 8.0)
    assert found.throughput["operations_per_second"] == 2 * EACH / 8
    assert found.throughput["peak_share"] == 0.25
    assert found.throughput["peak_operations_per_second"] == EACH
    assert found.peak is not None
    assert (found.peak["precision"], found.peak["threads"], found.peak["copy_bytes_per_second"]) == ("fp32", 1, EACH)
    assert found.measured_s > 0
    assert lab.measured == 1
    assert told(tmp_path, 8.0).measured_s == 0.0


def test_a_short_run_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its operations and no share, unless the peak is known."""
    lab = Peaks(monkeypatch, EACH)
    found = told(tmp_path, 4.0)
    assert (lab.measured, found.peak, found.throughput["peak_share"]) == (0, None, None)
    assert found.throughput["operations_per_second"] == EACH / 2
    peaks.known("cpu", 1, ["fp32"], cache=tmp_path)
    assert told(tmp_path, 4.0).throughput["peak_share"] == 0.5


def test_a_run_faster_than_the_peak_has_it_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second measurement gives the share; where it does not help either, the run warns."""
    lab = Peaks(monkeypatch, EACH / 10, EACH / 2)
    found = told(tmp_path, 8.0)
    assert (lab.measured, found.throughput["peak_share"], found.warnings) == (2, 0.5, [])
    lab = Peaks(monkeypatch, EACH / 10, EACH / 10)
    found = told(tmp_path, 8.0)
    assert lab.measured == 2
    assert len(found.warnings) == 1
    assert "faster than the measured fp32 peak" in found.warnings[0]


def test_a_peak_that_cannot_be_measured_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run keeps its result and says what to do."""

    def fail(*_: Any, **__: Any) -> dict[str, Peak]:
        raise MissingError("no numpy", "pip install numpy")

    Peaks(monkeypatch)
    monkeypatch.setattr(peaks, "known", fail)
    found = told(tmp_path, 8.0)
    assert found.warnings == ["no numpy: no share of the peak is given; pip install numpy"]
    assert found.throughput["operations_per_second"] == EACH / 4


@pytest.mark.parametrize("description", [{"matmul_dtype": "fp8", "precision": "fp8"}, {"device": "npu"}])
def test_without_a_peak_of_its_kind_there_is_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, description: dict[str, str]) -> None:
    """An unknown precision or device is held against nothing."""
    lab = Peaks(monkeypatch, EACH)
    assert told(tmp_path, 8.0, **description).throughput["peak_share"] is None
    assert lab.measured == 0


def test_a_model_without_a_formula_keeps_its_sizes(tmp_path: Path) -> None:
    """Sizes are known, operations are null, nothing fails."""
    found = figures(model(tmp_path, {"model_type": "t5"}), DESCRIPTION, ledger(1.0), SAMPLES, Policy(), tmp_path)
    assert (found.model["file_bytes"], found.model["operations_per_sample"]) == (40, None)
    assert set(found.throughput.values()) == {None}
    assert figures(None, DESCRIPTION, ledger(1.0), SAMPLES, Policy(), tmp_path) == Figures()


def test_sizes_are_of_what_the_backend_loads(tmp_path: Path) -> None:
    """An exported file before the weights, device memory before resident memory."""
    made = model(tmp_path)
    assert sizes(made, DESCRIPTION) == {"file_bytes": 40, "bytes_in_memory": 500, "memory": "resident"}
    exported = {"file": {"bytes": 7}, "memory": {"resident_bytes": 500, "device_bytes": 300}}
    assert sizes(made, exported) == {"file_bytes": 7, "bytes_in_memory": 300, "memory": "device"}
    assert sizes(made, {"file": "model.onnx", "memory": "much"}) == sizes(made, {})
    assert sizes(made, {}) == {"file_bytes": 40, "bytes_in_memory": None, "memory": "resident"}


def test_threads_of_all_workers_are_what_the_peak_is_measured_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers of one thread against two threads, never more than there are cores; a GPU only where all share one."""
    place = model_figures._place
    monkeypatch.setattr("harness.conditions.usable_cores", lambda: 4)
    monkeypatch.setattr("harness.conditions.gpus", lambda: [{}, {}])
    assert place({"device": "cpu", "threads": 1}, 2) == ("cpu", 2)
    assert place({"device": "cpu", "threads": 3}, 2) == ("cpu", 4)
    assert place({}, 1) == place({"threads": "all"}, 2) == ("cpu", 4)
    assert place({"device": "cuda:1"}, 1) == ("cuda:1", 1)
    assert place({"device": "cuda:1"}, 2) is None
