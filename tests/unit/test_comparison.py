"""What a comparison says: who counts, who wins, who is alike, and the tables made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli, interference
from harness.comparing import noise, session
from harness.comparing.blocks import Plan, play
from harness.comparing.candidates import Wanted, parsed, reference_of, wanted
from harness.comparing.results import LATENCIES, THROUGHPUT, Candidate, Comparison, Visit, figures_of
from harness.comparing.session import Compared
from harness.config import load
from harness.core import Accuracy
from harness.errors import Interrupted, UsageError

MET = Accuracy("f1", 77.0, 77.3, 76.5, True, "accuracy pass", 100, {"f1": 77.0})
POLICY = {"kind": "sorted", "max_batch": 32, "wait_ns": 0, "max_tokens": 0, "pad_to": 8}
MISSED = replace(MET, value=70.0, passed=False)


def candidate(name: str, accuracy: Accuracy | None = MET, problem: str = "") -> Candidate:
    return Candidate(name, {}, {}, POLICY, accuracy, 0.05, problem)


def made(rates: dict[str, float], **changed: Candidate) -> Comparison:
    """Candidates by name with constant rates, six blocks; the first is the reference."""
    names = list(rates)
    visits = []
    for block in range(6):
        wobble = 1 + 0.002 * (block % 3)
        for place in [*range(len(names)), *reversed(range(len(names)))]:
            rate = rates[names[place]] * wobble ** (place + 1)
            visits.append(Visit(block, place, 100 / rate, 100, 5000, np.arange(1, 101, dtype=np.int64)))
    return Comparison(tuple(changed.get(name, candidate(name)) for name in names), 0, (THROUGHPUT,), tuple(visits))


def test_the_fastest_that_counts_wins() -> None:
    """A candidate that misses its accuracy or failed is never best, however fast."""
    found = made({"fp32": 10.0, "fast": 40.0, "amp": 20.0}, fast=candidate("fast", MISSED))
    assert found.best() == (2, ())
    refused = made({"fp32": 10.0, "fast": 40.0}, fast=candidate("fast", problem="its answers differ"))
    assert refused.best() == (0, ())
    assert refused.cell(1, THROUGHPUT) is not None  # measured, shown, and struck out
    dropped = replace(refused, visits=tuple(visit for visit in refused.visits if visit.candidate == 0 or visit.block < 2))
    assert dropped.cell(1, THROUGHPUT) is None


def test_those_that_cannot_be_told_apart_are_named() -> None:
    """A winner by less than what can be decided is said to be ahead only."""
    found = made({"fp32": 10.0, "amp": 20.0, "int8": 20.01})
    assert found.best() == (2, (1,))


def test_nobody_wins_where_nobody_counts() -> None:
    """With every accuracy missed nothing is recommended."""
    found = made({"a": 10.0, "b": 20.0}, a=candidate("a", MISSED), b=candidate("b", MISSED))
    assert found.best() is None


def test_percentiles_of_few_queries_are_marked() -> None:
    """A block of 200 queries carries a p90 and no p99 (662 are needed)."""
    found = replace(made({"a": 10.0, "b": 20.0}), figures=LATENCIES)
    cells = [found.cell(1, figure) for figure in LATENCIES]
    assert [cell.certain for cell in cells if cell] == [True, True, False]


@pytest.mark.parametrize(
    ("closed_loop", "paced", "names"),
    [
        (False, False, ["samples_per_second", "p50", "p99"]),
        (False, True, ["p99", "p50", "samples_per_second"]),
        (True, False, ["p90", "p50", "p99", "samples_per_second"]),
    ],
)
def test_what_decides_by_scenario(closed_loop: bool, paced: bool, names: list[str]) -> None:
    """Throughput offline, the tail in server, p90 where each query waits for the one before."""
    assert [figure.name for figure in figures_of(closed_loop=closed_loop, paced=paced)] == names


# ------------------------------------------------------------------------------------------------------------------------- blocks


def steady(rates: list[float]) -> Callable[[int, int], Visit]:
    return lambda place, block: Visit(block, place, 1 / rates[place], 1, 0, np.zeros(0, np.int64))


def test_blocks_end_when_every_interval_is_narrow() -> None:
    """Without noise the fewest blocks are enough, and a quarter more; each candidate is visited twice in each."""
    visits, ended = play(3, 0, (THROUGHPUT,), Plan(), steady([1.0, 2.0, 3.0]))
    assert (len(visits), ended) == (8 * 3 * 2, "settled")


def test_blocks_end_with_the_budget() -> None:
    """An interval that never narrows ends with the first block begun after the budget, never before the fewest."""
    count = iter(range(10_000))

    def visit(place: int, block: int) -> Visit:
        return Visit(block, place, 1.0 + (next(count) * 7919 % 13) / 4, 10, 0, np.zeros(0, np.int64))

    visits, ended = play(2, 0, (THROUGHPUT,), Plan(budget_s=60), visit)
    spent = sum(each.seconds for each in visits)
    assert ended == "budget"
    assert 60 <= spent < 60 + 4 * 4.25
    few, _ = play(2, 0, (THROUGHPUT,), Plan(budget_s=0.001), visit)
    assert len(few) == 6 * 4


def test_a_candidate_that_fails_is_left_out() -> None:
    """Its visits stop, the others go on; with nobody left to compare with the comparison ends."""

    def visit(place: int, block: int) -> Visit | None:
        return None if place == 1 and block == 2 else steady([1.0, 1.0, 1.0])(place, block)

    visits, ended = play(3, 0, (THROUGHPUT,), Plan(), visit)
    assert ended == "settled"
    assert [sum(each.candidate == place for each in visits) for place in range(3)] == [16, 4, 16]
    _, alone = play(2, 0, (THROUGHPUT,), Plan(), visit)
    assert alone == "alone"


def test_an_interrupt_keeps_what_there_is() -> None:
    """Ctrl-C ends a comparison with the visits so far."""

    def visit(place: int, block: int) -> Visit:
        if block == 3:
            raise Interrupted("stop")
        return steady([1.0, 2.0])(place, block)

    visits, ended = play(2, 0, (THROUGHPUT,), Plan(), visit)
    assert (len(visits), ended) == (12, "interrupted")


# --------------------------------------------------------------------------------------------------------------------------- verb


def test_a_candidate_is_written_as_settings() -> None:
    """KEY=VALUE pairs, keys with - or _, commas inside a value kept; anything else is an error."""
    assert parsed("backend=pytorch:amp,max-batch=64,pad_to=64,128,256") == {
        "backend": "pytorch:amp",
        "max_batch": "64",
        "pad_to": "64,128,256",
    }
    with pytest.raises(UsageError, match="speed=9 is no setting"):
        parsed("backend=null,speed=9")


def test_candidates_without_a_name_are_called_by_their_backend(tmp_path: Path) -> None:
    """By the one that runs, also where it is that of the file or the default."""
    file = tmp_path / "assay.yaml"
    file.write_text("backend: null:1ms")
    given: list[dict[str, Any]] = [{"max_batch": 8}, {"backend": "null", "max_batch": 8}, {"name": "wide"}]
    assert [each.name for each in wanted(given, {}, file)] == ["null:1ms max_batch=8", "null max_batch=8", "wide"]
    assert [each.name for each in wanted(given, {})] == ["pytorch:fp32 max_batch=8", "null max_batch=8", "wide"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backend", "null"], "1 candidates: a comparison has 2 to 8"),
        (["--backend", "null", "--backend", "null"], "two candidates are called null"),
        (["--backend", "null", "--backend", "null:1ms", "--reference", "nul"], "no candidate is called so"),
        (["--backend", "null", "--backend", "nul:1ms"], "there is no backend nul"),
        (["--backend", "null", "--backend", "null:1ms", "--blocks", "1"], "1 is not a whole number of 2 or more"),
        (["--backend", "null", "--backend", "null:1ms", "--scenario", "server"], "needs one rate for all"),
        (["--backend", "null", "--candidate", "backend=null:1ms,accuracy_target=0.5"], "--accuracy-target 0.5, null has 0.99"),
        (["--backend", "null", "--candidate", "backend=null:1ms,issue=same"], "--issue same, null has random"),
        (["--backend", "null", "--candidate", "backend=null:1ms,task=cola", "--task", "sst2"], "--task cola, null has sst2"),
        (["--backend", "null", "--candidate", "backend=null:1ms,out=x"], "out holds for all candidates"),
        (["--backend", "null", "--backend", "null:1ms", "--engine", "mlcommons"], "--engine mlcommons cannot be compared"),
        (["--backend", "null", "--backend", "null:1ms", "--mode", "submission"], "--mode submission cannot be compared"),
        (["--backend", "null", "--backend", "null:1ms", "--task", "glue"], "--task glue cannot be compared"),
    ],
)
def test_wrong_comparisons_are_refused(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and nothing left behind."""
    assert cli.main(["compare", *flags, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two service times, single-stream: the shorter is faster, and everything is in the folder."""
    flags = ["--backend", "null:0.2ms", "--backend", "null:4ms", "--scenario", "single-stream", "--block-duration", "0.1", "--budget", "1"]
    assert cli.main(["compare", *flags, "--out", str(tmp_path), "--progress", "none"]) == 0
    (folder,) = tmp_path.iterdir()
    stored = json.loads((folder / "comparison.json").read_text())
    assert (stored["winner"], stored["reference"], stored["complete"]) == ("null:0.2ms", "null:0.2ms", True)
    result = stored["candidates"][1]["results"]["p50"]
    assert result["word"] == "slower"
    assert result["ratio"]["value"] > 2
    assert len(stored["visits"]) == 2 * 2 * stored["blocks"]
    assert "single-stream · squad · 2 candidates" in (folder / "report.md").read_text()
    said = capsys.readouterr().out
    assert "fastest, accuracy not checked: null:0.2ms" in said
    assert "unverified" in said
    assert stored["run_id"] == folder.name
    assert stored["marks"][-1] == "no model, measures the harness: null:0.2ms, null:4ms"
    assert stored["telemetry"]["interval_s"] == 1.0
    assert stored["telemetry"]["cost"]["rows"] >= 1
    assert stored["telemetry"].keys().isdisjoint(("columns", "energy"))


def test_nobody_is_recommended_after_an_interrupt() -> None:
    """What was measured is shown with its ratios, and there is no winner."""
    found = replace(made({"fp32": 10.0, "amp": 20.0}), interrupted=True)
    assert found.best() is None
    assert found.cell(1, THROUGHPUT) is not None


def test_the_reference_is_the_first_in_fp32() -> None:
    """By what the backend resolves to, not by its spelling or its name."""
    both = [Wanted("half", load({"backend": "pytorch:amp"})), Wanted("base", load({"backend": "pytorch"}))]
    assert reference_of(None, both) == 1
    assert reference_of("half", both) == 0


# -------------------------------------------------------------------------------------------------------------------------- noise


def test_the_floor_of_a_machine_is_kept_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`noise` measures ten blocks of a backend against itself; what it kept is read again, and a damaged file is no floor."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setattr(interference, "others_share", lambda before, after: 0.0)
    measured = noise.of
    monkeypatch.setattr(noise, "of", lambda found: min(measured(found), 0.5))  # a busy machine may have any
    flags = ["--backend", "null:0.1ms", "--scenario", "single-stream", "--progress", "none", "--block-duration", "0.02"]
    assert cli.main(["noise", *flags]) == 0
    assert "differs from itself by less than" in capsys.readouterr().out
    floor = noise.known(tmp_path, "single-stream")
    assert floor is not None
    assert (floor.blocks, floor.backend) == (10, "null:0.1ms")
    assert floor.share > 0
    assert noise.known(tmp_path, "server") is None
    (file,) = (tmp_path / "noise").iterdir()
    good = file.read_text()
    for damaged in (
        "{",
        good.replace(str(floor.share), '"1 %"'),
        good.replace(str(floor.share), "1e9"),
        good.replace(str(floor.share), "NaN"),
    ):
        file.write_text(damaged)
        assert noise.known(tmp_path, "single-stream") is None


def test_a_disturbed_floor_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A floor measured beside other work would hide real differences from then on; one of a factor or more is no floor at all."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    for others, share, said in ((0.5, 0.01, "other processes disturbed it"), (0.0, 1.2, "it is too large to tell anything by")):
        compared = Compared(made({"null": 10.0, "null again": 10.0}), [], others)
        monkeypatch.setattr(session, "run", lambda *_, found=compared: found)
        monkeypatch.setattr(noise, "of", lambda _, share=share: share)
        assert cli.main(["noise", "--backend", "null", "--scenario", "single-stream", "--progress", "none"]) == 0
        assert f"not kept: {said}" in capsys.readouterr().out
        assert noise.known(tmp_path, "single-stream") is None


def test_a_floor_is_the_spread_of_equal_candidates() -> None:
    """Two candidates whose blocks differ by up to 2 % have a floor of nearly 2 %."""
    visits = []
    for block in range(10):
        for place in (0, 1, 1, 0):
            rate = 100.0 if place == 0 else 100.0 * (1.02 if block % 2 else 0.98)
            visits.append(Visit(block, place, 100 / rate, 100, 0, np.zeros(0, np.int64)))
    found = Comparison((candidate("a"), candidate("a again")), 0, (THROUGHPUT,), tuple(visits))
    assert noise.of(found) == pytest.approx(0.0202, abs=1e-4)
