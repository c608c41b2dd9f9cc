"""Sentences about what limits a run, each from the facts that make it true."""

from __future__ import annotations

from dataclasses import replace
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


def unstable(figure: str, **facts: float) -> dict[str, Any]:
    steady = {"settled_share": 0.0, "start": 0.0, "start_errors": 0.0, "drift": 0.0, "p": 1.0, "drift_error": 0.0, "at_s": [], "values": []}
    return {"steady": {"figure": figure, **steady, **facts}}


THROTTLED = {
    "telemetry": {"at_s": [0.0, 10.0], "throttled": [{"from_s": -1.0, "to_s": 2.0, "what": "cpu", "reason": "thermal"}]},
}
LENGTHS = [
    {"length": 16, "calls": 4, "samples": 8, "real_tokens": 108, "padded_tokens": 128},
    {"length": 64, "calls": 2, "samples": 4, "real_tokens": 196, "padded_tokens": 256},
]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            unstable("rate", drift=-0.2, p=0.001),
            "it became slower from begin to end: look at clocks and temperature, and at what else runs, and measure for longer (--dur",
        ),
        (unstable("median latency", drift=-0.2, p=0.001), "it became faster from begin to end: give it a longer --warmup, and measure for"),
        (
            unstable("rate by length", settled_share=0.3, start=-0.3, start_errors=9.0),
            "its first 30% were unlike the rest: give it a longer --warmup, or a longer --duration",
        ),
        (THROTTLED, "cpu was throttled for 20% of the run (thermal): better cooling, or a higher power limit or CPU quota"),
        (
            {"throughput": {"padding_share": 0.2, "by_length": LENGTHS}},
            "20% of the tokens computed are padding, 75% of them in calls padded to 64: give --max-batch-tokens",
        ),
        (
            {"conditions": {"others_cpu_share": 0.3}},
            "other processes used 30% of the cores: stop them, or keep cores of your own (taskset, cgroup)",
        ),
        ({"telemetry": {"summary": {"steal_share": {"mean": 0.1}}}}, "the hypervisor gave 10% of the CPU time to other machines"),
        (
            {"telemetry": {"summary": {"memory_available_bytes": {"min": 1e9}}}, "conditions": {"memory": {"total": 64_000_000_000}}},
            "only 1.00 GB of 64.0 GB memory were free at the least: use fewer --workers or a smaller --max-batch",
        ),
    ],
)
def test_what_was_recorded_beside_the_run_makes_its_sentence(facts: dict[str, Any], sentence: str) -> None:
    """Unsteady, throttled, padded, disturbed, short of memory: each alone makes one sentence more."""
    quiet = run()
    found = [line for line in limits.sentences(example_runs.changed(quiet, **facts), None) if line not in limits.sentences(quiet, None)]
    assert len(found) == 1
    assert found[0].startswith(sentence)


def test_a_steady_run_of_a_free_machine_has_no_sentence_of_them() -> None:
    """Figures below each limit say nothing."""
    facts = {
        **unstable("rate", drift=-0.2, p=0.5),
        "conditions": {"others_cpu_share": 0.01, "memory": {"total": 64e9}},
        "telemetry": {
            "at_s": [0.0, 1000.0],
            "throttled": [{"from_s": 1.0, "to_s": 2.0, "what": "cpu", "reason": "thermal"}],
            "summary": {"steal_share": {"mean": 0.001}, "memory_available_bytes": {"min": 30e9}},
        },
    }
    assert limits.sentences(example_runs.changed(run(), **facts), None) == limits.sentences(run(), None)


def test_batches_that_are_held_are_told_from_a_queue() -> None:
    """The only worker is free for all of the waiting: with --batch-wait the wait is named, and no advice about long calls is given."""
    held = example_runs.changed(run(busy_share=0.6), config={"resolved": {"batching": {"wait_ns": 1000}}})
    rows = replace(columns(80, 20), batch=np.zeros(4, np.int32))
    sentence = "80% of the mean latency is spent waiting for company while a worker is free (batches of 4.0): lower --batch-wait"
    assert [line for line in limits.sentences(held, rows) if "waiting" in line] == [sentence]


def test_workers_that_idle_beside_others_are_named() -> None:
    """Two calls of one worker and none as long of the other."""
    rows = replace(columns(0, 100), worker=np.array([0, 0, 1, 1], np.int16), done_ns=np.array([100, 100, 40, 40]))
    sentence = "one of 2 workers was busy 40% as long as the busiest: use fewer --workers, or a smaller --max-batch"
    assert sentence in limits.sentences(run(), rows)


def test_nothing_stands_out() -> None:
    """Offline everything waits, which is no limit; a run without figures says nothing."""
    assert limits.sentences(run("offline"), columns(80, 20)) == []
    assert limits.sentences(example_runs.MINIMAL, None) == []
