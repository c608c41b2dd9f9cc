"""Settings of a run from LoadGen's files: a user.conf or an audit file, each value with the line it stands on.

What LoadGen calls `target_latency` is the expected latency in SingleStream and MultiStream, whose inverse is our `target_qps`, and the
bound in Server. What means "no limit" or "all" as 0 there is None here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core import MS_NS, SECOND_NS
from harness.errors import MissingError, UsageError
from harness.loadgen import NAMES, Requested
from harness.mlperf import conf as mlperf_conf
from harness.mlperf import conf_problems
from harness.mlperf.conf import AUDIT, KEYS, USER, Applied


@dataclass(frozen=True, slots=True)
class Found:
    """A value in the unit of our setting, and the line of the file that decides it, from 1."""

    value: Any
    line: int


def from_file(
    file: Path,
    kind: Literal["user", "audit"],
    scenario: str,
    model: str = "bert",
    compat: bool = False,
    option: str = "--user-conf",
) -> dict[str, Found]:
    """What the file sets for `scenario` (our name), by field of RunConfig. An audit file is read for all models, as LoadGen does.

    Raises MissingError, naming `option`, if the file cannot be read, and UsageError, with file and line, for what LoadGen refuses;
    without `compat` also for everything that LoadGen would ignore or misread and for settings that have no counterpart here.
    """
    if scenario not in NAMES:
        raise UsageError(f"{option}: LoadGen has no scenario {scenario}", f"choose one of {', '.join(NAMES)}, or leave the option out")
    name, conf_type = NAMES[scenario], USER if kind == "user" else AUDIT
    looked_up = model if kind == "user" else "*"
    entries = conf_problems.read(_text(file, option), str(file), looked_up, name, conf_type, compat=compat)
    values = mlperf_conf.applied(entries, Requested(), looked_up, name, conf_type)
    if not compat:
        _refuse_unused(file, values)
    found = _plain(file, name, values)
    found |= _issue(file, values, compat)
    found |= _mode(values)
    return found


def _text(file: Path, option: str) -> str:
    """The file as LoadGen sees it: no line ending is translated, and a byte that is not UTF-8 is part of a word (as \\xfc)."""
    try:
        with file.open(encoding="utf-8", errors="backslashreplace", newline="") as handle:
            return handle.read()
    except OSError as error:
        raise MissingError(
            f"{option}: {file} cannot be read: {error.strerror}", "give an existing file, or leave the option out"
        ) from error


_UNUSED: Mapping[str, str] = {
    "print_timestamps": "times are in run.json; delete the line",
    "use_token_latencies": "BERT's answers have no tokens: delete the line; --latency-bound judges whole answers",
    "infer_token_latencies": "BERT's answers have no tokens: delete the line; --latency-bound judges whole answers",
}
"""Switches that we have no counterpart for, by field, and what to do. The other token keys have no effect without these."""


def _refuse_unused(file: Path, values: Mapping[str, Applied]) -> None:
    """Raises UsageError if one of `_UNUSED` is on."""
    problems = [(f"{file}:{values[name].line}: {name} is not supported", cure) for name, cure in _UNUSED.items() if _on(values, name)]
    if len(problems) == 1:
        raise UsageError(*problems[0])
    if problems:
        raise UsageError("\n".join(f"{message} ({cure})" for message, cure in problems))


def _on(values: Mapping[str, Applied], name: str) -> bool:
    return name in values and bool(values[name].value)


def _same(value: Any) -> Any:
    return value


def _or_none(value: int) -> int | None:
    return value or None


def _inverse(latency_ns: float) -> float:
    return SECOND_NS / latency_ns


def _seconds(milliseconds: int) -> float:
    return milliseconds / 1000


_Made = tuple[str, Callable[[Any], Any]]

_FIELDS: Mapping[str, _Made] = {
    "min_duration_ms": ("duration", _seconds),
    "max_duration_ms": ("max_duration", _seconds),
    "min_query_count": ("min_queries", _same),
    "max_query_count": ("max_queries", _or_none),
    "performance_sample_count_override": ("performance_samples", _or_none),
    "accuracy_sample_count_override": ("accuracy_count", _or_none),
    "performance_issue_same_index": ("same_index", _same),
    "sample_concatenate_permutation": ("concatenate", _same),
    "accuracy_log_rng_seed": ("accuracy_log_seed", _same),
    "accuracy_log_sampling_target": ("accuracy_log_target", _same),
    "single_stream_expected_latency_ns": ("target_qps", _inverse),
    "single_stream_target_latency_percentile": ("percentile", _same),
    "multi_stream_expected_latency_ns": ("target_qps", _inverse),
    "multi_stream_target_latency_percentile": ("percentile", _same),
    "multi_stream_samples_per_query": ("samples_per_query", _same),
    "server_target_qps": ("target_qps", _same),
    "server_target_latency_ns": ("latency_bound", lambda ns: ns / MS_NS),
    "server_target_latency_percentile": ("percentile", _same),
    "server_coalesce_queries": ("coalesce", _same),
    "server_max_async_queries": ("max_async", _or_none),
    "offline_expected_qps": ("target_qps", _same),
}
"""Field of Requested -> field of RunConfig, and how its value is turned."""

_SCENARIO = {key.field: key.scenario for key in KEYS}


def _plain(file: Path, scenario: str, values: Mapping[str, Applied]) -> dict[str, Found]:
    """The fields that one key decides. Raises UsageError for an expected latency that has no inverse."""
    found = {}
    for name, (ours, turned) in _FIELDS.items():
        if name not in values or _SCENARIO[name] not in ("", scenario):
            continue
        value, line = values[name].value, values[name].line
        if turned is _inverse and not value > 0:
            raise UsageError(f"{file}:{line}: target_latency {value / MS_NS:g} must be above 0", "give the latency you expect, in ms")
        found[ours] = Found(turned(value), line)
    return found


def _issue(file: Path, values: Mapping[str, Applied], compat: bool) -> dict[str, Found]:
    """`issue` from LoadGen's two switches. Where both are on LoadGen logs an error and issues unique samples."""
    switches = {"unique": "performance_issue_unique", "same": "performance_issue_same"}
    on = [ours for ours, name in switches.items() if _on(values, name)]
    if len(on) > 1 and not compat:
        line = values["performance_issue_same"].line
        raise UsageError(f"{file}:{line}: performance_issue_same and performance_issue_unique are both on", "set one of them to 0")
    deciding = [switches[on[0]]] if on else [name for name in switches.values() if name in values]
    return {"issue": Found(on[0] if on else "random", values[deciding[0]].line)} if deciding else {}


_MODES = {"SubmissionRun": "submission", "AccuracyOnly": "accuracy", "PerformanceOnly": "performance"}


def _mode(values: Mapping[str, Applied]) -> dict[str, Found]:
    """`mode` and `find_peak`, which is a mode of LoadGen's."""
    if "mode" not in values:
        return {}
    mode, line = values["mode"].value, values["mode"].line
    peak = "none" if mode in _MODES else "loadgen"
    return {"mode": Found(_MODES.get(mode, "performance"), line), "find_peak": Found(peak, line)}
