"""The pytest plugin: what it costs where nobody uses it, its options, what the fixture claims, and rows in pytest-benchmark's table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from harness.ci import pytest_claims, pytest_fixture
from harness.ci.pytest_benchmark import Rounds
from harness.ci.pytest_fixture import Assay
from harness.comparing.results import Candidate, Comparison, Visit, figures_of
from harness.comparing.session import Compared
from harness.core import Accuracy
from harness.errors import UsageError

pytest_plugins = ("pytester",)

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = any(point.value == "assay_pytest" for each in metadata.distributions() for point in each.entry_points)
"""pytest looks at every distribution, an older one of the same name among them."""

PLUGIN = () if INSTALLED else ("-p", "assay_pytest")
SHORT = "scenario='single-stream', task='sst2', blocks=4, block_duration=0.1, budget=1"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this suite had no workers beside it: the projects inside the tests have none."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


def compared(than: list[float], candidate: list[float], *, accuracy: Accuracy | None = None, problem: str = "") -> Compared:
    """A comparison in single-stream whose blocks have these latencies in ms, each measured in two visits of 100 queries."""
    visits = tuple(
        Visit(block, place, 0.1, 100, 100, np.full(100, round(values[block] * 1e6), np.int64))
        for block in range(len(than))
        for place, values in ((0, than), (1, candidate))
        for _ in range(2)
    )
    sides = (Candidate("than", {}, {}, {}), Candidate("candidate", {}, {}, {}, accuracy=accuracy, problem=problem))
    return Compared(Comparison(sides, 0, figures_of(closed_loop=True, paced=False), visits), [])


class Skipped(Exception):
    pass


def skip(reason: str) -> NoReturn:
    raise Skipped(reason)


Make = Callable[..., Assay]


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Makes the fixture with these comparisons, one after the other, in place of measurements; no noise floor is known."""

    def make(*found: Compared, table: list[tuple[str, Rounds]] | None = None) -> Assay:
        left = list(found)
        monkeypatch.setattr(Assay, "_compared", lambda *_: left.pop(0))
        monkeypatch.setattr(pytest_fixture, "_floor", lambda _: None)

        def show(label: str, rounds: Rounds, _: Mapping[str, Any]) -> None:
            if table is not None:
                table.append((label, rounds))

        return Assay(tmp_path, None, skip, show)

    return make


WAVES = [1.0, 1.01, 0.99, 1.005, 0.995, 1.0]
EQUAL = compared(WAVES, WAVES[::-1])
TWICE = compared([2 * each for each in WAVES], WAVES)
HALF = compared(WAVES, [2 * each for each in WAVES])
NOISY = compared(WAVES, [1.6, 0.7, 1.4, 0.8, 1.5, 0.7])
WIDE = compared([2.2, 1.9, 2.1, 1.8, 2.3, 2.0], [1.0] * 6)
BETWEEN = compared([1.0] * 6, [1.02, 1.05, 1.03, 1.0, 1.06, 1.04])

# ------------------------------------------------------------------------------------------------------------------------ claims


def test_faster_holds_where_the_whole_interval_is_beyond_the_claim(fixed: Make) -> None:
    """Twice as fast is faster, and by 90 %; the speed is returned."""
    assert fixed(TWICE).assert_faster("a", "b").value == pytest.approx(2.0, rel=0.02)
    assert fixed(TWICE).assert_faster("a", "b", by=0.9).word == "faster"


@pytest.mark.parametrize(
    ("found", "by", "said"),
    [
        (HALF, 0.0, "0.500x as fast as than, 95 % interval \\[0.500, 0.500\\], slower .*asked: faster: not so\ncure: claim less"),
        (TWICE, 1.5, "asked: at least 2.500x: not so\ncure: claim less"),
        (EQUAL, 0.0, "equivalent .*: not so"),
        (NOISY, 0.0, "undecided .*: not shown\ncure: measure longer"),
        (WIDE, 1.0, "faster .*asked: at least 2.000x: not shown\ncure: measure longer"),
    ],
)
def test_a_claim_that_does_not_hold_says_ratio_interval_word_and_cure(fixed: Make, found: Compared, by: float, said: str) -> None:
    """Refuted claims and claims that were not shown have words and cures of their own."""
    with pytest.raises(AssertionError, match=f"(?s)candidate is .*{said}"):
        fixed(found).assert_faster("a", "b", by=by)


def test_a_wrong_answer_is_never_fast(fixed: Make) -> None:
    """A candidate below its accuracy target is not faster, however fast."""
    missed = Accuracy("f1", 61.0, 88.0, 87.3, False, "accuracy pass", 240, {})
    with pytest.raises(AssertionError, match=r"candidate does not count: f1 61.000 misses its target 87.300"):
        fixed(compared([2 * each for each in WAVES], WAVES, accuracy=missed)).assert_faster("a", "b")


def test_what_failed_is_said(fixed: Make) -> None:
    """No ratio without two sides: the reason is in the message."""
    broken = replace(
        TWICE.comparison, candidates=(TWICE.comparison.candidates[0], replace(TWICE.comparison.candidates[1], problem="it raised"))
    )
    lone = Compared(replace(broken, visits=broken.visits[:2]), [])
    with pytest.raises(AssertionError, match="nothing was compared: candidate failed: it raised"):
        fixed(lone).assert_faster("a", "b")


def test_a_negative_claim_is_wrong(fixed: Make) -> None:
    """Not slower than is another claim."""
    with pytest.raises(UsageError, match=r"by=-0.1") as caught:
        fixed(TWICE).assert_faster("a", "b", by=-0.1)
    assert "assert_no_regression" in caught.value.cure


@pytest.mark.parametrize(("found", "verdict"), [(EQUAL, "unchanged"), (TWICE, "improvement")])
def test_no_regression_where_the_interval_ends_below_the_gate(fixed: Make, found: Compared, verdict: str) -> None:
    """As fast, or faster: the check is returned."""
    assert fixed(found, found, found).assert_no_regression("null", "null:1ms", scenario="single-stream").verdict == verdict


def test_a_regression_needs_two_rounds_and_names_both(fixed: Make) -> None:
    """Found again in fresh processes, it fails with size, interval, gate and cure."""
    with pytest.raises(
        AssertionError, match=r"(?s)REGRESSION: null:2ms against null: head takes 100.0% more time.*2 rounds.*gate of 3.0%.*cure: "
    ):
        fixed(HALF, HALF).assert_no_regression("null:2ms", "null", scenario="single-stream")


def test_undecided_after_all_rounds_is_skipped(fixed: Make) -> None:
    """Neither green nor red: the reason is that of `ci check`."""
    with pytest.raises(Skipped, match=r"undecided: .*the gate of 3.0% lies inside the interval"):
        fixed(BETWEEN, BETWEEN, BETWEEN).assert_no_regression("null:2ms", "null", scenario="single-stream")


@pytest.mark.parametrize(("candidate", "than"), [("nil", "null"), ("null", "nil"), ({"bakend": "null"}, "null")])
def test_wrong_settings_are_errors_and_never_skips(tmp_path: Path, candidate: Any, than: Any) -> None:
    """Also of what the candidate is held against."""
    with pytest.raises(UsageError):
        Assay(tmp_path, None, skip, lambda *_: None).assert_no_regression(candidate, than)


def test_a_gate_finer_than_the_noise_is_refused(fixed: Make) -> None:
    """A gate of 1 % on a machine whose noise is not known."""
    with pytest.raises(UsageError, match=r"a gate of 1.00%"):
        fixed(EQUAL).assert_no_regression("null", "null:1ms", gate=0.01)


def test_both_sides_are_shown_in_seconds_a_round_being_a_block(fixed: Make) -> None:
    """Names as given, with what sets two of one backend apart."""
    table: list[tuple[str, Rounds]] = []
    fixed(EQUAL, table=table).assert_no_regression({"backend": "null", "max_batch": 4}, "null", scenario="single-stream")
    assert [label for label, _ in table] == ["null", "null max_batch=4"]
    assert table[0][1].seconds.tolist() == pytest.approx([each / 1e3 for each in WAVES])


def test_speed_of_a_latency_is_its_reciprocal() -> None:
    """Half the time is twice the speed; interval ends stay in order."""
    found = pytest_claims.speed(WIDE.comparison)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(2.045, abs=0.01)


def test_ctrl_c_in_a_comparison_ends_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stopped is neither a failed claim nor a skipped test."""
    stopped = replace(EQUAL, comparison=replace(EQUAL.comparison, interrupted=True))
    monkeypatch.setattr("harness.comparing.session.run", lambda *_: stopped)
    made = Assay(tmp_path, None, skip, lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        made.assert_faster("null", "null:1ms", scenario="single-stream")
    with pytest.raises(KeyboardInterrupt):
        made.assert_no_regression("null", "null:1ms", scenario="single-stream")


# ------------------------------------------------------------------------------------------------------------------------ plugin


def test_the_plugin_imports_nothing_of_assay() -> None:
    """Nothing of ours, no numpy, and no change of the import path, in every pytest that does not use the fixture."""
    code = (
        "import pytest, sys; before = set(sys.modules), list(sys.path); import assay_pytest; "
        "print(sorted(set(sys.modules) - before[0]), sys.path == before[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['assay_pytest'] True\n"


def test_options_and_fixture_are_described(pytester: pytest.Pytester) -> None:
    """--help names the options, --fixtures what the fixture is for."""
    pytester.runpytest_inprocess(*PLUGIN, "--help").stdout.fnmatch_lines(["*--assay-skip*", "*--assay-record=DB*"])
    pytester.runpytest_inprocess(*PLUGIN, "--fixtures").stdout.fnmatch_lines(["*Measure and claim: *assay.run(...)*"])


def test_assay_skip_measures_nothing(pytester: pytest.Pytester) -> None:
    """Tests with the fixture are skipped, others run."""
    pytester.makepyfile("def test_a(assay): assert 0\ndef test_b(): pass")
    pytester.runpytest_inprocess(*PLUGIN, "--assay-skip").assert_outcomes(passed=1, skipped=1)


def test_nothing_is_measured_beside_other_workers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under pytest-xdist with several workers the tests are skipped, with the reason."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    pytester.makepyfile("def test_a(assay): assert 0")
    found = pytester.runpytest_inprocess(*PLUGIN, "-rs", "-p", "no:xdist")
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*pytest-xdist workers*-n 0*"])


@pytest.mark.slow
def test_a_project_measures_its_own_model(pytester: pytest.Pytester) -> None:
    """A run, a claim that holds and one that does not, all as rows of pytest-benchmark's table and in its JSON; the run in a history."""
    pytest.importorskip("pytest_benchmark")
    pytester.makepyfile(
        f"""
        def test_run(assay):
            run = assay.run(backend="null:1ms", scenario="single-stream", task="sst2", duration=0.2)
            assert run.verdict["metric"]["value"] > 1e6

        def test_holds(assay):
            assert assay.assert_faster("null:1ms", than="null:10ms", by=0.05, {SHORT}).word == "faster"

        def test_fails(assay):
            assay.assert_faster("null:10ms", than="null:1ms", {SHORT})
        """
    )
    arguments = ("-W", "error", "-p", "no:xdist", "-p", "no:randomly", "--benchmark-json=b.json", "--assay-record=h.db")
    found = pytester.runpytest_inprocess(*PLUGIN, *arguments)
    found.assert_outcomes(passed=2, failed=1)
    found.stdout.fnmatch_lines(["E*null:10ms is 0.*x as fast as null:1ms, 95 % interval*", "E*cure: *"])
    rows = ["*test_run?null:1ms?*", "*test_holds?null:1ms?*", "*test_holds?null:10ms?*"]
    for row in rows:
        found.stdout.fnmatch_lines([row])
    from harness.history.database import History

    with History(pytester.path / "h.db", make=False) as history:
        (series,) = history.series()
        assert series.points == 1
    assert (pytester.path / "b.json").stat().st_size > 0


def test_disabled_tables_stay_empty(pytester: pytest.Pytester) -> None:
    """--benchmark-disable shows no rows, and the test passes all the same."""
    pytest.importorskip("pytest_benchmark")
    pytester.makepyfile(
        "def test_a(assay): assay.run(backend='null', scenario='single-stream', task='sst2', duration=0.05, min_queries=64)"
    )
    found = pytester.runpytest_inprocess(*PLUGIN, "--benchmark-disable", "-p", "no:xdist")
    found.assert_outcomes(passed=1)
    assert "test_a[null]" not in found.stdout.str()
