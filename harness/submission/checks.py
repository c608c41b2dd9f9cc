"""What speaks against submitting a set of runs. The rules are those of MLPerf Inference for BERT, rounds v5.0 to v6.1.

Sources: the submission checker of mlcommons/inference (PerformanceCheck, AccuracyCheck, ComplianceCheck) and inference_rules.adoc of
mlcommons/inference_policies ("LoadGen Operation" for who makes the traffic, "Model" for what closed allows). Two things that the checker
reads and does not judge are judged here: result_validity, and errors in a performance log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.mlperf import rounds, test01
from harness.submission.runs import ACCURACY, BASELINE, COMPLIANCE, DETAIL, SUMMARY, VERIFY_ACCURACY, VERIFY_PERFORMANCE, Entry, StoredRun

BENCHMARKS = {"bert-99": 0.99, "bert-99.9": 0.999}
"""Share of the reference F1 that must be reached."""

DIVISIONS = ("open", "closed")

REFERENCE_F1 = 90.874
SAMPLES = 10_833
"""Features of SQuAD v1.1 dev at 384 tokens and stride 128: the data set, the performance set and the least samples of Offline."""

MIN_DURATION_MS = 600_000
SUITE = ("SingleStream", "Offline")
"""Scenarios of BERT in the edge suite; all are required in closed, others are for open only. There is no datacenter suite since v5.0."""

FILE_LIMIT = 50 * 2**20
"""Bytes; a larger file is refused by the checker."""

MODEL_PARAMETERS = range(334_094_338, 335_200_000)
"""Parameters of BERT-Large with a span head (334,094,338), and with the unused pooler and position table that some files hold."""

TEST01_SHARE = {"bert-99": test01.SHARE, "bert-99.9": test01.STRICT_SHARE}
"""How far the two F1 of the same answers may be apart to excuse answers that differ, as a share."""

PASSED = "TEST PASS"
F1_LINE = re.compile(r"""^\{["']exact_match["']:\s*[\d.]+,\s*["']f1["']:\s*([\d.]+)\}""")
"""The line of accuracy.txt with the scores (ACC_PATTERN["F1"])."""

_WRITE_LOGS = "run it with --rules mlperf"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks against a submission. `where`: a scenario and part, or what the whole is called."""

    where: str
    text: str
    cure: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}; {self.cure}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is judged by. `system_type` as in the system description."""

    division: str
    benchmark: str
    round: str
    system_type: str

    @property
    def closed(self) -> bool:
        return self.division == "closed"

    @property
    def target_f1(self) -> float:
        """Points."""
        return REFERENCE_F1 * BENCHMARKS[self.benchmark]


def findings(entries: Sequence[Entry], rules: Rules) -> list[Finding]:
    """Everything that speaks against these runs, in the order of the scenarios."""
    found = list(_whole(entries, rules))
    for entry in entries:
        found += _entry(entry, rules)
    return found


def _whole(entries: Sequence[Entry], rules: Rules) -> Iterator[Finding]:
    where = f"{rules.division} {rules.benchmark}"
    there = [entry.scenario for entry in entries]
    if rules.closed:
        for scenario in SUITE:
            if scenario not in there:
                yield Finding(where, f"no runs of {scenario}, which this division requires", f"name the folders of {scenario} runs too")
        for scenario in there:
            if scenario not in SUITE:
                yield Finding(where, f"{scenario} is not in the BERT suite since v5.0", "leave it out, or use --division open")
        if rules.system_type == "datacenter":
            yield Finding(where, "BERT is not in the datacenter suite since v5.0", "write edge as system_type, or use --division open")
    runs = [stored for entry in entries for stored in entry.parts.values()]
    if len(machines := sorted({_machine(stored.run.conditions) for stored in runs})) > 1:
        yield Finding(where, f"the runs were made on different machines: {'; '.join(machines)}", "export the runs of one system")


def _machine(conditions: Mapping[str, Any]) -> str:
    gpus = [gpu.get("name", "") for gpu in conditions.get("gpus") or []]
    return " + ".join([str((conditions.get("cpu") or {}).get("model")), *gpus])


def _entry(entry: Entry, rules: Rules) -> Iterator[Finding]:
    for part, stored in entry.parts.items():
        where = f"{entry.scenario} {part} ({stored.name})"
        yield from (Finding(where, text, cure) for check in _CHECKS[part] for text, cure in check(stored, rules))
    if entry.performance is None:
        yield Finding(entry.scenario, "no performance run", "name the folder of one, or of a submission run")
    if entry.accuracy is None:
        yield Finding(entry.scenario, "no accuracy run", "make one with --mode accuracy and name its folder")
    if entry.test01 is None and rules.closed:
        yield Finding(entry.scenario, "no TEST01 run, which closed requires", "make one with `assay audit test01` and name its folder")
    ways = {part: _way(stored) for part, stored in entry.parts.items()}
    if len(set(ways.values())) > 1:
        listed = "; ".join(f"{part}: {way}" for part, way in ways.items())
        yield Finding(entry.scenario, f"the parts were not made the same way ({listed})", "make them with one backend, model and data set")


def _way(stored: StoredRun) -> str:
    """What must be the same in the parts of one scenario."""
    model, data = stored.run.model or {}, stored.run.conditions.get("data") or {}
    return f"{stored.run.config.get('backend')}, model {str(model.get('sha256'))[:12]}, data {str(data.get('fingerprint'))[:12]}"


# ------------------------------------------------------------------------------------------------------------------------- one run

Problems = Iterator[tuple[str, str]]
"""Text and cure."""


def _common(stored: StoredRun, rules: Rules) -> Problems:
    run, detail = stored.run, stored.detail
    if not run.complete:
        yield "the run did not end as it should", "run it again"
    if detail.get("effective_scenario") != stored.scenario:
        yield f"the log is of scenario {detail.get('effective_scenario')}", "export a folder whose files belong together"
    if run.config.get("engine") != "mlcommons":
        yield "the traffic was made by Assay's engine; all submissions must use LoadGen itself", "run with --engine mlcommons"
    if stored.errors or detail.get("num_errors"):
        first = f", the first: {stored.errors[0]}" if stored.errors else ""
        yield f"{max(len(stored.errors), int(detail.get('num_errors', 0)))} error(s) in the log{first}", "remove the cause and run it again"
    if run.config.get("task") != "squad" or not (run.conditions.get("data") or {}).get("comparable"):
        asked = (run.conditions.get("data") or {}).get("name")
        yield f"the questions were not SQuAD v1.1 dev but {asked}", "run with --task squad --data FOLDER that holds dev-v1.1.json"
    if detail.get("qsl_reported_total_count") != SAMPLES:
        yield f"the sample library has {detail.get('qsl_reported_total_count')} samples, not {SAMPLES:,}", "run with the whole data set"
    if run.model is None:
        yield "the backend is no model", "run a backend that answers"
    elif rules.closed and stored.parameters not in MODEL_PARAMETERS:
        yield f"the model has {stored.parameters:,} parameters and is not BERT-Large", "run bert-large-squad, or use --division open"
    for file in (DETAIL, SUMMARY):
        if (stored.folder / file).stat().st_size > FILE_LIMIT:
            yield f"{file} is larger than {FILE_LIMIT >> 20} MiB, which the checker refuses", _WRITE_LOGS


def _performance(stored: StoredRun, rules: Rules) -> Problems:
    detail = stored.detail
    yield from _mode(stored, "PerformanceOnly", "SubmissionRun")
    if detail.get("result_validity") != "VALID":
        reasons = "; ".join(reason["text"] for reason in stored.run.verdict.get("reasons", ()))
        cures = "; ".join(reason["cure"] for reason in stored.run.verdict.get("reasons", ()))
        yield f"result_validity is {detail.get('result_validity')}" + (f" ({reasons})" if reasons else ""), cures or "run it again"
    for key in ("result_min_duration_met", "result_min_queries_met"):
        if detail.get(key) is not True:
            yield f"{key} is {detail.get(key)}", "run it longer"
    if _number(detail, "effective_performance_sample_count") < SAMPLES:
        yield f"effective_performance_sample_count is {detail.get('effective_performance_sample_count')}, needs {SAMPLES}", _WRITE_LOGS
    if _number(detail, "effective_min_duration_ms") < MIN_DURATION_MS:
        yield f"effective_min_duration_ms is {detail.get('effective_min_duration_ms')}, needs {MIN_DURATION_MS}", "run with --duration 600"
    if stored.scenario == "Offline" and _number(detail, "effective_samples_per_query") < SAMPLES:
        yield f"the query has {detail.get('effective_samples_per_query')} samples, needs {SAMPLES}", f"run with --min-queries {SAMPLES}"
    if stored.scenario != "Offline" and detail.get("early_stopping_met") is not True:
        yield f"early stopping is not met ({' '.join(str(detail.get('early_stopping_result')).split())})", "run more queries"
    for key in ("effective_performance_issue_same", "effective_performance_issue_unique"):
        if detail.get(key):
            yield f"{key} is set: samples were not drawn at random", "run with --issue random"
    yield from _seeds(stored, rules)


def _seeds(stored: StoredRun, rules: Rules) -> Problems:
    expected = rounds.seeds(rules.round)
    for name, seed in (("qsl", expected.qsl), ("sample_index", expected.sample_index), ("schedule", expected.schedule)):
        found = stored.detail.get(f"effective_{name}_rng_seed")
        if found != seed:
            yield (
                f"effective_{name}_rng_seed is {found}, that of {rules.round} is {seed}",
                f"run with --round {rules.round}, or export with another",
            )


def _accuracy(stored: StoredRun, rules: Rules) -> Problems:
    yield from _mode(stored, "AccuracyOnly", "SubmissionRun")
    if (count := stored.detail.get("effective_accuracy_sample_count", SAMPLES)) < SAMPLES:
        yield f"only {count} samples were asked for accuracy, not {SAMPLES}", "run without --accuracy-count"
    scores = scores_of(stored)
    if scores is None:
        yield "the run holds no exact_match and f1", "run it with --task squad and without --no-accuracy"
    elif (stored.run.accuracy or {}).get("limited"):
        yield "only a part of the answers was scored", "run without --accuracy-samples"
    elif rules.closed and scores[1] < rules.target_f1:
        yield f"F1 {scores[1]} is below the gate of {rules.benchmark}, {rules.target_f1:.6f}", "use a precision that keeps the answers"


def _test01(stored: StoredRun, rules: Rules) -> Problems:
    detail = stored.detail
    found = detail.get("effective_accuracy_log_rng_seed"), detail.get("effective_accuracy_log_sampling_target")
    if found != (test01.SEED, test01.TARGET):
        yield (
            f"the audit settings were not in force (seed and sampling target of the accuracy log: {found})",
            "run `assay audit test01` again",
        )
    if not (stored.folder / ACCURACY).is_file():
        yield f"no {ACCURACY} with the answers that were logged", "run `assay audit test01` again"
    if PASSED not in _text(stored, VERIFY_PERFORMANCE):
        yield f"{VERIFY_PERFORMANCE} does not say {PASSED}", "run both again on a machine that does nothing else"
    if PASSED in [line.strip() for line in _text(stored, VERIFY_ACCURACY).splitlines()]:
        return
    baseline, compliance = (_f1(_text(stored, name)) for name in (BASELINE, COMPLIANCE))
    share = TEST01_SHARE[rules.benchmark]
    if baseline is None or compliance is None:
        yield f"{VERIFY_ACCURACY} does not say {PASSED}, and {BASELINE} and {COMPLIANCE} with an F1 line are not both there", "audit again"
    elif not test01.excused(baseline, compliance, share):
        text = f"the answers differ, and their F1, {baseline} and {compliance}, by more than {100 * share:g} %"
        yield text, "find out why answers differ between runs"


def _mode(stored: StoredRun, *allowed: str) -> Problems:
    if (mode := stored.detail.get("effective_test_mode")) not in allowed:
        yield f"the log is of mode {mode}, not {' or '.join(allowed)}", "export a folder whose files belong together"


_CHECKS: Mapping[str, tuple[Callable[[StoredRun, Rules], Problems], ...]] = {
    "performance": (_common, _performance),
    "accuracy": (_common, _accuracy),
    "test01": (_common, _performance, _test01),
}


def scores_of(stored: StoredRun) -> tuple[float, float] | None:
    """Exact match and F1 of the run, points; None if it has not both."""
    scores = (stored.run.accuracy or {}).get("scores") or {}
    exact, f1 = scores.get("exact_match"), scores.get("f1")
    return None if exact is None or f1 is None else (float(exact), float(f1))


def _number(detail: Mapping[str, Any], key: str) -> float:
    """0 for what is not there."""
    value = detail.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _text(stored: StoredRun, name: str) -> str:
    file = stored.folder / name
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _f1(text: str) -> float | None:
    found = [match.group(1) for match in map(F1_LINE.match, text.splitlines()) if match]
    return float(found[-1]) if found else None
