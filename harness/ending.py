"""How an issue phase ended, in LoadGen's words (issue_query_controller.cc). Pure."""

from __future__ import annotations

import numpy as np

from harness.core import Columns, Limits
from harness.phases import Message

NATURAL = "Ending naturally: Minimum query count and test duration met."
RAN_OUT = (
    "Ending early: Ran out of generated queries to issue before the minimum query count and test duration were reached. "
    "Please update the relevant expected latency or target qps in the TestSettings so they are more accurate."
)


def messages(columns: Columns, limits: Limits, *, paced: bool, at_once: bool, finite: bool) -> tuple[Message, ...]:
    """What LoadGen logs after the last query of a performance phase; accuracy phases end without a word.

    `paced`: Server, which plays its whole schedule; `at_once`: Offline, whose target duration is zero; `finite`: the order of samples
    has an end (unique issue). The checks are LoadGen's, in its order: the natural end first, what ran out last.
    """
    if not len(columns.query):
        return ()
    queries = int(columns.query[-1]) - int(columns.query[0]) + 1
    last_ns = int(columns.due_ns[-1])
    if not paced and queries >= limits.min_queries and (at_once or last_ns >= limits.min_duration_ns):
        return (Message("generic_message", NATURAL),)
    if paced and limits.max_async and (outstanding := _outstanding(columns)) > limits.max_async:
        return (_error(f"Too many outstanding queries. issued {queries} outstanding {outstanding}"),)
    if 0 < limits.max_queries <= queries:
        return (_error(f"Max query count reached. query_count {queries}"),)
    if 0 < limits.max_duration_ns < last_ns:
        return (_error(f"Max test duration reached. duration_ns {last_ns}"),)
    if finite and not paced:
        return (Message("error_runtime", RAN_OUT),)
    return ()


def _error(text: str) -> Message:
    return Message("error_runtime", f"IssueQueryThread 0 Ending early: {text}")


def _outstanding(columns: Columns) -> int:
    """Queries issued and not yet answered when the last one was issued, itself among them; an answer that was rejected is one here,
    as it is to the ledger that ends the run."""
    answered = (columns.done_ns >= 0) & (columns.done_ns <= columns.due_ns[-1])
    return len(columns.query) - int(np.count_nonzero(answered))
