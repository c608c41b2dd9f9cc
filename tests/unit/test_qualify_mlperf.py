"""The level mlperf: its settings, and what becomes of its runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config import load
from harness.core import Run
from harness.progress import Silent
from harness.qualifying import gpus
from harness.qualifying.check import Context, Finding
from harness.qualifying.checks import gpu_peers, mlperf
from tests import example_runs

LARGE = {"name": "bert-large-squad", "sha256": "aa", "parameters": 334_094_338, "bytes": 1}


def on_gpu(value: float, *, name: str = "NVIDIA H100 80GB HBM3", model: dict[str, Any] = LARGE, unit: str = "samples/s") -> Run:
    """A run of BERT-large on a GPU, with this headline."""
    run = example_runs.VALID
    better = "lower" if unit == "ns" else "higher"
    return replace(
        run,
        backend={**run.backend, "device": "cuda:0", "device_name": name},
        model=model,
        verdict={**run.verdict, "metric": {"name": "headline", "value": value, "unit": unit, "better": better}},
    )


def placed(run: Run, scenario: str = "offline") -> Finding:
    found = {each.name: each for each in mlperf.findings(run, scenario, official=True)}
    return found[f"mlperf_{scenario.replace('-', '_')}_published"]


def test_official_settings_are_those_of_the_rules() -> None:
    """Without --duration, and with one that is long enough, MLPerf's rules; the rate is that of server alone."""
    assert mlperf.settings("offline", None, 500.0) == {"scenario": "offline", "rules": "mlperf", "target_qps": None}
    assert mlperf.settings("server", 600.0, 500.0) == {"scenario": "server", "rules": "mlperf", "target_qps": 500.0}
    assert mlperf.settings("server", 5.0, 500.0)["rules"] == "quick"


def test_level_has_the_three_scenarios_and_no_other_level_has_them() -> None:
    """Offline, single-stream and server, each for 600 s."""
    checks = [mlperf.OFFLINE, mlperf.SINGLE_STREAM, mlperf.SERVER]
    assert [each.name for each in checks] == ["mlperf_offline", "mlperf_single_stream", "mlperf_server"]
    assert {each.levels for each in checks} == {("mlperf",)}
    assert {each.seconds for each in checks} == {700.0}


def test_server_without_a_rate_is_skipped(tmp_path: Path) -> None:
    """MLPerf's server is played at a given rate; none is given, none is invented, and it is not required."""
    context = Context("mlperf", load({"backend": "null"}), tmp_path, Silent(), 0.0)
    (found,) = mlperf.SERVER.run(context)  # type: ignore[misc]
    assert (found.outcome, found.code, found.required) == ("SKIP", "NO_RATE", False)
    assert "--target-qps" in found.next_step


def test_short_runs_say_so() -> None:
    """A run of another length has a warning of its own; one of the official length has none."""
    short = {each.name: each for each in mlperf.findings(on_gpu(9000.0), "offline", official=False)}
    assert (short["mlperf_offline_length"].outcome, short["mlperf_offline_length"].code) == ("WARN", "NOT_OFFICIAL")
    assert "not the official length of 600 s" in short["mlperf_offline_length"].text
    assert "mlperf_offline_length" not in {each.name for each in mlperf.findings(on_gpu(9000.0), "offline", official=True)}


def test_figure_is_judged_by_the_baseline_and_called_unverified() -> None:
    """The headline has a direction and nothing that it is held against yet."""
    found = next(each for each in mlperf.findings(on_gpu(9000.0), "offline", official=True) if each.name == "mlperf_offline")
    assert (found.measured, found.unit, found.better, found.expected) == (9000.0, "samples/s", "higher", None)
    assert "unverified" in found.text


@pytest.mark.parametrize(("value", "outcome", "word"), [(9000.0, "PASS", "within"), (4000.0, "WARN", "below"), (12000.0, "PASS", "above")])
def test_place_among_published_results(value: float, outcome: str, word: str) -> None:
    """Below the published is a warning: those who published tuned for it."""
    found = placed(on_gpu(value))
    assert (found.outcome, found.required) == (outcome, False)
    assert f"NVIDIA H100-SXM-80GB: {word} the 11 published results" in found.text
    assert found.expected == pytest.approx(8976, abs=1)


def test_single_stream_is_compared_in_milliseconds() -> None:
    """A headline of 1.1 ms in ns stands beside the published 1.12 ms."""
    found = placed(on_gpu(1.1e6, name="NVIDIA L40S", unit="ns"), "single-stream")
    assert (found.measured, found.unit, found.outcome) == (pytest.approx(1.1), "ms", "PASS")


@pytest.mark.parametrize(
    ("run", "scenario", "why"),
    [
        (example_runs.VALID, "offline", "no accelerator"),
        (on_gpu(1.0, name="NVIDIA A100-SXM4-80GB"), "offline", "no result of NVIDIA A100-SXM4-80GB"),
        (on_gpu(1.0, model={**LARGE, "parameters": 22_700_000}), "offline", "this model has 22,700,000 parameters"),
        (on_gpu(1.0), "single-stream", "no single-stream result of bert-99 on NVIDIA H100-SXM-80GB"),
    ],
)
def test_what_cannot_be_compared_says_why(run: Run, scenario: str, why: str) -> None:
    """A CPU, an unknown accelerator, another model, a scenario that nobody published: skipped, not required."""
    found = placed(run, scenario)
    assert (found.outcome, found.required) == ("SKIP", False)
    assert why in found.text


# ------------------------------------------------------------------------------------------------------ GPUs of one machine


def gemm(gpu: int, value: float, name: str = "gemm_fp16") -> Finding:
    return Finding("COMPUTE_LOW", f"gpu{gpu}_{name}", "PASS", "", value, "operations/s", 3, better="higher")


def test_names_of_gpus() -> None:
    """The number is taken out of a figure's name wherever it stands, and only there."""
    assert [gpus.number(name) for name in ("gpu0_gemm_fp16", "copy_gpu12", "gpu_peers", "gemm_fp16")] == [0, 12, None, None]
    assert [gpus.without(name) for name in ("gpu0_gemm_fp16", "copy_gpu12")] == ["gemm_fp16", "copy"]


def test_a_slow_gpu_among_eight_is_named() -> None:
    """One at 60 % of the other seven: FAIL, with its number, its figure and what to look at."""
    found = gpus.compare([gemm(gpu, 7e14 * (0.6 if gpu == 3 else 1 + 0.001 * (gpu % 5))) for gpu in range(8)])
    assert (found.outcome, found.code, found.n) == ("FAIL", "GPU_UNLIKE_PEERS", 8)
    assert found.text.startswith("GPU 3 is worse than the others: gemm_fp16 −40")
    assert "link" in found.next_step


def test_gpus_that_are_alike_pass() -> None:
    """Eight within 1 % of each other: PASS, with how far apart they are and from where on one would be named."""
    found = gpus.compare([gemm(gpu, 7e14 * (1 + 0.001 * (gpu * 3 % 8))) for gpu in range(8)])
    assert found.outcome == "PASS"
    assert "furthest apart in gemm_fp16, by 0.7 %" in found.text
    assert "a single one is named from" in found.text


@pytest.mark.parametrize(("count", "text"), [(0, "no several GPUs"), (1, "no several GPUs"), (4, "4 GPUs are too few")])
def test_few_gpus_are_no_pass(count: int, text: str) -> None:
    """With fewer than five nothing is named, and that is a SKIP that is not required."""
    found = gpus.compare([gemm(gpu, 7e14) for gpu in range(count)])
    assert (found.outcome, found.required) == ("SKIP", False)
    assert text in found.text


def test_peers_look_back_on_the_other_checks(tmp_path: Path) -> None:
    """The check takes the findings that the frame keeps for it, after all others."""
    keep = {"findings": tuple(gemm(gpu, 7e14 * (0.5 if gpu == 0 else 1 + 0.001 * gpu)) for gpu in range(8))}
    found = gpu_peers.GPU_PEERS.run(Context("quick", load({"backend": "null"}), tmp_path, Silent(), 0.0, keep=keep))
    assert isinstance(found, Finding)
    assert (gpu_peers.GPU_PEERS.last, found.outcome) == (True, "FAIL")
