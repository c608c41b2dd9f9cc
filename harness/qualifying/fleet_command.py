"""`qualify fleet`: the results of many machines against each other. What it finds is shown and, if asked for, kept."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import MissingError, UsageError

FILE = "fleet.json"
_PAGES = {".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="folder with the results of machines, however deep, or such a file"
    )
    parser.add_argument("--least", type=float, metavar="PERCENT", help="smallest difference that counts, in percent (default: 3)")
    parser.add_argument("--format", default="terminal", metavar="NAME", help="terminal, markdown, html, csv or json (default: terminal)")
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help="write there instead of to the screen; .html, .md, .csv and .json say the format"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"also keep {FILE}, report.html, report.md and report.csv there")


def execute(arguments: argparse.Namespace) -> int:
    """Read, compare, show. Raises UsageError and MissingError."""
    from harness.qualifying import fleet, fleet_reading

    name, least = _format(arguments), _least(arguments.least)
    record = fleet.record(*fleet_reading.read(arguments.folders), least)
    text = _rendered(record, name)
    if arguments.out is not None:
        for file, form in ((FILE, "json"), ("report.html", "html"), ("report.md", "markdown"), ("report.csv", "csv")):
            _write(_rendered(record, form), arguments.out / file, "--out")
    if arguments.to is None:
        print(text, end="" if text.endswith("\n") else "\n", flush=True)
    else:
        _write(text, arguments.to, "--to")
    return int(record["exit_code"])


def _least(percent: float | None) -> float:
    from harness.qualifying.outliers import LEAST

    if percent is None:
        return LEAST
    if not 0 <= percent < 100:
        raise UsageError(f"--least {percent:g}: no percentage below 100", "give one such as 3; 0 leaves it to the statistics alone")
    return percent / 100


def _format(arguments: argparse.Namespace) -> str:
    """The one that was named, else the one that the file's ending says."""
    from harness import plugins
    from harness.suggest import advice

    by_ending = _PAGES.get(arguments.to.suffix.lower()) if arguments.to else None
    name = by_ending if arguments.format == "terminal" and by_ending else str(arguments.format)
    known = [info.name for info in plugins.describe("reports")]
    if name != "json" and (name not in known or not hasattr(plugins.load("reports", name), "render_document")):
        raise UsageError(f"--format: there is no report {name} of a fleet", advice(name, list(_PAGES.values()), "formats"))
    return name


def _rendered(record: Mapping[str, Any], name: str) -> str:
    from harness import plugins, store
    from harness.qualifying.fleet_document import document

    if name == "json":
        return store.as_json(record)
    text: str = plugins.load("reports", name).render_document(document(record))
    return text


def _write(text: str, file: Path, flag: str) -> None:
    from harness.store import write_atomically

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        raise MissingError(f"{flag}: {file} cannot be written: {error.strerror}", "give a folder that can be written") from error
