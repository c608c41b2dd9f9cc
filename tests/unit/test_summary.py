"""Figures of a ledger, computed by hand."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from harness import plugins, summary
from harness.batching import Policy
from harness.core import Columns, Limits, Samples, Settings, Traffic
from harness.testing import simulate

LENGTHS = [10, 16, 30, 40]
SAMPLES = Samples(np.ones(96, np.int32), np.zeros(96, np.int8), np.array([0, 10, 26, 56, 96]), 0, 384)


def run(due: list[int], limit: int = 2) -> Columns:
    traffic = Traffic(np.arange(len(due)), np.arange(len(due), dtype=np.int32), np.array(due), Limits(0, 1))
    return simulate(traffic, Policy("fifo", limit), lambda _: 1_000_000_000)


def test_padding_share_counts_what_was_computed() -> None:
    """Batches (10, 16) and (30, 40) are padded to 16 and 40: 96 real tokens of 2*16 + 2*40 = 112."""
    found = summary.throughput(run([0, 0, 0, 0]), SAMPLES, Policy("fifo", 2))
    assert found["padding_share"] == pytest.approx(1 - 96 / 112)
    assert found["samples_per_second"] == pytest.approx(2.0)
    assert found["tokens_per_second"] == pytest.approx(48.0)


def test_padding_is_told_by_length() -> None:
    """Each padded length with its calls, samples, real and padded tokens; lengths ascend; a packed backend computes the real ones."""
    found = [astuple(each) for each in summary.by_length(run([0, 0, 0, 0]), SAMPLES, Policy("fifo", 2))]
    assert found == [(16, 1, 2, 26, 32), (40, 1, 2, 70, 80)]
    packed = summary.by_length(run([0, 0, 0, 0]), SAMPLES, Policy("fixed", 2), packed=True)
    assert [astuple(each) for each in packed] == [(384, 2, 4, 96, 96)]
    blank = Samples(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(5, np.int64), 0, 0)
    assert summary.by_length(run([0, 0, 0, 0]), blank, Policy("fifo", 2)) == []


def test_time_in_which_batches_are_held_is_not_the_harness() -> None:
    """With --batch-wait the share of the harness is unknown."""
    assert summary.traffic(run([0, 100]), Settings(), False, {}, held=True)["harness_share"] is None


def test_fixed_batching_pads_everything_to_the_maximum() -> None:
    """The same run under `fixed` computes 4 * 384 tokens."""
    found = summary.throughput(run([0, 0, 0, 0]), SAMPLES, Policy("fixed", 2))
    assert found["padding_share"] == pytest.approx(1 - 96 / (4 * 384))


def test_a_packed_backend_computes_no_padding() -> None:
    """What is laid out does not count: the share is 0, and tokens are the real ones."""
    found = summary.throughput(run([0, 0, 0, 0]), SAMPLES, Policy("fixed", 2), packed=True)
    assert (found["padding_share"], found["tokens_per_second"]) == (0.0, pytest.approx(48.0))


@pytest.mark.parametrize("kind", ["sorted", "fifo", "fixed"])
@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream", "server", "offline"])
def test_every_scenario_has_its_padding_and_tokens(scenario: str, kind: str) -> None:
    """Tokens and padding of each row's call, added up one by one, whichever way the rows came together."""
    made = plugins.load("scenarios", scenario).create()
    settings = Settings(min_duration_ns=10**8, min_queries=30, target_qps=2000.0)
    policy = Policy(kind, 8, max_tokens=100, pad_to=(16, 32))  # type: ignore[arg-type]
    columns = simulate(made.traffic(settings, 4), policy, lambda _: 3_000_000, lengths=SAMPLES.lengths, max_length=SAMPLES.max_length)
    found = summary.throughput(columns, SAMPLES, policy)
    lengths = SAMPLES.lengths[columns.sample]
    computed = 0
    for call in np.unique(columns.batch):
        longest = int(lengths[columns.batch == call].max())
        width = 384 if kind == "fixed" else next(width for width in (16, 32, 384) if longest <= width)
        computed += width * int((columns.batch == call).sum())
    assert found["padding_share"] == pytest.approx(1 - int(lengths.sum()) / computed)
    assert found["tokens_per_second"] == pytest.approx(int(lengths.sum()) / (columns.done_ns.max() / 1e9))


def test_lateness_is_of_workers_that_waited() -> None:
    """A row that waits for a busy worker is no lateness of the traffic; in simulated time traffic is never late."""
    lateness, between, busy = summary.gaps(run([0, 100, 5_000_000_000], limit=1))
    assert lateness.tolist() == [0, 0]
    assert between.tolist() == [0]
    assert busy == 3_000_000_000


def test_littles_law_holds_for_a_real_ledger() -> None:
    """In flight, swept event by event, equals rate times latency."""
    found = summary.traffic(run([0, 100, 200, 300]), Settings(), False, {})
    law = found["littles_law"]
    assert law["in_flight"] == pytest.approx(law["rate_times_latency"], rel=1e-6)
    assert not summary.warnings(found, needs_inputs=True)


def test_a_harness_that_limits_the_run_is_named() -> None:
    """More than 5 % of the time between batches although rows waited: a warning with the share."""
    found = {"harness_share": 0.2, "littles_law": {"in_flight": 2.0, "rate_times_latency": 1.0}}
    said = summary.warnings(found, needs_inputs=True)
    assert "the harness took 20.0%" in said[0]
    assert "Little's law does not hold" in said[1]
