"""Entry after entry, base against head: rounds of fresh processes until each is decided. What measures is a function."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from harness.ci import decision, findings
from harness.ci.decision import Rule
from harness.ci.entries import Entry
from harness.ci.findings import BASE, HEAD, Found, Subject
from harness.ci.result import Checked
from harness.comparing.results import Comparison
from harness.comparing.session import Compared
from harness.errors import AssayError, BackendError, ExitCode, Interrupted, UsageError

Measure = Callable[[Entry, int], Compared]
"""`measure(entry, round)`: base and head in processes of their own, base first. Raises AssayError; its message begins with "base: " where
base is at fault."""

_MEASURED = ("regression", "improvement", "unchanged", "undecided")


@dataclass(frozen=True, slots=True)
class About:
    """What a check is told of. `floors`: shares by scenario, of those that are known; `rounds`: most for an entry."""

    base: str
    head: str
    machine: str
    floors: Mapping[str, float]
    rounds: int = decision.MOST_ROUNDS


def check(entries: Sequence[Entry], measure: Measure, about: About) -> Checked:
    """Check all entries. Raises UsageError for a gate that is too fine, before anything is measured. Ctrl-C keeps what is known."""
    refuse_fine_gates(entries, about)
    rules = [_rule(entry, about) for entry in entries]
    started, began = datetime.now(UTC), time.monotonic()
    found: list[Found] = []
    said = list(_warnings(entries, about))
    interrupted = False
    for entry, rule in zip(entries, rules, strict=True):
        of_entry = [findings.of_interrupted(_subject(entry, rule))] if interrupted else list(_entry(entry, rule, measure, said))
        interrupted = interrupted or any(each.code == ExitCode.INTERRUPTED for each in of_entry)
        found += of_entry
    return Checked(
        checks=tuple(each.check for each in found),
        base=about.base,
        head=about.head,
        machine=about.machine,
        started_utc=started.isoformat(timespec="seconds"),
        floor=dict(about.floors),
        exit_code=int(exit_code(found)),
        warnings=tuple(dict.fromkeys(said)),
        seconds=time.monotonic() - began,
    )


def refuse_fine_gates(entries: Sequence[Entry], about: About) -> None:
    """Raises UsageError for a gate that this machine cannot carry."""
    for entry in entries:
        try:
            _rule(entry, about)
        except UsageError as error:
            raise UsageError(f"{entry.name}: {error}", error.cure) from None


def exit_code(found: Iterable[Found]) -> ExitCode:
    """130 after Ctrl-C; else 7 if anything became worse; else the code of the errors, 4 where they differ; else 9 where nothing was
    measured; else 0."""
    found = list(found)
    if any(each.code == ExitCode.INTERRUPTED for each in found):
        return ExitCode.INTERRUPTED
    if any(each.code == ExitCode.REGRESSION for each in found):
        return ExitCode.REGRESSION
    if wrong := {each.code for each in found if each.code != ExitCode.OK}:
        return wrong.pop() if len(wrong) == 1 else ExitCode.FAILED
    return ExitCode.OK if any(each.check.verdict in _MEASURED for each in found) else ExitCode.NOTHING_MEASURED


def _rule(entry: Entry, about: About) -> Rule:
    floor = about.floors.get(entry.setting("scenario"))
    return Rule(decision.gate(entry.gate, floor), floor or 0.0, about.rounds)


def _entry(entry: Entry, rule: Rule, measure: Measure, said: list[str]) -> Iterator[Found]:
    """The checks of one entry; what its comparisons warn of is added to `said`. Answers that were scored are judged whatever became of
    the rounds after them."""
    rounds: list[Comparison] = []

    def measured(number: int) -> list[float]:
        compared = measure(entry, number)
        said.extend(compared.warnings)
        rounds.append(_sound(compared.comparison))
        return findings.slowdowns(rounds[-1])

    yield _of_speed(_subject(entry, rule), measured, rule, rounds)
    sides = rounds[0].candidates if rounds else ()
    if sides and (scored := findings.of_answers(_subject(entry, rule), sides[BASE], sides[HEAD])) is not None:
        yield scored


def _of_speed(subject: Subject, measured: Callable[[int], list[float]], rule: Rule, rounds: Sequence[Comparison]) -> Found:
    """The check of the deciding figure, or why there is none. `rounds`: what `measured` has compared."""
    try:
        settled = decision.settle(measured, rule)
    except Interrupted:
        return findings.of_interrupted(subject)
    except AssayError as error:
        return findings.of_error(subject, "base" if str(error).startswith("base: ") else "head", error)
    return findings.of_speed(replace(subject, unit=rounds[0].figures[0].unit), settled, rounds)


def _subject(entry: Entry, rule: Rule) -> Subject:
    return Subject(entry, findings.kind_of(entry.setting("scenario")), rule.gate)


def _sound(found: Comparison) -> Comparison:
    """The comparison, if both sides were measured to the end. Raises Interrupted, BackendError."""
    if found.interrupted:
        raise Interrupted("interrupted by Ctrl-C")
    for place, side in ((HEAD, "head"), (BASE, "base")):
        if problem := found.candidates[place].problem:
            raise BackendError(f"{side}: {problem}", "run it alone to see more")
    if found.blocks < 2:
        raise BackendError("fewer than two blocks were measured", "give --blocks 2 or more")
    return found


def _warnings(entries: Sequence[Entry], about: About) -> Iterator[str]:
    unknown = sorted({entry.setting("scenario") for entry in entries} - about.floors.keys())
    if unknown:
        yield f"this machine's noise is not known in {', '.join(unknown)}: `assay ci noise` measures it, and gates follow"
