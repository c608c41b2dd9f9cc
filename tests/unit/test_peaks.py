"""The measured peak: how a best time is found, what is kept of several measurements, and when one is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import peak_kernels, peaks
from harness.errors import MissingError
from harness.peak_kernels import COPY, best_s, fastest
from harness.peaks import Peak


class Lab:
    """Stands for the measuring process: gives `values`, counts what it is asked for, and is as quiet as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
        self.values: dict[str, float] = {"fp32": 100.0, COPY: 7.0, **values}
        self.asked: list[tuple[str, ...]] = []
        self.others = 0.0
        monkeypatch.setattr(peaks, "_measure", self.measure)
        monkeypatch.setattr(peaks, "others_share", lambda before, after: self.others)

    def measure(self, device: str, threads: int, precisions: Sequence[str]) -> dict[str, Any]:
        self.asked.append(tuple(precisions))
        return {"library": "torch 0", "peaks": {name: self.values[name] for name in (*precisions, COPY) if name in self.values}}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def clock(steps: Sequence[float]) -> Iterator[float]:
    now = 0.0
    for step in steps:
        yield now
        now += step


def test_the_best_time_is_the_shortest_of_what_fits_into_the_budget() -> None:
    """Calls of 3, 1 and 2 seconds: a disturbed one does not count, and the first call of all is not timed."""
    calls: list[None] = []
    readings = clock([0, 3, 0, 1, 0, 2, 0, 0])
    assert best_s(lambda: calls.append(None), 0.5, lambda: next(readings)) == 1
    assert len(calls) == 4


def test_the_fastest_shape_is_the_peak() -> None:
    """Work over time of the better one."""
    readings = clock([0.0, *[2.0, 0.0] * 3, 9.0, 0.0, *[1.0, 0.0] * 3, 9.0])
    assert fastest(iter([(10.0, list), (8.0, list)]), 2, lambda: next(readings)) == 8.0


def test_a_peak_is_measured_once(lab: Lab, tmp_path: Path) -> None:
    """The second question is answered from the cache, for each device and thread count by itself."""
    assert peaks.measured("cpu", 2, ["fp32"], cache=tmp_path) == {"fp32": 100.0, "copy": 7.0}
    assert peaks.measured("cpu", 2, ["fp32"], cache=tmp_path) == {"fp32": 100.0, "copy": 7.0}
    assert lab.asked == [("fp32",)]
    peaks.measured("cpu", 1, ["fp32"], cache=tmp_path)
    assert lab.asked == [("fp32",)] * 2


def test_what_the_device_lacks_is_asked_for_once(lab: Lab, tmp_path: Path) -> None:
    """No TF32 on this device: absent, and not measured again."""
    for _ in range(2):
        assert peaks.measured("cpu", 2, ["fp32", "tf32"], cache=tmp_path) == {"fp32": 100.0, "copy": 7.0}
    assert lab.asked == [("fp32", "tf32")]


def test_the_highest_value_is_kept_with_its_date(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later measurement beside other work can only be too low."""
    first = peaks.known("cpu", 2, ["fp32"], cache=tmp_path)["fp32"]
    lab.values["fp32"], lab.others = 60.0, 0.5
    after = peaks.known("cpu", 2, ["fp32"], cache=tmp_path, again=True)["fp32"]
    assert after == Peak(100.0, 2, first.date, True, "torch 0")
    lab.values["fp32"] = 130.0
    assert peaks.known("cpu", 2, ["fp32"], cache=tmp_path, again=True)["fp32"].value == 130.0


def test_a_disturbed_measurement_is_repeated_until_a_quiet_one(lab: Lab, tmp_path: Path) -> None:
    """Each occasion tries again, at most 5 times in all."""
    lab.others = 0.5
    assert not peaks.known("cpu", 2, ["fp32"], cache=tmp_path)["fp32"].quiet
    lab.others = 0.0
    assert peaks.known("cpu", 2, ["fp32"], cache=tmp_path)["fp32"].quiet
    assert peaks.known("cpu", 2, ["fp32"], cache=tmp_path)["fp32"].n == 2
    lab.others = 0.5
    for _ in range(9):
        busy = peaks.known("cpu", 3, ["fp32"], cache=tmp_path)["fp32"]
    assert (busy.n, busy.quiet) == (peaks.ENOUGH, False)


def test_what_is_kept_is_told_without_measuring(lab: Lab, tmp_path: Path) -> None:
    """Nothing before the first measurement, its values after it."""
    assert peaks.kept("cpu", 2, cache=tmp_path) == {}
    known = peaks.known("cpu", 2, ["fp32"], cache=tmp_path)
    assert peaks.kept("cpu", 2, cache=tmp_path) == known
    assert len(lab.asked) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "peaks": {"fp32": {"value": 1}}}', '{"schema": 9, "peaks": {}}']
)
def test_a_damaged_cache_is_measured_anew(lab: Lab, tmp_path: Path, text: str) -> None:
    """Whatever the file holds, the result is that of a measurement."""
    peaks.known("cpu", 2, ["fp32"], cache=tmp_path)
    (file,) = (tmp_path / "peaks").iterdir()
    file.write_text(text)
    assert peaks.measured("cpu", 2, ["fp32"], cache=tmp_path)["fp32"] == 100.0
    assert json.loads(file.read_text())["peaks"]["fp32"]["n"] == 1


def test_a_folder_that_cannot_be_written_costs_only_the_cache(lab: Lab, tmp_path: Path) -> None:
    """A file in the way of the cache's folder: measured all the same."""
    (tmp_path / "peaks").write_text("")
    assert peaks.measured("cpu", 2, ["fp32"], cache=tmp_path)["fp32"] == 100.0


def test_a_device_that_is_not_there_says_what_failed(tmp_path: Path) -> None:
    """The last line of the measuring process, and a cure."""
    pytest.importorskip("torch")
    with pytest.raises(MissingError, match="the peak of nonsense cannot be measured: RuntimeError") as raised:
        peaks.known("nonsense", 1, ["fp32"], cache=tmp_path)
    assert raised.value.cure


def test_numpy_measures_fp32_where_there_is_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """FP32 and the copy, both above nothing."""
    monkeypatch.setattr(peak_kernels, "BUDGET_S", 0.0)
    monkeypatch.setattr(peak_kernels, "CPU_SHAPES", ((8, 8, 8),))
    monkeypatch.setattr(peak_kernels, "COPY_BYTES", 4096)
    found = peak_kernels.numpy_peaks()
    assert found["library"].startswith("numpy ")
    assert set(found["peaks"]) == {"fp32", COPY}
    assert all(value > 0 for value in found["peaks"].values())


def test_without_torch_only_the_processor_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """numpy's numbers never stand for a GPU's."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(peak_kernels, "numpy_peaks", lambda: {"peaks": {}})
    peak_kernels.main(["cpu", "1", "fp32"])
    assert json.loads(capsys.readouterr().out) == {"peaks": {}}
    with pytest.raises(SystemExit, match="cuda:0 can only be measured with torch"):
        peak_kernels.main(["cuda:0", "1", "fp32"])


def test_torch_measures_what_this_processor_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    """FP32 and INT8 on any; BF16 only with its instructions; TF32 on no processor. A column of numbers above nothing."""
    pytest.importorskip("torch")
    monkeypatch.setattr(peak_kernels, "BUDGET_S", 0.0)
    monkeypatch.setattr(peak_kernels, "CPU_SHAPES", ((32, 32, 32),))
    monkeypatch.setattr(peak_kernels, "COPY_BYTES", 4096)
    monkeypatch.setattr("harness.conditions.cpu", lambda: {"instruction_sets": ["avx2"]})
    found = peak_kernels.torch_peaks("cpu", 1, peak_kernels.PRECISIONS)
    assert set(found["peaks"]) == {"fp32", "int8", COPY}
    assert all(value > 0 for value in found["peaks"].values())
