"""A comparison from its candidates to its folder: measured, stored, and told; what the command and `assay.compare` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import conditions, models, plugins, session
from harness.compare import Outcome, Ratio
from harness.comparing import noise, stored
from harness.comparing.blocks import Plan
from harness.comparing.candidates import Wanted
from harness.comparing.document import document
from harness.comparing.results import Cell, Comparison
from harness.comparing.session import Compared, run
from harness.errors import ExitCode, UsageError
from harness.progress import Progress, create
from harness.store import RunFolder, as_json, make_run_id, open_folder

REPORTS = ("markdown", "html")
"""What is written beside comparison.json."""

FEWEST_PAIRS = 2
"""Blocks that a ratio with an interval is made of at least."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A comparison that was written down.

    comparison  candidates, visits and figures
    record      what comparison.json says
    folder      where it lies
    exit_code   0; 4 where a candidate failed, 6 where one missed its accuracy target, 130 where it was interrupted
    """

    comparison: Comparison
    warnings: tuple[str, ...]
    record: dict[str, Any]
    folder: Path
    exit_code: int

    @property
    def winner(self) -> str | None:
        """The fastest of those whose accuracy is met; None where nobody counts."""
        best = self.comparison.best()
        return self.comparison.candidates[best[0]].name if best else None

    @property
    def indistinguishable(self) -> tuple[str, ...]:
        """Those that cannot be told from the winner."""
        best = self.comparison.best()
        return tuple(self.comparison.candidates[number].name for number in best[1]) if best else ()

    def ratio(self, candidate: str, figure: str | None = None) -> Ratio | None:
        """Of a candidate to the reference, with its interval of 95 %; `figure`: samples_per_second, p50, p90, p99, default the deciding
        one. None for the reference and for who dropped out. Raises UsageError for a name that is not there."""
        cell = self._cell(candidate, figure)
        return cell.ratio if cell is not None else None

    def word(self, candidate: str, figure: str | None = None) -> Outcome | None:
        """faster, slower, equivalent or undecided, as `ratio` has them."""
        cell = self._cell(candidate, figure)
        return cell.word if cell is not None else None

    def _cell(self, candidate: str, figure: str | None) -> Cell | None:
        found = self.comparison
        number = _index(candidate, [each.name for each in found.candidates], "candidate")
        names = [each.name for each in found.figures]
        return found.cell(number, found.figures[_index(figure or names[0], names, "figure")])


def plan_of(*, blocks: int, block_duration: float, budget: float, width: float) -> Plan:
    """The plan as the flags of `assay compare` give it: seconds, and `width` in percent. Raises UsageError."""
    if blocks < FEWEST_PAIRS:
        raise UsageError(f"blocks: {blocks}: an interval needs {FEWEST_PAIRS} or more", "leave it out for 6")
    for name, value in (("block_duration", block_duration), ("budget", budget), ("width", width)):
        if not 0 < value < float("inf"):
            raise UsageError(f"{name}: {value} is not a number above 0", "leave it out for the default")
    return Plan(blocks, block_duration, budget, width / 100)


def compare(
    candidates: Sequence[Wanted], reference: int, plan: Plan, *, alternate: bool = False, progress: Progress | None = None
) -> Finished:
    """Measure, score and store. Raises AssayError for what makes a comparison impossible."""
    first, started = candidates[0].config, datetime.now(UTC)
    title = f"{first.scenario} · {first.task} · {len(candidates)} candidates"
    folder = open_folder(first.out, make_run_id(started, "compare", first.scenario, first.task, first.name or ""))
    progress = progress or create(first.progress)
    floor = noise.known(models.default_cache(), first.scenario)
    try:
        compared = run(candidates, reference, plan, progress, floor.share if floor else 0.0, alternate=alternate)
    except BaseException:
        folder.discard()
        raise
    finally:
        progress.close()
    return _stored(compared, folder, started, title)


def _stored(compared: Compared, folder: RunFolder, started: datetime, title: str) -> Finished:
    """comparison.json is written last: a folder without it holds a comparison that did not end."""
    record = stored.record(compared, started, conditions.collect(session.ROOT), title, folder.path.name)
    folder.write_bytes(stored.VISITS_FILE, stored.visits_file(compared.comparison.visits))
    shown = document(record)
    for report in (plugins.load("reports", name) for name in REPORTS):
        folder.write_text(f"report.{report.EXTENSION}", report.render_document(shown))
    folder.write_text(stored.FILE, as_json(record))
    return Finished(compared.comparison, tuple(compared.warnings), record, folder.path, _exit_code(compared.comparison))


def _exit_code(found: Comparison) -> int:
    if found.interrupted:
        return int(ExitCode.INTERRUPTED)
    if any(each.problem for each in found.candidates):
        return int(ExitCode.FAILED)
    return int(ExitCode.OK if all(each.counts for each in found.candidates) else ExitCode.ACCURACY)


def _index(name: str, names: Sequence[str], what: str) -> int:
    if name not in names:
        raise UsageError(f"there is no {what} {name}", f"choose one of {', '.join(names)}")
    return names.index(name)
