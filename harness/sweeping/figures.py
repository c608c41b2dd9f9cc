"""The figures of one visit, from its ledger."""

from __future__ import annotations

import numpy as np

from harness import summary
from harness.bench import Bench
from harness.core import Columns
from harness.stages import Stage
from harness.sweeping.capacity import over_by_block
from harness.sweeping.results import Visit
from harness.validity import asked, query_latency_ns

NOTHING = np.zeros((0, 2), np.int64)


def as_visit(bench: Bench, stage: Stage, turn: int, at_s: float, *, packed: bool = False) -> Visit:
    """What was seen; `packed`: the backend computes no padding. Raises RunError where nothing was asked."""
    columns, settings = asked(stage.measured.columns), stage.settings
    verdict = bench.scenario.judge(columns, settings)
    assert verdict.metric is not None
    latency_ns = query_latency_ns(columns) if bench.scenario.closed_loop else columns.latency_ns
    paced = bench.scenario.paced
    planned = len(stage.traffic.query) if paced else len(columns.query)
    given_up = paced and (len(columns.query) < planned or bool(stage.measured.reasons))
    return Visit(
        turn=turn,
        at_s=at_s,
        seconds=stage.measured.seconds,
        latency_ns=latency_ns,
        blocks=over_by_block(columns.due_ns, latency_ns, settings.latency_bound_ns) if paced and settings.latency_bound_ns else NOTHING,
        metric=verdict.metric,
        figures=_figures(bench, columns, stage, packed=packed),
        planned=planned,
        given_up=given_up,
        reasons=verdict.reasons,
    )


def _figures(bench: Bench, columns: Columns, stage: Stage, *, packed: bool) -> dict[str, float | None]:
    rates = summary.throughput(columns, bench.task.samples, bench.policy, packed=packed)
    played = summary.traffic(columns, stage.settings, bench.scenario.closed_loop, {})
    return {
        "achieved_qps": rates["queries_per_second"],
        "samples_per_second": rates["samples_per_second"],
        "padding_share": rates["padding_share"],
        "busy_share": played["busy_share"],
        "in_flight": played["littles_law"]["in_flight"],
        "rate_times_latency": played["littles_law"]["rate_times_latency"],
        "harness_share": played["harness_share"],
    }
