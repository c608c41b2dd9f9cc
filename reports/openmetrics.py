"""OpenMetrics text, which GitLab and Prometheus read: latency, throughput and accuracy of VALID runs"""

from __future__ import annotations

from collections.abc import Sequence

from harness.ci import measures, other_formats
from harness.core import Columns, Run

REQUIRES: tuple[str, ...] = ()
EXTENSION = "txt"


def render(run: Run, columns: Columns | None = None) -> str:
    """The figures of a VALID run; raises MissingError for another."""
    return render_runs([run], [columns])


def render_runs(runs: Sequence[Run], columns: Sequence[Columns | None]) -> str:
    """The figures of all runs that are VALID; raises MissingError where none is."""
    return other_formats.openmetrics(measures.of_runs(runs, columns))
