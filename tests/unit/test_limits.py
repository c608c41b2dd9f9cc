"""Sentences about what limits a run, each from the facts that make it true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import limits
from harness.core import Columns, Run, Status
from tests import example_runs


def run(scenario: str = "server", **facts: Any) -> Run:
    traffic = {"busy_share": facts.pop("busy_share", 0.8), "harness_share": facts.pop("harness_share", 0.001)}
    throughput = {"padding_share": facts.pop("padding_share", 0.02), "peak_share": facts.pop("peak_share", 0.5)}
    assert not facts
    return example_runs.changed(
        example_runs.VALID, config={"scenario": scenario, "batching": "sorted"}, traffic=traffic, throughput=throughput
    )


def columns(waiting_ns: int, computing_ns: int) -> Columns:
    """Four queries in two batches."""
    whole = np.arange(4)
    return Columns(
        query=whole.astype(np.int64),
        sample=whole.astype(np.int32),
        due_ns=np.zeros(4, np.int64),
        taken_ns=np.full(4, waiting_ns, np.int64),
        done_ns=np.full(4, waiting_ns + computing_ns, np.int64),
        batch=(whole // 2).astype(np.int32),
        worker=np.zeros(4, np.int16),
        status=np.full(4, Status.DONE, np.int8),
        end_ns=waiting_ns + computing_ns,
    )


@pytest.mark.parametrize(
    ("found", "rows", "sentence"),
    [
        (run(), columns(10, 90), "computing is 90% of the mean latency: a faster backend or precision shortens it most"),
        (run(busy_share=0.99), columns(80, 20), "lower --target-qps"),
        (run(busy_share=0.6), columns(80, 20), "the workers are idle 40% of the time (batches of 2.0)"),
        (run(padding_share=0.6), None, "60% of the tokens computed are padding: give --max-batch-tokens, or a smaller --pad-to"),
        (run(harness_share=0.04), None, "the harness took 4.0% of the workers' time between batches"),
        (run(peak_share=0.8), None, "arithmetic runs at 80% of this machine's measured peak: only a lower precision"),
        (run(busy_share=0.99, peak_share=0.2), None, "arithmetic runs at 20% of this machine's measured peak: small batches"),
        (run(busy_share=0.2), None, "the workers were busy 20% of the time: the machine can serve more"),
    ],
)
def test_a_fact_makes_its_sentence(found: Run, rows: Columns | None, sentence: str) -> None:
    """Each limit is named with its number and the setting to try."""
    assert any(sentence in line for line in limits.sentences(found, rows))


def test_nothing_stands_out() -> None:
    """Offline everything waits, which is no limit; a run without figures says nothing."""
    assert limits.sentences(run("offline"), columns(80, 20)) == []
    assert limits.sentences(example_runs.MINIMAL, None) == []
