"""Random settings: our traffic and our verdicts against runs of the official mlcommons-loadgen, made here and now."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import plugins
from harness.core import Columns, Scenario, Settings, Status
from harness.generated import generate
from harness.loadgen import SCENARIOS, from_names, played
from harness.sample_order import loadable_sets

pytestmark = [
    pytest.mark.official,
    pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed"),
]

RUNS = int(os.environ.get("ASSAY_OFFICIAL_RUNS", "20"))
SEED = int(os.environ.get("ASSAY_OFFICIAL_SEED", "1"))
ROOT = Path(__file__).resolve().parents[2]


def random_config(choose: random.Random) -> dict[str, Any]:
    """A run of well under a second; what makes LoadGen read outside its lists, crash or hang is left out."""
    scenario = choose.choice(["SingleStream", "MultiStream", "Server", "Offline"])
    total = choose.choice([1, 2, 7, choose.randrange(1, 1500)])
    loaded = choose.choice([total, choose.randrange(1, total + 1), total + 5])
    settings: dict[str, Any] = {
        "scenario": scenario,
        "mode": choose.choice(["PerformanceOnly"] * 4 + ["AccuracyOnly", "SubmissionRun"]),
        **{f"{name}_rng_seed": choose.randrange(2**64) for name in ("qsl", "sample_index", "schedule")},
        "min_query_count": choose.randrange(1, 900),
        "min_duration_ms": choose.choice([0, choose.randrange(1, 50)]),
        "server_target_qps": choose.choice([2000.0, choose.uniform(1500, 20000)]),
        "server_target_latency_ns": choose.choice([20_000, 10_000_000]),
        "offline_expected_qps": choose.uniform(1, 20000),
        "single_stream_expected_latency_ns": choose.choice([1e5, choose.uniform(5e4, 1e6)]),
        "multi_stream_expected_latency_ns": choose.uniform(1e5, 1e6),
        "multi_stream_samples_per_query": choose.randrange(1, 12),
        "sample_concatenate_permutation": choose.random() < 0.25,
    }
    for name in ("performance_sample_count_override", "accuracy_sample_count_override"):
        if choose.random() < 0.2:
            settings[name] = choose.randrange(1, total + 1)
    if choose.random() < 0.3:
        settings["accuracy_log_rng_seed"] = choose.randrange(2**64)
        settings |= choose.choice(
            [{"accuracy_log_probability": choose.random() / 4}, {"accuracy_log_sampling_target": choose.randrange(1, 200)}]
        )
    if choose.random() < 0.1:
        settings["test05"] = True
        settings |= {f"test05_{name}_rng_seed": choose.randrange(2**64) for name in ("qsl", "sample_index", "schedule")}
    issue = choose.choice(["random"] * 3 + ["unique", "same"])
    if issue == "unique" and not (scenario == "MultiStream" and settings["sample_concatenate_permutation"]) and loaded <= total:
        settings["performance_issue_unique"] = True
    if issue == "same":
        settings_of = [played(from_names(settings), total, loaded, mode) for mode in ("performance", "accuracy")]
        shortest = min(part.distinct for each in settings_of for part in loadable_sets(each, total))
        settings |= {"performance_issue_same": True, "performance_issue_same_index": choose.randrange(shortest)}
    return {"total": total, "loaded": loaded, "settings": settings}


def performance(config: dict[str, Any]) -> Settings:
    """Ours; the headline as the plain percentile."""
    settings = played(from_names(config["settings"]), config["total"], config["loaded"], "performance")
    return replace(settings, require_early_stopping=False)


@pytest.fixture(scope="module")
def runs() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Configurations and what the official LoadGen did with them; a fresh process for all of them."""
    choose = random.Random(SEED)
    configs = [random_config(choose) for _ in range(RUNS)]
    large = {"scenario": "MultiStream", "min_duration_ms": 0, "min_query_count": 70, "qsl_rng_seed": 5, "sample_index_rng_seed": 6}
    configs.append({"total": 70_001, "loaded": 66_000, "settings": large | {"mode": "PerformanceOnly"}})  # the other shuffle
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("official_run.py")],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        cwd=ROOT,
    )
    return list(zip(configs, json.loads(done.stdout), strict=True))


def test_same_queries(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Loaded sets, query sizes, counts, every sample index and (Server) every arrival time are those of the official LoadGen."""
    for config, official in runs:
        made = generate(from_names(config["settings"]), config["total"], config["loaded"])
        assert [phase.loaded.tolist() for phase in made.phases] == official["loaded"], config
        assert [phase.queries for phase in made.phases] == official["detail"]["generated_query_count"], config
        assert [phase.duration_ns for phase in made.phases] == official["detail"]["generated_query_duration"], config
        columns, issued = made.columns(), len(official["indices"])
        assert columns["sample"][:issued].tolist() == official["indices"], config
        assert np.unique(columns["query"][:issued], return_counts=True)[1].tolist() == official["sizes"], config
        if config["settings"]["scenario"] == "Server" and made.phases[-1].mode == "performance":
            last = made.phases[-1].due_ns
            asked = [row[2] for row in official["rows"]][-len(last) :]
            assert last.tolist() == [at - asked[0] for at in asked], config


def test_same_answers_logged(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """The accuracy log holds the same samples, by sequence number, as that of the official LoadGen."""
    for config, official in runs:
        made = generate(from_names(config["settings"]), config["total"], config["loaded"])
        logged = np.flatnonzero(np.concatenate([phase.logged for phase in made.phases])).tolist()
        issued = len(official["indices"])
        assert [seq for seq in logged if seq < issued] == sorted(official["logged"]), config


def ledger(official: dict[str, Any]) -> Columns:
    """The official run as a ledger; time 0 is the first query, which LoadGen's start precedes by microseconds in the closed loop."""
    _, query, asked, took = (np.array(column) for column in zip(*official["rows"], strict=True))
    due = asked - asked[0]
    rows = len(due)
    return Columns(
        query=query - query[0],
        sample=np.array(official["indices"], np.int32),
        due_ns=due,
        taken_ns=due,
        done_ns=due + took,
        batch=np.arange(rows, dtype=np.int32),
        worker=np.zeros(rows, np.int16),
        status=np.full(rows, Status.DONE, np.int8),
        end_ns=int((due + took).max()),
    )


def g6(value: float) -> float:
    """As LoadGen's detail log rounds it."""
    return float(f"{value:g}")


HEADLINE = {
    "Server": ("result_completed_samples_per_sec", None),
    "Offline": ("result_samples_per_second", None),
    "SingleStream": ("result_90.00_percentile_latency_ns", "early_stopping_latency_ss"),
    "MultiStream": ("result_99.00_percentile_per_query_latency_ns", "early_stopping_latency_ms"),
}


def test_same_verdict(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """From the latencies the official LoadGen measured, our headline number, our reasons and our early stopping are its own."""
    judged = 0
    for config, official in runs:
        settings = config["settings"]
        if settings["mode"] != "PerformanceOnly":
            continue
        mine = performance(config)
        columns = ledger(official)
        scenario: Scenario = plugins.load("scenarios", SCENARIOS[settings["scenario"]]).create()
        verdict = scenario.judge(columns, mine)
        said = {key: values[-1] for key, values in official["detail"].items()}
        key, bound_key = HEADLINE[settings["scenario"]]
        assert g6(verdict.metric.value) == g6(said[key]), config
        codes = {reason.code for reason in verdict.reasons}
        last_ns = int(columns.due_ns[-1] if settings["scenario"] != "Offline" else columns.latency_ns.max())
        if abs(last_ns - mine.min_duration_ns) > 1_000_000 or settings["scenario"] in ("Server", "Offline"):
            assert ("min_duration" not in codes) == said["result_min_duration_met"], config
        assert ("min_queries" not in codes) == said["result_min_queries_met"], config
        if settings["scenario"] == "Server":
            assert ("latency_bound" not in codes) == said["result_perf_constraints_met"], config
            if "scheduled_samples_per_second" in verdict.rates:
                assert g6(verdict.rates["scheduled_samples_per_second"]) == said["result_scheduled_samples_per_sec"], config
        if verdict.early_stopping is not None:
            assert verdict.early_stopping.met == said["early_stopping_met"], config
            if bound_key and verdict.early_stopping.met:
                assert verdict.early_stopping.estimate_ns == said[bound_key], config
        judged += 1
    assert judged >= RUNS // 3
