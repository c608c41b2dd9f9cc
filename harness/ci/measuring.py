"""Base and head of an entry, side by side in processes of their own: the interleaved comparison of `assay compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import plugins
from harness.ci.entries import Entry
from harness.ci.findings import BASE
from harness.ci.places import Place
from harness.comparing import candidates, session
from harness.comparing.blocks import Plan
from harness.comparing.candidates import Wanted
from harness.comparing.session import Compared
from harness.errors import Interrupted, MissingError
from harness.progress import Progress


@dataclass(frozen=True, slots=True)
class Rounds:
    """What measures. A round is new processes each time; answers are scored in the first, for they do not change from round to round."""

    wanted: Mapping[str, Sequence[Wanted]]
    plan: Plan
    progress: Progress

    def measure(self, entry: Entry, number: int) -> Compared:
        """One round of an entry. Raises AssayError, of Ctrl-C Interrupted."""
        pair = self.wanted[entry.name]
        self.progress.note(f"{entry.name}: round {number + 1}")
        if number:
            pair = [replace(each, config=each.config.model_copy(update={"accuracy": False})) for each in pair]
        try:
            found = session.run(pair, BASE, self.plan, self.progress)
        except KeyboardInterrupt:  # while it is loaded; from the first block on the comparison says so itself
            raise Interrupted("interrupted by Ctrl-C") from None
        between = [line for line in found.differences if not _only_commits(line)]
        marks = () if number else found.marks  # of a later round that its accuracy was not checked is true, and not of the check
        return replace(found, warnings=[*marks, *found.warnings, *between])


def _only_commits(line: str) -> bool:
    """That base and head are of different commits, and differ in nothing else: that is why they are compared."""
    return line.startswith("head ran in another environment than base: commit ") and ";" not in line


def prepare(entries: Sequence[Entry], base: Place, head: Place) -> dict[str, Sequence[Wanted]]:
    """Base and head of each entry, by its name, before anything is measured. Raises UsageError and MissingError for wrong settings, and for
    a backend that head does not have: one that base alone lacks is a new one."""
    for entry in entries:
        file = plugins.split_backend(entry.setting("backend")).plugin
        if file.endswith(".py") and head.project is not None and not (head.project / file).is_file():
            raise MissingError(f"{entry.where('backend')}: {file} is not in {head.project}", "name a file of the project, as head has it")
    return {
        entry.name: candidates.wanted([_side("base", base), _side("head", head)], entry.settings, origin=entry.where) for entry in entries
    }


def _side(name: str, place: Place) -> dict[str, Any]:
    return {"name": name, "project": str(place.project), **({"python": str(place.python)} if place.python else {})}
