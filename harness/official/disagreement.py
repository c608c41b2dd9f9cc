"""Whether the official LoadGen and we say the same of one run: what was asked, the verdict and the figures. Pure.

Both stamp the same events, each for itself, so their times differ a little. LoadGen stamps a query before its callback gets the Python
interpreter and an answer after it was handed over in a list; each of the two waits takes tens of microseconds, some hundred where other
threads hold the interpreter. Between our stamps lies the worker's own time, which is the same for both. So figures agree within STAMPS_NS,
or within SHARE of a longer one: where threads compete for cores the waits grow with the work. What is counted must be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness import early_stopping, units, validity
from harness.core import SECOND_NS, Columns, Int32, Scenario, Settings, Status, Traffic, Verdict
from harness.mlperf.result import SHARES, Result, from_detail
from harness.stats import percentile

STAMPS_NS = 200_000

SHARE = 0.02

_COMPARED = (0.50, 0.90, 0.99)


def disagreements(ours: Columns, settings: Settings, scenario: Scenario, theirs: Mapping[str, Any], traffic: Traffic) -> list[str]:
    """Sentences, one for each point; none where the two agree.

    ours      the ledger of the run; `settings` with which `scenario` judges it (early stopping is required, whatever they say)
    theirs    values of LoadGen's detail log, the first of each key (`mlperf_reader.first`)
    traffic   what our own engine asks with the same settings; consumed where the run went on beyond it

    An accuracy run has no verdict: only what was asked is compared. Raises RunError for a ledger without rows, DataError for a log that
    lacks a figure.
    """
    found = list(_asked(ours, traffic))
    if "result_validity" not in theirs:
        return found
    settings = replace(settings, require_early_stopping=True)
    result = from_detail(theirs)
    verdict = scenario.judge(ours, settings)
    return [*found, *_served(ours), *_verdicts(ours, settings, verdict, result), *_figures(ours, verdict, result)]


def close(ours_ns: float, theirs_ns: float) -> bool:
    """Two stamps of one event, or two figures made of such stamps."""
    return abs(ours_ns - theirs_ns) <= max(STAMPS_NS, SHARE * max(abs(ours_ns), abs(theirs_ns)))


def _asked(ours: Columns, traffic: Traffic) -> Iterator[str]:
    rows = len(ours.sample)
    planned = _planned(traffic, rows)
    if len(planned) < rows:
        yield f"LoadGen asked {rows:,} samples, our traffic ends after {len(planned):,}"
    both = min(rows, len(planned))
    wrong = np.flatnonzero(ours.sample[:both] != planned[:both])
    if len(wrong):
        at = int(wrong[0])
        yield (
            f"LoadGen asked other samples than our traffic: {len(wrong):,} of {both:,}, the first at row {at:,} "
            f"({int(ours.sample[at])} instead of {int(planned[at])})"
        )


def _planned(traffic: Traffic, rows: int) -> Int32:
    parts = [traffic.sample]
    while (missing := rows - sum(map(len, parts))) > 0 and traffic.more is not None:
        traffic = traffic.more(missing)
        parts.append(traffic.sample)
    return np.concatenate(parts)


def _served(ours: Columns) -> Iterator[str]:
    failed = int(np.count_nonzero(ours.status != Status.DONE))
    if failed:
        yield f"{units.plural(failed, 'sample')} failed or went unanswered; LoadGen knows of no errors and counts them as answers"


# ---------------------------------------------------------------------------------------------------------------------- the verdict


def _verdicts(ours: Columns, settings: Settings, verdict: Verdict, theirs: Result) -> Iterator[str]:
    """Each condition, and validity. A condition whose figure lies so close to its limit that the two stamps may fall on different sides
    of it proves nothing; LoadGen's word stands."""
    queries = len(validity.query_latency_ns(validity.asked(ours)))
    if queries != theirs.queries:
        yield f"queries: ours {queries:,}, LoadGen's {theirs.queries:,}"
    against = {reason.code for reason in verdict.reasons}
    conditions = {
        "latency_bound": ("latency bound", theirs.constraint_met),
        "min_duration": ("minimum duration", theirs.duration_met),
        "min_queries": ("minimum queries", theirs.queries_met),
        "early_stopping": ("early stopping", theirs.stopping.met),
    }
    valid = against <= set(conditions)
    for code, (name, met) in conditions.items():
        if (code not in against) != met and not _borderline(code, ours, settings, theirs.scenario):
            valid = valid and code not in against
            yield f"{name}: {_met(code not in against)} by us, {_met(met)} by LoadGen"
        else:
            valid = valid and met
    if valid != theirs.valid:
        yield f"verdict: {_valid(valid)} by us, {_valid(theirs.valid)} by LoadGen"


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _valid(valid: bool) -> str:
    return "VALID" if valid else "INVALID"


def _borderline(code: str, ours: Columns, settings: Settings, scenario: str) -> bool:
    rows = validity.asked(ours)
    bound = settings.latency_bound_ns
    match code:
        case "min_duration":
            if scenario == "Offline":
                return close(int(rows.latency_ns.max()), settings.min_duration_ns)
            return abs(int(rows.due_ns[-1]) - settings.min_duration_ns) <= STAMPS_NS
        case "latency_bound":
            return bound > 0 and close(percentile(rows.latency_ns, settings.percentile), bound)
        case "early_stopping":
            margin = max(STAMPS_NS, SHARE * bound)
            over = [int(np.count_nonzero(rows.latency_ns > bound + shift)) for shift in (-margin, margin)]
            enough = [early_stopping.is_enough(count, len(rows.query), settings.percentile) for count in over]
            return bound > 0 and enough[0] != enough[1]
        case _:
            return False


# ---------------------------------------------------------------------------------------------------------------------- the figures


def _figures(ours: Columns, verdict: Verdict, theirs: Result) -> Iterator[str]:
    rows = validity.asked(ours)
    kinds = [("latency", rows.latency_ns, theirs.samples)]
    if theirs.per_query is not None:
        kinds.append(("query latency", validity.query_latency_ns(rows), theirs.per_query))
    for what, latency, figures in kinds:
        known = dict(zip(SHARES, figures.percentiles, strict=True))
        for share in _COMPARED:
            mine = percentile(latency, share)
            if not close(mine, known[share]):
                yield f"p{100 * share:g} {what}: ours {units.time_ns(mine)}, LoadGen's {units.time_ns(known[share])}"
    yield from _headline(len(rows.query), verdict, theirs)


def _headline(samples: int, verdict: Verdict, theirs: Result) -> Iterator[str]:
    """The metric. Rates are compared as the time that they stand for."""
    if verdict.metric is None:
        return
    mine, name, unit = verdict.metric.value, verdict.metric.name, verdict.metric.unit
    if unit == "ns":
        estimate = theirs.stopping.single_ns if theirs.scenario == "SingleStream" else theirs.stopping.multi_ns
        other = estimate if theirs.stopping.met else theirs.tail_ns
        if other is not None and not close(mine, other):
            yield f"{name}: ours {units.time_ns(round(mine))}, LoadGen's {units.time_ns(other)}"
        return
    key = "result_completed_samples_per_sec" if theirs.scenario == "Server" else "result_samples_per_second"
    rate = theirs.rates[key]
    if mine > 0 and rate > 0 and not close(samples / mine * SECOND_NS, samples / rate * SECOND_NS):
        yield f"{name}: ours {units.rate(mine, unit)}, LoadGen's {units.rate(rate, unit)}"
