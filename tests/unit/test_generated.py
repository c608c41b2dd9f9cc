"""The traffic of one StartTest without model or data: phases, numbers, due times, logged answers, and settings that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as within
from hypothesis import strategies as st

from harness.core import AccuracyLog
from harness.errors import AssayError, DataError, MissingError, UsageError
from harness.generated import Made, from_file, generate
from harness.loadgen import Requested, effective, from_names
from harness.mlperf.accuracy_log import expected, selected

SEEDS = {"qsl_rng_seed": 3, "sample_index_rng_seed": 5, "schedule_rng_seed": 7}


def made(total: int = 20, loaded: int = 8, **settings: Any) -> Made:
    return generate(from_names({"min_duration_ms": 10, "min_query_count": 12, **SEEDS, **settings}), total, loaded)


def test_accuracy_asks_every_sample_in_a_phase_for_each_set() -> None:
    """20 samples of which 8 fit: sets of 8, 8 and 4, each asked once in an order of its own."""
    phases = made(scenario="SingleStream", mode="AccuracyOnly").phases
    assert [(phase.mode, phase.queries, len(phase.sample)) for phase in phases] == [("accuracy", n, n) for n in (8, 8, 4)]
    assert sorted(np.concatenate([phase.sample for phase in phases]).tolist()) == list(range(20))
    for phase in phases:
        assert sorted(phase.sample.tolist()) == sorted(phase.loaded.tolist())
        assert phase.query.tolist() == list(range(phase.queries))
        assert phase.due_ns is None
        assert phase.logged.all()


def test_submission_is_accuracy_and_then_performance() -> None:
    """The phases of the one, then that of the other, made by themselves; a find-peak search begins with the performance phase."""
    for scenario in ("SingleStream", "MultiStream", "Server", "Offline"):
        both = made(scenario=scenario, mode="SubmissionRun", server_target_qps=2000.0).phases
        alone = [made(scenario=scenario, mode=mode, server_target_qps=2000.0).phases for mode in ("AccuracyOnly", "PerformanceOnly")]
        assert [phase.mode for phase in both] == ["accuracy"] * 3 + ["performance"]
        assert [phase.sample.tolist() for phase in both] == [phase.sample.tolist() for part in alone for phase in part]
    peak, plain = (made(scenario="Server", server_target_qps=2000.0, mode=mode) for mode in ("FindPeakPerformance", "PerformanceOnly"))
    assert peak.columns()["due_ns"].tolist() == plain.columns()["due_ns"].tolist()  # type: ignore[union-attr]


def test_query_numbers_go_on_and_due_times_begin_again() -> None:
    """Over all phases the query column ascends without a gap; each phase's schedule begins at 0."""
    test = made(scenario="Server", mode="SubmissionRun", server_target_qps=1500.0)
    columns = test.columns()
    query, due = columns["query"], columns["due_ns"]
    assert query is not None
    assert due is not None
    assert query.tolist() == list(range(test.queries))
    starts = np.flatnonzero(due == 0)
    assert starts.tolist() == [0, 8, 16, 20]
    assert (np.diff(due) >= 0).sum() == len(due) - 1 - 3
    assert len(query) == len(due) == len(columns["sample"]) == test.rows  # type: ignore[arg-type]


def test_queries_of_several_samples_share_a_number() -> None:
    """MultiStream of 3: blocks of the padded set, which holds two entries twice."""
    test = made(scenario="MultiStream", multi_stream_samples_per_query=3, multi_stream_expected_latency_ns=1e6)
    (phase,) = test.phases
    assert len(phase.loaded) == 10
    assert phase.loaded[8:].tolist() == phase.loaded[:2].tolist()
    assert phase.queries == 21  # 2 x 10 ms at 1 ms each, and one more
    assert phase.query.tolist() == np.repeat(np.arange(21), 3).tolist()
    loaded = phase.loaded.tolist()
    blocks = [loaded[start : start + 3] for start in range(8)]
    assert all(block in blocks for block in phase.sample.reshape(21, 3).tolist())


def test_closed_loops_make_twice_the_duration_however_long_the_chunks_are() -> None:
    """100,000 queries and one, more than the ledger is handed at a time; the sequence is one."""
    (phase,) = made(scenario="SingleStream", min_duration_ms=500, single_stream_expected_latency_ns=1e4).phases
    assert phase.queries == len(phase.sample) == 100_001
    assert phase.duration_ns == 100_001 * 10_000
    (half,) = made(scenario="SingleStream", min_duration_ms=250, single_stream_expected_latency_ns=1e4).phases
    assert phase.sample[:50_001].tolist() == half.sample.tolist()


def test_limits_that_end_a_run_do_not_limit_what_is_made() -> None:
    """LoadGen makes all queries beforehand: max_duration, max_query_count and max_async change nothing."""
    plain = made(scenario="Server", server_target_qps=3000.0)
    limited = made(scenario="Server", server_target_qps=3000.0, max_query_count=3, max_duration_ms=2, server_max_async_queries=1)
    assert limited.columns()["due_ns"].tolist() == plain.columns()["due_ns"].tolist()  # type: ignore[union-attr]


def test_test05_takes_the_other_seeds_and_plays_performance() -> None:
    """The same traffic as with those seeds given outright; the file tells both."""
    seeds = {"test05_qsl_rng_seed": 21, "test05_sample_index_rng_seed": 22, "test05_schedule_rng_seed": 23}
    other = made(scenario="Server", server_target_qps=900.0, test05=True, mode="SubmissionRun", **seeds)
    outright = made(scenario="Server", server_target_qps=900.0, qsl_rng_seed=21, sample_index_rng_seed=22, schedule_rng_seed=23)
    assert {name: _plain(column) for name, column in other.columns().items()} == {
        name: _plain(column) for name, column in outright.columns().items()
    }
    assert other.about()["config"]["settings"]["qsl_rng_seed"] == 21


def _plain(column: Any) -> Any:
    return None if column is None else column.tolist()


def test_logged_answers_are_numbered_over_all_phases() -> None:
    """All of the accuracy phases; of the performance phase those that LoadGen's rule selects behind them."""
    settings = {"scenario": "Server", "server_target_qps": 40_000.0, "accuracy_log_probability": 0.25, "accuracy_log_rng_seed": 9}
    test = made(mode="SubmissionRun", **settings)
    rows = len(test.phases[-1].sample)
    chosen = np.flatnonzero(selected(AccuracyLog(9, 0.25), 1, rows, first=20)) + 20
    assert test.about()["accuracy_log_seq_ids"] == [*range(20), *chosen.tolist()]
    assert 0.15 * rows < len(chosen) < 0.35 * rows
    assert made(**settings | {"accuracy_log_probability": 0.0}).about()["accuracy_log_seq_ids"] == []


def test_a_sampling_target_is_a_share_of_what_is_expected() -> None:
    """About 30 of the 400 queries that 10 ms at 40,000/s make one expect."""
    asked = from_names(
        {"scenario": "Server", "server_target_qps": 40_000.0, "min_duration_ms": 10, "accuracy_log_sampling_target": 30, **SEEDS}
    )
    test = generate(asked, 20, 8)
    assert expected(effective(asked, 20, 8)) == 400
    chosen = selected(AccuracyLog(0, 0.0, 30), 400, test.rows)
    assert test.about()["accuracy_log_seq_ids"] == np.flatnonzero(chosen).tolist()


@given(
    scenario=st.sampled_from(["SingleStream", "MultiStream", "Server", "Offline"]),
    mode=st.sampled_from(["SubmissionRun", "AccuracyOnly", "PerformanceOnly"]),
    total=st.integers(1, 40),
    loaded=st.integers(1, 40),
    issue=st.sampled_from(["", "performance_issue_unique", "performance_issue_same", "sample_concatenate_permutation"]),
    seed=st.integers(0, 2**64 - 1),
)
@within(max_examples=40)
def test_what_the_file_says_makes_the_same_traffic_again(scenario: str, mode: str, total: int, loaded: int, issue: str, seed: int) -> None:
    """`config` of the output is an input: it holds every setting that is not LoadGen's default, and nothing else is needed."""
    settings = {"scenario": scenario, "mode": mode, "min_duration_ms": 3, "min_query_count": 5, "sample_index_rng_seed": seed}
    try:
        first = generate(from_names(settings | ({issue: True} if issue else {})), total, loaded)
    except UsageError:
        return  # what LoadGen crashes on
    about = json.loads(json.dumps(first.about()))
    config = about["config"]
    second = generate(from_names(config["settings"]), config["qsl_total"], config["qsl_perf"])
    assert second.about() == about
    assert {name: _plain(column) for name, column in second.columns().items()} == {
        name: _plain(column) for name, column in first.columns().items()
    }
    assert [phase["samples"] for phase in about["phases"]] == [len(phase.sample) for phase in first.phases]
    assert sum(phase["queries"] for phase in about["phases"]) == first.queries


# ------------------------------------------------------------------------------------------------------------------- settings files


def complaint(folder: Path, text: str | bytes) -> AssayError:
    file = folder / "s.json"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(AssayError) as caught:
        from_file(file)
    return caught.value


def settings_text(**settings: Any) -> str:
    return json.dumps({"qsl_total": 20, "qsl_perf": 8, "settings": settings})


def test_settings_stand_alone_or_under_config(tmp_path: Path) -> None:
    """The form of the golden files, the form of what `traffic` writes, and without qsl_perf all samples fit."""
    bare = {"qsl_total": 20, "settings": {"min_query_count": 12, "min_duration_ms": 0, **SEEDS}}
    file = tmp_path / "s.json"
    found = []
    for text in (bare, {"config": bare}, {"config": bare | {"qsl_perf": 20}}):
        file.write_text(json.dumps(text))
        found.append(from_file(file))
    assert found[0].total == found[0].loaded == 20
    assert found[0].about() == found[1].about() == found[2].about()
    assert found[0].requested == Requested(min_query_count=12, min_duration_ms=0, **SEEDS)


@pytest.mark.parametrize(
    ("settings", "message", "cure"),
    [
        ({"server_target_qsp": 5.0}, "server_target_qsp: LoadGen has no such setting", "did you mean server_target_qps?"),
        ({"scenario": "server"}, "scenario: 'server' is none of LoadGen's", "choose one of SingleStream, MultiStream, Server, Offline"),
        ({"mode": 2}, "mode: 2 is none of LoadGen's", "PerformanceOnly"),
        ({"min_query_count": "100"}, "min_query_count: '100' is not a whole number", "write a number"),
        ({"min_query_count": 1.5}, "min_query_count: 1.5 is not a whole number", "write a number"),
        ({"min_query_count": True}, "min_query_count: True is not a whole number", "write a number"),
        ({"server_target_qps": None}, "server_target_qps: None is not a number", "write a number"),
        ({"qsl_rng_seed": 2**64}, f"qsl_rng_seed: {2**64} is outside 0 to 2^64 - 1", "give a smaller number"),
        ({"test05": "yes"}, "test05: 'yes' is not true or false", "write true or false"),
        ({"single_stream_expected_latency_ns": 0.0}, "single_stream_expected_latency_ns 0: must be above zero", "nanoseconds"),
        ({"mode": "FindPeakPerformance"}, "find-peak is not for SingleStream", "Server only"),
        ({"server_num_issue_query_threads": 2}, "server_num_issue_query_threads is not for Python", "leave it at 0"),
        ({"scenario": "Server", "server_target_qps": 0.0}, "0 queries/s expected", "give a rate from 1e-05 to 1e+09"),
        ({"scenario": "Offline", "offline_expected_qps": 1e-300}, "1e-300 queries/s expected", "give a rate from"),
        ({"scenario": "Server", "server_target_qps": 1e308, "mode": "AccuracyOnly"}, "1e+308 queries/s expected", "give a rate from"),
        ({"scenario": "Server", "server_target_qps": 1e9, "min_duration_ms": 10**7}, "about 10,000,000,000,000 samples need", "a shorter"),
    ],
)
def test_a_setting_that_cannot_be_played_is_named(tmp_path: Path, settings: dict[str, Any], message: str, cure: str) -> None:
    """A UsageError that begins with the file and the setting."""
    error = complaint(tmp_path, settings_text(**settings))
    assert type(error) is UsageError
    assert str(error).removeprefix(f"{tmp_path}/").startswith(f"s.json: {message}")
    assert cure in error.cure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"qsl_total": 20,\n\n "settings": }', ":3: not JSON"),
        (b"\xff", " is not UTF-8 text"),
        ("[]", ": not an object"),
        ('{"settings": {}}', ": qsl_total is None"),
        ('{"qsl_total": 0, "settings": {}}', ": qsl_total is 0"),
        ('{"qsl_total": true, "settings": {}}', ": qsl_total is True"),
        ('{"qsl_total": 20, "qsl_perf": "8", "settings": {}}', ": qsl_perf is '8'"),
        ('{"qsl_total": 20}', ": no object `settings`"),
        ('{"qsl_total": 20, "settings": []}', ": no object `settings`"),
        ('{"qsl_total": ' + "1" * 5000 + "}", ": not settings: "),
    ],
)
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    """A DataError with file, line where there is one, and what to give instead."""
    error = complaint(tmp_path, text)
    assert type(error) is DataError
    assert str(error).removeprefix("--settings: ").removeprefix(f"{tmp_path}/").startswith(f"s.json{message}")
    assert error.cure


def test_a_settings_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    """Exit code 3, with the option."""
    with pytest.raises(MissingError, match=f"--settings: {tmp_path}/none.json cannot be read: No such file"):
        from_file(tmp_path / "none.json")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, value: str) -> None:
    """JSON as Python reads it has them; whole and real settings alike refuse them."""
    for name in ("server_target_qps", "min_duration_ms"):
        error = complaint(tmp_path, f'{{"qsl_total": 20, "settings": {{"{name}": {value}}}}}')
        assert type(error) is UsageError
        assert f"{name}: " in str(error)


def test_a_key_given_twice_or_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    """JSON takes the last of two keys without a word, and a setting beside `settings` would be lost."""
    file = tmp_path / "s.json"
    file.write_text('{"qsl_total": 5, "qsl_perf": 5, "qsl_perf": 4, "settings": {}}')
    with pytest.raises(DataError, match="qsl_perf is given twice"):
        from_file(file)
    file.write_text('\ufeff{"qsl_total": 5, "qsl_perf": 5, "settings": {}, "min_query_count": 7}')
    with pytest.raises(UsageError, match="min_query_count stands beside `settings`"):
        from_file(file)


def test_unique_issue_of_more_than_there_is_in_offline_is_refused() -> None:
    """LoadGen reads beyond its list there."""
    with pytest.raises(UsageError, match="unique issue of 82 samples where the library has 77"):
        generate(from_names({"scenario": "Offline", "performance_issue_unique": True}), 77, 82)
