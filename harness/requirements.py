"""What a round of MLPerf Inference requires of a BERT run, beside what takes effect. Pure: settings in, a table out.

Source: the submission checker of mlcommons/inference (rounds v5.0 to v6.1) for what it reads from the detail log, and mlperf.conf of
LoadGen 6.0.17 for the rest. `min_duration_ms` is judged as a setting in all divisions, as the checker does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.core import MS_NS, Seeds
from harness.errors import UsageError
from harness.loadgen import MODES, NAMES, Effective
from harness.mlperf.rounds import ROUNDS, seeds
from harness.units import count, time_ns

MIN_DURATION_MS = 600_000
SAMPLES = 10_833
"""Features of SQuAD v1.1 dev at 384 tokens: the size of the performance set, of an accuracy run, and the least of Offline."""

LATENCY_NS = 130 * MS_NS
"""Server bound of BERT in mlperf.conf; the checker has had none for BERT since v5.0."""

_SUITE = ("SingleStream", "Offline")
_PERCENTILE = {"SingleStream": 0.9, "MultiStream": 0.99, "Server": 0.99}
_LEAST_QUERIES = {"SingleStream": 100, "MultiStream": 662, "Server": 100, "Offline": 1}
_FREE = "any"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ok` is None where the round requires nothing, or nothing that is checked."""

    name: str
    effective: str
    required: str
    ok: bool | None


def table(effective: Effective, round: str, scenario: str) -> list[Row]:  # noqa: A002  (the field's own word)
    """Every effective setting beside what `round` requires of BERT in `scenario` (our name).

    Raises UsageError for a round that is not built in, or a scenario that LoadGen does not have.
    """
    if scenario not in NAMES:
        raise UsageError(f"LoadGen has no scenario {scenario}", f"choose one of {', '.join(NAMES)}")
    name = NAMES[scenario]
    return [
        *_membership(effective, round, name),
        *_seeds(effective, seeds(round)),
        *_extent(effective, name),
        *_judgement(effective, name),
        *_samples_chosen(effective),
        *_logged(effective),
    ]


def _at_least(name: str, value: int, least: int) -> Row:
    return Row(name, count(value), f"{count(least)} or more", value >= least)


def _none(name: str, value: int) -> Row:
    """A limit, where 0 is none."""
    return Row(name, count(value) if value else "none", "none", value == 0)


def _off(name: str, value: bool) -> Row:
    return Row(name, "true" if value else "false", "false", not value)


def _zero(name: str, value: float) -> Row:
    return Row(name, str(value) if isinstance(value, int) else f"{value:g}", "0", value == 0)


def _membership(effective: Effective, round_: str, name: str) -> Iterator[Row]:
    """BERT left the datacenter suite with v5.0; the edge suite asks for SingleStream and Offline. Open takes any scenario."""
    yield Row("round", round_, f"one of {', '.join(ROUNDS)}", round_ in ROUNDS)
    yield Row("suite", "edge" if name in _SUITE else "none", "edge; BERT left datacenter with v5.0", True if name in _SUITE else None)
    wanted = " or ".join(_SUITE)
    if name in _SUITE:
        yield Row("scenario", effective.scenario, wanted, effective.scenario == name)
    else:
        yield Row("scenario", effective.scenario, f"{wanted}; {name}: open division only", None)
    yield Row("test_mode", effective.test_mode, "a performance and an accuracy run", effective.test_mode != MODES[3])


def _seeds(effective: Effective, wanted: Seeds) -> Iterator[Row]:
    for name, value, seed in (
        ("qsl_rng_seed", effective.qsl_rng_seed, wanted.qsl),
        ("sample_index_rng_seed", effective.sample_index_rng_seed, wanted.sample_index),
        ("schedule_rng_seed", effective.schedule_rng_seed, wanted.schedule),
    ):
        yield Row(name, str(value), str(seed), value == seed)


def _extent(effective: Effective, name: str) -> Iterator[Row]:
    """How long, how much."""
    yield _at_least("min_duration_ms", effective.min_duration_ms, MIN_DURATION_MS)
    yield _none("max_duration_ms", effective.max_duration_ms)
    yield _at_least("min_query_count", effective.min_query_count, _LEAST_QUERIES[name])
    yield _none("max_query_count", effective.max_query_count)
    if name == "Offline":
        yield _at_least("samples_per_query", effective.samples_per_query, SAMPLES)
    else:
        size = 8 if name == "MultiStream" else 1
        yield Row("samples_per_query", count(effective.samples_per_query), count(size), effective.samples_per_query == size)
    yield Row("min_sample_count", count(effective.min_sample_count), _FREE, None)
    yield _at_least("performance_sample_count", effective.performance_sample_count, SAMPLES)
    yield Row("accuracy_sample_count", count(effective.accuracy_sample_count), count(SAMPLES), effective.accuracy_sample_count == SAMPLES)


def _judgement(effective: Effective, name: str) -> Iterator[Row]:
    """Rate, bound, percentile, early stopping."""
    yield Row("target_qps", f"{effective.target_qps:.10g}", _FREE, None)
    if name == "Server":
        bound = f"{time_ns(LATENCY_NS)}: LoadGen's default, no longer checked"
        yield Row("target_latency", time_ns(effective.target_latency_ns), bound, None)
        yield _none("max_async_queries", effective.max_async_queries)
    if name in _PERCENTILE:
        wanted = _PERCENTILE[name]
        near = (
            abs(effective.target_latency_percentile - wanted) < 1e-12
        )  # configuration files give percent: 95 * 0.01 is 0.9500000000000001
        yield Row("target_latency_percentile", _percent(effective.target_latency_percentile), _percent(wanted), near)
        yield Row("early_stopping", "required", "required", True)
    else:
        yield Row("early_stopping", "not used", "not used", True)


def _percent(value: float) -> str:
    return f"{100 * value:.10g} %"


def _samples_chosen(effective: Effective) -> Iterator[Row]:
    yield _off("performance_issue_unique", effective.performance_issue_unique)
    yield _off("performance_issue_same", effective.performance_issue_same)
    yield Row("performance_issue_same_index", str(effective.performance_issue_same_index), _FREE, None)
    yield _off("sample_concatenate_permutation", effective.sample_concatenate_permutation)


def _logged(effective: Effective) -> Iterator[Row]:
    yield _zero("accuracy_log_rng_seed", effective.accuracy_log_rng_seed)
    yield _zero("accuracy_log_probability", effective.accuracy_log_probability)
    yield _zero("accuracy_log_sampling_target", effective.accuracy_log_sampling_target)
    yield Row("print_timestamps", "true" if effective.print_timestamps else "false", _FREE, None)


_STATUS = {True: "ok", False: "NOT MET", None: "-"}


def text(rows: Iterable[Row]) -> str:
    """The rows as aligned columns under a heading, one line each, without a final line break."""
    lines: list[Sequence[str]] = [("setting", "effective", "required", "")]
    lines += [(row.name, row.effective, row.required, _STATUS[row.ok]) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, line, widths), line[3]]).rstrip() for line in lines)
