"""Traffic and early stopping against vectors recorded from the official LoadGen 6.0.17."""

from __future__ import annotations

import json
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import early_stopping, rng
from harness.generated import from_file

GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
TRAFFIC = sorted(path for path in GOLDEN.glob("*.json") if '"loaded_sets"' in path.read_text())

pytestmark = pytest.mark.skipif(not TRAFFIC, reason="no golden vectors: set ASSAY_GOLDEN")


def sizes_of(query: np.ndarray) -> list[list[int]]:
    """Query sizes as [size, repeats]."""
    counts = np.unique(query, return_counts=True)[1].tolist()
    return [[size, len(list(same))] for size, same in groupby(counts)]


@pytest.mark.parametrize("path", TRAFFIC, ids=lambda path: path.stem)
def test_traffic_is_that_of_the_official_loadgen(path: Path) -> None:
    """Loaded sets, query sizes, generated counts and durations, samples, arrival times and logged answers equal the recorded ones."""
    golden = json.loads(path.read_text())
    made = from_file(path)
    columns, issued = made.columns(), golden["issued_samples_total"]
    assert [phase.loaded[:2000].tolist() for phase in made.phases[:4]] == golden["loaded_sets"]
    assert [len(phase.loaded) for phase in made.phases] == golden["loaded_set_sizes"]
    assert [phase.queries for phase in made.phases] == golden["generated_query_count"]
    assert [len(phase.sample) // phase.queries for phase in made.phases] == golden["generated_samples_per_query"]
    assert [phase.duration_ns for phase in made.phases] == golden["generated_query_duration_ns"]
    assert sizes_of(columns["query"][:issued]) == golden["issued_query_sizes_runlength"]
    assert made.rows >= issued
    assert columns["sample"][:issued][:2000].tolist() == golden["sample_indices_first_2000"]
    if "scheduled_offset_ns_first_2000" in golden:
        assert made.phases[-1].due_ns[:2000].tolist() == golden["scheduled_offset_ns_first_2000"]
    if "accuracy_log_seq_id_qsl_idx" in golden:
        logged = np.flatnonzero(np.concatenate([phase.logged for phase in made.phases]))
        expected = golden["accuracy_log_seq_id_qsl_idx"]
        assert [[seq, int(columns["sample"][seq])] for seq in logged[: len(expected)].tolist()] == expected
        assert len(logged) == len(expected) or len(expected) == 2000


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
