"""Conducts the audits: TEST01 on runs it makes or that are stored, and the caching test on a loaded backend."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness import caching, logs, plugins, session, store
from harness.batching import padded_lengths
from harness.bench import Bench, prepare, specs
from harness.config import RunConfig, load
from harness.core import Int64, Metric, Run
from harness.crew import Crew, form, patience
from harness.errors import DataError, ExitCode, MissingError, UsageError
from harness.mlperf import accuracy as mlperf_accuracy
from harness.mlperf import test01
from harness.progress import Progress, Silent
from harness.rules import STRICT_TARGET

SCHEMA = 1
"""Version of audit.json. 1: first."""

AUDIT_FILE = "audit.json"

CACHING_S = 10.0
"""Length of the caching test where no --duration is given."""

SINGLE = caching.Design(pairs=24, queries=32, rows=1)
BATCHED = caching.Design(pairs=12, queries=2, rows=128)
"""Most that the caching test asks, one by one and in batches. 128 copies in a batch show what any number would."""

CALIBRATION_CALLS = 3

_SEED = 20_240_611
_SYSTEM = ("task", "backend", "scenario")

Screen = Callable[[], Progress]
"""A fresh progress display for each run."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What came of an audit. `folder`: where audit.json lies, None where there was no run to hold against."""

    text: str
    exit_code: int
    folder: Path | None


def _silent() -> Progress:
    return Silent()


# ------------------------------------------------------------------------------------------------------------------------- TEST01


@dataclass(frozen=True, slots=True)
class Submission:
    """The runs that TEST01 is held against: `run` has the headline number, `accuracy` (which may be the same) the answers."""

    run: Run
    accuracy: Run
    accuracy_folder: Path

    def records(self) -> list[mlperf_accuracy.Record]:
        return read_accuracy_log(self.accuracy_folder)


def read_accuracy_log(folder: Path) -> list[mlperf_accuracy.Record]:
    """The answers that a run logged. Raises MissingError and DataError, naming the file."""
    file = store.accuracy_logs(folder) / logs.ACCURACY
    try:
        return mlperf_accuracy.read(file.read_text(encoding="utf-8"))
    except DataError as error:
        raise DataError(f"{file}: {error}", error.cure) from error
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{file} cannot be read: {error}", "make the run again with --mode submission") from error


def stored(folder: Path, performance: Path | None) -> Submission:
    """Stored runs: a submission run, or an accuracy run and the performance run beside it. Raises UsageError for runs of another mode
    or of different systems, MissingError and DataError for what cannot be read."""
    first = store.read_run(folder)
    accuracy_folder = folder.parent if folder.suffix == ".json" else folder
    if performance is None:
        _expect_mode(folder, first, ("submission",), "name a run of --mode submission, or an accuracy run and then a performance run")
        return Submission(first, first, accuracy_folder)
    second = store.read_run(performance)
    _expect_mode(folder, first, ("accuracy", "submission"), "name the accuracy run first")
    _expect_mode(performance, second, ("performance", "submission"), "name the performance run second")
    if differences := _differences(first, second):
        raise UsageError(f"{folder} and {performance} are not of one system: {'; '.join(differences)}", "name two runs with equal settings")
    return Submission(second, first, accuracy_folder)


def stored_config(run: Path, flags: Mapping[str, Any]) -> RunConfig:
    """The settings of a stored run, with what `flags` change of them."""
    return load(flags, run if run.suffix == ".json" else run / store.RUN_FILE)


def _expect_mode(folder: Path, run: Run, modes: Sequence[str], cure: str) -> None:
    mode = run.config.get("mode", "performance")
    if mode not in modes:
        raise UsageError(f"{folder} is a run of mode {mode}", cure)


def _differences(first: Run, second: Run) -> list[str]:
    """What is not the same in two runs that must be of one system."""
    pairs: list[tuple[str, Any, Any]] = [(name, first.config[name], second.config[name]) for name in _SYSTEM]
    pairs.append(("model", (first.model or {}).get("sha256"), (second.model or {}).get("sha256")))
    pairs.append(("data", first.conditions["data"]["fingerprint"], second.conditions["data"]["fingerprint"]))
    return [f"{name} {_short(one)} and {_short(other)}" for name, one, other in pairs if one != other]


def _short(value: object) -> str:
    return str(value)[:24]


def run_test01(config: RunConfig, submission: Submission | None = None, screen: Screen = _silent) -> Audited:
    """TEST01 with these settings, against stored runs or against a submission run that is made first.

    Raises what `session.run` raises, and UsageError for a backend that looks at nothing. A submission run that is no result ends the
    audit with its own exit code.
    """
    bench = prepare(config, Silent())
    _refuse_null(bench)
    if submission is None:
        submission = _submit(config, screen)
    elif differences := _stale(bench, submission.run):
        raise DataError(f"the stored run is of another system: {'; '.join(differences)}", "make the runs again, without naming a RUN")
    for run in (submission.run, submission.accuracy):
        if run.exit_code != ExitCode.OK:
            return Audited(_no_result(run, "TEST01 needs a submission run that is VALID and on target"), run.exit_code, None)
    expected = submission.records()
    finished = session.run(audit_config(config, submission.run), progress=screen())
    if finished.run.exit_code in (ExitCode.FAILED, ExitCode.INTERRUPTED):
        return Audited(_no_result(finished.run, "the TEST01 run did not end as it should"), finished.run.exit_code, None)
    return _judge(bench, submission, expected, finished)


def _submit(config: RunConfig, screen: Screen) -> Submission:
    finished = session.run(config.model_copy(update={"mode": "submission"}), progress=screen())
    return Submission(finished.run, finished.run, finished.folder)


def _stale(bench: Bench, run: Run) -> list[str]:
    """What became another since the run was stored."""
    model = bench.model.sha256 if bench.model is not None else None
    found = [("model", (run.model or {}).get("sha256"), model), ("data", run.conditions["data"]["fingerprint"], bench.task.fingerprint)]
    return [f"{name} {_short(then)}, now {_short(now)}" for name, then, now in found if then != now]


def audit_config(config: RunConfig, submission: Run) -> RunConfig:
    """The settings of the TEST01 run: those of the submission run, with the log of answers that the kit's audit.config asks for.

    Where no rate was given the run gets the submission's: the rate that was found, or in closed loops the measured one, which only
    says how many answers to expect and so keeps the log near its target.
    """
    paced = plugins.load("scenarios", config.scenario).create().needs_rate
    found = submission.config["resolved"]["target_qps"] if paced else submission.throughput.get("queries_per_second")
    return config.model_copy(
        update={
            "mode": "performance",
            "accuracy_log_seed": test01.SEED,
            "accuracy_log_target": test01.TARGET,
            "accuracy_log_probability": 0.0,
            "target_qps": config.target_qps or found,
            **_instances(config, submission),
            "name": f"{config.name}-test01" if config.name else "test01",
        }
    )


def _instances(config: RunConfig, submission: Run) -> dict[str, object]:
    """Where `--workers auto` chose, the TEST01 run gets the same, whatever a search would find now."""
    chosen = submission.conditions.get("instances")
    if config.workers != "auto" or not chosen:
        return {}
    return {"workers": chosen["workers"], "threads": chosen["threads"], "worker_mode": chosen["mode"]}


def _judge(bench: Bench, submission: Submission, expected: list[mlperf_accuracy.Record], finished: session.Finished) -> Audited:
    found = read_accuracy_log(finished.folder)
    comparison = test01.compare(found, expected)
    share = test01.STRICT_SHARE if bench.config.accuracy_target >= STRICT_TARGET else test01.SHARE
    scores = test01.score(bench.task, found, expected) if comparison.complete else None
    check = test01.performance(
        bench.config.scenario,
        _metric(submission.run),
        _metric(finished.run),
        submission_valid=bool(submission.run.verdict["valid"]),
        audit_valid=bool(finished.run.verdict["valid"]),
    )
    verdict = test01.Verdict(comparison, scores, share, check)
    _save(finished.folder, _files(bench, submission, finished.run, verdict))
    text = _heading("TEST01", bench.config) + verdict.text()
    return Audited(text, int(ExitCode.OK if verdict.passed else ExitCode.INVALID), finished.folder)


def _no_result(run: Run, text: str) -> str:
    """Why there is nothing to hold against each other."""
    reasons = [f"FAIL  {run.run_id}: {reason['text']}\n      {reason['cure']}" for reason in run.verdict["reasons"]]
    return "\n".join([text, *reasons])


def _heading(audit: str, config: RunConfig) -> str:
    return f"{audit}  {config.task} · {config.backend}\n"


def _metric(run: Run) -> Metric | None:
    stored_metric = run.verdict["metric"]
    return Metric(**stored_metric) if stored_metric is not None and stored_metric["value"] is not None else None


def _files(bench: Bench, submission: Submission, run: Run, verdict: test01.Verdict) -> dict[str, str]:
    texts = {
        "verify_accuracy.txt": test01.verify_accuracy_text(verdict.comparison),
        "verify_performance.txt": test01.verify_performance_text(verdict.check),
    }
    if verdict.scores is not None:
        texts["baseline_accuracy.txt"] = test01.accuracy_text(verdict.scores.baseline)
        texts["compliance_accuracy.txt"] = test01.accuracy_text(verdict.scores.compliance)
    found = {
        "backend": bench.config.backend,
        "task": bench.config.task,
        "scenario": bench.config.scenario,
        "run": run.run_id,
        "submission_run": submission.run.run_id,
        "accuracy_run": submission.accuracy.run_id,
        **verdict.as_data(),
    }
    return texts | {AUDIT_FILE: as_json("test01", verdict.passed, found)}


# ------------------------------------------------------------------------------------------------------------------------ caching


def run_caching(config: RunConfig, screen: Screen = _silent) -> Audited:
    """The caching test: one worker, loaded once, warm, padded to the task's maximum length, whatever the settings say.

    Raises UsageError for a backend that looks at nothing, BackendError for one that fails, and what preparing a run raises.
    """
    fixed = config.model_copy(update={"batching": "fixed", "workers": 1})
    started = datetime.now(UTC)
    name = store.make_run_id(started, "caching", config.task, config.backend, config.name or "")
    folder = store.open_folder(config.out, name)
    progress = screen()
    try:
        bench = prepare(fixed, progress)
        _refuse_null(bench)
        results, backend = _ask(bench)
    except BaseException:
        folder.discard()
        raise
    finally:
        progress.close()
    passed = not any(result.suspected for result in results)
    found = {
        "backend": config.backend,
        "task": config.task,
        "started_utc": started.isoformat(timespec="seconds"),
        "limit": caching.LIMIT,
        "results": [asdict(result) | {"suspected": result.suspected, "uncertain": result.uncertain} for result in results],
        "described": backend,
    }
    _save(folder.path, {AUDIT_FILE: as_json("caching", passed, found)})
    text = _heading("caching", config) + caching.text(results)
    return Audited(text, int(ExitCode.OK if passed else ExitCode.INVALID), folder.path)


def _refuse_null(bench: Bench) -> None:
    if bench.model is None:
        raise UsageError(f"--backend {bench.config.backend} looks at nothing: there is nothing to audit", "name a model")


def _ask(bench: Bench) -> tuple[list[caching.CachingResult], Mapping[str, Any]]:
    """Load, warm up and time; one result for single inputs, one for batches where the settings have any."""
    samples, policy = bench.task.samples, bench.policy
    width = padded_lengths(np.array([caching.input_length(samples)]), policy, samples.max_length)
    rows = min(BATCHED.rows, policy.most_rows(int(width[0])))
    most = [SINGLE] if rows == 1 else [SINGLE, replace(BATCHED, rows=rows)]
    warm = CALIBRATION_CALLS * (1 + rows)
    inputs = caching.distinct_inputs(samples, warm + sum(each.inputs for each in most), _SEED)
    spec = replace(specs(bench, bench.config.backend, 1)[0], samples=inputs)
    crew = form([spec], processes=False)
    try:
        with bench.phase("load"):
            backend = crew.call("load", tick=patience(session.LOAD_PATIENCE * bench.config.hang_timeout))[0]
        return _measure(bench, crew, most), backend
    finally:
        crew.close()


def _measure(bench: Bench, crew: Crew, most: Sequence[caching.Design]) -> list[caching.CachingResult]:
    budget_ns = (bench.config.duration or CACHING_S) * 1e9 / len(most)
    results, first, call_ns = [], 0, 0.0
    for limit in most:
        if limit.rows > 1:
            limit = _affordable(limit, call_ns, budget_ns)
        with bench.phase("warm-up"):
            warm = [np.arange(first + call * limit.rows, first + (call + 1) * limit.rows) for call in range(CALIBRATION_CALLS)]
            call_ns = float(min(_times(bench, crew, warm)[1:]))
            first += CALIBRATION_CALLS * limit.rows
        plan = caching.design(call_ns, budget_ns, limit.rows, limit)
        with bench.phase("caching"):
            results.append(_pairs(bench, crew, plan, first))
        first += plan.inputs
    return results


def _affordable(limit: caching.Design, single_ns: float, budget_ns: float) -> caching.Design:
    """Smaller batches where full ones would take too long even if asked as little as possible; a batch costs at most its rows."""
    calls = caching.FEWEST_PAIRS * 4
    rows = min(limit.rows, max(2, math.floor(2 * budget_ns / (calls * single_ns))))
    return replace(limit, rows=rows)


def _pairs(bench: Bench, crew: Crew, plan: caching.Design, first: int) -> caching.CachingResult:
    found: dict[str, list[list[int]]] = {"unique": [], "same": []}
    for block in caching.blocks(plan, first):
        found[block.kind].append(_times(bench, crew, block.batches)[1:])
    return caching.judge(np.array(found["unique"], np.int64), np.array(found["same"], np.int64), plan.rows)


def _times(bench: Bench, crew: Crew, batches: Sequence[Int64]) -> list[int]:
    """Service time of each call, ns."""
    found: list[int] = crew.call("time_batches", batches, math.inf, tick=patience(len(batches) * bench.config.hang_timeout))[0]
    return found


# --------------------------------------------------------------------------------------------------------------------------- files


def as_json(audit: str, passed: bool, found: Mapping[str, Any]) -> str:
    """audit.json: which audit, whether it passed, and what was found. What is infinite or unknown is null."""
    return json.dumps(_plain({"schema": SCHEMA, "audit": audit, "passed": passed, **found}), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _save(folder: Path, texts: Mapping[str, str]) -> None:
    """Raises NotStored."""
    for name, text in texts.items():
        store.RunFolder(folder).write_text(name, text)
