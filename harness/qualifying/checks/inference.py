"""The model itself: offline and server runs as `assay run` makes them, and the answers against the stored reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness import units
from harness.core import Run
from harness.errors import ExitCode
from harness.interference import WORTH_SAYING
from harness.qualifying import measured
from harness.qualifying.check import Check, Context, Finding, Known, Outcome
from harness.qualifying.shares import STOP_OTHERS, at_most

RUN_S = 15.0
SERVER_SHARE = 0.4
"""Of the offline rate: a load that every machine of the kind bears, so that latency tells of the machine and not of a queue."""
NO_BOUND_MS = 600_000.0
"""Whether the latency suits a task is not asked here, only whether it is that of the baseline."""
EXAMPLES = 300
"""Of official data: all of them would take longer than the level allows. The built-in sets are asked whole."""

RATE = "offline_rate"
"""Key of samples/s in what checks share."""


def run_offline(context: Context) -> list[Finding]:
    """Throughput, held against the baseline, accuracy against the reference, and who else computed meanwhile."""
    limit = EXAMPLES if context.config.data is not None and context.config.accuracy_samples is None else context.config.accuracy_samples
    found = measured.run(
        context, scenario="offline", duration=RUN_S, target_qps=expected_rate(context.baseline), accuracy=True, accuracy_samples=limit
    )
    context.keep[RATE] = float(found.throughput.get("samples_per_second") or 0.0)
    return [*_throughput(found), accuracy(found), *company(found, "offline")]


def expected_rate(known: Known | None) -> float | None:
    """Samples/s of the baseline, so that every run asks as many; None lets a probe find it."""
    figure = known.figure("offline_throughput") if known is not None else None
    return float(figure.limit.median) if figure is not None and figure.limit is not None else None


def run_server(context: Context) -> list[Finding]:
    """Latency at a fixed part of the offline rate of the baseline, or of this machine where there is none."""
    rate = SERVER_SHARE * (expected_rate(context.baseline) or context.keep.get(RATE) or 0.0)
    if rate <= 0:
        return [Finding("LATENCY_HIGH", "server_latency_p90", "SKIP", "no offline rate is known to take a part of")]
    rate = float(f"{rate:.2g}")
    found = measured.run(
        context, scenario="server", duration=RUN_S, target_qps=rate, accuracy=False, latency_bound=NO_BOUND_MS, find_peak="none"
    )
    return [*_latency(found, rate), *company(found, "server")]


# ------------------------------------------------------------------------------------------------------------------------ findings


def _throughput(run: Run) -> Iterator[Finding]:
    if (wrong := invalid(run, "offline_run")) is not None:
        yield wrong
    rate = run.throughput.get("samples_per_second")
    if not rate:
        yield Finding("THROUGHPUT_LOW", "offline_throughput", "FAIL", "nothing was answered", next_step="see the run")
        return
    samples = int(run.counts["samples"])
    yield Finding(
        code="THROUGHPUT_LOW",
        name="offline_throughput",
        outcome="PASS",
        text=f"offline: {units.rate(rate, 'samples/s')} over {units.count(samples)} samples",
        measured=float(rate),
        unit="samples/s",
        n=samples,
        better="higher",
        next_step="see clocks, heat and other work beside the run; compare its run folder with one of the baseline (assay compare)",
        details=_where(run),
    )


def _latency(run: Run, rate: float) -> Iterator[Finding]:
    if (wrong := invalid(run, "server_run")) is not None:
        yield wrong
    p90 = run.latency_ns.get("p90")
    if p90 is None:
        yield Finding("LATENCY_HIGH", "server_latency_p90", "FAIL", "nothing was answered", next_step="see the run")
        return
    queries = int(run.counts["queries"])
    yield Finding(
        code="LATENCY_HIGH",
        name="server_latency_p90",
        outcome="PASS",
        text=f"server at {rate:g} queries/s: 90 % of {units.count(queries)} queries within {units.time_ns(p90)}",
        measured=p90 / 1e6,
        unit="ms",
        n=queries,
        better="lower",
        next_step="see what else ran and whether clocks fell: latency shows it before throughput does",
        details={"rate_per_s": rate, **_where(run)},
    )


def invalid(run: Run, name: str) -> Finding | None:
    """A run whose verdict is that it counts for nothing; accuracy is judged by itself. None for a good one."""
    reasons = [reason for reason in run.verdict.get("reasons") or () if reason["code"] != "accuracy"]
    if run.exit_code in (ExitCode.OK, ExitCode.ACCURACY) or not reasons:
        return None
    text, cure = "; ".join(str(reason["text"]) for reason in reasons), str(reasons[0].get("cure") or "see the run")
    return Finding("RUN_INVALID", name, "FAIL", text, next_step=cure, details=_where(run))


def accuracy(run: Run) -> Finding:
    """The score, and the target it had to reach."""
    found: Mapping[str, Any] | None = run.accuracy
    step = "use a precision that keeps the answers; if it kept them on another machine, this one computes wrongly"
    if found is None:
        return Finding("ACCURACY_LOW", "accuracy", "SKIP", "there is no accuracy: the run was not scored", next_step="see its warnings")
    value, reference, target = float(found["value"]), float(found["reference"]), float(found["target"])
    outcome: Outcome = "PASS" if found["passed"] else "FAIL"
    return Finding(
        code="ACCURACY_LOW",
        name="accuracy",
        outcome=outcome,
        text=f"{found['metric']} {units.score(value)}, reference {units.score(reference)} ({found.get('reference_source', 'not told')})",
        measured=value,
        unit="points",
        n=int((found.get("scores") or {}).get("examples", found["samples"])),
        expected=reference,
        tolerance=reference - target,
        margin=(value - target) / reference if reference else None,
        better="higher",
        next_step="" if found["passed"] else step,
        details=_where(run),
    )


def company(run: Run, name: str) -> Iterator[Finding]:
    """Share of the cores that others used during the run; nothing where it is not told."""
    share = run.conditions.get("others_cpu_share")
    if share is None:
        return
    text = f"other processes used {units.share(share)} of the cores during the {name} run"
    yield at_most("CPU_CONTENDED", f"{name}_others_cpu_share", float(share), WORTH_SAYING, text, STOP_OTHERS)


def _where(run: Run) -> dict[str, Any]:
    return {"run": run.run_id}


OFFLINE = Check(
    code="THROUGHPUT_LOW",
    name="offline",
    title="offline run and accuracy",
    required=True,
    levels=("standard", "long"),
    seconds=40,
    run=run_offline,
    limit_s=900,
)

SERVER = Check(
    code="LATENCY_HIGH",
    name="server",
    title="server run",
    required=True,
    levels=("standard", "long"),
    seconds=41,
    run=run_server,
    limit_s=900,
)
