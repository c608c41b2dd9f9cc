"""The types every part of Assay shares: what is asked, what answers, what is written down.

Data are frozen dataclasses, roles are protocols. Standard library and numpy only; imports nothing of ours.

Times are integer nanoseconds counted from the start of the run unless a name says otherwise, lengths are tokens, rates are per second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000

# --------------------------------------------------------------------------------------------------------------------- traffic


@dataclass(frozen=True, slots=True)
class Seeds:
    """The three seeds of LoadGen; only their low 32 bits matter. Default: MLPerf Inference v6.1 (mlperf.conf of LoadGen 6.0.17)."""

    qsl: int = 2085463073848966840
    sample_index: int = 2747215439041700203
    schedule: int = 16159082839903944936


@dataclass(frozen=True, slots=True)
class AccuracyLog:
    """Which answers of a performance run are logged: each with `probability`, or so that about `target` of them are (0: by probability)."""

    seed: int = 0
    probability: float = 0.0
    target: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a scenario is asked to play, and what it is judged by. Names follow LoadGen's effective settings.

    `target_qps` is the arrival rate of Server, the expected rate of Offline (samples/s) and, for the closed-loop scenarios, the
    inverse of the expected latency; it must be set by the time `traffic` is called where the scenario says it needs a rate.
    """

    min_duration_ns: int = 10 * SECOND_NS
    max_duration_ns: int = 0  # 0: no limit
    min_queries: int = 100  # Offline: samples, as in LoadGen
    max_queries: int = 0  # 0: no limit
    target_qps: float = 1.0
    latency_bound_ns: int = 0  # Server only; 0: none
    percentile: float = 0.99
    samples_per_query: int = 8  # MultiStream only
    performance_sample_count: int = 0  # size of the loaded set; 0: all samples
    library_sample_count: int = 0  # what the sample library says fits, before the line above overrides it; 0: the same
    accuracy_sample_count: int = 0  # samples of an accuracy run, counted from the first; 0: all samples
    seeds: Seeds = Seeds()
    mode: Literal["performance", "accuracy"] = "performance"
    issue: Literal["random", "unique", "same"] = "random"
    same_index: int = 0
    concatenate_permutation: bool = False
    coalesce: bool = False  # Server: LoadGen hands overdue queries over in one call; here batching does, whatever this says
    max_async: int = 0  # Server: more unanswered queries than this end the run; 0: no limit
    accuracy_log: AccuracyLog = AccuracyLog()
    require_early_stopping: bool = False  # rules standard and mlperf; quick only reports it


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run may end: not before both minima, at once at a maximum (0: none). `max_async`: of queries due and not answered."""

    min_duration_ns: int
    min_queries: int
    max_duration_ns: int = 0
    max_queries: int = 0
    max_async: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What LoadGen makes beforehand for one loaded set, as its detail log tells it.

    indices            samples in loaded order, with the padding of MultiStream
    queries            queries made
    samples_per_query  of each
    duration_ns        when one more query would be scheduled
    """

    indices: Int32
    queries: int
    samples_per_query: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rows of the ledger as a scenario wants them asked, in order.

    query      (rows,) int64: rows with one number belong to one query; numbers ascend
    sample     (rows,) int32: index into the task's samples
    due_ns     (rows,) int64, ascending; None: closed loop, due when the previous query is complete
    limits     when the run may end
    more       gives about that many further rows of the same sequence (numbers and due times go on); None: there are none
    parts      the loaded sets, in order; empty where nothing was planned as LoadGen does
    """

    query: Int64
    sample: Int32
    due_ns: Int64 | None
    limits: Limits
    more: Callable[[int], Traffic] | None = None
    parts: tuple[Part, ...] = ()


class Status(IntEnum):
    """State of a ledger row."""

    PENDING = 0
    TAKEN = 1
    DONE = 2
    ERROR = 3
    LOST = 4


@dataclass(frozen=True, slots=True)
class Columns:
    """The ledger after (or during) a run; all arrays (rows,). Times not yet known are -1. `end_ns` is when the run ended."""

    query: Int64
    sample: Int32
    due_ns: Int64
    taken_ns: Int64
    done_ns: Int64
    batch: Int32
    worker: NDArray[np.int16]
    status: NDArray[np.int8]
    end_ns: int

    @property
    def served(self) -> NDArray[np.bool_]:
        """Rows that were answered without an error."""
        return np.asarray(self.status == Status.DONE)

    @property
    def latency_ns(self) -> Int64:
        """`done - due` of each row; a row that was not served is charged until the end of the run, so it can never look fast."""
        return np.where(self.served, self.done_ns, max(self.end_ns, int(self.done_ns.max(initial=0)))) - self.due_ns


# ---------------------------------------------------------------------------------------------------------------- tasks, models


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one call. `input_ids`, `attention_mask`, `token_type_ids`: (batch, length) int64, C-contiguous; `lengths`: (batch,)
    int64, real tokens. `samples`: (batch,) indices of the samples, for backends that look answers up instead of computing them."""

    input_ids: Int64
    attention_mask: Int64
    token_type_ids: Int64
    lengths: Int64
    samples: IntArray


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of a task, tokenised: ragged rows laid end to end. Small enough to send to worker processes.

    input_ids        (tokens,) int32
    token_type_ids   (tokens,) int8
    offsets          (samples + 1,) int64: sample i is [offsets[i], offsets[i + 1])
    pad_id           fills input_ids behind the real tokens
    max_length       longest input the task uses; what `fixed` batching pads to
    """

    input_ids: Int32
    token_type_ids: NDArray[np.int8]
    offsets: Int64
    pad_id: int
    max_length: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        """Real tokens of each sample, (samples,)."""
        return np.diff(self.offsets)


Answer = Mapping[str, NDArray[Any]]
"""Outputs for one sample, by name, without the batch axis and without padding."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output a task expects from a backend: (batch, length) if `per_token`, else (batch, `width`); floating point."""

    name: str
    per_token: bool = False
    width: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """A model on disk in the layout of transformers (config.json, model.safetensors, tokenizer.json): picklable, not loaded.

    `sha256` covers weights and configuration; `parameters` and `bytes` describe the weights file.
    """

    name: str
    folder: Path
    head: Literal["question-answering", "sequence-classification"]
    sha256: str
    parameters: int
    bytes: int
    allow_pickle: bool = False


class Task(Protocol):
    """Samples and how answers to them are judged. Made by `create(options)` in a file of `tasks/`.

    head             which head the model needs
    metric           primary metric, a key of what `score` returns
    samples          tokenised inputs
    outputs          what a backend must return
    fingerprint      sha256 over data, vocabulary and settings: two equal fingerprints ask the same questions
    data_name        what people call the data ("SQuAD v1.1 dev", "built-in sample set")
    comparable       False for the built-in sample set: its scores compare with nothing published
    latency_bound_ns Server bound for this task
    """

    name: str
    head: Literal["question-answering", "sequence-classification"]
    metric: str
    samples: Samples
    outputs: Sequence[Output]
    fingerprint: str
    data_name: str
    comparable: bool
    latency_bound_ns: int

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Metrics in points (0 to 100) over the examples whose samples all have an answer; keys include `metric`, and `examples` (n)."""
        ...

    def points(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """What each example that `score` counts adds to the primary metric, (examples,): its mean is the metric. Empty for a metric that
        is no mean."""
        ...

    def correct(self, answers: Mapping[int, Answer]) -> NDArray[np.bool_]:
        """Which of the examples that `score` counts are right, (examples,), in the order of `points`: ascending example number. Empty
        for a metric that knows no right and wrong (a correlation)."""
        ...

    def decide(self, sample: int, answer: Answer) -> Any:
        """The decision an answer stands for (a label, a span): two equal decisions are the same answer."""
        ...

    def subset(self, count: int, seed: int) -> Int64:
        """Sample indices, ascending, of `count` examples drawn with `seed` (all of them if there are no more)."""
        ...


@runtime_checkable
class Answered(Protocol):
    """What a task may add: with it, answers that changed without becoming right or wrong can be counted."""

    def answered(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """What was answered to each example that `score` counts, as a number, (examples,), in the order of `points`: a class, a value,
        a checksum of a text. Equal numbers are equal answers."""
        ...


@runtime_checkable
class Rescored(Answered, Protocol):
    """What a task adds whose metric is no mean over the examples (Matthews, a correlation, F1 over the set): with it, the metric can be
    computed again on resampled examples."""

    def truths(self, answers: Mapping[int, Answer]) -> NDArray[np.float64]:
        """What would have been right, (examples,), in the order and the numbers of `answered`."""
        ...

    def metric_of(self, truths: NDArray[np.float64], answered: NDArray[np.float64]) -> float:
        """The primary metric in points of any pairs of `truths` and `answered`, (n,) each, examples possibly more than once."""
        ...


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a task needs to be made. `data`: folder with official files, None for the built-in set. `tokenizer`: folder with
    tokenizer.json. `labels`: the model's label names by id, empty if unknown. `cache`: folder for features, None to keep none.
    `source`: the file of the user's own data that `--task` names, None for a task by name; `settings`: what its flags say (columns,
    labels, metric), by the name of the setting."""

    data: Path | None
    tokenizer: Path
    cache: Path | None
    labels: Sequence[str] = ()
    max_length: int | None = None
    source: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------------------------------- backends


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples that fix the ranges of a statically quantised model and are never scored. `source`: where they are from, in words;
    `fingerprint`: sha256 of what they ask."""

    samples: Samples
    source: str
    fingerprint: str


@runtime_checkable
class Calibrated(Protocol):
    """What a task may add: samples to calibrate with."""

    def calibration(self, count: int, seed: int) -> Calibration:
        """At most `count` samples of its training data, drawn with `seed`. Raises MissingError where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Shapes:
    """Batches that a run can meet: at most `max_batch` rows and, above 0, at most `max_tokens` padded tokens (a single row may have
    more); `lengths`: every padded length, ascending, empty where they are not known."""

    max_batch: int = 32
    max_tokens: int = 0
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Where and how one instance runs.

    options      words behind `+` in `--backend pytorch:amp+compile`
    device       auto, cpu, cuda, cuda:1 ...
    threads      CPU threads this instance may use
    cache        folder for what is made from a model (exported, quantised, built); None: a temporary one
    calibration  given to precisions that a plugin lists in CALIBRATED
    """

    precision: str = ""
    device: str = "auto"
    threads: int = 1
    worker: int = 0
    options: tuple[str, ...] = ()
    cache: Path | None = None
    calibration: Calibration | None = None
    shapes: Shapes = Shapes()


class Backend(Protocol):
    """A runtime. Made by `create(options)` in a file of `backends/`; the constructor only stores, `load` does the work.

    The file may also define `prepare(options, model, say)`: it does ahead of time, once and in the parent process, what takes long and is
    kept in `options.cache`, telling `say` a line for each step. `load` does the same where it finds nothing.

    `needs_inputs` is False for a backend that never looks at its batch: nothing is collated for it.
    `answers` is False for a backend that is no model (null): nothing is kept or scored.
    """

    needs_inputs: bool
    answers: bool

    def load(self, model: Model | None) -> None:
        """Get ready to answer. Raises MissingError for what this machine lacks and BackendError when what was asked would not be
        what runs (a silent fallback)."""
        ...

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """Outputs of one batch. Returning means finished: device synchronised, results on the host."""
        ...

    def close(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        """What really runs: runtime, version, precision, device, threads. Plain JSON values."""
        ...


# -------------------------------------------------------------------------------------------------------------------- scenarios


@dataclass(frozen=True, slots=True)
class Metric:
    """A headline number. `better` says which way is good."""

    name: str
    value: float
    unit: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is not valid, and the number that would cure it."""

    code: str
    text: str
    cure: str


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """LoadGen's bound on the percentile (confidence 0.99). `needed` is the number of queries at which it would be met, `estimate_ns`
    the bound itself where the scenario has one."""

    percentile: float
    met: bool
    queries: int
    needed: int
    text: str
    estimate_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scenario makes of its ledger. `metric` is None only for an accuracy run without a score. `rates`: further figures by
    name, per second."""

    metric: Metric | None
    reasons: tuple[Reason, ...] = ()
    early_stopping: EarlyStopping | None = None
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return not self.reasons


class Scenario(Protocol):
    """A schedule and a verdict. Made by `create()` in a file of `scenarios/`.

    name            as typed: server, single-stream ...
    closed_loop     the next query is due when the previous one is complete
    needs_rate      `target_qps` must be known before `traffic` is called
    paced           queries arrive at `target_qps` whatever the system does, and must meet the latency bound
    percentile      LoadGen's default target percentile (0.9 or 0.99)
    quick_queries   least queries under the quick rules
    """

    name: str
    closed_loop: bool
    needs_rate: bool
    paced: bool
    percentile: float
    quick_queries: int

    def traffic(self, settings: Settings, sample_count: int) -> Traffic: ...

    def wants_more(self, columns: Columns, settings: Settings) -> int:
        """How many further rows the run needs, asked when all rows have been handed out; 0 ends the run. `columns.end_ns` is now."""
        ...

    def judge(self, columns: Columns, settings: Settings) -> Verdict:
        """Validity by this scenario's rules. Errors and lost rows are judged by the session, for all scenarios alike."""
        ...


# -------------------------------------------------------------------------------------------------------------------------- run


Word = Literal["passed", "passed, within noise", "missed, within noise", "missed"]
"""A verdict on accuracy; the words behind the comma say that the interval of the gap holds the target's gap, too."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Answers against those of the FP32 reference to the same examples. A figure that the task's metric does not have is None.

    flips_to_wrong  right in FP32 and wrong here
    flips_to_right  wrong in FP32 and right here
    changed         another answer, as right or as wrong as FP32's
    mcnemar_p       two-sided exact p of so uneven a split of the flips, if both ways were as likely
    gap             metric here minus metric of FP32, points
    gap_interval    95 % paired bootstrap interval of it
    allowed_flips   right answers that may become wrong before the target can be missed
    """

    flips_to_wrong: int | None
    flips_to_right: int | None
    changed: int | None
    mcnemar_p: float | None
    gap: float
    gap_interval: tuple[float, float] | None
    allowed_flips: int | None
    word: Word


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Score of a run against its target. `reference`, `target` and `passed` are None where there is no reference to hold against.

    target            what `value` is held against: `share_target`, or less where a small set allows 3 flips
    share_target      the share of the reference that was asked for
    reference_source  where the reference is from, and how it was made
    paired            None where the reference's own answers to the examples are not known
    """

    metric: str
    value: float
    reference: float | None
    target: float | None
    passed: bool | None
    source: str
    samples: int
    scores: Mapping[str, float]
    interval: tuple[float, float] | None = None
    limited: bool = False
    agreement: Mapping[str, Any] | None = None
    share_target: float | None = None
    reference_source: str | None = None
    paired: Paired | None = None


RUN_SCHEMA = 1
"""Version of run.json. 1: first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that is written to run.json, schema `RUN_SCHEMA`; section 5 of the design names the keys inside each mapping."""

    run_id: str
    started_utc: str
    config: Mapping[str, Any]
    verdict: Mapping[str, Any]
    accuracy: Mapping[str, Any] | None
    latency_ns: Mapping[str, int | None]
    throughput: Mapping[str, Any]
    counts: Mapping[str, int]
    traffic: Mapping[str, Any]
    early_stopping: Mapping[str, Any] | None
    backend: Mapping[str, Any]
    model: Mapping[str, Any] | None
    conditions: Mapping[str, Any]
    telemetry: Mapping[str, Any]
    steady: Mapping[str, Any] | None = None
    timings: Mapping[str, float | None]
    warnings: Sequence[str]
    files: Mapping[str, str]
    complete: bool
    exit_code: int
    schema: int = RUN_SCHEMA
