"""TEST01 of MLPerf: are the answers of the timed run those of the accuracy run, and is the run that logs them as fast? Pure.

Source of every bound: the kit's scripts for TEST01 (verify_accuracy.py, verify_performance.py) and the submission checker of MLPerf
Inference v6.1. The kit compares the first element of each answer; here every byte is compared, and what the kit would say is told too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.core import Answer, Int64, Metric, Output, Task
from harness.errors import BackendError, DataError, RunError
from harness.units import count, quantity
from harness.units import score as points
from harness.units import share as percent

SEED = 720381539243781796
"""accuracy_log_rng_seed of the kit's audit.config."""

TARGET = 4096
"""accuracy_log_sampling_target of its file for BERT."""

SHARE, STRICT_SHARE = 0.01, 0.001
"""How far the scores of the two runs may be apart where answers differ (bert-99, bert-99.9)."""

ALLOWED, ALLOWED_SHORT = 0.10, 0.20
"""How far the headline numbers may be apart; the second where latencies are short."""

SHORT_NS = {"single-stream": 200_000, "multi-stream": 1_600_000}
"""Up to this headline latency of the submission run the wider bound holds."""

_FIRST_BYTES = 4
"""The kit's first element with --dtype float32."""

_SHOWN = 5


class Record(Protocol):
    """One answer of mlperf_log_accuracy.json. `data`: the bytes as logged."""

    @property
    def seq_id(self) -> int: ...
    @property
    def qsl_idx(self) -> int: ...
    @property
    def data(self) -> bytes: ...


# ------------------------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Comparison:
    """The logged answers of a performance run held against an accuracy run.

    records            answers that the performance run logged, `samples` of them of different samples
    accuracy_records   answers that the accuracy run logged; `conflicting` of them differ from an earlier one to the same sample
    missing            records whose sample the accuracy run did not answer
    different          records that have other bytes, or none; `examples` are their samples, at most five
    first_different    records whose first float32 differs: all that the kit's script looks at
    largest            largest absolute difference, as float32; infinite where sizes differ or a value is NaN, 0 where nothing differs
    """

    records: int
    samples: int
    accuracy_records: int
    conflicting: int
    missing: int
    different: int
    first_different: int
    largest: float
    examples: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """There is something to compare, and something to compare it with."""
        return self.records > 0 and self.missing == 0

    @property
    def identical(self) -> bool:
        return self.complete and self.different == 0

    @property
    def kit_passes(self) -> bool:
        """What verify_accuracy.py --dtype float32 would say; it overlooks missing samples."""
        return self.records > self.missing and self.first_different == 0


def compare(performance: Sequence[Record], accuracy: Sequence[Record]) -> Comparison:
    """Every logged answer of a performance run against the accuracy run's answer to the same sample (its first, by `seq_id`)."""
    expected, conflicting = _by_sample(accuracy)
    found = [(record, expected[record.qsl_idx]) for record in performance if record.qsl_idx in expected]
    different = [(record, data) for record, data in found if not record.data or record.data != data]
    return Comparison(
        records=len(performance),
        samples=len({record.qsl_idx for record in performance}),
        accuracy_records=len(accuracy),
        conflicting=conflicting,
        missing=len(performance) - len(found),
        different=len(different),
        first_different=sum(not record.data or record.data[:_FIRST_BYTES] != data[:_FIRST_BYTES] for record, data in different),
        largest=max((_difference(record.data, data) for record, data in different), default=0.0),
        examples=tuple(sorted({record.qsl_idx for record, _ in different})[:_SHOWN]),
    )


def _by_sample(records: Sequence[Record]) -> tuple[dict[int, bytes], int]:
    """The first answer to each sample, and how many later ones differ from it."""
    first: dict[int, bytes] = {}
    conflicting = 0
    for record in sorted(records, key=lambda each: each.seq_id):
        conflicting += first.setdefault(record.qsl_idx, record.data) != record.data
    return first, conflicting


def _difference(data: bytes, expected: bytes) -> float:
    if len(data) != len(expected) or len(data) % 4 or not data:
        return math.inf
    apart = np.abs(np.frombuffer(data, "<f4").astype(np.float64) - np.frombuffer(expected, "<f4").astype(np.float64)).max()
    return math.inf if np.isnan(apart) else float(apart)


def decode(data: bytes, outputs: Sequence[Output], length: int) -> Answer:
    """An answer from its bytes in the log: float32, outputs of tokens side by side (BERT: start and end interleaved), then the others one
    after another. Where all outputs are of tokens, those behind `length` are padding. Raises DataError for bytes that are no such answer.
    """
    values = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
    of_tokens = [output for output in outputs if output.per_token]
    others = [output for output in outputs if not output.per_token]
    flat = sum(output.width for output in others)
    rows, rest = divmod(len(values) - flat, len(of_tokens)) if of_tokens else (length, len(values) - flat)
    if len(data) % 4 or rest or rows < length or (flat and rows > length):
        names = ", ".join(output.name for output in outputs)
        raise DataError(f"{len(data)} bytes are no answer of {names} to {length} tokens", "make the log with the same task and model")
    tokens = rows * len(of_tokens)
    answer = _named(of_tokens, list(values[:tokens].reshape(rows, len(of_tokens))[:length].T))
    return answer | _named(others, np.split(values[tokens:], np.cumsum([output.width for output in others])[:-1]))


def _named(outputs: Sequence[Output], parts: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {output.name: part for output, part in zip(outputs, parts, strict=False)}


# -------------------------------------------------------------------------------------------------------------------------- scores


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of both runs over the samples that the performance run logged.

    baseline              of the accuracy run's answers
    compliance            of the performance run's: of the first or the last answer to each sample, whichever is further from the baseline
    different_decisions   records that stand for another decision than the accuracy run's answer
    """

    metric: str
    baseline: Mapping[str, float]
    compliance: Mapping[str, float]
    different_decisions: int

    def excused(self, share: float) -> bool:
        return excused(self.baseline[self.metric], self.compliance[self.metric], share)


def score(task: Task, performance: Sequence[Record], accuracy: Sequence[Record]) -> Scores | None:
    """Score both runs over the logged subset; None where it completes no example (a long question has several windows).

    Raises DataError for bytes that are no answer, BackendError for an answer that no score can be made of.
    """
    lengths = task.samples.lengths
    expected, _ = _by_sample(accuracy)
    wanted = {record.qsl_idx for record in performance}
    baseline = {index: _answer(task, lengths, index, data) for index, data in expected.items() if index in wanted}
    ordered = sorted(performance, key=lambda each: each.seq_id)
    answers = [(record.qsl_idx, _answer(task, lengths, record.qsl_idx, record.data)) for record in ordered]
    decisions = {index: task.decide(index, answer) for index, answer in baseline.items()}
    try:
        wanted_score = task.score(baseline)
    except BackendError:
        raise
    except RunError:
        return None
    rounds = [task.score(dict(reversed(answers))), task.score(dict(answers))]
    return Scores(
        metric=task.metric,
        baseline=wanted_score,
        compliance=max(rounds, key=lambda each: abs(each[task.metric] - wanted_score[task.metric])),
        different_decisions=sum(task.decide(index, answer) != decisions[index] for index, answer in answers),
    )


def _answer(task: Task, lengths: Int64, index: int, data: bytes) -> Answer:
    if not 0 <= index < len(lengths):
        raise DataError(f"sample {index} is logged, the data has {len(lengths):,} samples", "make the log with the same data")
    try:
        return decode(data, task.outputs, int(lengths[index]))
    except DataError as error:
        raise DataError(f"sample {index}: {error}", error.cure) from None


def excused(baseline: float, compliance: float, share: float) -> bool:
    """The submission checker's rule where answers differ: |1 - baseline / compliance| <= share, and neither is 0."""
    if baseline == 0 or compliance == 0:
        return False
    return abs(1 - baseline / compliance) * 100 <= share * 100


# --------------------------------------------------------------------------------------------------------------------- performance


@dataclass(frozen=True, slots=True)
class PerformanceCheck:
    """The headline numbers of both runs. `allowed`: share of the submission's that they may be apart."""

    submission: Metric | None
    audit: Metric | None
    allowed: float
    submission_valid: bool
    audit_valid: bool

    @property
    def change(self) -> float | None:
        """Audit over submission, minus one; None where a run has no number."""
        if self.submission is None or self.audit is None or self.submission.value == 0:
            return None
        return self.audit.value / self.submission.value - 1

    @property
    def within(self) -> bool:
        """The kit's rule: reference * (1 - allowed) <= test <= reference * (1 + allowed)."""
        if self.submission is None or self.audit is None or self.submission.name != self.audit.name:
            return False
        reference = self.submission.value
        return reference * (1 - self.allowed) <= self.audit.value <= reference * (1 + self.allowed)

    @property
    def passed(self) -> bool:
        return self.submission_valid and self.audit_valid and self.within


def performance(
    scenario: str, submission: Metric | None, audit: Metric | None, *, submission_valid: bool, audit_valid: bool
) -> PerformanceCheck:
    """Hold the headline number of the TEST01 run against the submission run's. `scenario`: our name."""
    short = submission is not None and submission.unit == "ns" and submission.value <= SHORT_NS.get(scenario, -1)
    return PerformanceCheck(submission, audit, ALLOWED_SHORT if short else ALLOWED, submission_valid, audit_valid)


# --------------------------------------------------------------------------------------------------------------------------- texts


def verify_accuracy_text(comparison: Comparison) -> str:
    """verify_accuracy.txt: the kit's counts, over all bytes. TEST FAIL sends the checker on to the two files of scores."""
    counts = {
        "num_acc_log_entries": comparison.accuracy_records,
        "num_acc_log_data_mismatch": comparison.conflicting,
        "num_perf_log_entries": comparison.records,
        "num_perf_log_qsl_idx_match": comparison.records - comparison.missing,
        "num_perf_log_data_mismatch": comparison.different,
        "num_missing_qsl_idxs": comparison.missing,
    }
    return _verdict([f"{name} = {value}" for name, value in counts.items()], comparison.identical)


def verify_performance_text(check: PerformanceCheck) -> str:
    """verify_performance.txt: both numbers, in the unit of the log files."""
    lines = [f"{name}: result is not VALID" for name, valid in _validity(check) if not valid]
    lines += [f"{name} score = {metric.value!r}" for name, metric in (("Reference", check.submission), ("Test", check.audit)) if metric]
    return _verdict(lines, check.passed)


def _validity(check: PerformanceCheck) -> list[tuple[str, bool]]:
    return [("submission run", check.submission_valid), ("TEST01 run", check.audit_valid)]


def _verdict(lines: Sequence[str], passed: bool) -> str:
    return "\n".join([*lines, "TEST PASS" if passed else "TEST FAIL"]) + "\n"


def accuracy_text(scores: Mapping[str, float]) -> str:
    """baseline_accuracy.txt and compliance_accuracy.txt: the line that the checker looks for in squad, else all scores as JSON."""
    shown = {name: scores[name] for name in ("exact_match", "f1")} if scores.keys() >= {"exact_match", "f1"} else dict(scores)
    return json.dumps(shown) + "\n"


# ------------------------------------------------------------------------------------------------------------------------- verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the audit is not passed, and what to do about it."""

    text: str
    cure: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that TEST01 found. `scores` is None where the logs cannot be held against each other; `share`: how far they may be
    apart."""

    comparison: Comparison
    scores: Scores | None
    share: float
    check: PerformanceCheck

    @property
    def accuracy_passed(self) -> bool:
        return self.comparison.identical or (self.comparison.complete and self.scores is not None and self.scores.excused(self.share))

    @property
    def passed(self) -> bool:
        return self.accuracy_passed and self.check.passed

    def findings(self) -> list[Finding]:
        """Empty where the audit is passed."""
        return ([] if self.accuracy_passed else [self._wrong_answers()]) + self._wrong_speed()

    def _wrong_answers(self) -> Finding:
        found = self.comparison
        if not found.records:
            return Finding("the TEST01 run logged no answer", "let it last longer: raise --duration")
        if found.missing:
            text = f"{count(found.missing)} of {count(found.records)} logged answers are to samples that the accuracy run did not answer"
            return Finding(text, "make the accuracy run over all samples, without --accuracy-count")
        apart = f"the scores are more than {percent(self.share)} apart"
        scores = apart if self.scores is not None else "no example is complete, so that no score can excuse it"
        return Finding(
            f"{count(found.different)} of {count(found.records)} answers of the timed run are not those of the accuracy run, and {scores} "
            f"(samples {', '.join(map(str, found.examples))} ...)",
            "the backend answers differently when it is timed: look at batching, state kept between calls, and races between workers",
        )

    def _wrong_speed(self) -> list[Finding]:
        check = self.check
        found = [
            Finding(f"the {name} is not VALID", "see its report, and cure what it names") for name, valid in _validity(check) if not valid
        ]
        if found or check.within:
            return found
        if check.change is None:
            return [Finding("the two runs have no common headline number", "make both runs with the same scenario")]
        text = f"the headline number changed by {100 * check.change:+.1f} %, {percent(check.allowed)} is allowed"
        return [Finding(text, "nothing else may run on this machine; if it is quiet and runs are short, raise --duration")]

    def as_data(self) -> dict[str, Any]:
        """Plain values for audit.json."""
        found = asdict(self.comparison) | {"identical": self.comparison.identical, "kit_passes": self.comparison.kit_passes}
        scores = None if self.scores is None else asdict(self.scores) | {"share": self.share, "excused": self.scores.excused(self.share)}
        speed = asdict(self.check) | {"change": self.check.change, "passed": self.check.passed}
        return {
            "accuracy": {"passed": self.accuracy_passed, "comparison": found, "scores": scores},
            "performance": speed,
            "findings": [asdict(each) for each in self.findings()],
        }

    def text(self) -> str:
        """What was compared, in lines for a terminal."""
        lines = [*self._answer_lines(), *self._speed_lines()]
        for each in self.findings():
            lines += [f"FAIL  {each.text}", f"      {each.cure}"]
        return "\n".join([*lines, "TEST01 passed" if self.passed else "TEST01 failed"])

    def _answer_lines(self) -> list[str]:
        found = self.comparison
        lines = [
            f"answers      {count(found.records)} of the timed run, to {count(found.samples)} samples, held against "
            f"{count(found.accuracy_records)} of the accuracy run",
            f"             {count(found.records - found.missing - found.different)} identical, {count(found.different)} different "
            f"(by at most {found.largest:.2g}), {count(found.missing)} without a counterpart",
            f"             MLPerf's script, which compares first numbers only: {'PASS' if found.kit_passes else 'FAIL'}",
        ]
        if self.scores is not None:
            name, baseline, compliance = self.scores.metric, self.scores.baseline, self.scores.compliance
            lines += [
                f"             {count(self.scores.different_decisions)} stand for another decision; {name} on these samples "
                f"{points(baseline[name])} in the accuracy run, {points(compliance[name])} in the timed run "
                f"({percent(self.share)} apart is allowed)"
            ]
        return lines

    def _speed_lines(self) -> list[str]:
        check = self.check
        if check.submission is None or check.audit is None or check.change is None:
            return []
        before, now = (quantity(metric.value, metric.unit) for metric in (check.submission, check.audit))
        return [f"performance  {before} in the submission run, {now} here: {100 * check.change:+.1f} %, allowed ±{percent(check.allowed)}"]
