"""`report`: a stored run, shown again. The newest one where none is named."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import plugins
from harness.errors import ExitCode, MissingError, UsageError
from harness.flags import Parser, add_settings
from harness.suggest import advice

JSON = "json"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("run", nargs="?", type=Path, help="folder of the run (default: the newest below --out)")
    parser.add_argument("--format", default="terminal", metavar="NAME", help="a report of `assay list`, or json (default: terminal)")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write there instead of to the screen")
    add_settings(parser, ("out",))


def execute(arguments: argparse.Namespace) -> int:
    """Show or write the report. Raises MissingError and DataError for the run, UsageError for the format."""
    from harness import store

    formats = [info.name for info in plugins.describe("reports")] + [JSON]
    if plugins.spelled(arguments.format) not in formats:
        raise UsageError(f"--format: there is no report {arguments.format}", advice(arguments.format, formats, "formats"))
    folder = arguments.run or store.latest(Path(getattr(arguments, "out", "results")))
    run = store.read_run(folder)
    if arguments.format == JSON:
        text = store.to_json(run)
    else:
        text = plugins.load("reports", arguments.format).render(run, store.read_columns(folder))
    _write(text, arguments.to)
    return int(ExitCode.OK)


def _write(text: str, file: Path | None) -> None:
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MissingError(f"--to: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written") from error
