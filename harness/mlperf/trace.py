"""mlperf_log_trace.json: Chrome trace events in LoadGen's layout (specification, section 9.4). Pure.

Unlike LoadGen's, the file is JSON and opens in Perfetto: LastTrace is an event too. Each sample is a pair of "Sample" events (begin: when
its query was due; end: its answer); for Server a "Latency" counter stands before it. `issue_start_ns` tells when a worker took the sample,
counted from when it was due: there is no issuing thread, a worker finds a query the moment it is due. Each call of a backend is an event
"IssueQuery" in the row of its worker. Times are in us with three decimals.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.core import Int64, Status
from harness.phases import Phase, Played

_LINES = 4096  # events joined into one piece of text
_WORKER = 1  # `tid` of worker 0


def chunks(played: Played, pid: int = 1) -> Iterator[str]:
    """Text of the file in pieces; samples in the order of completion. A row that was asked and not served ends with the run, and its
    `args` hold its `status`."""
    yield '{"traceEvents":[\n'
    lines: list[str] = []
    for line in _events(played, pid):
        lines.append(line)
        if len(lines) == _LINES:
            yield "".join(lines)
            lines = []
    yield "".join(lines)
    yield f'{{"name":"LastTrace","ph":"i","s":"g","pid":{pid},"tid":{pid},"ts":{_us(_end_ns(played))}}}\n],\n'
    yield f'"displayTimeUnit":"ns",\n"otherData":{{\n"ts":{_us(played.begun_ns)},\n"version":"MLPerf LoadGen v1.0"\n}}\n}}\n'


def _events(played: Played, pid: int) -> Iterator[str]:
    workers = {int(worker) for phase in played.phases for worker in np.unique(phase.columns.worker[phase.columns.taken_ns >= 0])}
    for worker in sorted(workers):
        tid, name = worker + _WORKER, f"worker {worker}"
        yield f'{{"name":"thread_name","ph":"M","pid":{pid},"tid":{tid},"args":{{"name":"{name}"}}}},\n'
    for phase in played.phases:
        start = phase.begun_ns - played.begun_ns
        yield from _batches(phase, start, pid)
        yield from _samples(phase, start, pid, played.requested.scenario == "Server")


def _batches(phase: Phase, start: int, pid: int) -> Iterator[str]:
    """One complete event for each call of a backend that ended."""
    columns = phase.columns
    rows = np.flatnonzero((columns.taken_ns >= 0) & (columns.done_ns >= 0))
    call = (columns.worker[rows].astype(np.int64) << 32) | columns.batch[rows]
    _, first, sizes = np.unique(call, return_index=True, return_counts=True)
    for row, size in zip(rows[first].tolist(), sizes.tolist(), strict=True):
        taken, done = int(columns.taken_ns[row]), int(columns.done_ns[row])
        yield (
            f'{{"name":"IssueQuery","ph":"X","pid":{pid},"tid":{int(columns.worker[row]) + _WORKER},"ts":{_us(start + taken)},'
            f'"dur":{_us(max(0, done - taken))},"args":{{"batch":{int(columns.batch[row])},"samples":{size}}}}},\n'
        )


def _samples(phase: Phase, start: int, pid: int, server: bool) -> Iterator[str]:
    columns = phase.columns
    latency = columns.latency_ns
    for row in _asked(phase).tolist():
        due, took = int(columns.due_ns[row]), int(latency[row])
        taken = int(columns.taken_ns[row])
        delay = max(0, taken - due) if taken >= 0 else 0
        number = phase.first_sample + row
        if server:
            counter = f'"args":{{ "issue_delay":{delay},"issue_to_done":{took - delay}}}'
            yield f'{{"name":"Latency","ph": "C","pid":{pid},"ts":{_us(start + due)},{counter}}},\n'
        status = Status(int(columns.status[row]))
        extra = "" if status is Status.DONE else f',"status":"{status.name.lower()}"'
        yield (
            f'{{"name":"Sample","cat":"default","ph":"b","pid":{pid},"id":{number},"ts":{_us(start + due)},"args":{{"sample_seq":{number},'
            f'"query_seq":{phase.first_query + int(columns.query[row])},"sample_idx":{int(columns.sample[row])},"issue_start_ns":{delay},'
            f'"complete_ns":{took}{extra}}}}},\n'
        )
        yield f'{{"name":"Sample","cat":"default","ph":"e", "pid":{pid},"id":{number},"ts":{_us(start + due + took)}}},\n'


def _asked(phase: Phase) -> Int64:
    """Rows that were asked, in order of completion."""
    columns = phase.columns
    due = columns.due_ns
    rows = np.flatnonzero((due >= 0) & ((due <= columns.end_ns) | (columns.status != Status.PENDING)))
    return rows[np.argsort((due + columns.latency_ns)[rows], kind="stable")]


def _end_ns(played: Played) -> int:
    ends = (phase.begun_ns - played.begun_ns + max(phase.columns.end_ns, 0) for phase in played.phases)
    return max(ends, default=0)


def _us(time_ns: int) -> str:
    """ns as us with three decimals, exactly."""
    sign = "-" if time_ns < 0 else ""
    whole, rest = divmod(abs(time_ns), 1000)
    return f"{sign}{whole}.{rest:03d}"
