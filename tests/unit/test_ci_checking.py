"""What a check of several entries comes to: sentences, figures, and one exit code that says what happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.ci import checking
from harness.ci.checking import About, Measure
from harness.ci.entries import Entry
from harness.ci.result import Checked, from_json, to_json
from harness.comparing.results import LATENCIES, THROUGHPUT, Candidate, Comparison, Figure, Visit
from harness.comparing.session import Compared
from harness.core import Accuracy
from harness.errors import AssayError, BackendError, ExitCode, Interrupted, MissingError, UsageError
from harness.paired import Outcomes

ABOUT = About("main (0123456789)", "feature", "a machine", {"offline": 0.01, "single-stream": 0.01})
MET = Accuracy("accuracy", 90.0, 91.0, 89.0, True, "accuracy pass", 800, {"accuracy": 90.0})
RIGHT = np.ones(800, bool)


def entry(name: str = "one", gate: float | None = None, scenario: str = "offline") -> Entry:
    return Entry(name, {"backend": "mine.py", "task": "sst2", "scenario": scenario, "max_batch": 8}, gate, "")


def passed(wrong: int = 0, accuracy: Accuracy = MET) -> tuple[Accuracy, Outcomes]:
    right = RIGHT.copy()
    right[:wrong] = False
    return replace(accuracy, value=100.0 * float(right.mean())), Outcomes(100.0 * right, right, right.astype(float))


def side(name: str, scored: tuple[Accuracy, Outcomes] | None = None, problem: str = "") -> Candidate:
    accuracy, outcomes = scored or (None, None)
    return Candidate(name, {}, {}, {}, accuracy=accuracy, outcomes=outcomes, problem=problem)


def compared(slowdown: float, base: Candidate | None = None, head: Candidate | None = None, figure: Figure = THROUGHPUT) -> Compared:
    """Six blocks; head takes this much more time; 1,000 samples a second, or 1 ms a query, at base."""
    visits = []
    for block in range(6):
        wobble = 1 + 0.001 * (block % 3 - 1)
        for place in (0, 1, 1, 0):
            seconds = (1 + slowdown) * wobble if place else 1.0
            visits.append(Visit(block, place, seconds, 1000, 5000, np.full(100, round(seconds * 1e6), np.int64)))
    sides = (base or side("base"), head or side("head"))
    return Compared(Comparison(sides, 0, (figure,), tuple(visits)), ["something"])


def always(found: Compared) -> Measure:
    return lambda entry, number: found


def failing(error: AssayError) -> Measure:
    def measure(entry: Entry, number: int) -> Compared:
        raise error

    return measure


def check(measure: Measure, *entries: Entry) -> Checked:
    return checking.check(entries or (entry(),), measure, ABOUT)


def test_eight_percent_slower_is_red() -> None:
    """With size, interval, values of both sides, blocks of both rounds, and exit code 7."""
    found = check(always(compared(0.08)))
    (red,) = found.checks
    assert (red.verdict, red.kind, red.unit, red.blocks, red.rounds, red.confirmed) == (
        "regression",
        "throughput",
        "samples/s",
        12,
        2,
        True,
    )
    assert red.change == pytest.approx(0.08, abs=1e-3)
    assert red.low is not None
    assert red.high is not None
    assert 0.03 < red.low < red.change < red.high
    assert (red.base_value, red.head_value) == (pytest.approx(1000), pytest.approx(1000 / 1.08))
    assert red.series == "offline · sst2 · mine.py · max_batch 8"
    assert red.text.startswith(
        "head takes 8.0% more time than base, 95 % interval [+7.9%, +8.1%], 12 blocks in 2 rounds of fresh processes"
    )
    assert found.exit_code == ExitCode.REGRESSION
    assert found.warnings == ("something",)
    assert from_json(to_json(found)) == found


def test_latency_is_slower_where_it_is_larger() -> None:
    """The sign is that of time, whatever the figure."""
    found = check(always(compared(0.08, figure=LATENCIES[1])), entry(scenario="single-stream"))
    assert (found.checks[0].kind, found.checks[0].verdict) == ("latency", "regression")
    assert found.checks[0].change == pytest.approx(0.08, abs=1e-3)
    faster = check(always(compared(-0.08, figure=LATENCIES[1])), entry(scenario="single-stream"))
    assert (faster.checks[0].verdict, faster.exit_code) == ("improvement", 0)


def test_the_same_is_green() -> None:
    """One round, exit code 0, within the gate."""
    found = check(always(compared(0.0)))
    assert (found.checks[0].verdict, found.checks[0].rounds, found.exit_code) == ("unchanged", 1, 0)
    assert found.checks[0].text.endswith("within the gate of 3.0%")


def test_accuracy_is_a_check_of_its_own() -> None:
    """Speed unchanged, 20 answers lost: red by the second check."""
    found = check(always(compared(0.0, side("base", passed(0)), side("head", passed(20)))))
    speed, accuracy = found.checks
    assert (speed.verdict, accuracy.kind, accuracy.verdict) == ("unchanged", "accuracy", "regression")
    assert (accuracy.base_value, accuracy.head_value, accuracy.change) == (100.0, 97.5, pytest.approx(0.025))
    assert found.exit_code == ExitCode.REGRESSION


def test_both_below_target_is_code_6() -> None:
    """No regression, but no result either."""
    missed = replace(MET, passed=False)
    found = check(always(compared(0.0, side("base", passed(0, missed)), side("head", passed(0, missed)))))
    assert (found.checks[1].verdict, found.exit_code) == ("error", ExitCode.ACCURACY)


def test_the_answers_are_those_of_the_first_round() -> None:
    """Later rounds measure speed alone: they have none, and that is no loss."""

    def measure(entry: Entry, number: int) -> Compared:
        return compared(0.08) if number else compared(0.08, side("base", passed(0)), side("head", passed(0)))

    assert [each.verdict for each in check(measure).checks] == ["regression", "unchanged"]


@pytest.mark.parametrize(
    ("measure", "verdict", "code"),
    [
        (failing(MissingError("base: mine.py: no such file")), "skipped", ExitCode.NOTHING_MEASURED),
        (failing(MissingError("head: torch is not installed", "pip install torch")), "error", ExitCode.MISSING),
        (failing(UsageError("head: no such task")), "error", ExitCode.USAGE),
        (failing(BackendError("head: out of memory")), "error", ExitCode.FAILED),
        (always(compared(0.0, head=side("head", problem="it died"))), "error", ExitCode.FAILED),
        (always(compared(0.0, base=side("base", problem="it died"))), "skipped", ExitCode.NOTHING_MEASURED),
    ],
)
def test_what_was_not_measured_is_neither_green_nor_a_regression(measure: Measure, verdict: str, code: ExitCode) -> None:
    """What base lacks is skipped, and a check of nothing but that ends with 9; head's errors keep their own codes."""
    found = check(measure)
    assert [each.verdict for each in found.checks] == [verdict]
    assert found.exit_code == code
    assert found.checks[0].change is None


def by_name(**measures: Measure) -> Measure:
    return lambda entry, number: measures[entry.name](entry, number)


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ([always(compared(0.08)), failing(BackendError("head: no"))], ExitCode.REGRESSION),
        ([always(compared(0.0)), failing(BackendError("head: no"))], ExitCode.FAILED),
        ([failing(MissingError("head: no")), failing(BackendError("head: no"))], ExitCode.FAILED),
        ([failing(MissingError("head: no")), failing(MissingError("head: no"))], ExitCode.MISSING),
        ([always(compared(0.0)), failing(MissingError("base: no"))], ExitCode.OK),
    ],
)
def test_one_exit_code_for_several_entries(others: list[Measure], code: ExitCode) -> None:
    """A regression outweighs errors, errors outweigh green; errors of several kinds are a failure."""
    measure = by_name(one=others[0], two=others[1])
    assert check(measure, entry("one"), entry("two")).exit_code == code


def test_ctrl_c_keeps_what_is_known() -> None:
    """What was decided stays, the rest is listed as not decided, and the code is 130."""
    stopped = replace(compared(0.0).comparison, interrupted=True)
    for interrupt in (failing(Interrupted("interrupted by Ctrl-C")), always(Compared(stopped, []))):
        found = check(by_name(one=always(compared(0.08)), two=interrupt, three=interrupt), entry("one"), entry("two"), entry("three"))
        assert [each.verdict for each in found.checks] == ["regression", "skipped", "skipped"]
        assert found.exit_code == ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("stopped", "verdict", "code"),
    [
        (Interrupted("interrupted by Ctrl-C"), "skipped", ExitCode.INTERRUPTED),
        (BackendError("head: it died"), "error", ExitCode.REGRESSION),
    ],
)
def test_answers_are_judged_whatever_becomes_of_later_rounds(stopped: AssayError, verdict: str, code: ExitCode) -> None:
    """Ctrl-C or a crash in the second round takes the speed away, not the accuracy that the first round scored."""

    def measure(entry: Entry, number: int) -> Compared:
        if number:
            raise stopped
        return compared(0.08, side("base", passed(0)), side("head", passed(20)))

    found = check(measure)
    assert [(each.kind, each.verdict) for each in found.checks] == [("throughput", verdict), ("accuracy", "regression")]
    assert found.exit_code == code


def test_a_check_has_one_name_whether_it_was_measured_or_not() -> None:
    """Trackers go by figure: a single stream that failed is a latency, too."""
    single = entry(scenario="single-stream")
    assert check(failing(BackendError("head: no")), single).checks[0].kind == "latency"
    assert check(failing(Interrupted("interrupted by Ctrl-C")), single).checks[0].kind == "latency"


def test_a_gate_finer_than_the_noise_is_refused_before_anything_is_measured() -> None:
    """With the entry's name."""
    measured: list[Entry] = []

    def measure(entry: Entry, number: int) -> Compared:
        measured.append(entry)
        return compared(0.0)

    with pytest.raises(UsageError, match="two: a gate of 0\\.50% is finer than this machine's noise"):
        check(measure, entry("one"), entry("two", gate=0.005))
    assert measured == []


def test_unknown_noise_is_said() -> None:
    """The gate is 3 % then, and a warning says how to know better."""
    found = checking.check([entry()], always(compared(0.0)), replace(ABOUT, floors={}))
    assert found.checks[0].gate == 0.03
    assert found.warnings[0].startswith("this machine's noise is not known in offline")


def test_a_comparison_of_one_block_decides_nothing() -> None:
    """It is an error, not a green."""
    found = compared(0.0)
    short = replace(found.comparison, visits=found.comparison.visits[:4])
    assert check(always(Compared(short, []))).exit_code == ExitCode.FAILED


def test_another_file_is_no_check() -> None:
    """Schema, kind and fields are looked at."""
    record = to_json(check(always(compared(0.0))))
    for wrong in (record | {"schema": 99}, record | {"kind": "run"}, {key: value for key, value in record.items() if key != "base"}):
        with pytest.raises(ValueError, match="not a check"):
            from_json(wrong)
