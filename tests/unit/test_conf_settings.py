"""A user.conf or audit file as settings of a run."""

from pathlib import Path
from typing import Any

import pytest

from harness.config import FIELDS, Given, build
from harness.errors import MissingError, UsageError
from harness.mlperf.conf_settings import Found, from_file


@pytest.fixture
def conf(tmp_path: Path) -> Any:
    """Writes a file and gives its path."""

    def write(*lines: str) -> Path:
        file = tmp_path / "user.conf"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    return write


def values(found: dict[str, Found]) -> dict[str, Any]:
    return {name: each.value for name, each in found.items()}


SERVER = (
    "# BERT",
    "*.Server.target_qps = 100.5",
    "*.Server.target_latency = 130",
    "bert.*.min_duration = 600000",
    "*.*.max_duration = 0",
    "*.Server.target_latency_percentile = 99",
    "*.Server.coalesce_queries = 1",
    "*.Server.max_async_queries = 7",
    "*.*.min_query_count = 100",
    "*.*.performance_sample_count_override = 10833",
    "*.Offline.target_qps = 5",
    "*.SingleStream.target_latency = 8",
)


def test_each_value_has_our_unit_and_the_line_that_decides_it(conf: Any) -> None:
    """Seconds, milliseconds and shares; nothing of other scenarios."""
    assert from_file(conf(*SERVER), "user", "server") == {
        "target_qps": Found(100.5, 2),
        "latency_bound": Found(130.0, 3),
        "duration": Found(600.0, 4),
        "max_duration": Found(0.0, 5),
        "percentile": Found(0.99, 6),
        "coalesce": Found(True, 7),
        "max_async": Found(7, 8),
        "min_queries": Found(100, 9),
        "performance_samples": Found(10833, 10),
    }


@pytest.mark.parametrize(("scenario", "rate"), [("offline", 5.0), ("single-stream", 125.0), ("multi-stream", None)])
def test_a_scenario_takes_its_own_lines(conf: Any, scenario: str, rate: float | None) -> None:
    """One file serves all scenarios; an expected latency of 8 ms is 125 queries a second."""
    found = values(from_file(conf(*SERVER), "user", scenario))
    assert found.pop("target_qps", None) == rate
    assert found == {"duration": 600.0, "max_duration": 0.0, "min_queries": 100, "performance_samples": 10833}


def test_multi_stream(conf: Any) -> None:
    """Samples per query, percentile and expected latency are those of MultiStream."""
    file = conf("*.MultiStream.samples_per_query = 4", "*.MultiStream.target_latency = 80", "*.*.target_latency_percentile = 95")
    assert values(from_file(file, "user", "multi-stream")) == {
        "target_qps": 12.5,
        "percentile": 0.9500000000000001,
        "samples_per_query": 4,
    }


def test_the_more_special_line_decides(conf: Any) -> None:
    """*.Server goes before bert.*; the line that is told is the one that counts."""
    file = conf("*.Server.min_query_count = 3", "bert.*.min_query_count = 2")
    assert from_file(file, "user", "server") == {"min_queries": Found(3, 1)}
    assert from_file(file, "user", "offline") == {"min_queries": Found(2, 2)}


def test_the_audit_file_of_test01(conf: Any) -> None:
    """Mode, seed and number of logged answers, for any model."""
    file = conf("*.*.mode = 2", "*.*.accuracy_log_rng_seed = 720381539243781796", "*.*.accuracy_log_sampling_target = 4096")
    assert from_file(file, "audit", "offline", option="--audit-conf") == {
        "accuracy_log_seed": Found(720381539243781796, 2),
        "accuracy_log_target": Found(4096, 3),
        "mode": Found("performance", 1),
        "find_peak": Found("none", 1),
    }


@pytest.mark.parametrize(
    ("number", "mode", "peak"),
    [(0, "submission", "none"), (1, "accuracy", "none"), (2, "performance", "none"), (3, "performance", "loadgen")],
)
def test_modes(conf: Any, number: int, mode: str, peak: str) -> None:
    """LoadGen's fourth mode is our find_peak."""
    assert values(from_file(conf(f"*.*.mode = {number}"), "user", "server")) == {"mode": mode, "find_peak": peak}


@pytest.mark.parametrize(
    ("lines", "issue"),
    [
        (("*.*.performance_issue_same = 1", "*.*.performance_issue_unique = 0"), Found("same", 1)),
        (("*.*.performance_issue_same = 0", "*.*.performance_issue_unique = 1"), Found("unique", 2)),
        (("*.*.performance_issue_same = 0",), Found("random", 1)),
    ],
)
def test_issue(conf: Any, lines: tuple[str, ...], issue: Found) -> None:
    """Two switches make one setting; both off is random."""
    assert from_file(conf(*lines), "user", "server") == {"issue": issue}


def test_unique_and_same_contradict_each_other(conf: Any) -> None:
    """An error with file and line; with compat unique wins, as in LoadGen."""
    file = conf("*.*.performance_issue_same = 1", "*.*.performance_issue_unique = 1")
    with pytest.raises(UsageError, match=r"user\.conf:1: performance_issue_same and performance_issue_unique are both on"):
        from_file(file, "user", "server")
    assert from_file(file, "user", "server", compat=True) == {"issue": Found("unique", 2)}


def test_zero_is_no_limit(conf: Any) -> None:
    """What LoadGen takes as none or all is None here, so that an audit file can lift what user.conf set."""
    keys = (
        "*.*.max_query_count",
        "*.Server.max_async_queries",
        "*.*.performance_sample_count_override",
        "*.*.accuracy_sample_count_override",
    )
    found = values(from_file(conf(*(f"{key} = 0" for key in keys)), "user", "server"))
    assert found == dict.fromkeys(["max_queries", "max_async", "performance_samples", "accuracy_count"])


def test_problems_stop_unless_compat(conf: Any) -> None:
    """A cut number is an error with file and line; with compat it is what LoadGen reads."""
    file = conf("*.*.min_duration = 2000.7", "*.Server.target_qps=5")
    with pytest.raises(UsageError, match=r"(?s)user\.conf:1: min_duration is an integer.*user\.conf:2: .* is one word"):
        from_file(file, "user", "server")
    assert from_file(file, "user", "server", compat=True) == {"duration": Found(2.0, 1)}


def test_a_file_that_loadgen_refuses_is_refused_with_compat_too(conf: Any) -> None:
    """LoadGen would go on with nothing of the file applied."""
    with pytest.raises(UsageError, match=r"user\.conf:1: .* is not a number"):
        from_file(conf("*.Server.target_qps = fast"), "user", "server", compat=True)


@pytest.mark.parametrize("key", ["print_timestamps", "use_token_latencies", "infer_token_latencies"])
def test_what_has_no_counterpart_is_an_error(conf: Any, key: str) -> None:
    """Unless it is off, or of another model, or read with compat."""
    with pytest.raises(UsageError, match=rf"user\.conf:1: {key} is not supported") as caught:
        from_file(conf(f"*.*.{key} = 1"), "user", "server")
    assert "delete the line" in caught.value.cure
    assert from_file(conf(f"*.*.{key} = 1"), "user", "server", compat=True) == {}
    assert from_file(conf(f"*.*.{key} = 0"), "user", "server") == {}
    assert from_file(conf(f"llama2-70b.*.{key} = 1"), "user", "server") == {}


@pytest.mark.parametrize("latency", ["0", "-5"])
def test_an_expected_latency_is_above_zero(conf: Any, latency: str) -> None:
    """It has no inverse, in either way of reading."""
    for compat in (False, True):
        with pytest.raises(UsageError, match=rf"user\.conf:1: target_latency {latency} must be above 0"):
            from_file(conf(f"*.SingleStream.target_latency = {latency}"), "user", "single-stream", compat=compat)


def test_a_file_that_cannot_be_read_names_the_option(tmp_path: Path) -> None:
    """A missing file and a folder are both MissingError."""
    with pytest.raises(MissingError, match=r"--audit-conf: .*none cannot be read: No such file"):
        from_file(tmp_path / "none", "audit", "server", option="--audit-conf")
    with pytest.raises(MissingError, match=r"--user-conf: .* cannot be read: Is a directory"):
        from_file(tmp_path, "user", "server")


def test_bytes_that_are_not_utf8_are_words_as_for_loadgen(tmp_path: Path) -> None:
    """A Latin-1 comment does no harm."""
    file = tmp_path / "user.conf"
    file.write_bytes(b"# gr\xfc\xdfe\r\n*.*.min_duration = 5000\r\n")
    assert from_file(file, "user", "server") == {"duration": Found(5.0, 2)}


def test_a_scenario_of_ones_own_has_no_conf(conf: Any) -> None:
    """LoadGen has four."""
    with pytest.raises(UsageError, match="--user-conf: LoadGen has no scenario bursts"):
        from_file(conf(""), "user", "bursts")


def test_everything_found_is_a_setting_that_the_schema_takes(conf: Any) -> None:
    """All keys together make a RunConfig, with the values of the file."""
    file = conf(
        *SERVER,
        "*.*.mode = 1",
        "*.*.max_query_count = 9",
        "*.*.accuracy_sample_count_override = 8",
        "*.*.performance_issue_same = 1",
        "*.*.performance_issue_same_index = 3",
        "*.*.sample_concatenate_permutation = 1",
        "*.*.accuracy_log_rng_seed = 5",
        "*.*.accuracy_log_sampling_target = 6",
    )
    found = from_file(file, "user", "server")
    assert found.keys() <= set(FIELDS)
    config = build({name: Given(each.value, f"{file}:{each.line}") for name, each in found.items()})
    assert {name: getattr(config, name) for name in found} == values(found)
    assert (config.mode, config.issue, config.same_index, config.concatenate, config.accuracy_count) == ("accuracy", "same", 3, True, 8)


def test_bytes_that_are_not_utf8_can_be_told(tmp_path: Path) -> None:
    """An error about such a word can be written to any terminal."""
    file = tmp_path / "user.conf"
    file.write_bytes(b"*.Server.gr\xfc\xdfe = 5\n")
    with pytest.raises(UsageError, match=r"LoadGen knows no key gr\\xfc\\xdfe") as caught:
        from_file(file, "user", "server")
    str(caught.value).encode("ascii")
