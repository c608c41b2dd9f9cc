"""Where the result of a check goes: `--output FORMAT=FILE`, as often as wanted, and `--output github`, which knows its own places."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import plugins
from harness.ci import github, junit, junit_cases, measures, other_formats
from harness.ci.document import document
from harness.ci.result import Checked, to_json
from harness.errors import AssayError, MissingError, UsageError
from harness.store import as_json, write_atomically
from harness.suggest import advice

GITHUB = "github"
SUMMARY, VALUES = "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"
"""Environment variables that name files of the running step."""


def _page(name: str) -> Callable[[Checked], str]:
    def text(checked: Checked) -> str:
        made: str = plugins.load("reports", name).render_document(document(checked))
        return made

    return text


FORMATS: dict[str, Callable[[Checked], str]] = {
    "junit": lambda checked: junit.render([junit_cases.of_checked(checked)]),
    "json": lambda checked: as_json(to_json(checked)),
    "markdown": _page("markdown"),
    "html": _page("html"),
    "csv": _page("csv"),
    "github-action-benchmark": lambda checked: other_formats.github_action_benchmark(measures.of_checked(checked), "lower"),
    "github-action-benchmark-bigger": lambda checked: other_formats.github_action_benchmark(measures.of_checked(checked), "higher"),
    "bencher": lambda checked: other_formats.bencher(measures.of_checked(checked)),
    "openmetrics": lambda checked: other_formats.openmetrics(measures.of_checked(checked)),
}
"""A check as text, by the name of the format."""


@dataclass(frozen=True, slots=True)
class Output:
    """One `--output`; `file` is None for `github`."""

    format: str
    file: Path | None = None


def parse(text: str) -> Output:
    """ "junit=build/assay.xml", "github". Raises UsageError for what cannot be written, before anything is measured."""
    name, equals, file = text.partition("=")
    known = [*FORMATS, GITHUB]
    if name not in known:
        raise UsageError(f"--output {text}: there is no format {name}", advice(name, known, "formats"))
    if name == GITHUB:
        if equals:
            raise UsageError(f"--output {text}: github writes to the places of the running step", "write --output github")
        return Output(GITHUB)
    if not file:
        raise UsageError(f"--output {text}: no file", f"write --output {name}=FILE")
    path = Path(file)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--output {text}: {path} cannot be written", "name a file in a folder that is there")
    return Output(name, path)


def write_all(checked: Checked, wanted: Sequence[Output], on: str = "") -> list[AssayError]:
    """Write every one that can be written; why others were not. A check that was made is not lost because a file of it was."""
    problems = []
    for output in wanted:
        try:
            write(checked, output, on)
        except AssayError as error:
            problems.append(error)
    return problems


def write(checked: Checked, output: Output, on: str = "") -> None:
    """Write it. `on`: the project's file of checks, relative to it, which GitHub's annotations are shown on.

    Raises MissingError for a file that cannot be written, and for a format of figures where none was measured.
    """
    if output.file is None:
        _to_github(checked, on)
        return
    text = FORMATS[output.format](checked)
    try:
        write_atomically(output.file, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise MissingError(
            f"--output: {output.file} cannot be written: {error.strerror}", "name a file in a folder that can be written"
        ) from error


def _to_github(checked: Checked, on: str) -> None:
    """Outside of GitHub only the annotations are there to be seen, on standard output as always."""
    for annotation in github.annotated(checked, on):
        print(github.command(annotation))
    sys.stdout.flush()
    if summary := os.environ.get(SUMMARY):
        file = Path(summary)
        written = file.stat().st_size if file.exists() else 0
        _append(file, github.summary(FORMATS["markdown"](checked), written), SUMMARY)
    if values := os.environ.get(VALUES):
        _append(Path(values), github.outputs(github.values(checked)), VALUES)


def _append(file: Path, text: str, variable: str) -> None:
    try:
        with file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        raise MissingError(
            f"${variable}: {file} cannot be written: {error.strerror}", "run this inside a step of GitHub Actions"
        ) from error
