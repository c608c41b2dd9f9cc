"""What benchmarks/throughput.py makes of its measurements: ratios by neighbours, targets, floors, and no ratio without accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.throughput_table import HEADER, Result, Turn, bare, floor, missed, single_target, table, verdict, verdicts
from harness.plugins import find_backend

ROOT = Path(__file__).resolve().parents[2]
PASSED = {"metric": "f1", "value": 77.2, "reference": 77.3, "target": 76.5, "passed": True, "samples": 600}


def result(backend: str, *speedups: float, share: float = 0.4, **facts: object) -> Result:
    """A backend against a reference way of 10 samples/s with a p90 of 100 ms."""
    turns = [Turn(10 * speedup, 1e8 * share, 10.0, 1e8) for speedup in speedups]
    given = {"accuracy": PASSED, "padding_share": 0.03, "setting": {"workers": 2, "threads": 1, "tokens": 1024}, **facts}
    return Result(backend, turns=turns, **given)  # type: ignore[arg-type]


def test_ratios_are_medians_of_turns_with_their_neighbours() -> None:
    """Each turn is held against the reference way beside it; the median counts, not the mean."""
    turns = [Turn(30.0, 5e7, 10.0, 1e8), Turn(30.0, 5e7, 15.0, 5e7), Turn(90.0, 1e7, 10.0, 1e8)]
    found = Result("pytorch:fp32", turns=turns)
    assert found.speedup == 3.0
    assert found.latency_share == 0.5
    assert found.rate == 30.0


@pytest.mark.parametrize(
    ("value", "target", "least", "said"),
    [
        (2.5, 2.5, True, "met (≥ 2.5)"),
        (2.49, 2.5, True, "MISSED (≥ 2.5)"),
        (0.25, 0.25, False, "met (≤ 0.25)"),
        (0.26, 0.25, False, "MISSED (≤ 0.25)"),
        (9.0, None, True, ""),
    ],
)
def test_targets_are_met_at_their_value(value: float, target: float | None, least: bool, said: str) -> None:
    """A ratio must be at least, a share at most its target."""
    assert verdict(value, target, least=least) == said


def test_targets_go_by_backend_and_precision() -> None:
    """Options do not change which target holds; single-stream targets are those of FP32 and of every INT8."""
    assert bare("pytorch:amp+packed") == "pytorch:amp"
    assert [single_target(name) for name in ("pytorch:fp32+packed", "onnxruntime:int8-static", "pytorch:int8-dynamic")] == [0.5, 0.25, 0.25]
    assert single_target("pytorch:amp") is None
    assert verdicts(result("pytorch:amp+packed", 5.5))["offline"] == "met (≥ 5)"
    assert verdicts(result("openvino:fp32", 9.0))["offline"] == ""


def test_no_ratio_without_accuracy() -> None:
    """A backend that misses its score has no verdict, and no number that could be taken for a ratio."""
    wrong = result("onnxruntime:int8", 9.87, accuracy={**PASSED, "value": 70.0, "passed": False})
    assert verdicts(wrong) == {}
    row = table([wrong])[-1]
    assert "accuracy missed: no ratio" in row
    assert "70.00 of 77.30" in row
    assert "9.87" not in row
    assert "98.7" not in row


def test_rows_have_the_columns_of_the_header() -> None:
    """Every row has as many cells as the header, and what did not run is told below the table."""
    lines = table(
        [result("pytorch:fp32", 2.4, 2.6, 2.7), result("x:int8", 1.0, accuracy={**PASSED, "passed": False}), Result("y", "no GPU")]
    )
    assert {line.count("|") for line in lines[:4]} == {HEADER[0].count("|")}
    assert "| **2.60** (2.40–2.70) | met (≥ 2.5) |" in lines[2]
    assert lines[4] == "\n`y` did not run: no GPU"


def test_floor_is_operations_over_the_peak() -> None:
    """4 G operations a sample at 200 G a second are 50 samples/s, 5 times a reference way of 10; 25 of them are half."""
    found = floor(result("pytorch:fp32", 2.5, description={"matmul_dtype": "float32"}), 4e9, {"fp32": 2e11, "bf16": 4e11}, 10.0)
    assert found == {"peak": 2e11, "rate": 50.0, "speedup": 5.0, "reached": 0.5}
    assert floor(result("x", 1.0, description={"matmul_dtype": "unknown"}), 4e9, {"fp32": 2e11}, 10.0) == {}


def test_missed_targets_are_told_with_their_floor() -> None:
    """For a missed target the line says what arithmetic allows and what was reached; met targets have none, and padding has no floor."""
    slow = result("pytorch:fp32", 2.0, floor={"peak": 2e11, "rate": 50.0, "speedup": 5.0, "reached": 0.4})
    (line,) = missed([slow, result("pytorch:fp32", 3.0)])
    assert line.startswith("* `pytorch:fp32` offline: MISSED (≥ 2.5). At 100 % of the measured peak of 200 G operations/s")
    assert "50/s, 5.0 times the reference way; 40% of that was reached." in line
    padded = result("pytorch:fp32", 3.0, padding_share=0.06)
    assert missed([padded]) == ["* `pytorch:fp32` padding: MISSED (≤ 0.05)."]


def test_the_script_asks_for_backends_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backend that is compared without being named is one that a run would find, and so is the reference way."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import throughput

    for name in (*throughput.BACKENDS, throughput.REFERENCE):
        assert find_backend(name).info.name
