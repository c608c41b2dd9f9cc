"""The lines of mlperf_log_summary.txt that the official samples do not show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.errors import DataError
from harness.loadgen import Effective, Requested, effective
from harness.mlperf.result import Latencies, Result, Stopping
from harness.mlperf.summary import fixed, render

FIGURES = Latencies(1, 9, 5, (4, 5, 6, 7, 8, 9))


def settings(scenario: str, **changed: object) -> Effective:
    return effective(Requested(scenario=scenario, **changed), 100, 100)  # type: ignore[arg-type]


def made(scenario: str, **changed: object) -> Result:
    found = Result(
        scenario=scenario,
        constraint_met=True,
        duration_met=True,
        queries_met=True,
        stopping=Stopping(True, " * Run successful."),
        tail_ns=5,
        queries=10,
        over_latency=0,
        samples=FIGURES,
        per_query=None,
        rates={
            "result_scheduled_samples_per_sec": math.nan,
            "result_completed_samples_per_sec": math.inf,
            "result_samples_per_second": 1234567.0,
        },
    )
    return replace(found, **changed)  # type: ignore[arg-type]


def test_an_accuracy_run_has_four_lines() -> None:
    """Only the counts of warnings and errors, from an empty line on."""
    text = render(None, settings("Offline"), "PySUT", 0, 0)
    assert text == "\nNo warnings encountered during test.\n\nNo errors encountered during test.\n"


@pytest.mark.parametrize(
    ("warnings", "errors", "lines"),
    [
        (1, 1, ["1 warning encountered. See detailed log.", "1 ERROR encountered. See detailed log."]),
        (2, 3, ["2 warnings encountered. See detailed log.", "3 ERRORS encountered. See detailed log."]),
    ],
)
def test_warnings_and_errors_are_counted_in_loadgens_words(warnings: int, errors: int, lines: list[str]) -> None:
    """Singular and plural; errors in capitals."""
    assert render(None, settings("Offline"), "", warnings, errors).split("\n")[1:4:2] == lines


def test_rates_that_are_no_numbers_print_as_in_c() -> None:
    """nan has the sign that x86 gives it."""
    text = render(made("Server"), settings("Server"), "PySUT", 0, 0)
    assert "Scheduled samples per second : -nan\n" in text
    assert "Completed samples per second    : inf\n" in text
    assert (fixed(2.0), fixed(-math.inf)) == ("2.00", "-inf")


def test_an_offline_rate_has_six_digits() -> None:
    """C++ prints a double with six significant digits."""
    assert "Samples per second: 1.23457e+06\n" in render(made("Offline"), settings("Offline"), "PySUT", 0, 0)


def test_all_that_failed_is_recommended_in_loadgens_order() -> None:
    """Performance, duration, queries; the last in two lines."""
    failed = made("Server", constraint_met=False, duration_met=False, queries_met=False)
    text = render(failed, settings("Server"), "PySUT", 0, 0)
    assert (
        "Recommendations:\n * Reduce target QPS to improve latency.\n"
        " * Increase the target QPS so the loadgen pre-generates more queries.\n"
        " * The test exited early, before enough queries were issued.\n"
        "   See the detailed log for why this may have occurred.\nEarly Stopping Result:\n"
    ) in text


def test_concatenated_permutations_are_warned_of() -> None:
    """Four lines behind the settings, the first with a space at its end."""
    text = render(made("Offline"), settings("Offline", sample_concatenate_permutation=True), "PySUT", 0, 0)
    assert "\nWARNING: sample_concatenate_permutation was set to true. \nGenerated samples" in text
    assert "\nsamples_per_query value\n\nNo warnings" in text


def test_a_percentile_that_is_not_known_is_an_error() -> None:
    """The message says which."""
    unknown = made("SingleStream", tail_ns=None)
    with pytest.raises(DataError, match="percentile 80"):
        render(unknown, settings("SingleStream", single_stream_target_latency_percentile=0.8), "PySUT", 0, 0)
