"""What a round requires beside what takes effect."""

from dataclasses import replace

import pytest

from harness import requirements
from harness.errors import UsageError
from harness.loadgen import NAMES, Effective, Requested, effective
from harness.mlperf import conf as mlperf_conf
from harness.requirements import Row, table, text


def official(scenario: str, conf: str = "", *, samples: int = 10_833, round_: str = "v6.1") -> Effective:
    """Settings of BERT with the built-in file and a user.conf over it."""
    name = NAMES[scenario]
    settings = mlperf_conf.from_config(Requested(), conf, "bert", name, round=round_)[1]
    return effective(replace(settings, scenario=name), samples, samples)


def not_met(rows: list[Row]) -> list[str]:
    return [row.name for row in rows if row.ok is False]


def row(rows: list[Row], name: str) -> Row:
    return next(each for each in rows if each.name == name)


@pytest.mark.parametrize("round_", ["v5.0", "v5.1", "v6.0", "v6.1"])
@pytest.mark.parametrize("scenario", list(NAMES))
def test_the_built_in_settings_meet_every_requirement(round_: str, scenario: str) -> None:
    """mlperf.conf and the requirements do not contradict each other."""
    assert not_met(table(official(scenario, "*.*.target_qps = 50\n", round_=round_), round_, scenario)) == []


@pytest.mark.parametrize(
    ("scenario", "conf", "name"),
    [
        ("offline", "*.*.min_duration = 599999", "min_duration_ms"),
        ("offline", "*.*.max_duration = 1", "max_duration_ms"),
        ("offline", "*.*.min_query_count = 10832", "samples_per_query"),
        ("single-stream", "*.*.min_query_count = 99", "min_query_count"),
        ("multi-stream", "*.*.min_query_count = 661", "min_query_count"),
        ("multi-stream", "*.*.samples_per_query = 4", "samples_per_query"),
        ("server", "*.*.max_query_count = 1", "max_query_count"),
        ("server", "*.*.max_async_queries = 1", "max_async_queries"),
        ("single-stream", "*.*.target_latency_percentile = 95", "target_latency_percentile"),
        ("server", "*.*.performance_sample_count_override = 10832", "performance_sample_count"),
        ("server", "*.*.accuracy_sample_count_override = 10832", "accuracy_sample_count"),
        ("server", "*.*.performance_issue_unique = 1", "performance_issue_unique"),
        ("server", "*.*.performance_issue_same = 1", "performance_issue_same"),
        ("server", "*.*.sample_concatenate_permutation = 1", "sample_concatenate_permutation"),
        ("server", "*.*.accuracy_log_rng_seed = 1", "accuracy_log_rng_seed"),
        ("server", "*.*.accuracy_log_sampling_target = 1", "accuracy_log_sampling_target"),
        ("server", "*.*.mode = 3", "test_mode"),
    ],
)
def test_one_setting_off_is_one_row_not_met(scenario: str, conf: str, name: str) -> None:
    """The value just beyond what is required fails its own row and no other."""
    assert not_met(table(official(scenario, conf + "\n"), "v6.1", scenario)) == [name]


def test_seeds_are_those_of_the_round() -> None:
    """The seeds of another round are three rows not met."""
    rows = table(official("offline", round_="v6.0"), "v6.1", "offline")
    assert not_met(rows) == ["qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"]
    assert row(rows, "qsl_rng_seed") == Row("qsl_rng_seed", "2465351861681999779", "2085463073848966840", False)


def test_server_and_multi_stream_are_not_in_the_suite() -> None:
    """They are told to be for the open division, and fail nothing."""
    for scenario in ("server", "multi-stream"):
        rows = table(official(scenario), "v6.1", scenario)
        name = NAMES[scenario]
        assert row(rows, "suite") == Row("suite", "none", "edge; BERT left datacenter with v5.0", None)
        assert row(rows, "scenario") == Row("scenario", name, f"SingleStream or Offline; {name}: open division only", None)
    assert row(table(official("offline"), "v6.1", "offline"), "suite").ok is True


def test_the_server_bound_is_no_longer_checked() -> None:
    """Another bound than 130 ms is told and fails nothing."""
    rows = table(official("server", "*.Server.target_latency = 200\n"), "v6.1", "server")
    assert row(rows, "target_latency") == Row("target_latency", "200 ms", "130 ms: LoadGen's default, no longer checked", None)


def test_every_effective_setting_has_a_row() -> None:
    """Nothing that takes effect is left out, but what another row says too."""
    names = {each.name for scenario in NAMES for each in table(official(scenario), "v6.1", scenario)}
    renamed = {"target_latency_ns": "target_latency", "target_duration_ms": "min_duration_ms"}
    assert {renamed.get(name, name) for name in Effective.__dataclass_fields__} <= names


def test_an_unknown_round_or_scenario_is_refused() -> None:
    """Each error names what there is."""
    with pytest.raises(UsageError, match=r"round v4\.1 is not built in"):
        table(official("offline"), "v4.1", "offline")
    with pytest.raises(UsageError, match="LoadGen has no scenario Offline"):
        table(official("offline"), "v6.1", "Offline")


def test_text_is_aligned() -> None:
    """Four columns under a heading, no trailing blanks."""
    rows = [Row("a", "1,000", "10 or more", True), Row("longer", "2", "3", False), Row("free", "4", "any", None)]
    assert text(rows).splitlines() == [
        "setting  effective  required",
        "a        1,000      10 or more  ok",
        "longer   2          3           NOT MET",
        "free     4          any         -",
    ]


def test_numbers_are_written_in_full() -> None:
    """Thousands are grouped, seeds are not, percentiles are percent."""
    rows = table(official("offline", "*.*.target_qps = 123.456\n"), "v6.1", "offline")
    assert row(rows, "samples_per_query") == Row("samples_per_query", "81,480", "10,833 or more", True)
    assert row(rows, "target_qps").effective == "123.456"
    server = table(official("server", "*.*.target_latency_percentile = 95\n"), "v6.1", "server")
    assert row(server, "target_latency_percentile") == Row("target_latency_percentile", "95 %", "99 %", False)
    assert requirements.SAMPLES == 10_833
