"""What limits a run: plain sentences from measured facts, each with the setting to try. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness import chart_data, steady, units
from harness.core import Columns, Run

WAITING = 0.5
"""Share of the mean latency spent waiting above which waiting is what to look at."""
PADDING = 0.15
IDLE = 0.5
BUSY = 0.95
HARNESS = 0.02
PEAK = 0.7
THROTTLED = 0.01
HELD = 0.2
UNEVEN = 0.7
OTHERS = 0.05
STOLEN = 0.02
FREE = 0.05
"""Share of the memory below which what is left is little."""


def sentences(run: Run, columns: Columns | None) -> list[str]:
    """The most telling first; empty where nothing stands out or nothing was served."""
    parts = (
        _unstable(run),
        _throttled(run, columns),
        _waiting(run, columns),
        _held(run, columns),
        _padding(run),
        _harness(run),
        _arithmetic(run),
    )
    return [*(line for part in parts for line in part), *_idle(run), *_uneven(columns), *_others(run), *_memory(run)]


def _unstable(run: Run) -> Iterator[str]:
    """What to try about a run that was not the same from begin to end; why stands on its card."""
    found = steady.read(run.steady)
    if found is None or found.stable:
        return
    if found.drifts:
        slower = (found.drift < 0) != (found.figure == steady.LATENCY)
        cure = "look at clocks and temperature, and at what else runs" if slower else "give it a longer --warmup"
        yield f"it became {'slower' if slower else 'faster'} from begin to end: {cure}, and measure for longer (--duration)"
    else:
        yield f"its first {found.settled_share:.0%} were unlike the rest: give it a longer --warmup, or a longer --duration"


def _throttled(run: Run, columns: Columns | None) -> Iterator[str]:
    """Shares of the measured part, by what was throttled; stretches of one cause do not overlap."""
    took = columns.end_ns / 1e9 if columns is not None else (run.telemetry.get("at_s") or [0.0])[-1]
    shares: dict[tuple[str, str], float] = {}
    for each in run.telemetry.get("throttled") or ():
        key = str(each["what"]), str(each["reason"])
        inside = max(min(each["to_s"], took) - max(each["from_s"], 0.0), 0.0) * float(each.get("share") or 1.0)
        shares[key] = shares.get(key, 0.0) + inside / max(took, 1e-9)
    for (what, reason), share in shares.items():
        if share > THROTTLED:
            yield f"{what} was throttled for {share:.0%} of the run ({reason}): better cooling, or a higher power limit or CPU quota"


def _waiting(run: Run, columns: Columns | None) -> Iterator[str]:
    """In a scenario that asks all at once everything waits, and that says nothing."""
    if columns is None or run.config.get("scenario") == "offline" or not columns.served.any():
        return
    served = columns.served
    waiting = float((columns.taken_ns - columns.due_ns)[served].mean())
    computing = float((columns.done_ns - columns.taken_ns)[served].mean())
    share = waiting / max(waiting + computing, 1.0)
    if share < WAITING:
        yield f"computing is {1 - share:.0%} of the mean latency: a faster backend or precision shortens it most"
        return
    busy = run.traffic.get("busy_share") or 0.0
    if busy > BUSY:
        yield f"waiting is {share:.0%} of the mean latency and the workers are busy {busy:.0%} of the time: lower --target-qps"
    elif not _wait_ns(run):
        size = _mean_batch(columns)
        yield (
            f"waiting is {share:.0%} of the mean latency although the workers are idle {1 - busy:.0%} of the time (batches of {size:.1f}): "
            "long calls hold up what comes behind them; lower --max-batch or add --workers"
        )


def _held(run: Run, columns: Columns | None) -> Iterator[str]:
    """Waiting for company although a worker was free, which `--batch-wait` asks for."""
    if not _wait_ns(run) or columns is None or run.config.get("scenario") == "offline" or not columns.served.any():
        return
    queueing, filling, computing = (float(each.mean()) for each in chart_data.spent(columns))
    share = filling / max(queueing + filling + computing, 1.0)
    if share > HELD:
        yield (
            f"{share:.0%} of the mean latency is spent waiting for company while a worker is free (batches of {_mean_batch(columns):.1f}): "
            "lower --batch-wait"
        )


def _wait_ns(run: Run) -> int:
    """`--batch-wait`."""
    return int(((run.config.get("resolved") or {}).get("batching") or {}).get("wait_ns") or 0)


def _mean_batch(columns: Columns) -> float:
    batch = columns.batch[columns.served]
    return len(batch) / max(len(np.unique(batch)), 1)


def _padding(run: Run) -> Iterator[str]:
    share = run.throughput.get("padding_share")
    if share is None or share < PADDING:
        return
    kind = run.config.get("batching")
    limited = (run.config.get("resolved", {}).get("batching") or {}).get("max_tokens")
    tokens = "a smaller --max-batch-tokens" if limited else "--max-batch-tokens"
    cure = "use --batching sorted" if kind != "sorted" else f"give {tokens}, or a smaller --pad-to"
    yield f"{share:.0%} of the tokens computed are padding{_worst(run)}: {cure}"


def _worst(run: Run) -> str:
    """The length that most of the padding was computed at, where there are several."""
    found = run.throughput.get("by_length") or []
    if len(found) < 2:
        return ""
    worst = max(found, key=lambda each: each["padded_tokens"] - each["real_tokens"])
    padding = sum(each["padded_tokens"] - each["real_tokens"] for each in found)
    share = (worst["padded_tokens"] - worst["real_tokens"]) / max(padding, 1)
    return f", {share:.0%} of them in calls padded to {worst['length']}"


def _uneven(columns: Columns | None) -> Iterator[str]:
    """Workers that were busy much less than the busiest one."""
    if columns is None or not columns.served.any():
        return
    first = np.flatnonzero(columns.served)[np.unique(columns.batch[columns.served], return_index=True)[1]]
    busy = np.bincount(columns.worker[first], weights=(columns.done_ns - columns.taken_ns)[first].astype(np.float64))
    least = float(busy.min() / max(busy.max(), 1.0))
    if len(busy) > 1 and least < UNEVEN:
        yield f"one of {len(busy)} workers was busy {least:.0%} as long as the busiest: use fewer --workers, or a smaller --max-batch"


def _others(run: Run) -> Iterator[str]:
    share = run.conditions.get("others_cpu_share")
    if share is not None and share > OTHERS:
        yield f"other processes used {share:.0%} of the cores: stop them, or keep cores of your own (taskset, cgroup)"
    stolen = _mean(run, "steal_share")
    if stolen is not None and stolen > STOLEN:
        yield f"the hypervisor gave {stolen:.0%} of the CPU time to other machines: no setting helps, use a machine of your own"


def _memory(run: Run) -> Iterator[str]:
    """Available memory at its lowest."""
    total = (run.conditions.get("memory") or {}).get("total")
    least = ((run.telemetry.get("summary") or {}).get("memory_available_bytes") or {}).get("min")
    if total and least is not None and least < FREE * total:
        yield f"only {units.size(least)} of {units.size(total)} memory were free at the least: use fewer --workers or a smaller --max-batch"


def _mean(run: Run, column: str) -> float | None:
    """Of a column of the telemetry."""
    found = ((run.telemetry.get("summary") or {}).get(column) or {}).get("mean")
    return float(found) if found is not None else None


def _harness(run: Run) -> Iterator[str]:
    share = run.traffic.get("harness_share")
    if share is not None and share > HARNESS:
        yield f"the harness took {share:.1%} of the workers' time between batches: raise --max-batch or add --workers"


def _arithmetic(run: Run) -> Iterator[str]:
    share: Any = run.throughput.get("peak_share")
    if share is None:
        return
    if share >= PEAK:
        yield f"arithmetic runs at {share:.0%} of this machine's measured peak: only a lower precision or a smaller model is much faster"
    elif (run.traffic.get("busy_share") or 0.0) > BUSY and share < PEAK / 2:
        yield f"arithmetic runs at {share:.0%} of this machine's measured peak: small batches, memory or the runtime hold it back"


def _idle(run: Run) -> Iterator[str]:
    busy = run.traffic.get("busy_share")
    if busy is not None and busy < IDLE and run.config.get("scenario") == "server":
        yield f"the workers were busy {busy:.0%} of the time: the machine can serve more, raise --target-qps"
