"""Everything that was found out about a run, judged and put into the form of run.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from harness import steady, store, summary, warmup
from harness.bench import Bench
from harness.core import Accuracy, Columns, Int64, Metric, Reason, Run, Task, Verdict
from harness.errors import AssayError, ExitCode
from harness.model_figures import Figures, figures
from harness.models import default_cache
from harness.modes import Outcome
from harness.stats import latency_summary
from harness.validity import query_latency_ns

_FILES = {"report": "report.md", "page": "report.html"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run comes from: its name, when it began, the machine's conditions, and what the backend says it is."""

    run_id: str
    started: datetime
    conditions: Mapping[str, Any]
    backend: Mapping[str, Any]


def as_run(bench: Bench, origin: Origin, outcome: Outcome, scored: Accuracy | None, files: Mapping[str, str]) -> Run:
    """Everything that was found out, judged. `files`: what else lies in the folder."""
    measured = outcome.judged.measured
    columns, settings = measured.columns, bench.settings
    verdict = _judge(bench, outcome, scored) if len(columns.sample) else None
    reasons = [*measured.reasons, *outcome.reasons, *(verdict.reasons if verdict else ()), *_accuracy_reasons(scored)]
    played = summary.traffic(columns, settings, bench.scenario.closed_loop, verdict.rates if verdict else {}, held=bench.policy.wait_ns > 0)
    played["latency_bound"] = {"percentile": settings.percentile, "ns": settings.latency_bound_ns} if bench.scenario.paced else None
    played |= outcome.facts | _source(bench)
    figured = figures(bench.model, origin.backend, columns, bench.task.samples, bench.policy, default_cache())
    return _record(
        bench,
        origin,
        figured,
        verdict=_verdict(verdict.metric if verdict else None, reasons),
        accuracy=asdict(scored) if scored else None,
        latency_ns=latency_summary(_latencies(bench, columns)) if len(columns.sample) else {},
        throughput=_throughput(bench, origin, columns) | figured.throughput,
        steady=_steady(bench, columns, needs_inputs=origin.backend["needs_inputs"]),
        counts=summary.counts(columns),
        traffic=played,
        early_stopping=asdict(verdict.early_stopping) if verdict and verdict.early_stopping else None,
        warnings=[*bench.warnings, *summary.warnings(played, origin.backend["needs_inputs"]), *figured.warnings],
        complete=not measured.interrupted and not measured.reasons,
        files={"ledger": store.QUERIES_FILE, **_FILES, **files} if len(columns.sample) else _FILES,
        exit_code=_exit_code(outcome, verdict, scored),
    )


def _judge(bench: Bench, outcome: Outcome, scored: Accuracy | None) -> Verdict:
    """By the scenario, unless the official LoadGen has judged; an accuracy run has a score and no speed."""
    if bench.settings.mode == "performance":
        verdict = bench.scenario.judge(outcome.judged.measured.columns, bench.settings)
        if outcome.logged:
            return replace(
                verdict, reasons=() if outcome.settled else tuple(_told_loadgen(bench, outcome, each) for each in verdict.reasons)
            )
        return verdict
    if scored is None:
        return Verdict(None)
    return Verdict(Metric(scored.metric, scored.value, "points", "higher"))


def _told_loadgen(bench: Bench, outcome: Outcome, reason: Reason) -> Reason:
    """The official LoadGen makes its queries beforehand, by the rate it is told: where they ran out, that is what to change."""
    columns = outcome.judged.measured.columns
    if reason.code not in ("min_duration", "min_queries") or bench.scenario.paced or not len(columns.query):
        return reason
    asked = int(columns.query[-1]) + 1 if bench.scenario.closed_loop else len(columns.query)
    rate = 1.1 * asked / max(int((columns.due_ns + columns.latency_ns).max()) / 1e9, 1e-9)
    return replace(reason, cure=f"LoadGen ran out of the queries it makes beforehand: set --target-qps to at least {rate:.2g}")


def _throughput(bench: Bench, origin: Origin, columns: Columns) -> dict[str, Any]:
    samples, policy, packed = bench.task.samples, bench.policy, bool(origin.backend.get("packed"))
    by_length = summary.by_length(columns, samples, policy, packed=packed)
    return {**summary.throughput(columns, samples, policy, packed=packed), "by_length": [asdict(each) for each in by_length]}


def _steady(bench: Bench, columns: Columns, *, needs_inputs: bool) -> dict[str, Any] | None:
    """Whether it stayed as fast as it began. Where all is asked at once the longest samples go first: without the times of warm-up to hold
    them against, nothing is said."""
    if bench.settings.mode != "performance":
        return None
    work = warmup.expected(columns, bench.task.samples, bench.policy, bench.warmed) if bench.warmed and needs_inputs else None
    if work is None and needs_inputs and not bench.scenario.closed_loop and not bench.scenario.paced:
        return None
    found = steady.look(columns, paced=bench.scenario.paced, work=work)
    return found.record() if found is not None else None


def _source(bench: Bench) -> dict[str, Any]:
    """Where replayed traffic came from."""
    if bench.config.traffic is None:
        return {}
    return {"replayed": {"file": str(bench.config.traffic), "sha256": sha256(bench.config.traffic.read_bytes()).hexdigest()}}


def _latencies(bench: Bench, columns: Columns) -> Int64:
    """Of queries where they follow one another, else of samples: what LoadGen prints."""
    return query_latency_ns(columns) if bench.scenario.closed_loop else columns.latency_ns


def failed_run(bench: Bench, origin: Origin, error: AssayError) -> Run:
    """A run that failed before its first query."""
    return _record(
        bench,
        origin,
        Figures(),
        verdict=_verdict(None, [Reason("failed", str(error), error.cure)]),
        accuracy=None,
        latency_ns={},
        throughput={},
        counts={"queries": 0, "samples": 0, "errors": 0, "lost": 0},
        traffic={},
        early_stopping=None,
        warnings=bench.warnings,
        complete=False,
        exit_code=int(ExitCode.FAILED),
    )


def _record(bench: Bench, origin: Origin, figured: Figures, **found: Any) -> Run:
    config, model = bench.config, bench.model
    about = {} if model is None else {"name": model.name, "sha256": model.sha256, "parameters": model.parameters, "bytes": model.bytes}
    timings = bench.timings | ({"peak": figured.measured_s} if figured.measured_s else {})
    others = {"others_cpu_share": bench.others_share, "instances": bench.instances, "peak": figured.peak}
    others["warm_up"] = bench.warmed.record() if bench.warmed is not None else None
    return Run(
        run_id=origin.run_id,
        started_utc=origin.started.isoformat(timespec="seconds"),
        config=config.model_dump(mode="json") | {"resolved": _resolved(bench)},
        backend=origin.backend,
        model=about | figured.model if model is not None else None,
        conditions={**origin.conditions, "data": _data(bench.task), **others},
        telemetry=bench.telemetry,
        timings=timings,
        **{"files": _FILES, **found},
    )


def _resolved(bench: Bench) -> dict[str, Any]:
    return asdict(bench.settings) | {"latency_bound_ns": bench.settings.latency_bound_ns or None, "batching": asdict(bench.policy)}


def _data(task: Task) -> dict[str, Any]:
    return {"name": task.data_name, "samples": len(task.samples), "fingerprint": task.fingerprint, "comparable": task.comparable}


def _verdict(metric: Metric | None, reasons: Sequence[Reason]) -> dict[str, Any]:
    return {
        "valid": not reasons,
        "metric": asdict(metric) if metric is not None else None,
        "reasons": [asdict(reason) for reason in reasons],
    }


def _accuracy_reasons(scored: Accuracy | None) -> list[Reason]:
    if scored is None or scored.passed is not False:
        return []
    return [
        Reason(
            "accuracy",
            f"{scored.metric} {scored.value:.3f} is below its target {scored.target:.3f} (FP32 reference {scored.reference:.3f})",
            "use a precision that keeps the answers, or repair the backend; --accuracy-target says how much may be lost",
        )
    ]


def _exit_code(outcome: Outcome, verdict: Verdict | None, scored: Accuracy | None) -> int:
    measured = outcome.judged.measured
    if measured.interrupted:
        return int(ExitCode.INTERRUPTED)
    if verdict is None or not measured.columns.served.any():
        return int(ExitCode.FAILED)
    if scored is not None and scored.passed is False:
        return int(ExitCode.ACCURACY)
    return int(ExitCode.INVALID if measured.reasons or outcome.reasons or not verdict.valid else ExitCode.OK)
