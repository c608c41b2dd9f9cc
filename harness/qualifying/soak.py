"""Load for a long time, with a snapshot after every loop: does the machine keep its speed, its temperature and its answers.

The soak's own time counts, not that of a wall clock: one that was interrupted goes on until the load has lasted as long as was asked.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import DataError
from harness.qualifying import corruption, measured
from harness.qualifying.check import Context
from harness.qualifying.corruption import Changed, Examination
from harness.qualifying.known_answers import Mismatch
from harness.qualifying.sealing import intact, sealed
from harness.qualifying.state import SNAPSHOTS
from harness.store import as_json, write_atomically
from harness.telemetry.account import summary
from harness.telemetry.recording import Recording
from harness.telemetry.throttling import stretches, throttled_share

LOOP_S = 30.0
"""Load between two snapshots: what an interruption can lose."""
LEAST_S = 1.0
SCHEMA = 1

_KEPT = ("_celsius", "_mhz", "_watts", "_ecc_corrected", "_ecc_uncorrected", "_remapped_rows", "_retired_pages")
"""Endings of columns whose summary a snapshot keeps."""


@dataclass(frozen=True, slots=True)
class Loop:
    """One turn. `seconds` of load; `rates` in `unit`; `wrong`: of `answers`, how many were not the known ones; `changed`: weights
    that changed; `told`: both in words; `errors`: samples that were not answered; `telemetry`: least, mean and most by column; `throttled`:
    share of the loop by what was; `events`: such as XID errors; `known`: of each worker, the digest of the first answers that those of
    this loop were compared with; `workers`: the rate of each, empty where they are not alike."""

    started_utc: str
    seconds: float
    rates: Sequence[float]
    unit: str
    answers: int
    wrong: int = 0
    changed: int = 0
    errors: int = 0
    told: Sequence[str] = ()
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    throttled: Mapping[str, float] = field(default_factory=dict)
    events: Sequence[str] = ()
    known: Sequence[str] = ()
    workers: Sequence[float] = ()

    @property
    def rate(self) -> float:
        return median(self.rates) if self.rates else 0.0


@dataclass(frozen=True, slots=True)
class Soak:
    """`planned_s` of load; `sessions`: how many loops had been done each time it went on."""

    planned_s: float
    loops: tuple[Loop, ...] = ()
    sessions: tuple[int, ...] = ()

    @property
    def soaked_s(self) -> float:
        return sum(loop.seconds for loop in self.loops)


Turn = Callable[[float], Loop]
"""One loop with so many seconds of load."""


def soak(context: Context, turn: Turn) -> Soak:
    """Load until `context.soak_s` have passed, counting what was done before an interruption. Raises what `turn` raises, DataError for
    damaged snapshots."""
    file = context.folder / SNAPSHOTS
    found = replace(read(file), planned_s=context.soak_s) if file.is_file() else Soak(context.soak_s)
    found = replace(found, sessions=(*found.sessions, len(found.loops)))
    while (left := context.soak_s - found.soaked_s) > 0:
        context.progress.phase(f"soak: {found.soaked_s:.0f} of {context.soak_s:.0f} s")
        found = replace(found, loops=(*found.loops, turn(max(LEAST_S, min(LOOP_S, left)))))
        write_atomically(file, as_json(sealed(json.loads(as_json({"schema": SCHEMA, **asdict(found)})))).encode())
    return found


def read(file: Path) -> Soak:
    """The snapshots in a file. Raises DataError."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA or not intact(record):
            raise ValueError(f"schema {record['schema']}, or changed since")
        loops = tuple(_loop(each) for each in record["loops"])
        return Soak(record["planned_s"], loops, tuple(record["sessions"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is no soak: {error}", "qualify again from the beginning") from error


def _loop(stored: dict[str, Any]) -> Loop:
    return Loop(**stored | {name: tuple(stored.get(name, ())) for name in ("rates", "told", "events", "known", "workers")})


@contextmanager
def load(context: Context) -> Iterator[Turn]:
    """Known inputs, again and again, in workers that stay loaded: load and examination in one. A backend that is no model has no answers
    to know: it gets offline runs."""
    bench = context.keep.get("bench")
    if bench is not None and bench.model is None:
        yield lambda seconds: _run(context, seconds)
        return
    with corruption.opened(context) as known:
        yield lambda seconds: _repeat(context, known, seconds)


def _repeat(context: Context, known: Examination, seconds: float) -> Loop:
    """What the examination found more than before."""
    before = copy.deepcopy(known.tally)
    started, start_ns = datetime.now(UTC), time.monotonic_ns()
    after = known.repeat(seconds)
    told = [_mismatch(each) for each in after.mismatches[len(before.mismatches) :]]
    told += [_change(each) for each in after.changed[len(before.changed) :]]
    made = Loop(
        started.isoformat(timespec="seconds"),
        after.seconds - before.seconds,
        tuple(after.rates[len(before.rates) :]),
        "samples/s of a worker",
        after.answers - before.answers,
        after.wrong - before.wrong,
        len(after.changed) - len(before.changed),
        told=tuple(told),
        known=known.digests,
        workers=after.stretches[-1] if known.alike and len(after.stretches) > len(before.stretches) else (),
    )
    return _with_telemetry(made, context, start_ns)


def _run(context: Context, seconds: float) -> Loop:
    """An offline run."""
    started, start_ns = datetime.now(UTC), time.monotonic_ns()
    run = measured.run(context, scenario="offline", duration=seconds, accuracy=False)
    metric = run.verdict["metric"] or {"value": 0.0, "unit": ""}
    errors = int(run.counts.get("errors", 0)) + int(run.counts.get("lost", 0))
    spent = (time.monotonic_ns() - start_ns) / 1e9
    made = Loop(started.isoformat(timespec="seconds"), spent, (metric["value"],), metric["unit"], run.counts["samples"], errors=errors)
    return _with_telemetry(made, context, start_ns)


def _mismatch(each: Mismatch) -> str:
    when = datetime.fromtimestamp(each.utc_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    return f"{when}: {each.where} gave another answer to sample {each.sample} ({each.values} values, off by {each.largest:.3g})"


def _change(each: Changed) -> str:
    return f"worker {each.worker}: {', '.join(each.tensors[:3])} changed in memory between {each.from_utc} and {each.to_utc}"


def _with_telemetry(made: Loop, context: Context, start_ns: int) -> Loop:
    if context.stream is None:
        return made
    return replace(made, **_seen(context.stream.rows(), start_ns, time.monotonic_ns()))


def _seen(recording: Recording, from_ns: int, to_ns: int) -> dict[str, Any]:
    held = stretches(recording)
    shares = {what: throttled_share(held, what, from_ns, to_ns) for what in {each.what for each in held}}
    kept = {name: each for name, each in summary(recording, from_ns, to_ns).items() if name.endswith(_KEPT)}
    events = [f"{event.what}: {event.text}" for event in recording.events if from_ns <= event.at_ns <= to_ns]
    return {"telemetry": kept, "throttled": {what: share for what, share in shares.items() if share > 0}, "events": tuple(events)}
