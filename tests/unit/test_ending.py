"""How a phase ended, in LoadGen's words: each sentence was compared with what mlcommons-loadgen 6.0.17 logs for the same settings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from harness.core import Columns, Limits, Status
from harness.ending import NATURAL, RAN_OUT, messages
from harness.phases import Message

GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "logs"


def columns(due: list[int], took: int = 5, size: int = 1, status: Status = Status.DONE) -> Columns:
    """Queries of `size` rows, each answered `took` ns after it was due."""
    rows = len(due) * size
    due_ns = np.repeat(np.array(due, np.int64), size)
    return Columns(
        query=np.repeat(np.arange(len(due), dtype=np.int64), size),
        sample=np.zeros(rows, np.int32),
        due_ns=due_ns,
        taken_ns=due_ns,
        done_ns=due_ns + took,
        batch=np.arange(rows, dtype=np.int32),
        worker=np.zeros(rows, np.int16),
        status=np.full(rows, status, np.int8),
        end_ns=int(due_ns[-1]) + took if rows else 0,
    )


def closed(rows: Columns, limits: Limits, finite: bool = False) -> tuple[Message, ...]:
    return messages(rows, limits, paced=False, at_once=False, finite=finite)


def server(rows: Columns, limits: Limits, finite: bool = False) -> tuple[Message, ...]:
    return messages(rows, limits, paced=True, at_once=False, finite=finite)


ENDED = (Message("generic_message", NATURAL),)
OUT = (Message("error_runtime", RAN_OUT),)


def early(text: str) -> tuple[Message, ...]:
    return (Message("error_runtime", f"IssueQueryThread 0 Ending early: {text}"),)


@pytest.mark.parametrize("size", [1, 8])
def test_both_minima_met_is_the_natural_end(size: int) -> None:
    """Queries count, not their samples; the last one at the minimum duration is late enough, one nanosecond before is not."""
    rows = columns([0, 10, 20, 30], size=size)
    assert closed(rows, Limits(30, 4)) == ENDED
    assert closed(rows, Limits(31, 4)) == ()
    assert closed(rows, Limits(30, 5)) == ()


def test_offline_ends_naturally_whatever_the_duration() -> None:
    """Its target duration is zero: one query, whose samples are all due at the start."""
    rows = columns([0], size=50)
    assert messages(rows, Limits(10**12, 1), paced=False, at_once=True, finite=False) == ENDED
    assert messages(rows, Limits(10**12, 1, 5, 1), paced=False, at_once=True, finite=True) == ENDED


def test_a_maximum_of_queries_is_told_with_their_number() -> None:
    """Open and closed loops say it alike."""
    rows, said = columns([0, 10, 20]), early("Max query count reached. query_count 3")
    assert closed(rows, Limits(1000, 5, max_queries=3)) == said
    assert server(rows, Limits(1000, 5, max_queries=3)) == said
    assert closed(rows, Limits(1000, 5, max_queries=4)) == ()


def test_a_maximum_duration_is_told_with_the_issue_of_the_last_query() -> None:
    """LoadGen ends when a query is issued later than the maximum, not at it."""
    rows, said = columns([0, 10, 20]), early("Max test duration reached. duration_ns 20")
    assert closed(rows, Limits(1000, 5, max_duration_ns=19)) == said
    assert server(rows, Limits(1000, 5, max_duration_ns=19)) == said
    assert server(rows, Limits(1000, 5, max_duration_ns=20)) == ()


def test_the_natural_end_comes_before_a_maximum() -> None:
    """Where both hold at the same query, LoadGen says the first it looks at; Server knows no natural end."""
    rows, limits = columns([0, 10, 20]), Limits(20, 3, max_duration_ns=15, max_queries=3)
    assert closed(rows, limits, finite=True) == ENDED
    assert server(rows, limits) == early("Max query count reached. query_count 3")


def test_a_set_that_is_used_up_ran_out() -> None:
    """Unique issue in a closed loop; a maximum that ended it first is what is told, also at the very last query."""
    rows = columns([0, 10, 20])
    assert closed(rows, Limits(1000, 2), finite=True) == OUT
    assert closed(rows, Limits(1000, 2, max_queries=3), finite=True) == early("Max query count reached. query_count 3")
    assert closed(rows, Limits(1000, 2, max_duration_ns=15), finite=True) == early("Max test duration reached. duration_ns 20")


def test_server_says_nothing_at_the_end_of_its_schedule() -> None:
    """It never ends naturally, and a schedule that was played to its end did not run out."""
    assert server(columns([0, 10, 20]), Limits(20, 3)) == ()
    assert server(columns([0, 10, 20]), Limits(1000, 3), finite=True) == ()


def test_too_many_outstanding_queries_are_counted_when_the_last_was_issued() -> None:
    """Answers that came later do not count, nor does the maximum of queries that is reached at the same query; one that came at that
    very moment does."""
    rows = columns([0, 10, 20, 30], took=11)
    said = early("Too many outstanding queries. issued 4 outstanding 2")
    assert server(rows, Limits(1000, 5, max_async=1)) == said
    assert server(rows, Limits(1000, 5, max_async=1, max_queries=4)) == said
    assert server(rows, Limits(1000, 5, max_async=2)) == ()
    assert server(columns([0, 10, 20, 30], took=10), Limits(1000, 5, max_async=1)) == ()
    assert closed(rows, Limits(1000, 5, max_async=1)) == ()


def test_a_rejected_answer_is_not_outstanding() -> None:
    """An answer with an error came all the same: the ledger did not end the run for it, and the log does not say so."""
    assert server(columns([0, 10, 20, 30], status=Status.ERROR), Limits(1000, 5, max_async=1)) == ()


def test_nothing_asked_is_nothing_said() -> None:
    """A phase without rows has no last query."""
    assert closed(columns([]), Limits(0, 0), finite=True) == ()


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden logs: set ASSAY_GOLDEN")
@pytest.mark.parametrize(
    ("folder", "said"),
    [("ss_valid", ENDED[0]), ("off_valid", ENDED[0]), ("ss_invalid_ran_out", OUT[0]), ("ms_invalid", OUT[0])],
)
def test_the_sentences_are_those_of_the_official_logs(folder: str, said: Message) -> None:
    """The natural end and the exhausted list, character for character."""
    text = (GOLDEN / folder / "mlperf_log_detail.txt").read_text()
    (found,) = re.findall(r'"key": "([a-z_]+)", "value": "([^"]*Ending [^"]*)"', text)
    assert Message(*found) == said
