"""The `assay` fixture of the pytest plugin: runs, and claims of one system against another, measured by interleaved comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from harness.ci import checking, decision, pytest_benchmark, pytest_claims, wording
from harness.ci.checking import About
from harness.ci.entries import Entry
from harness.ci.pytest_benchmark import Rounds
from harness.ci.pytest_claims import CANDIDATE, THAN, Speed
from harness.ci.result import Check
from harness.comparing.results import Comparison
from harness.config import FIELDS
from harness.core import Run
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.comparing.candidates import Wanted
    from harness.comparing.session import Compared

Named = str | Mapping[str, Any]
"""A candidate: a backend, or settings of a run, with `name`, `python` and `project` as `assay compare` takes them."""

Table = Callable[[str, Rounds, Mapping[str, Any]], None]
"""`table(label, rounds, extra)`: what pytest-benchmark shows, where it is there."""


BLOCK_S, BUDGET_S, WIDTH = 1.0, 20.0, 0.02
"""Seconds of a block and of a comparison, and the interval that ends it: a suite has less time than `assay compare`, and asks for less."""


@dataclass(frozen=True, slots=True)
class Assay:
    """What a test is given.

    folder   where runs and comparisons are stored
    history  file in which runs are recorded, None for none
    skip     ends the test as skipped, with this reason
    table    takes what was measured
    """

    folder: Path
    history: Path | None
    skip: Callable[[str], NoReturn] = field(repr=False)
    table: Table = field(repr=False)

    def run(self, **settings: Any) -> Run:
        """Measure once: settings of `assay run`. Whether it is VALID, and its accuracy good enough, is in the result: `exit_code`,
        `verdict`, `accuracy`. Raises AssayError for settings that are wrong and things that are missing."""
        from harness import session
        from harness.config import load

        config = load({"progress": "none", "out": str(self.folder), **settings}, origin=str)
        finished = session.run(config)
        if (found := pytest_benchmark.rounds(finished.run, finished.columns)) is not None:
            label = " ".join(filter(None, [config.backend, config.name]))
            extra = {"run": finished.run.run_id, "iteration": pytest_benchmark.iteration(finished.run)}
            self.table(label, found, extra)
        if finished.run.exit_code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        self._record(finished.run, finished.columns, finished.folder)
        return finished.run

    def assert_faster(
        self,
        candidate: Named,
        than: Named,
        *,
        by: float = 0.0,
        blocks: int = 6,
        block_duration: float = BLOCK_S,
        budget: float = BUDGET_S,
        **settings: Any,
    ) -> Speed:
        """That `candidate` is faster than `than`, and by more than this share (0.05: 1.05 times as fast), in one interleaved comparison;
        `settings` hold for both. Raises AssertionError where it is not, or where that was not shown; a candidate below its accuracy
        target is never faster."""
        __tracebackhide__ = True
        if by < 0:
            raise UsageError(f"by={by}: a share of 0 or more", "for 'not slower than' use assert_no_regression")
        found = self._compared([_settings(than), _settings(candidate)], settings, (blocks, block_duration, budget)).comparison
        self._show(found, [each.name for each in found.candidates])
        try:
            speed = pytest_claims.speed(found)
        except ValueError as error:
            raise AssertionError(f"nothing was compared: {error}") from None
        if message := pytest_claims.against(speed, by):
            raise AssertionError(message)
        return speed

    def assert_no_regression(
        self,
        candidate: Named,
        than: Named,
        *,
        gate: float | None = None,
        rounds: int = decision.MOST_ROUNDS,
        blocks: int = 6,
        block_duration: float = BLOCK_S,
        budget: float = BUDGET_S,
        **settings: Any,
    ) -> Check:
        """That `candidate` is not slower than `than` by more than `gate` (a share; default: max(3 %, 2 noise floors of this machine)), nor
        less accurate: the rule of `assay ci check`, with up to `rounds` sets of fresh processes. Raises AssertionError for a regression
        and for what could not be measured, UsageError and MissingError for wrong settings; skips the test where it stays undecided. The
        check of speed is returned."""
        __tracebackhide__ = True
        sides = [{**_settings(than), "name": "base"}, {**_settings(candidate), "name": "head"}]
        names = [_title(than), _title(candidate)]
        self._wanted(sides, settings)

        def measure(_: Entry, number: int) -> Compared:
            found = self._compared(sides, settings, (blocks, block_duration, budget))
            if number == 0:
                self._show(found.comparison, names)
            return found

        entry = Entry(f"{names[CANDIDATE]} against {names[THAN]}", {**settings, **_run_settings(sides[CANDIDATE])}, gate, "")
        scenario = entry.setting("scenario")
        floor = _floor(scenario)
        about = About(names[THAN], names[CANDIDATE], "", {scenario: floor} if floor is not None else {}, rounds)
        checking.refuse_fine_gates([entry], about)
        checked = checking.check([entry], measure, about)
        speed = checked.checks[0]
        for check in checked.checks:
            if check.verdict in ("regression", "error") or (check is speed and check.verdict == "skipped"):
                raise AssertionError(_told(check))
        if doubtful := next((check for check in checked.checks if check.verdict == "undecided"), None):
            self.skip(_told(doubtful))
        return speed

    def _compared(self, sides: list[dict[str, Any]], common: Mapping[str, Any], length: tuple[int, float, float]) -> Compared:
        """Both sides measured in turn; ratios are to the first. Raises AssayError, and KeyboardInterrupt, which ends pytest as well: a
        comparison that was stopped shows nothing."""
        from harness.comparing import session
        from harness.comparing.blocks import Plan
        from harness.progress import Silent

        candidates = self._wanted(sides, common)
        scenario = candidates[CANDIDATE].config.scenario
        blocks, block_s, budget_s = length
        plan = Plan(fewest=blocks, block_s=block_s, budget_s=budget_s, width=WIDTH)
        found = session.run(candidates, THAN, plan, Silent(), _floor(scenario) or 0.0)
        if found.comparison.interrupted:
            raise KeyboardInterrupt
        return found

    def _wanted(self, sides: list[dict[str, Any]], common: Mapping[str, Any]) -> list[Wanted]:
        from harness.comparing.candidates import wanted

        return wanted(sides, {"out": str(self.folder), **common, "progress": "none"}, origin=str)

    def _show(self, found: Comparison, labels: Sequence[str]) -> None:
        """A row for each side in pytest-benchmark's table, a round being a block."""
        figure = found.figures[0]
        for place, label in enumerate(labels):
            values = np.array(found.values(place, figure), np.float64) if found.cell(place, figure) is not None else np.empty(0)
            if len(values):
                seconds = 1 / values if figure.share is None else values / 1e9
                self.table(label, Rounds(seconds, 1), {"figure": figure.name, "iteration": "median over blocks, a round is a block"})

    def _record(self, run: Run, columns: Any, folder: Path) -> None:
        if self.history is None:
            return
        from harness.history.database import History

        with History(self.history) as history:
            history.record(run, columns, commit=(run.conditions.get("git") or {}).get("commit"), folder=folder)


def _settings(named: Named) -> dict[str, Any]:
    return {"backend": named} if isinstance(named, str) else dict(named)


def _title(named: Named) -> str:
    given = _settings(named)
    others = [f"{key}={value}" for key, value in given.items() if key not in ("backend", "name")]
    return str(given.get("name") or " ".join(filter(None, [given.get("backend"), *others])) or "the default")


def _run_settings(side: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in side.items() if key in FIELDS and key != "name"}


def _floor(scenario: str) -> float | None:
    """This machine's, as `assay noise` left it."""
    from harness import models
    from harness.comparing import noise

    known = noise.known(models.default_cache(), scenario)
    return known.share if known else None


def _told(check: Check) -> str:
    cure = f"\ncure: {check.cure}" if check.cure else ""
    return f"{wording.WORDS[check.verdict]}: {check.name}: {check.text}{cure}"
