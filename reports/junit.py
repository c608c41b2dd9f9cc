"""JUnit XML: verdict, accuracy and answers of each run as test cases"""

from __future__ import annotations

from collections.abc import Sequence

from harness.ci import junit, junit_cases, qualification_cases
from harness.core import Columns, Run
from harness.document import Document
from harness.errors import UsageError

REQUIRES: tuple[str, ...] = ()
EXTENSION = "xml"


def render(run: Run, columns: Columns | None = None) -> str:
    """A suite of three cases."""
    return render_runs([run], [columns])


def render_runs(runs: Sequence[Run], columns: Sequence[Columns | None]) -> str:
    """A suite for each run."""
    del columns
    return junit.render(junit_cases.of_runs(runs))


def render_document(document: Document) -> str:
    """A suite with a case for each candidate of a comparison, or each check. Raises UsageError for what judges nothing."""
    made = {
        "comparison": junit_cases.of_comparison,
        "check": junit_cases.of_check_record,
        "qualification": qualification_cases.of_record,
    }.get(document.kind)
    if made is None:
        raise UsageError(
            f"--format junit: a report of {document.kind} has no verdicts", "name runs, a comparison, a check or a qualification"
        )
    return junit.render([made(document.record)])
