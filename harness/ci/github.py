"""What GitHub Actions reads of a step: annotations on its output, Markdown in the step summary, and values for later steps. Pure.

Escaping is that of actions/toolkit (packages/core, command.ts and file-command.ts). A step may show 10 annotations of a kind and write
1 MiB of summary; one byte more and GitHub shows none of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness import units
from harness.ci import wording
from harness.ci.result import Check, Checked

MOST_ANNOTATIONS = 10
MOST_SUMMARY = 1024 * 1024
"""Bytes, over all that a step appends."""

_CUT = "\n\n*The rest was left out: a step summary holds 1 MiB. The whole report is in the step's other outputs.*\n"

Level = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """`file`, relative to the repository, and `line` say where it is shown; without them it stands on the run's page."""

    level: Level
    message: str
    title: str = ""
    file: str = ""
    line: int | None = None


def command(annotation: Annotation) -> str:
    """The workflow command, without a line's end."""
    given = {"file": annotation.file, "line": str(annotation.line or ""), "title": annotation.title}
    properties = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value)
    return f"::{annotation.level}{' ' + properties if properties else ''}::{_data(annotation.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotated(checked: Checked, file: str = "") -> list[Annotation]:
    """Errors for what fails the step, warnings for what could not be told, notices for improvements; where there are more of a kind than
    are shown, the last says how many. `file`: the file of checks, on which they are shown."""
    found = [_annotation(check, file) for check in checked.checks if check.verdict in _LEVELS]
    if not checked.checks:
        found.append(Annotation("error", "; ".join(["nothing was measured", *checked.warnings]), "assay ci check", file))
    levels: tuple[Level, ...] = ("error", "warning", "notice")
    return [each for level in levels for each in _shown([one for one in found if one.level == level], level)]


_LEVELS: dict[str, Level] = {"regression": "error", "error": "error", "undecided": "warning", "improvement": "notice"}


def _annotation(check: Check, file: str) -> Annotation:
    lines = [check.text, f"cure: {check.cure}" if check.cure else ""]
    return Annotation(_LEVELS[check.verdict], "\n".join(filter(None, lines)), f"{wording.WORDS[check.verdict]}: {check.name}", file)


def _shown(found: Sequence[Annotation], level: Level) -> list[Annotation]:
    if len(found) <= MOST_ANNOTATIONS:
        return list(found)
    left = len(found) - MOST_ANNOTATIONS + 1
    return [*found[: MOST_ANNOTATIONS - 1], Annotation(level, f"{left} more are in the step summary", "assay ci check")]


def summary(markdown: str, written: int = 0) -> str:
    """What to append to the step summary that holds `written` bytes: all of it or, cut at a line, as much as fits with a note."""
    room = MOST_SUMMARY - written
    whole = markdown.encode(errors="backslashreplace")
    if len(whole) <= room:
        return markdown
    kept = whole[: max(0, room - len(_CUT.encode()))].decode(errors="ignore")
    kept = kept[: kept.rfind("\n") + 1]
    return kept + _CUT if room >= len(_CUT.encode()) else ""


def values(checked: Checked) -> dict[str, str]:
    """Outputs of the step by name."""
    return {
        "verdict": wording.word(checked),
        "exit-code": str(checked.exit_code),
        "summary": wording.tally(checked),
        "regressions": ", ".join(dict.fromkeys(check.name for check in checked.of("regression"))),
        "improvements": ", ".join(dict.fromkeys(check.name for check in checked.of("improvement"))),
        "base": checked.base,
        "head": checked.head,
        "seconds": units.number(checked.seconds),
    }


def outputs(named: Mapping[str, str]) -> str:
    """What to append to $GITHUB_OUTPUT. Each value stands between two lines of a delimiter that is no line of it, so that no value can
    end itself and set another output."""
    return "".join(_output(name, value) for name, value in named.items())


def _output(name: str, value: str) -> str:
    delimiter = f"ghadelimiter_{hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()}"
    while delimiter in value or delimiter in name:
        delimiter = f"ghadelimiter_{hashlib.sha256(delimiter.encode()).hexdigest()}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
