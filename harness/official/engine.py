"""`--engine mlcommons`: the official LoadGen makes the traffic and judges, our workers serve it.

LoadGen runs in a thread of its own. Its issue callback fills an `OfficialLedger`, from which the threads of a crew take; what they complete
goes back to it. It cannot be told to stop: of a stopped run it is told that everything is complete, and its logs are renamed, so that they
cannot be taken for a result.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.batching import Policy
from harness.clock import MonotonicClock
from harness.core import IntArray, Output, Reason, Traffic
from harness.crew import Crew, ThreadCrew
from harness.errors import RunError, UsageError
from harness.loadgen import Requested
from harness.measure import Measured, Watch, Watcher, conclude, noted_interrupts
from harness.mlperf.reader import entries, first
from harness.official.ledger import OfficialLedger, Queries
from harness.official.player import Player, official_version, recipe_for, refuse, teller
from harness.responses import Keep

VOID = ".void"
"""What the names of logs end with that are no result: LoadGen knows neither errors nor the end of a run before its time."""

_LOGS = ("mlperf_log_summary.txt", "mlperf_log_detail.txt", "mlperf_log_accuracy.json", "mlperf_log_trace.json")

_QUERIES: Mapping[str, Queries] = {"SingleStream": "single", "MultiStream": "block", "Server": "scheduled", "Offline": "block"}


@dataclass(frozen=True, slots=True)
class Official:
    """A run that the official LoadGen conducted.

    measured    as of any run
    traffic     what our own engine would have asked with the same settings, at least as far as LoadGen went
    log_folder  where its logs are
    void        its logs are no result and end with VOID: there were errors, or the run was stopped
    version     of the package
    """

    measured: Measured
    traffic: Traffic
    log_folder: Path
    void: bool
    version: str

    def detail(self) -> dict[str, Any]:
        """Values of the detail log by key, the first of each. Raises DataError for what is no entry."""
        name = _LOGS[1] + (VOID if self.void else "")
        return first(entries((self.log_folder / name).read_text(encoding="utf-8")))


def measure_official(
    crew: Crew,
    requested: Requested,
    traffic: Traffic,
    policy: Policy,
    watch: Watch,
    keep: Keep,
    *,
    total: int,
    loaded: int,
    folder: Path,
    lengths: IntArray,
    max_length: int = 0,
    outputs: Sequence[Output] = (),
    trace: bool = False,
) -> Official:
    """Have the official LoadGen play `requested`, with `crew` as its system under test.

    traffic     what our scenario makes of the same settings; consumed as far as LoadGen goes
    total       samples of the library; `loaded`: how many of them it says fit in memory
    folder      for LoadGen's logs; made if it is not there
    lengths     real tokens of each sample: (total,)
    max_length  longest input of the task; 0: the longest of `lengths`
    outputs     what an answer holds, for the accuracy log; none: its data are empty
    trace       write mlperf_log_trace.json

    Raises UsageError for what LoadGen cannot do from Python or our workers not for it, MissingError without the package, RunError where
    LoadGen itself fails or still plays an earlier test. Never raises for what workers do: it tells.
    """
    if not isinstance(crew, ThreadCrew):
        raise UsageError("--engine mlcommons serves with threads of this process", "set --worker-mode thread or --workers 1")
    version = official_version()
    refuse(requested)
    folder.mkdir(parents=True, exist_ok=True)
    ledger = OfficialLedger(
        traffic,
        policy,
        MonotonicClock(),
        _QUERIES[requested.scenario],
        answered=teller(),
        recipe=recipe_for(outputs, lengths) if outputs else None,
        workers=crew.size,
        lengths=lengths,
        max_length=max_length,
    )
    player = Player(ledger, requested, total, loaded, folder, trace)
    measured = _served(crew, ledger, player, watch, keep)
    if player.error is not None:
        raise RunError(f"the official LoadGen failed: {type(player.error).__name__}: {player.error}", f"see its logs in {folder}")
    measured.reasons += _own_reasons(ledger, player)
    void = bool(measured.reasons)
    if void:
        void_logs(folder)
    return Official(measured, ledger.planned(), folder, void, version)


def _served(crew: ThreadCrew, ledger: OfficialLedger, player: Player, watch: Watch, keep: Keep) -> Measured:
    """As `measure` does it, with LoadGen playing meanwhile."""
    with noted_interrupts() as interrupts:
        watcher = Watcher(ledger, watch, interrupts)
        started = time.monotonic_ns()
        player.begin()
        try:
            results = crew.serve(ledger, keep, watcher.tick)
        finally:
            ended = time.monotonic_ns()
            player.end()
    return conclude(ledger, results, watcher, started, ended)


def _own_reasons(ledger: OfficialLedger, player: Player) -> list[Reason]:
    """What makes a run of the official LoadGen INVALID beyond what its rows say."""
    reasons = [Reason("official_engine", trouble, "run with --debug, and report it") for trouble in ledger.troubles]
    if ledger.untold or player.is_alive():
        text = f"stopped: LoadGen was told that {ledger.untold:,} samples are complete that nobody had answered; its logs are no result"
        reasons.append(Reason("stopped", text, "let the run come to its end"))
    return reasons


def void_logs(folder: Path) -> None:
    """Rename LoadGen's logs in `folder`, so that nobody takes them for a result."""
    for name in _LOGS:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).replace(folder / (name + VOID))
