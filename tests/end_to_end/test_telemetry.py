"""Telemetry of whole runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness import session
from harness.config import load
from harness.telemetry import stream
from harness.telemetry.parquet import TELEMETRY_FILE

ROOT = Path(__file__).resolve().parents[2]


def run(out: Path, **flags: Any) -> session.Finished:
    settings = {"backend": "null:2ms", "scenario": "server", "target_qps": 100.0, "duration": 0.7, "telemetry": 0.1, "out": str(out)}
    return session.run(load(settings | flags))


def stored(made: session.Finished) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.folder / "run.json").read_text(encoding="utf-8"))
    return found


def test_a_run_has_telemetry_beside_it(tmp_path: Path) -> None:
    """Columns as long as their times, before and in the measured phase, summed up; the same rows in telemetry.parquet."""
    made = run(tmp_path)
    found = stored(made)["telemetry"]
    assert found["interval_s"] == 0.1
    assert {len(column["values"]) for column in found["columns"].values()} == {len(found["at_s"])}
    assert found["at_s"] == sorted(found["at_s"])
    assert found["summary"]["cpu_busy_share"]["unit"] == "1"
    assert found["energy"] is None
    assert found["missing"]["energy"].endswith("5 s are needed")
    assert "sampler" not in found["missing"]
    table = pq.read_table(made.folder / TELEMETRY_FILE)
    assert stored(made)["files"]["telemetry"] == TELEMETRY_FILE
    assert table.column_names == ["at_ns", *found["columns"]]
    assert [round(at / 1e9, 4) for at in table["at_ns"].to_pylist()] == pytest.approx(found["at_s"], abs=1e-3)
    assert table.schema.field("cpu_busy_share").metadata == {b"unit": b"1"}


def test_none_is_taken_where_none_is_wanted(tmp_path: Path) -> None:
    """`--telemetry 0`: no file, no row, no warning, and the reason."""
    made = run(tmp_path, telemetry=0.0)
    found = stored(made)
    assert found["telemetry"]["missing"] == {"sampler": "not asked for (--telemetry 0)"}
    assert found["telemetry"]["columns"] == {}
    assert "telemetry" not in found["files"]
    assert not (made.folder / TELEMETRY_FILE).exists()
    assert not any("telemetry" in warning for warning in found["warnings"])


def test_a_sampler_that_breaks_does_not_disturb_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is VALID, says that telemetry is missing, and why."""
    monkeypatch.setattr(stream, "command", lambda _pid, _interval: [sys.executable, "-c", "raise SystemExit(7)"])
    made = run(tmp_path)
    assert made.run.exit_code == 0
    assert stored(made)["telemetry"]["missing"]["sampler"].endswith("exit code 7")
    assert any(warning.startswith("no telemetry") for warning in made.run.warnings)


def test_a_replayed_gpu_is_told_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real sampler above a stand-in for NVIDIA's library: throttling, a memory error and the loss of the GPU reach run.json."""
    pytest.importorskip("pynvml")
    code = (
        "import os, sys; sys.path.insert(0, os.getcwd());"
        "from tests.fake_nvml import replayed; from harness.telemetry import sampler;"
        "sampler.THOROUGH_EVERY = 1; sampler.MOST_SHARE = 1.0;"
        f"library = replayed(own={os.getpid()}, by_itself=True); library.__enter__();"
        f"sampler.main({os.getpid()}, 0.05)"
    )
    monkeypatch.setattr(stream, "command", lambda _pid, _interval: [sys.executable, "-c", code])
    monkeypatch.setattr(stream, "ROOT", ROOT)
    made = run(tmp_path, duration=2.5)
    found = stored(made)["telemetry"]
    assert found["facts"]["gpu0"]["name"] == "NVIDIA H100 80GB HBM3"
    assert [each["reason"] for each in found["throttled"] if each["what"] == "gpu0"][-1] == "hardware slowdown, hardware thermal slowdown"
    assert found["columns"]["gpu0_sm_mhz"]["values"][-1] is None
    assert found["missing"]["gpu0"].startswith("the GPU is lost")
    said = " ".join(made.run.warnings)
    assert "gpu0 was throttled in" in said
    assert "gpu0 counted 1 uncorrected memory error during" in said
    assert "another process used gpu0" in said
    assert "gpu0: the GPU is lost" in said
