"""The settings of a run: one schema for the YAML file, the flags and the configuration saved in run.json.

A key of the file and the flag of the same name mean the same thing (`target_qps` or `target-qps` in the file, `--target-qps` on the
command line); flags win. A setting that is None is decided later: by the rules, by the task or by a probe run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import MissingError, UsageError
from harness.suggest import advice, closest
from harness.units import parse_ms, parse_seconds

DATA_VARIABLE = "ASSAY_DATA"
"""Environment variable with the folder of official data, used where `data` is not given."""

MOST_WORKERS = 256

SUITES = ("glue",)
"""Names that stand for several tasks; `harness.suite` has their members."""

OWN_FILES = (".yaml", ".yml", ".csv", ".tsv", ".jsonl")
"""Endings of a task that is a file of the user's own data; tasks/custom.py reads them."""

OWN = (
    "text_column",
    "pair_column",
    "label_column",
    "question_column",
    "context_column",
    "answer_column",
    "labels",
    "positive",
    "metric",
)
"""Settings that say how such a file is read and judged."""

GROUPS = ("what runs", "your own data", "rules and traffic", "LoadGen's modes", "batching and workers", "accuracy", "measurement", "output")


def _number(parse: Callable[[str], float] | None) -> BeforeValidator:
    """Text goes through `parse`; true and false are not numbers, though Python thinks so."""

    def check(value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("true and false are not numbers")  # noqa: TRY004  (pydantic turns only ValueError into its own)
        return parse(value) if parse and isinstance(value, str) else value

    return BeforeValidator(check)


def _name(value: object) -> object:
    """Names are written with `-`; `_` and capitals are accepted. A path to a file is left alone."""
    if not isinstance(value, str) or ".py" in value or os.sep in value or value.lower().endswith(OWN_FILES):
        return value
    return value.strip().lower().replace("_", "-")


def _folder(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty")
    return Path(value).expanduser() if isinstance(value, str) else value


def _workers(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    count = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_WORKERS:
        raise ValueError(f"is neither auto nor a whole number from 1 to {MOST_WORKERS}")
    return count


def _pad_to(value: object) -> object:
    """A multiple or ascending lengths, as text without spaces."""
    parts = [part.strip() for part in str(value).split(",")]
    if isinstance(value, bool) or not all(part.isdecimal() for part in parts):
        raise ValueError("is neither a whole number nor a list of them")
    numbers = [int(part) for part in parts]
    if numbers[-1] > 1_048_576:
        raise ValueError("is longer than any input")
    if numbers[0] < 1 or any(after <= before for before, after in itertools.pairwise(numbers)):
        raise ValueError("is not ascending from 1 or more")
    return ",".join(map(str, numbers))


Seconds = Annotated[float, _number(parse_seconds)]
Milliseconds = Annotated[float, _number(parse_ms)]
Number = Annotated[float, _number(None)]
Whole = Annotated[int, _number(None)]
Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Workers = Annotated[Literal["auto"] | int, BeforeValidator(_workers)]
PadTo = Annotated[str, BeforeValidator(_pad_to)]


def _setting(default: object, group: str, text: str, form: str = "", **constraints: Any) -> Any:
    """A field with what `--help` says about it (`text`) and what a value looks like (`form`, the cure of a wrong one)."""
    return Field(default, description=text, json_schema_extra={"group": group, "form": form}, **constraints)


_PAD_TO_FORM = "a whole number such as 8 or 64, or ascending lengths such as 64,128,256,384"
_SECONDS_FORM = "a time such as 20, 90s or 2min"
_INTERVAL_FORM = "a time such as 1 or 0.2s; 0 for none"
_LIMIT_FORM = _SECONDS_FORM + "; 0 for no limit"
_MS_FORM = "a time in milliseconds such as 130 or 130ms"
_WHOLE_FORM = "a whole number of 1 or more"
_COUNT_FORM = "a whole number of 0 or more"
_SEED_FORM = "a whole number of 0 or more; left out, it is the seed of the round"


class RunConfig(BaseModel):
    """Settings of one run. Frozen; an unknown key is an error. `load` makes one from a file and flags, with errors that name both."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scenario: Name = _setting("offline", GROUPS[0], "traffic to play: offline, server, single-stream, multi-stream")
    task: Name = _setting(
        "squad",
        GROUPS[0],
        "questions to ask: a name from `assay list`, glue for all of GLUE, your own data (.yaml, .csv, .tsv, .jsonl) or .py file",
    )
    backend: Name = _setting(
        "pytorch:fp32", GROUPS[0], "runtime, precision and options: name[:precision][+option...]; name may be a path/to/file.py"
    )
    model: str | None = _setting(None, GROUPS[0], "registered name, folder or hub id (default: the task's embedded model)", min_length=1)
    data: Folder | None = _setting(
        None, GROUPS[0], f"folder with the official data (default: ${DATA_VARIABLE}, else the built-in sample set)", "an existing folder"
    )
    calibration: Folder | None = _setting(
        None,
        GROUPS[0],
        "file to calibrate INT8 with: training data, or a list such as MLPerf's (default: training data)",
        "an existing file",
    )
    calibration_samples: Whole = _setting(
        128, GROUPS[0], "samples to calibrate INT8 with, and to check it with", "a whole number from 8 to 10000", ge=8, le=10_000
    )
    allow_pickle: bool = _setting(False, GROUPS[0], "accept pickled weights (loaded with weights_only=True)", "true or false")
    offline: bool = _setting(False, GROUPS[0], "use no network", "true or false")

    text_column: str | None = _setting(None, GROUPS[1], "column with the text, or the first text of a pair", min_length=1)
    pair_column: str | None = _setting(None, GROUPS[1], "column with the second text of a pair", min_length=1)
    label_column: str | None = _setting(None, GROUPS[1], "column with the label, or the value to predict", min_length=1)
    question_column: str | None = _setting(None, GROUPS[1], "column with the question", min_length=1)
    context_column: str | None = _setting(None, GROUPS[1], "column with the text that holds the answer", min_length=1)
    answer_column: str | None = _setting(None, GROUPS[1], "column with the answer, or a list of answers", min_length=1)
    labels: str | dict[str, str] | None = _setting(
        None, GROUPS[1], "labels of the data as labels of the model: no=negative,yes=positive (default: the same names)"
    )
    positive: str | None = _setting(None, GROUPS[1], "label whose F1 counts (default: the second of two)", min_length=1)
    metric: Literal["accuracy", "f1", "matthews", "pearson", "spearman", "exact_match"] | None = _setting(
        None, GROUPS[1], "what counts (default: accuracy, pearson for values, f1 for answers)"
    )

    rules: Literal["quick", "standard", "mlperf"] = _setting(
        "quick",
        GROUPS[2],
        "quick: 10 s, early stopping only reported; standard: 60 s or more, early stopping required; mlperf: 600 s, all LoadGen asks for",
    )
    duration: Seconds | None = _setting(None, GROUPS[2], "least time to measure, seconds (default: by the rules)", _SECONDS_FORM, gt=0)
    max_duration: Seconds | None = _setting(
        None,
        GROUPS[2],
        "end the schedule here, 0: no limit (default: none, but a backlog is given up in time; mlperf: never)",
        _LIMIT_FORM,
        ge=0,
    )
    min_queries: Whole | None = _setting(
        None, GROUPS[2], "least queries (offline: samples) to measure (default: by the rules)", _WHOLE_FORM, ge=1
    )
    target_qps: Number | None = _setting(
        None,
        GROUPS[2],
        "queries a second: arrivals in server, expected elsewhere (default: found by a probe)",
        "a rate above 0",
        gt=0,
    )
    latency_bound: Milliseconds | None = _setting(None, GROUPS[2], "server's latency bound, ms (default: the task's)", _MS_FORM, gt=0)
    percentile: Number | None = _setting(
        None, GROUPS[2], "percentile that is judged, as a share (default: the scenario's)", "a share such as 0.9 or 0.99", gt=0, lt=1
    )
    samples_per_query: Whole = _setting(8, GROUPS[2], "samples in one multi-stream query", _WHOLE_FORM, ge=1, le=65_536)
    performance_samples: Whole | None = _setting(
        None, GROUPS[2], "size of the set that samples are drawn from (default: all; mlperf: 10,833)", _WHOLE_FORM, ge=1
    )
    qsl_seed: Whole | None = _setting(None, GROUPS[2], "seed of the loaded set's order", _SEED_FORM, ge=0)
    sample_seed: Whole | None = _setting(None, GROUPS[2], "seed of the choice of samples", _SEED_FORM, ge=0)
    schedule_seed: Whole | None = _setting(None, GROUPS[2], "seed of the arrival times", _SEED_FORM, ge=0)

    mode: Literal["performance", "accuracy", "submission"] = _setting(
        "performance",
        GROUPS[3],
        "performance; accuracy: every sample once, all answers logged; submission: accuracy, then performance",
    )
    engine: Literal["native", "mlcommons"] = _setting(
        "native", GROUPS[3], "who makes the traffic and judges it: Assay, or the official LoadGen (pip install mlcommons-loadgen)"
    )
    round: Literal["v5.0", "v5.1", "v6.0", "v6.1"] = _setting(
        "v6.1", GROUPS[3], "MLPerf Inference round whose seeds and settings are built in"
    )
    user_conf: Folder | None = _setting(None, GROUPS[3], "LoadGen's user.conf; flags win over it (default: none)", "an existing file")
    audit_conf: Folder | None = _setting(
        None, GROUPS[3], "LoadGen's audit.config; wins over everything (default: none)", "an existing file"
    )
    conf_compat: bool = _setting(
        False, GROUPS[3], "read these files as LoadGen does: lines it cannot use are ignored, not errors", "true or false"
    )
    traffic: Folder | None = _setting(
        None, GROUPS[3], "replay a file of `assay traffic`, or the queries.parquet of a run (default: none)", "an existing file"
    )
    find_peak: Literal["none", "loadgen"] = _setting("none", GROUPS[3], "server: search for the highest rate, by LoadGen's own algorithm")
    find_peak_step: Number = _setting(1.0, GROUPS[3], "find-peak: widen the bounds by this share of the rate", "a number above 0", gt=0)
    find_peak_decimals: Whole = _setting(1, GROUPS[3], "find-peak: decimals of the rate that is found", _COUNT_FORM, ge=0, le=9)
    issue: Literal["random", "unique", "same"] = _setting("random", GROUPS[3], "samples: at random, each once, or always the same one")
    same_index: Whole = _setting(0, GROUPS[3], "issue same: which entry of the loaded set, from 0", _COUNT_FORM, ge=0)
    concatenate: bool = _setting(
        False, GROUPS[3], "whole permutations of the set one after another (sample_concatenate_permutation)", "true or false"
    )
    coalesce: bool = _setting(
        False, GROUPS[3], "server: hand overdue queries over in one call (engine mlcommons; batching always does here)", "true or false"
    )
    max_async: Whole | None = _setting(
        None, GROUPS[3], "server: end when more queries than this are unanswered (default: no limit)", _WHOLE_FORM, ge=1
    )
    max_queries: Whole | None = _setting(None, GROUPS[3], "end after this many queries (default: no limit)", _WHOLE_FORM, ge=1)
    accuracy_count: Whole | None = _setting(
        None, GROUPS[3], "samples of an accuracy run, from the first: accuracy_sample_count_override (default: all)", _WHOLE_FORM, ge=1
    )
    accuracy_log_probability: Number = _setting(
        0.0, GROUPS[3], "share of a performance run's answers that is logged", "a share from 0 to 1", ge=0, le=1
    )
    accuracy_log_target: Whole = _setting(0, GROUPS[3], "log about this many answers of a performance run", _COUNT_FORM, ge=0)
    accuracy_log_seed: Whole = _setting(0, GROUPS[3], "seed of the choice of logged answers", _COUNT_FORM, ge=0)
    test05: bool = _setting(False, GROUPS[3], "use the other seeds of the round (MLPerf's former TEST05)", "true or false")
    trace: bool = _setting(False, GROUPS[3], "write mlperf_log_trace.json too (opens in Perfetto)", "true or false")

    batching: Literal["sorted", "fifo", "fixed"] = _setting(
        "sorted",
        GROUPS[4],
        "sorted: similar lengths together; fifo: arrival order; fixed: padded to the task's maximum, as MLPerf's reference",
    )
    max_batch: Whole = _setting(32, GROUPS[4], "most samples in one call of the backend", _WHOLE_FORM, ge=1, le=1_048_576)
    max_batch_tokens: Whole | None = _setting(
        None,
        GROUPS[4],
        "most tokens in one call, padding included, 0: no limit; a longer sample goes alone (default: 1024 on a CPU unless fixed)",
        _COUNT_FORM,
        ge=0,
    )
    pad_to: PadTo = _setting(
        "8", GROUPS[4], "lengths that batches are padded to: multiples of a number, or a list such as 64,128,256,384", _PAD_TO_FORM
    )
    batch_wait: Milliseconds = _setting(
        0.0, GROUPS[4], "wait this long for a fuller batch, ms", _MS_FORM + "; 0 for none", ge=0, le=3_600_000
    )
    workers: Workers = _setting(
        1, GROUPS[4], "workers, each with its own model; auto: found by a short measured search", f"1 to {MOST_WORKERS}, or auto"
    )
    worker_mode: Literal["process", "thread"] = _setting("process", GROUPS[4], "what several workers are; one worker runs in this process")
    threads: Whole | None = _setting(None, GROUPS[4], "CPU threads over all workers (default: all cores)", _WHOLE_FORM, ge=1)
    device: str = _setting("auto", GROUPS[4], "auto, cpu, cuda, cuda:1 ...", "auto, cpu, cuda or cuda:1", pattern=r"^[a-z]+(:\d+)?$")

    accuracy: bool = _setting(True, GROUPS[5], "check the answers; --no-accuracy skips that and marks the result", "true or false")
    accuracy_target: Number = _setting(
        0.99,
        GROUPS[5],
        "share of the FP32 reference score that must be reached",
        "a share in (0, 1] such as 0.99 or 0.999",
        gt=0,
        le=1,
    )
    reference_score: Number | None = _setting(
        None,
        GROUPS[5],
        "the FP32 reference score in points, given by hand (default: stored, or computed once)",
        "points such as 90.874",
        gt=0,
        le=100,
    )
    accuracy_samples: Whole | None = _setting(
        None, GROUPS[5], "limit the accuracy pass to this many examples; marks the result", _WHOLE_FORM, ge=1
    )

    warmup: Seconds = _setting(10.0, GROUPS[6], "most time for warm-up, seconds", _SECONDS_FORM, ge=0)
    hang_timeout: Seconds = _setting(60.0, GROUPS[6], "a call without an answer for this long ends the run, seconds", _SECONDS_FORM, gt=0)
    on_error: Literal["stop", "continue"] = _setting("stop", GROUPS[6], "when a backend raises: end the run, or go on (INVALID either way)")
    telemetry: Seconds = _setting(
        1.0, GROUPS[6], "read clocks, heat, memory and GPUs this often meanwhile, seconds; 0: never", _INTERVAL_FORM, ge=0, le=3600
    )

    out: Folder = _setting(Path("results"), GROUPS[7], "folder that gets one folder per run", "a folder that can be written")
    name: str | None = _setting(None, GROUPS[7], "label in the name of the run's folder", min_length=1, max_length=60)
    progress: Literal["auto", "plain", "none"] = _setting(
        "auto", GROUPS[7], "auto: one live line on a terminal, else plain; plain: a line every 10 s; none"
    )


FIELDS: tuple[str, ...] = tuple(RunConfig.model_fields)


def flag(field: str) -> str:
    """target_qps -> --target-qps."""
    return "--" + field.replace("_", "-")


def choices(field: str) -> tuple[str, ...]:
    """The values a field is limited to, empty if it is not."""
    annotation = RunConfig.model_fields[field].annotation
    return tuple(value for value in get_args(annotation) if isinstance(value, str))


@dataclass(frozen=True, slots=True)
class Given:
    """A value and where it was written: `--duration`, `bench.yaml:4: duration`."""

    value: Any
    origin: str


def unknown_key(name: str, origin: str) -> UsageError:
    """The error for a setting that does not exist."""
    near = closest(name, FIELDS)
    cure = f"did you mean {near}? " if near else ""
    return UsageError(f"{origin}: there is no setting {name}", cure + "`assay run --help` lists the settings")


def load(
    flags: Mapping[str, Any],
    file: Path | None = None,
    *,
    origin: Callable[[str], str] = flag,
    names_here: bool = True,
    apart: Collection[str] = (),
) -> RunConfig:
    """Settings from a YAML file and, over it, flags (by field name); `origin` says how an error names a flag. `names_here` False: the
    settings are for another environment, which will judge whether their scenario, task, backend and data exist. `apart`: keys of the
    file that are no settings, and that the caller reads itself.

    Raises UsageError for an unknown key, a wrong value, or a scenario, task, backend or precision that does not exist, and
    MissingError for a file or data folder that is not there. Each names the option, or file and line.
    """
    given = _from_file(file, apart) if file is not None else {}
    given.update({name: Given(value, origin(name)) for name, value in flags.items()})
    own = "task" in given and str(given["task"].value).lower().endswith(OWN_FILES)  # it names its own data
    if "data" not in given and not own and os.environ.get(DATA_VARIABLE):
        given["data"] = Given(os.environ[DATA_VARIABLE], f"${DATA_VARIABLE}")
    given = _with_conf_files(given)
    config = build(given)
    if names_here:
        _check_names(config, given)
    return config


def _with_conf_files(given: dict[str, Given]) -> dict[str, Given]:
    """LoadGen's files: user.conf stands below everything else that was given, an audit file above it."""
    chosen = build(given)
    conf = {name: _from_conf(chosen, name) for name in ("user_conf", "audit_conf") if getattr(chosen, name) is not None}
    return conf.get("user_conf", {}) | given | conf.get("audit_conf", {})


def _from_conf(chosen: RunConfig, name: str) -> dict[str, Given]:
    from harness.mlperf.conf_settings import from_file

    file: Path = getattr(chosen, name)
    kind: Literal["user", "audit"] = "audit" if name == "audit_conf" else "user"
    found = from_file(file, kind, chosen.scenario, compat=chosen.conf_compat, option=flag(name))
    return {field: Given(value.value, f"{file}:{value.line}: {field}") for field, value in found.items()}


def _from_file(file: Path, apart: Collection[str]) -> dict[str, Given]:
    from harness.config_file import read

    given: dict[str, Given] = {}
    for key, line, value in read(file):
        name = key.replace("-", "_")
        if name in apart:
            continue
        if name not in FIELDS:
            raise unknown_key(key, f"{file}:{line}")
        if name in given:
            raise UsageError(f"{file}:{line}: {key} is given twice (first at {given[name].origin})", "keep one of the two")
        given[name] = Given(value, f"{file}:{line}: {key}")
    return given


def build(given: Mapping[str, Given]) -> RunConfig:
    """The frozen schema from values whose origins are known. Raises UsageError."""
    for name, value in given.items():
        if name not in FIELDS:
            raise unknown_key(name, value.origin)
    try:
        config = RunConfig.model_validate({name: value.value for name, value in given.items()})
    except ValidationError as error:
        raise _explain(error, given) from None
    if "pad_to" in given and config.batching == "fixed":
        raise UsageError(
            f"{given['pad_to'].origin}: --batching fixed pads every call to the task's maximum length", "leave out one of the two"
        )
    if config.duration and config.max_duration and config.max_duration < config.duration:
        where = given["max_duration"].origin
        raise UsageError(
            f"{where}: {config.max_duration:g} s is less than the duration of {config.duration:g} s", "raise it, or give 0 for no limit"
        )
    return config


def _explain(error: ValidationError, given: Mapping[str, Given]) -> UsageError:
    problems = [_explain_one(details, given) for details in error.errors()]
    if len(problems) == 1:
        return UsageError(*problems[0])
    return UsageError("\n".join(f"{message} ({cure})" if cure else message for message, cure in problems))


def _explain_one(details: ErrorDetails, given: Mapping[str, Given]) -> tuple[str, str]:
    """Message and cure for one value that the schema refused."""
    field = str(details["loc"][0])
    value = given[field].value
    extra = RunConfig.model_fields[field].json_schema_extra
    form = str(extra["form"]) if isinstance(extra, dict) and extra["form"] else "some text"
    text = details["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    shown = "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
    if options := choices(field):
        text, cure = "is not one of the choices", advice(str(value), options, "choices")
    else:
        cure = f"give {form}"
    return f"{given[field].origin}: {shown} {text}" if text.startswith(
        ("is ", "should ")
    ) else f"{given[field].origin}: {shown}: {text}", cure


def _check_names(config: RunConfig, given: Mapping[str, Given]) -> None:
    from harness import plugins

    def where(field: str) -> str:
        return given[field].origin if field in given else field

    plugins.find("scenarios", config.scenario, where("scenario"))
    if config.task not in SUITES:
        plugins.find("tasks", config.task, where("task"))
    plugins.find_backend(config.backend, where("backend"))
    if config.data is not None and not config.data.exists():
        raise MissingError(
            f"{where('data')}: {config.data} is not there", "give an existing folder, or leave it out for the built-in sample set"
        )
