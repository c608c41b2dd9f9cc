"""LoadGen's TestSettings, as a plain dictionary, turned into ours: for the golden vectors and for runs of the official package."""

from __future__ import annotations

from typing import Any

from harness.core import Scenario, Seeds, Settings
from scenarios import multi_stream, offline, server, single_stream

SCENARIOS = {
    "SingleStream": single_stream.create,
    "MultiStream": multi_stream.create,
    "Server": server.create,
    "Offline": offline.create,
}

_PERCENTILE = {
    "SingleStream": ("single_stream_target_latency_percentile", 0.9),
    "MultiStream": ("multi_stream_target_latency_percentile", 0.99),
    "Server": ("server_target_latency_percentile", 0.99),
    "Offline": ("", 0.99),
}


def scenario_of(settings: dict[str, Any]) -> Scenario:
    return SCENARIOS[settings["scenario"]]()


def _rate(settings: dict[str, Any]) -> float:
    match settings["scenario"]:
        case "SingleStream":
            return 1e9 / float(settings.get("single_stream_expected_latency_ns", 1e6))
        case "MultiStream":
            return 1e9 / float(settings.get("multi_stream_expected_latency_ns", 8e6))
        case "Server":
            return float(settings.get("server_target_qps", 1.0))
        case _:
            return float(settings.get("offline_expected_qps", 1.0))


def _issue(settings: dict[str, Any]) -> str:
    if settings.get("performance_issue_unique"):
        return "unique"
    return "same" if settings.get("performance_issue_same") else "random"


def ours(settings: dict[str, Any], loaded: int) -> Settings:
    """`loaded`: the performance count the sample library reports."""
    key, default = _PERCENTILE[settings["scenario"]]
    return Settings(
        min_duration_ns=settings.get("min_duration_ms", 10_000) * 1_000_000,
        max_duration_ns=settings.get("max_duration_ms", 0) * 1_000_000,
        min_queries=settings.get("min_query_count", 100),
        max_queries=settings.get("max_query_count", 0),
        target_qps=_rate(settings),
        latency_bound_ns=settings.get("server_target_latency_ns", 100_000_000) if settings["scenario"] == "Server" else 0,
        percentile=settings.get(key, default),
        samples_per_query=settings.get("multi_stream_samples_per_query", 8),
        performance_sample_count=settings.get("performance_sample_count_override", 0) or loaded,
        seeds=Seeds(
            settings.get("qsl_rng_seed", 0),
            settings.get("sample_index_rng_seed", 0),
            settings.get("schedule_rng_seed", 0),
        ),
        mode="accuracy" if settings.get("mode") == "AccuracyOnly" else "performance",
        issue=_issue(settings),  # type: ignore[arg-type]
        same_index=settings.get("performance_issue_same_index", 0),
        concatenate_permutation=bool(settings.get("sample_concatenate_permutation", False)),
    )
