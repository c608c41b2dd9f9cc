"""Runs as JSON of pytest-benchmark: its own statistics, read by its own program."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ci import pytest_benchmark
from harness.ci.pytest_benchmark import MOST_ROUNDS, Rounds, rounds, stats, thinned
from harness.core import Columns
from harness.errors import MissingError
from reports import pytest_benchmark as plugin
from tests import example_runs

SINGLE = example_runs.changed(example_runs.NULL, config={"scenario": "single-stream"})


def ledger(done_ns: list[int], query: list[int] | None = None, calls: list[int] | None = None) -> Columns:
    """Rows that were due at 0 and taken at once."""
    count = len(done_ns)
    zeros = np.zeros(count, np.int64)
    return Columns(
        query=np.array(query if query is not None else range(count), np.int64),
        sample=np.zeros(count, np.int32),
        due_ns=zeros,
        taken_ns=zeros,
        done_ns=np.array(done_ns, np.int64),
        batch=np.array(calls if calls is not None else range(count), np.int32),
        worker=np.zeros(count, np.int16),
        status=np.full(count, 2, np.int8),
        end_ns=max(done_ns),
    )


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60))
@settings(deadline=None)
def test_the_statistics_are_those_of_pytest_benchmark(values: list[float]) -> None:
    """Every field of its `Stats`, for any number of rounds."""
    module = pytest.importorskip("pytest_benchmark.stats")
    theirs = module.Stats()
    for value in values:
        theirs.update(value)
    ours = stats(Rounds(np.array(values), 1))
    counted = ("rounds", "iqr_outliers", "stddev_outliers", "outliers")
    for name in module.Stats.fields:
        if name not in counted:
            assert ours[name] == pytest.approx(getattr(theirs, name), rel=1e-9, abs=1e-12 * max(values)), name
    assert ours["rounds"] == theirs.rounds


def test_outliers_are_counted_alike() -> None:
    """One value far above, one far below: by standard deviation and by Tukey's fences."""
    module = pytest.importorskip("pytest_benchmark.stats")
    theirs = module.Stats()
    values = [1.0, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 12.0]
    for value in values:
        theirs.update(value)
    found = stats(Rounds(np.array(values), 1))
    assert found["outliers"] == theirs.outliers == "2;2"


def test_a_round_is_a_query() -> None:
    """Latency of each query, that of its last row, in seconds."""
    found = rounds(SINGLE, ledger([10, 20, 40], query=[0, 0, 1]))
    assert found is not None
    assert found.seconds.tolist() == [20e-9, 40e-9]
    assert found.iterations == 1


@pytest.mark.parametrize("count", [1, 7, 50, 51, 1000])
def test_offline_is_parts_whose_mean_is_the_time_of_the_run(count: int) -> None:
    """Equal calls in equal times: every part has the seconds of a sample, and rounds times iterations is all of it."""
    done = [1000 * (call + 1) for call in range(count) for _ in range(4)]
    found = rounds(example_runs.NULL, ledger(done, query=[0] * len(done), calls=[call for call in range(count) for _ in range(4)]))
    assert found is not None
    assert np.allclose(found.seconds, 250e-9)
    assert len(found.seconds) == min(count, pytest_benchmark.PARTS)


def test_many_rounds_are_put_together_and_keep_their_mean() -> None:
    """At most 10,000 remain; the mean over iterations stays, the last being the rest."""
    seconds = np.random.default_rng(5).exponential(1e-3, 3 * MOST_ROUNDS)
    found = thinned(seconds)
    assert (len(found.seconds), found.iterations) == (MOST_ROUNDS, 3)
    assert found.seconds.mean() == pytest.approx(seconds.mean())
    rest = thinned(seconds[:-1])
    assert rest.seconds[-1] == seconds[-3:-1].mean()


def test_what_was_not_answered_has_no_rounds() -> None:
    """A lost row, or no ledger at all: None."""
    lost = replace(ledger([1, 2]), status=np.array([2, 4], np.int8))
    assert rounds(SINGLE, lost) is None
    assert rounds(SINGLE, None) is None


def test_runs_that_do_not_count_are_refused() -> None:
    """An INVALID run is no benchmark."""
    with pytest.raises(MissingError, match="INVALID"):
        plugin.render(example_runs.INVALID, ledger([1, 2]))


def test_pytest_benchmark_compares_two_exports(tmp_path: Path) -> None:
    """Its own program reads both files and shows one table with a row of each, named by scenario, task and backend."""
    pytest.importorskip("pytest_benchmark")
    for name, factor in (("base", 1), ("head", 2)):
        text = plugin.render(SINGLE, ledger([factor * 1_000_000 + each for each in range(100)]))
        (tmp_path / f"{name}.json").write_text(text)
    made = json.loads(text)
    assert {"machine_info", "commit_info", "benchmarks", "datetime", "version"} == made.keys()
    command = [sys.executable, "-W", "error", "-c", "import pytest_benchmark.cli as c; c.main()", "compare", "base.json", "head.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("assay[single-stream-squad-null]") == 2
    assert "(2.00)" in done.stdout
