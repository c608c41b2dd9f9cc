"""Figures as comma-separated values (RFC 4180): a run as one row, a document's tables; units in the headings, values as stored."""

from __future__ import annotations

from collections.abc import Sequence

from harness import csv_text, run_facts
from harness.core import Columns, Run
from harness.document import Document

REQUIRES: tuple[str, ...] = ()
EXTENSION = "csv"


def render(run: Run, columns: Columns | None = None) -> str:
    """A heading and one row; a figure that the run does not have is empty. The ledger's rows are in queries.parquet."""
    return render_runs([run], [columns])


def render_runs(runs: Sequence[Run], columns: Sequence[Columns | None]) -> str:
    """A heading and one row for each run, whatever they ran: nothing is grouped, and `result` says which rows are one."""
    del columns
    rows = [run_facts.of(run) for run in runs]
    return csv_text.records([list(rows[0]), *(list(row.values()) for row in rows)])


def render_document(document: Document) -> str:
    """Its table, or each of them behind a record that is its title."""
    return csv_text.document(document)
