"""JSON of pytest-benchmark: VALID runs for `pytest-benchmark compare`, beside those of a test suite"""

from __future__ import annotations

from collections.abc import Sequence

from harness.ci import pytest_benchmark
from harness.core import Columns, Run

REQUIRES: tuple[str, ...] = ()
EXTENSION = "json"


def render(run: Run, columns: Columns | None = None) -> str:
    """The file with one benchmark; raises MissingError for a run that is not VALID."""
    return render_runs([run], [columns])


def render_runs(runs: Sequence[Run], columns: Sequence[Columns | None]) -> str:
    """The file with a benchmark for each VALID run; raises MissingError where none is."""
    return pytest_benchmark.render(runs, columns)
