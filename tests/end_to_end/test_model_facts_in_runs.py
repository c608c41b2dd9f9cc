"""Model facts of a whole run with a tiny model, as run.json stores them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from harness import session
from harness.config import load
from harness.model_facts import mean_operations, operations
from harness.peaks import Peak
from tests.tiny_models import write_architecture

SAMPLES = {"task": "sst2", "scenario": "offline", "backend": "pytorch:fp32", "duration": 0.1, "target_qps": 1000.0, "threads": 1}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """run.json of an offline run over the built-in sentences, with its model folder under `folder`; its peak is invented."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("facts")
    model = write_architecture(folder / "model", "bert", "sequence-classification")
    peak = Peak(1e12, 1, "2026-01-01T00:00:00+00:00", True, "torch 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(folder / "cache"))
        patch.setattr("harness.peaks.kept", lambda device, threads, cache: {"fp32": peak} if (device, threads) == ("cpu", 1) else {})
        made = session.run(load({**SAMPLES, "model": str(model), "out": str(folder), "progress": "none"}, origin=str))
    return json.loads((made.folder / "run.json").read_text(encoding="utf-8")) | {"folder": model}


def test_operations_are_the_mean_over_the_samples_that_were_served(stored: dict[str, Any]) -> None:
    """Offline serves every sample once or more: the mean lies between the shortest and the longest, below the maximum length."""
    config = json.loads((stored["folder"] / "config.json").read_text(encoding="utf-8"))
    model = stored["model"]
    assert model["operations_at_max_length"] >= model["operations_per_sample"] > operations(config, 3)
    tokens = stored["throughput"]["tokens_per_second"] / stored["throughput"]["samples_per_second"]
    below, above = (mean_operations(config, [round(tokens * factor)]) for factor in (0.8, 1.3))
    assert below < model["operations_per_sample"] < above


def test_the_share_of_the_peak_is_rate_over_peak(stored: dict[str, Any]) -> None:
    """The kept peak of one thread on this CPU, although the run was too short to measure one."""
    found = stored["throughput"]
    assert found["peak_operations_per_second"] == stored["conditions"]["peak"]["operations_per_second"] == 1e12
    assert np.isclose(found["peak_share"], found["operations_per_second"] / 1e12)
    assert 0 < found["operations_padding_share"] < 1
    assert "peak" not in stored["timings"]


def test_sizes_are_told(stored: dict[str, Any]) -> None:
    """The weights file on disk, and resident memory that grew while loading."""
    assert stored["model"]["file_bytes"] == stored["model"]["bytes"]
    assert stored["model"]["memory"] == "resident"
    assert stored["model"]["bytes_in_memory"] == stored["backend"]["memory"]["resident_bytes"] >= 0
