"""Sweeps from the command line, with a backend whose service time is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness import cli, store
from harness.sweeping import files, session

ROOT = Path(__file__).resolve().parents[2]
COMMON = ["--task", "sst2", "--progress", "none"]


def record(out: Path) -> dict[str, Any]:
    (folder,) = out.iterdir()
    assert {each.name for each in folder.iterdir()} == {"sweep.json", "points.csv", "report.md", "report.html"}
    return files.read(folder)


def test_a_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rates of a share of the offline rate, each visited twice and in reverse order; the reports are there."""
    arguments = ["sweep", "--backend", "null:2ms", "--max-batch", "1", "--rates", "3", "--duration", "0.05", "--latency-bound", "10s"]
    assert cli.main([*arguments, *COMMON, "--out", str(tmp_path)]) == 0
    found = record(tmp_path)
    assert found["complete"]
    (line,) = found["lines"]
    assert line["offline_samples_per_second"] <= 500
    rates = [point["asked_qps"] for point in found["points"]]
    assert rates == [pytest.approx(share * line["offline_samples_per_second"], rel=0.01) for share in (0.2, 0.4, 0.6)]
    visits = sorted((visit["at_s"], visit["turn"], point["asked_qps"]) for point in found["points"] for visit in point["visits"])
    assert [(turn, rate) for _, turn, rate in visits] == [(0, rate) for rate in rates] + [(1, rate) for rate in reversed(rates)]
    assert {point["word"] for point in found["points"]} == {"met"}
    assert "every rate meets p99 within 10.0 s" in capsys.readouterr().out
    assert found["telemetry"]["interval_s"] == 1.0
    assert found["telemetry"]["cost"]["rows"] >= 1


def test_a_hopeless_rate_is_given_up_and_said(tmp_path: Path) -> None:
    """At twenty times what the backend can serve the schedule is cut short; the point is there, and it is overloaded."""
    arguments = ["sweep", "--backend", "null:2ms", "--max-batch", "1", "--over", "target_qps=10000", "--latency-bound", "10"]
    assert cli.main([*arguments, *COMMON, "--duration", "1", "--repeat", "1", "--out", str(tmp_path)]) == 5
    (point,) = record(tmp_path)["points"]
    assert point["word"] == "overloaded"
    assert point["queries"] < point["visits"][0]["planned_queries"] == 10_000 or point["visits"][0]["given_up"]
    assert point["over_share"] > 0.5


def test_crews_are_kept_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batch limits with two waiting times each are four points and, over two passes, three loaded crews: the second pass begins with
    the crew that ended the first."""
    loads = []
    at = session.Crews.at

    def counting(crews: session.Crews, bench: Any, context: Any) -> Any:
        before = crews._crew
        crew = at(crews, bench, context)
        loads.extend([bench.config.max_batch] if crew is not before else [])
        return crew

    monkeypatch.setattr(session.Crews, "at", counting)
    arguments = ["sweep", "--backend", "null", "--over", "max_batch=1,2", "--over", "batch_wait=0,1", "--duration", "0.02"]
    assert cli.main([*arguments, *COMMON, "--out", str(tmp_path)]) == 0
    assert loads == [1, 2, 1]
    assert [point["values"] for point in record(tmp_path)["points"]] == [
        {"max_batch": batch, "batch_wait": wait} for batch in (1, 2) for wait in (0.0, 1.0)
    ]


def test_a_backend_that_fails_is_a_row(tmp_path: Path) -> None:
    """Of two backends one cannot be loaded: the other has its result, the exit code says that not all have."""
    plugin = tmp_path / "broken.py"
    text = (ROOT / "backends" / "null.py").read_text(encoding="utf-8")
    plugin.write_text(
        text.replace("    def close(self)", "    def boom(self)") + "\n\nNull.load = lambda self, model: 1 / 0\n", encoding="utf-8"
    )
    out = tmp_path / "out"
    arguments = ["sweep", "--over", f"backend={plugin},null", "--duration", "0.02", "--repeat", "1"]
    assert cli.main([*arguments, *COMMON, "--out", str(out)]) == 4
    first, second = record(out)["points"]
    assert (first["word"], second["word"]) == ("failed", "VALID")
    assert "ZeroDivisionError" in first["problem"]


def test_nothing_is_left_behind_by_a_wrong_value(tmp_path: Path) -> None:
    """Exit code 2 and no folder."""
    assert cli.main(["sweep", "--backend", "null", "--over", "max_batch=4,none", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_an_interrupt_keeps_what_is_measured(tmp_path: Path) -> None:
    """After the first of two points: exit code 130, the first has its figures, the second is a row that was not measured."""
    arguments = ["sweep", "--backend", "null:2ms", "--over", "max_batch=1,2", "--repeat", "1", "--duration", "0.1", "--progress", "plain"]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    slow = ["--over", "hang_timeout=60,61", "--task", "sst2", "--scenario", "server", "--target-qps", "20", "--no-accuracy"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, *slow, "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ),
    )
    assert process.stderr is not None
    seen = 0
    for text in process.stderr:
        seen += "20/s" in text
        if seen == 2:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (folder,) = tmp_path.iterdir()
    found = json.loads((folder / files.FILE).read_text(encoding="utf-8"))
    assert not found["complete"]
    words = [point["word"] for point in found["points"]]
    assert words[0] in ("met", "mixed", "missed")
    assert words[-1] == "not measured"
    with pytest.raises(store.MissingError):
        store.read_run(folder)
