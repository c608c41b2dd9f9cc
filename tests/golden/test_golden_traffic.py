"""Traffic and early stopping against vectors recorded from the official LoadGen 6.0.17."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import closed_loop, early_stopping, rng
from harness.arrivals import Arrivals
from harness.core import Settings, Traffic
from harness.sample_order import finite_queries, loadable_sets
from tests.loadgen_settings import ours, scenario_of

GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
TRAFFIC = sorted(path for path in GOLDEN.glob("*.json") if '"loaded_sets"' in path.read_text())

pytestmark = pytest.mark.skipif(not TRAFFIC, reason="no golden vectors: set ASSAY_GOLDEN")


def phases(config: dict[str, Any]) -> list[dict[str, Any]]:
    """SubmissionRun is an accuracy phase and then a performance phase; test05 replaces the seeds."""
    settings = dict(config["settings"])
    if settings.get("test05"):
        settings["mode"] = "PerformanceOnly"
        for seed in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
            settings[seed] = settings.get(f"test05_{seed}", 0)
    if settings.get("mode") == "SubmissionRun":
        return [settings | {"mode": "AccuracyOnly"}, settings | {"mode": "PerformanceOnly"}]
    return [settings]


def prefix(traffic: Traffic, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Query numbers, samples and due times of the first `rows` rows, asking for more of the sequence where it needs more."""
    query, sample, due = [traffic.query], [traffic.sample], [traffic.due_ns]
    while sum(map(len, sample)) < rows and traffic.more is not None:
        further = traffic.more(min(777, rows - sum(map(len, sample))))
        query.append(further.query), sample.append(further.sample), due.append(further.due_ns)
    joined = [np.concatenate(column)[:rows] if column[0] is not None else None for column in (query, sample, due)]
    return joined[0], joined[1], joined[2]


def generated(settings: dict[str, Any], mine: Settings, total: int) -> tuple[list[int], list[int]]:
    """LoadGen's log lines generated_query_count and generated_query_duration, one of each per phase."""
    block = mine.samples_per_query if settings["scenario"] == "MultiStream" else None
    sets = loadable_sets(mine, total, block)
    if settings["scenario"] == "Offline":
        return [1] * len(sets), [closed_loop.period_ns(mine)] * len(sets)
    if settings["scenario"] == "Server":
        traffic = scenario_of(settings).traffic(replace(mine, max_queries=0, max_duration_ns=0), total)
        finite = [finite_queries(mine, loaded) for loaded in sets]
        counts = [len(traffic.sample) if count is None else count for count in finite]
        ends = []
        for count in counts:
            arrivals = Arrivals(mine.seeds.schedule, mine.target_qps)
            arrivals.take(count)
            ends.append(arrivals.next_ns)
        return counts, ends
    if settings["scenario"] == "SingleStream":
        from scenarios.single_stream import effective_settings

        mine = effective_settings(mine, mine.performance_sample_count)
    counts = [closed_loop.generated_queries(mine, loaded, block) for loaded in sets]
    return counts, [count * closed_loop.period_ns(mine) for count in counts]


@pytest.mark.parametrize("path", TRAFFIC, ids=lambda path: path.stem)
def test_traffic_is_that_of_the_official_loadgen(path: Path) -> None:
    """Loaded sets, query sizes, generated counts and durations, sample indices and arrival times equal the recorded ones."""
    golden = json.loads(path.read_text())
    config = golden["config"]
    total = config["qsl_total"]
    sets, sizes, samples, counts, durations, due, issued = [], [], [], [], [], None, 0
    run = phases(config)
    for settings in run:
        mine = ours(settings, config["qsl_perf"])
        block = mine.samples_per_query if settings["scenario"] == "MultiStream" else None
        sets += loadable_sets(mine, total, block)
        phase_counts, phase_durations = generated(settings, mine, total)
        counts += phase_counts
        durations += phase_durations
        traffic = scenario_of(settings).traffic(mine, total)
        last = settings is run[-1]
        rows = golden["issued_samples_total"] - issued if last else len(traffic.sample)
        query, sample, due = prefix(traffic, rows)
        issued += len(sample)
        samples.append(sample)
        sizes += [len(list(rows)) for _, rows in groupby(query.tolist())]
    assert [loaded.indices[:2000].tolist() for loaded in sets[:4]] == golden["loaded_sets"]
    assert [len(loaded) for loaded in sets] == golden["loaded_set_sizes"]
    assert counts == golden["generated_query_count"]
    assert durations == golden["generated_query_duration_ns"]
    assert [[size, len(list(same))] for size, same in groupby(sizes)] == golden["issued_query_sizes_runlength"]
    assert issued == golden["issued_samples_total"]
    assert np.concatenate(samples)[:2000].tolist() == golden["sample_indices_first_2000"]
    if "scheduled_offset_ns_first_2000" in golden:
        assert due is not None
        assert due[:2000].tolist() == golden["scheduled_offset_ns_first_2000"]


@pytest.fixture(scope="module")
def primitives() -> dict[str, Any]:
    return json.loads((GOLDEN / "rng_primitives.json").read_text())


def test_engine_outputs(primitives: dict[str, Any]) -> None:
    """Raw outputs and canonical doubles equal those of the C++ library."""
    for seed, words in primitives["mt19937_first5"].items():
        assert rng.Engine(int(seed)).words(5).tolist() == words
    for seed, values in primitives["canonical_first4"].items():
        assert rng.Engine(int(seed)).canonical(4).tolist() == values


def test_bounded_integers(primitives: dict[str, Any]) -> None:
    """Bounded integers equal those of the C++ library."""
    for case in primitives["uniform_int"]:
        assert rng.Engine(case["seed"]).below(case["n"], 10).tolist() == case["first10"]


def test_shuffles(primitives: dict[str, Any]) -> None:
    """Lists shuffled by both algorithms equal those of the C++ library."""
    for case in primitives["shuffle_iota"]:
        engine, values = rng.Engine(case["seed"]), list(range(case["n"]))
        for _ in range(case["times"]):
            rng.shuffle(engine, values)
        if "result" in case:
            assert values == case["result"]
        else:
            assert (values[:10], values[-5:]) == (case["first10"], case["last5"])


def test_exponential_gaps(primitives: dict[str, Any]) -> None:
    """Gaps in whole nanoseconds equal those of the C++ library."""
    for case in primitives["exponential_ns"]:
        gaps = rng.exponential_gaps_ns(rng.Engine(case["seed"]), case["qps"], 10)
        assert gaps.tolist() == case["first10"]


def test_early_stopping_table() -> None:
    """h(t) equals the recorded values for every percentile."""
    table = json.loads((GOLDEN / "early_stopping.json").read_text())["p"]
    for share, points in table.items():
        assert [[over, early_stopping.h(over, float(share))] for over, _ in points] == points
