"""A soak: loops that are counted over interruptions, and what they show."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config import load
from harness.errors import DataError
from harness.progress import Silent
from harness.qualifying import soak_findings
from harness.qualifying.check import Context, Finding
from harness.qualifying.sealing import sealed
from harness.qualifying.soak import LOOP_S, Loop, Soak, read, soak
from harness.qualifying.soak import load as load_of

LOOP = Loop("2026-11-21T10:00:00+00:00", 30.0, (100.0,), "samples/s", 3000)


def context(tmp_path: Path, soak_s: float) -> Context:
    config = load({"backend": "null:1ms", "task": "sst2", "telemetry": 0, "progress": "none"})
    return Context("long", config, tmp_path, Silent(), time.monotonic() + 60, soak_s=soak_s)


def shown(*loops: Loop) -> dict[str, Finding]:
    return {finding.name: finding for finding in soak_findings.findings(Soak(900.0, loops, (0,)))}


def row(least: float, mean: float, most: float) -> dict[str, Any]:
    return {"min": least, "mean": mean, "max": most, "unit": ""}


def test_an_interrupted_soak_goes_on_until_the_load_has_lasted(tmp_path: Path) -> None:
    """Interrupted after 2 loops of 30 s of 100 s: the next session does 40 s more, and only what was under load counts."""
    asked: list[float] = []

    def turn(seconds: float) -> Loop:
        if len(asked) == 2:
            asked.append(0)
            raise KeyboardInterrupt
        asked.append(seconds)
        return replace(LOOP, seconds=seconds)

    with pytest.raises(KeyboardInterrupt):
        soak(context(tmp_path, 100.0), turn)
    assert read(tmp_path / "soak.json").soaked_s == 2 * LOOP_S
    found = soak(context(tmp_path, 100.0), turn)
    assert [each for each in asked if each] == [30.0, 30.0, 30.0, 10.0]
    assert (found.soaked_s, found.sessions) == (100.0, (0, 2))
    assert read(tmp_path / "soak.json") == found


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 1, "loops": [], "sha256": "0"}'])
def test_damaged_snapshots_are_refused(tmp_path: Path, text: str) -> None:
    """A soak is not gone on with from a file that is not what was written."""
    (tmp_path / "soak.json").write_text(text)
    with pytest.raises(DataError, match="is no soak"):
        soak(context(tmp_path, 10.0), lambda seconds: LOOP)


def test_a_snapshot_is_strict_json_with_a_hash(tmp_path: Path) -> None:
    """Each loop is there with its figures."""
    soak(context(tmp_path, 30.0), lambda seconds: LOOP)
    record = json.loads((tmp_path / "soak.json").read_text())
    assert record["loops"][0]["rates"] == [100.0]
    assert len(record["sha256"]) == 64


def test_a_backend_that_is_no_model_is_soaked_with_runs(tmp_path: Path) -> None:
    """The null backend: offline runs, stored, with their throughput and no lost answers."""
    from harness import bench

    about = context(tmp_path, 0.5)
    about.keep["bench"] = bench.prepare(about.config, Silent())
    with load_of(about) as turn:
        made = turn(0.2)
    assert made.rate > 100
    assert (made.errors, made.wrong) == (0, 0)


def test_a_steady_soak_passes_and_its_rate_is_left_to_the_baseline() -> None:
    """Ten equal loops: nothing fails; the median rate has its loops as repeats and no expectation of its own."""
    found = shown(*[LOOP] * 10)
    assert {each.outcome for each in found.values()} == {"PASS"}
    assert found["soak"].measured == 300.0
    rate = found["soak_throughput"]
    assert (rate.measured, rate.expected, rate.better, rate.n) == (100.0, None, "higher", 10)


def test_a_machine_that_slows_down_drifts() -> None:
    """1 % a loop for ten loops: THROUGHPUT_DRIFT with the size of it; getting faster is no fault, and five loops show nothing."""
    falling = [replace(LOOP, rates=(100.0 - number,)) for number in range(10)]
    found = shown(*falling)["soak_drift"]
    assert (found.outcome, found.code) == ("FAIL", "THROUGHPUT_DRIFT")
    assert found.measured == pytest.approx(-9 / 95.5)
    assert shown(*reversed(falling))["soak_drift"].outcome == "PASS"
    few = shown(*falling[:5])["soak_drift"]
    assert (few.outcome, few.required) == ("SKIP", False)


def test_one_wrong_answer_fails_and_names_worker_core_and_sample() -> None:
    """One of 30,000: ANSWERS_CHANGED, with what was told of it; a changed weight is WEIGHTS_CHANGED."""
    line = "10:00:01: worker 1 on cores 2, 3 gave another answer to sample 17"
    found = shown(*[LOOP] * 9, replace(LOOP, wrong=1, told=(line,)))
    answers = found["soak_answers"]
    assert (answers.outcome, answers.code, answers.measured, answers.n) == ("FAIL", "ANSWERS_CHANGED", 1.0, 30_000)
    assert line in answers.text
    assert found["soak_weights"].outcome == "PASS"
    assert shown(replace(LOOP, changed=1))["soak_weights"].code == "WEIGHTS_CHANGED"
    assert shown(replace(LOOP, errors=2))["soak_errors"].outcome == "FAIL"


def test_heat_counters_and_throttling_are_looked_at() -> None:
    """Temperature that still rises warns; ECC errors that came in the soak, events, and throttling over 1 % of it fail."""
    warm = [replace(LOOP, telemetry={"gpu0_celsius": row(60, 60 + 2 * n, 61 + 2 * n)}) for n in range(10)]
    rising = shown(*warm)["soak_gpu0_celsius"]
    assert (rising.outcome, rising.code, rising.measured) == ("WARN", "NO_PLATEAU", 79)
    settled = shown(*[replace(LOOP, telemetry={"gpu0_celsius": row(70, 71, 72)})] * 10)["soak_gpu0_celsius"]
    assert settled.outcome == "PASS"
    counted = [replace(LOOP, telemetry={"gpu0_ecc_corrected": row(n // 5, n // 5, n // 5)}) for n in range(10)]
    ecc = shown(*counted)["soak_gpu0_ecc_corrected"]
    assert (ecc.outcome, ecc.code, ecc.measured) == ("FAIL", "ECC_ERRORS", 1.0)
    held = shown(*[LOOP] * 9, replace(LOOP, throttled={"gpu0": 0.5}))["soak_throttled"]
    assert (held.outcome, held.code, held.measured) == ("FAIL", "GPU_THROTTLED", pytest.approx(0.05))
    assert shown(replace(LOOP, events=("xid: 79",)))["soak_events"].code == "DEVICE_EVENTS"


@pytest.mark.parametrize(
    ("after", "outcome", "word"),
    [(("a", "b"), "PASS", "the same"), (("a", "c"), "WARN", "worker 1 answered otherwise"), (("a",), "SKIP", "unequally many workers")],
)
def test_answers_are_compared_over_an_interruption(after: tuple[str, ...], outcome: str, word: str) -> None:
    """By the digests of the first answers of each worker, before it and after it; one session says nothing of it."""
    loops = (replace(LOOP, known=("a", "b")), replace(LOOP, known=after))
    found = {each.name: each for each in soak_findings.findings(Soak(900.0, loops, (0, 1)))}["soak_sessions"]
    assert (found.outcome, found.code, found.required) == (outcome, "ANSWERS_CHANGED", False)
    assert word in found.text
    assert "soak_sessions" not in shown(*loops)


def test_snapshots_of_before_there_were_digests_are_gone_on_with(tmp_path: Path) -> None:
    """Loops without `known` are read, and nothing is said of what was answered before."""
    soak(context(tmp_path, 30.0), lambda seconds: LOOP)
    record = json.loads((tmp_path / "soak.json").read_text())
    del record["loops"][0]["known"], record["sha256"]
    (tmp_path / "soak.json").write_text(json.dumps(sealed(record)))
    found = soak(context(tmp_path, 60.0), lambda seconds: LOOP)
    assert (len(found.loops), "soak_sessions" in {each.name for each in soak_findings.findings(found)}) == (2, False)
