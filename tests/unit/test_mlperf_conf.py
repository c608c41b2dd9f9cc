"""LoadGen's configuration files: what is applied, and what LoadGen would not say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.loadgen import Requested
from harness.mlperf import conf as mlperf_conf
from harness.mlperf.c_numbers import c_double, c_integer, is_number
from harness.mlperf.conf import AUDIT, BUILT_IN, USER, from_config
from harness.mlperf.conf_problems import problems, read


def found(text: str, scenario: str = "Server", model: str = "bert", conf_type: int = USER) -> list[str]:
    return [
        f"{problem.where.removeprefix('u')} {problem.text} | {problem.cure}" for problem in problems(text, "u", model, scenario, conf_type)
    ]


# ----------------------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.7", 2),
        ("0x1F", 31),
        ("010", 8),
        ("08", 0),
        ("+5", 5),
        ("-1", 2**64 - 1),
        ("-0x10", 2**64 - 16),
        ("18446744073709551616", 2**64 - 1),
        ("-18446744073709551616", 2**64 - 1),
        ("9" * 5000, 2**64 - 1),
        ("1e3", 1),
        (".5", 0),
        ("nan", 0),
        ("0x", 0),
    ],
)
def test_integers_are_read_as_c_reads_them(text: str, value: int) -> None:
    """Prefixes, signs, stopping characters and overflow are those of strtoull with base 0."""
    assert c_integer(text) == value


@given(st.integers(0, 2**64 - 1), st.sampled_from(["{}", "+{}", "{:#x}", "0{:o}", "{}.9", "{}#"]))
def test_whole_numbers_survive_every_notation(value: int, form: str) -> None:
    """Decimal, hexadecimal and octal text of a 64-bit number gives the number, whatever follows it."""
    assert c_integer(form.format(value)) == value


@given(st.floats(allow_nan=False))
def test_doubles_survive_their_text(value: float) -> None:
    """The shortest decimal text and the hexadecimal text of a double are numbers and give the double."""
    for text in (repr(value), value.hex()):
        assert is_number(text)
        assert c_double(text) == value


@pytest.mark.parametrize("text", ["abc", "", "1_0", "1e", "5ms", "0x", "naninity", "infinit", "1,5", "--1", "٣", "0b1", "#"])
def test_what_c_does_not_read_whole_is_no_number(text: str) -> None:
    """Python's own notations do not count."""
    assert not is_number(text)


def test_a_hexadecimal_double_may_overflow() -> None:
    """As strtod, to infinity of its sign."""
    assert c_double("0x1p99999") == float("inf")
    assert c_double("-0x1p99999") == float("-inf")


# -------------------------------------------------------------------------------------------------------------------------- FromConfig


def test_a_missing_user_file_leaves_the_built_in_values() -> None:
    """-2, and the values of the round; an audit file that is missing leaves nothing."""
    code, settings = from_config(Requested(), None, "bert", "Offline")
    assert (code, settings.min_duration_ms, settings.min_query_count) == (-2, 600_000, 10_833)
    assert from_config(Requested(), None, "*", "Offline", AUDIT) == (-2, Requested())


def test_a_second_file_in_a_process_loses_the_built_in_values() -> None:
    """Only the first FromConfig applies mlperf.conf; the seeds stay 0 after another."""
    code, settings = from_config(Requested(), "*.*.min_duration = 5\n", "bert", "Server", first=False)
    assert (code, settings) == (0, Requested(min_duration_ms=5))


def test_an_error_anywhere_keeps_the_whole_file_out() -> None:
    """-22, with the built-in values alone."""
    code, settings = from_config(Requested(), "*.*.min_duration = 5\n*.Server.target_qps = fast\n", "bert", "Server")
    assert (code, settings.min_duration_ms, settings.server_target_qps) == (-22, 600_000, 1.0)


def test_the_round_decides_the_seeds() -> None:
    """The built-in values are those of the round that is asked for; v6.1 where none is."""
    assert from_config(Requested(), "", "bert", "Server", round="v5.0")[1].qsl_rng_seed == 6023615788873153749
    assert from_config(Requested(), "", "bert", "Server")[1].qsl_rng_seed == 2085463073848966840
    with pytest.raises(UsageError, match="round v9 is not built in"):
        from_config(Requested(), "", "bert", "Server", BUILT_IN, round="v9")


def test_the_scenario_goes_before_the_model() -> None:
    """model.scenario, then *.scenario, then model.*, then *.*, whatever their order in the file."""
    lines = ["bert.Server.min_query_count = 4", "*.Server.min_query_count = 3", "bert.*.min_query_count = 2", "*.*.min_query_count = 1"]
    for first in range(4):
        text = "\n".join(reversed(lines[first:]))
        assert from_config(Requested(), text, "bert", "Server", AUDIT)[1].min_query_count == 4 - first


def test_token_keys_need_their_switch() -> None:
    """ttft_latency counts only with use_token_latencies on, in the file or before it."""
    text = "*.Server.ttft_latency = 5\n"
    assert from_config(Requested(), text, "bert", "Server")[1].ttft_latency == 100_000_000
    assert from_config(Requested(), text, "llama2-70b", "Server")[1].ttft_latency == 5_000_000
    assert from_config(Requested(use_token_latencies=True), text, "bert", "Server", AUDIT)[1].ttft_latency == 5_000_000


def test_seeds_come_from_the_built_in_file_only() -> None:
    """A user.conf or audit file changes no seed but that of the accuracy log."""
    text = "*.*.qsl_rng_seed = 5\n*.*.test05 = 1\n*.*.accuracy_log_probability = 10\n*.*.accuracy_log_rng_seed = 8\n"
    assert from_config(Requested(), text, "*", "Server", AUDIT)[1] == Requested(accuracy_log_rng_seed=8)


# ---------------------------------------------------------------------------------------------------------------------------- problems


def test_a_good_file_has_no_problem() -> None:
    """Comments, wildcards, other models, other scenarios and hexadecimal numbers are right."""
    text = "\n".join(
        [
            "# rates",
            "#",
            "#----",
            "",
            "*.Server.target_qps = 100.5",
            "bert.Offline.target_qps = 1e3",
            "resnet50.SingleStream.target_latency = 0.5",
            "llama2-70b.Server.ttft_latency = 2000",
            "*.*.min_duration = 0x927C0",
            "*.*.target_latency_percentile = 99.9",
            "*.Server.coalesce_queries = 1",
            "*.Server.max_async_queries = 7",
            "*.*.mode = 2",
        ]
    )
    assert found(text) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("*.Server.target_qpss = 5", "LoadGen knows no key target_qpss; it ignores the line | did you mean target_qps?"),
        (
            "*.Serve.target_qps = 5",
            "LoadGen knows no scenario Serve; it ignores the line | "
            "did you mean Server? Scenarios: *, SingleStream, MultiStream, Server, Offline",
        ),
        ("bert-99.9.Server.target_qps = 5", "LoadGen knows no model bert-99.9; it ignores the line | did you mean bert?"),
        (
            "*.Server.target_qps=5",
            "*.Server.target_qps=5 is one word; LoadGen ignores it | write `key = value` with a space on both sides of =",
        ),
        ("*.Server.target_qps =", "*.Server.target_qps has no value; LoadGen ignores it | write `key = value`, or delete the line"),
        ("*.Server.target_qps # = 5", "*.Server.target_qps has no value; LoadGen ignores it | write `key = value`, or delete the line"),
        ("*.Server.target_qps = 5 6", "*.Server.target_qps has several values; LoadGen takes the last, 6 | give one"),
        ("Server.target_qps = 5", "Server.target_qps is not model.scenario.key; LoadGen ignores it | write *.Server.target_qps"),
        (
            "*.*.qsl_rng_seed = 5",
            "qsl_rng_seed cannot be set in this file; LoadGen ignores it | use --qsl-seed, or --round for a round's seeds",
        ),
        (
            "*.*.sample_index_rng_seed = 5",
            "sample_index_rng_seed cannot be set in this file; LoadGen ignores it | use --sample-seed, or --round for a round's seeds",
        ),
        ("*.*.test05 = 1", "test05 cannot be set in this file; LoadGen ignores it | use --test05"),
        (
            "*.Offline.samples_per_query = 4",
            "samples_per_query has no effect under Offline; LoadGen looks it up under MultiStream only | "
            "write it under MultiStream, or delete the line",
        ),
        (
            "*.Offline.target_latency_percentile = 99",
            "target_latency_percentile has no effect under Offline; LoadGen looks it up under SingleStream, MultiStream, Server only | "
            "write it under SingleStream, MultiStream, Server, or delete the line",
        ),
        ("*.*.target_duration = 5", "target_duration has no effect; LoadGen does not look it up | use min_duration, or delete the line"),
        (
            "*.*.min_duration = 2.7",
            "min_duration is an integer; LoadGen reads 2.7 as 2 | write a whole number of 0 or more, with digits only",
        ),
        (
            "*.*.min_duration = 010",
            "min_duration is an integer; LoadGen reads 010 as 8 | write it without the leading 0, which makes it octal",
        ),
        (
            "*.*.max_query_count = -1",
            "max_query_count is an integer; LoadGen reads -1 as 18446744073709551615 | write a whole number of 0 or more, with digits only",
        ),
        (
            "*.Server.target_latency = 1.9",
            "target_latency under Server is an integer; LoadGen reads 1.9 as 1 | "
            "write a whole number of milliseconds of 0 or more, with digits only",
        ),
        ("*.*.sample_concatenate_permutation = 2", "sample_concatenate_permutation is a switch; LoadGen reads 2 as off | write 1 or 0"),
        ("*.Server.target_qps = nan", "target_qps: nan is not a finite number | write one such as 95 or 0.5"),
        (
            "*.*.mode = 9",
            "mode 9: LoadGen reads nothing | choose one of 0 SubmissionRun, 1 AccuracyOnly, 2 PerformanceOnly, 3 FindPeakPerformance",
        ),
        (
            "*.Server.ttft_latency = 5",
            "ttft_latency has no effect: it needs use_token_latencies = 1 | set use_token_latencies, or delete the line",
        ),
    ],
)
def test_what_loadgen_keeps_quiet_about_is_said(line: str, said: str) -> None:
    """One line, one problem, with its line number, what LoadGen does and what to do."""
    assert found(f"# first\n{line}\n") == [f":2 {said}"]
    assert from_config(Requested(), line, "bert", "Server", AUDIT)[0] == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("*.Server.target_qps = 5 # fast", "a comment behind the value of *.Server.target_qps: LoadGen refuses the file"),
        ("*.Server.target_qps = fast", "*.Server.target_qps: 'fast' is not a number: LoadGen refuses the file"),
        ("*.Server.target_qps = # 5", "*.Server.target_qps: '#' is not a number: LoadGen refuses the file"),
        ("*.Server.target_qps : 5", "':' stands where = must be: LoadGen refuses the file"),
        ("*.Server.target_qps =5", "'=5' stands where = must be: LoadGen refuses the file"),
        ("#glued comment", "#glued is not a comment for LoadGen: it refuses the file"),
        ("\ufeff# comment", "the file begins with a byte order mark: LoadGen refuses it"),
    ],
)
def test_what_loadgen_refuses_is_refused_with_the_line(line: str, said: str) -> None:
    """Both ways of reading raise, and name file and line, where LoadGen returns -22."""
    assert from_config(Requested(), line, "bert", "Server", AUDIT)[0] == -22
    for compat in (False, True):
        with pytest.raises(UsageError) as caught:
            read(f"{line}\n", "user.conf", "bert", "Server", USER, compat=compat)
        assert str(caught.value) == f"user.conf:1: {said}"
        assert caught.value.cure


def test_a_key_given_twice_names_both_lines() -> None:
    """The second one is the problem; the first is named."""
    said = found("*.*.min_duration = 5\n\n*.*.min_duration = 6\n")
    assert said == [":3 *.*.min_duration is given twice (first on line 1); LoadGen takes the last | keep one of the two"]


def test_an_audit_file_is_read_for_all_models() -> None:
    """A line for a model is one that LoadGen ignores there."""
    said = found("bert.*.mode = 2\n*.*.mode = 2\n", model="*", conf_type=AUDIT)
    assert said == [":1 model bert: LoadGen reads only lines for all models here | write *.*.mode"]


def test_a_wildcard_is_judged_by_the_scenario_that_runs() -> None:
    """`*.*.target_latency` is cut in Server and read whole in SingleStream."""
    text = "*.*.target_latency = 1.9\n"
    assert len(found(text, "Server")) == 1
    assert found(text, "SingleStream") == []


def test_token_keys_of_a_model_with_tokens_are_right() -> None:
    """The switch may stand in the built-in file."""
    assert found("*.Server.ttft_latency = 5\n", model="llama2-70b") == []


def test_all_problems_are_told_at_once() -> None:
    """One error lists them by line, each with its cure; with compat the same file is read."""
    text = "*.Server.target_qps = 7\n*.Server.targetqps = 5\n*.*.min_duration=5\n"
    with pytest.raises(UsageError) as caught:
        read(text, "a/user.conf", "bert", "Server", USER)
    assert str(caught.value).splitlines() == [
        "a/user.conf:2: LoadGen knows no key targetqps; it ignores the line (did you mean target_qps?)",
        "a/user.conf:3: *.*.min_duration=5 is one word; LoadGen ignores it (write `key = value` with a space on both sides of =)",
    ]
    entries = read(text, "a/user.conf", "bert", "Server", USER, compat=True)
    assert [(entry.line, entry.key, entry.value) for entry in entries] == [(1, "*.Server.target_qps", "7"), (2, "*.Server.targetqps", "5")]


LINES = st.lists(st.sampled_from(["*.Server.target_qps", "bert.*.min_duration", "x", "=", "#", "5", "2.7", "#a", "\n", "\n", "fast"]))


@given(LINES)
def test_only_what_loadgen_refuses_is_fatal(words: list[str]) -> None:
    """FromConfig returns -22 exactly where a problem is fatal, whatever the words are."""
    text = " ".join(words)
    fatal = any(problem.fatal for problem in problems(text, "u", "bert", "Server", AUDIT))
    assert (from_config(Requested(), text, "bert", "Server", AUDIT)[0] == -22) == fatal


@given(LINES)
def test_a_file_without_problems_does_what_it_says(words: list[str]) -> None:
    """Every entry of such a file has three parts and a known key, and its settings are the written numbers."""
    text = " ".join(words)
    if problems(text, "u", "bert", "Server", AUDIT):
        return
    settings = from_config(Requested(), text, "bert", "Server", AUDIT)[1]
    written = {entry.key: float(entry.value) for entry in mlperf_conf.parse(text)[0]}
    assert settings.server_target_qps == written.get("*.Server.target_qps", 1.0)
    assert settings.min_duration_ms == written.get("bert.*.min_duration", 10_000)
