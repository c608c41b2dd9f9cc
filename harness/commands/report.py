"""`report`: stored results, shown again: runs, comparisons, sweeps, one or several. The newest where none is named."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import plugins
from harness.errors import ExitCode, MissingError, UsageError
from harness.flags import Parser, add_settings
from harness.suggest import advice

if TYPE_CHECKING:
    from harness.core import Run
    from harness.document import Document

JSON, CSV = "json", "csv"


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "run", nargs="*", type=Path, help="folders of runs, comparisons or sweeps, or of such folders (default: the newest below --out)"
    )
    parser.add_argument("--format", default="terminal", metavar="NAME", help="a report of `assay list`, or json (default: terminal)")
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help="write there instead of to the screen; in a folder, csv makes one file for each table"
    )
    parser.add_argument("--across-machines", action="store_true", help="several runs: show those of different machines side by side")
    add_settings(parser, ("out",))


def execute(arguments: argparse.Namespace) -> int:
    """Show or write the report. Raises MissingError and DataError for a result, UsageError for the format."""
    from harness.reporting import stored

    formats = sorted({info.name for info in plugins.describe("reports")} | {JSON})
    name = plugins.spelled(arguments.format)
    if name not in formats:
        raise UsageError(f"--format: there is no report {arguments.format}", advice(arguments.format, formats, "formats"))
    files = stored.results(arguments.run or [stored.latest(Path(getattr(arguments, "out", "results")))])
    found = [(file, stored.read(file)) for file in files]
    made = found[0][1] if len(found) == 1 else None
    if name == JSON:
        _write(_as_json(found), arguments.to, "report.json")
    elif name == CSV and _is_folder(arguments.to) and not _is_run(made):
        _write_tables(_document(found, across=arguments.across_machines), arguments.to)
    else:
        text = _laid_out(name, found, across=arguments.across_machines)
        _write(text, arguments.to, f"report.{plugins.find('reports', name).extension}")
    return int(ExitCode.OK)


def _laid_out(name: str, found: list[tuple[Path, Run | Document]], *, across: bool) -> str:
    """By the plugin: one run, several where it has its own way with them, else a document."""
    from harness import store

    plugin = plugins.load("reports", name)
    runs = [(file, run) for file, run in found if _is_run(run)]
    if len(runs) == len(found) and hasattr(plugin, "render_runs"):
        return str(plugin.render_runs([run for _, run in runs], [store.read_columns(file) for file, _ in runs]))
    if len(found) == len(runs) == 1:
        return str(plugin.render(runs[0][1], store.read_columns(runs[0][0])))
    if not hasattr(plugin, "render_document"):
        other = next((file for file, each in found if not _is_run(each)), None)
        said = f"{other.parent} is a {other.stem}" if other else f"{len(found)} runs"
        raise UsageError(f"--format {name}: {said}, and {name} is a report of one run", "choose terminal, markdown, html, csv or json")
    return str(plugin.render_document(_document(found, across=across)))


def _document(found: list[tuple[Path, Run | Document]], *, across: bool) -> Document:
    """The only one there is, or all together."""
    from harness.core import Run
    from harness.document import Document
    from harness.reporting import several, stored

    if len(found) == 1 and isinstance(found[0][1], Document):
        return found[0][1]
    runs = [(file, each) for file, each in found if isinstance(each, Run)]
    others = [each for _, each in found if isinstance(each, Document)]
    return several.document(stored.entries(runs), others, across_machines=across)


def _as_json(found: list[tuple[Path, Run | Document]]) -> str:
    """One record as it is stored; several under the folders they are from."""
    from harness import store

    records: list[Any] = [each if _is_run(each) else each.record for _, each in found]  # type: ignore[union-attr]
    if len(found) == 1:
        return store.as_json(records[0])
    return store.as_json(
        {"schema": 1, "results": [{"folder": file.parent, "record": record} for (file, _), record in zip(found, records, strict=True)]}
    )


def _is_run(found: object) -> bool:
    from harness.core import Run

    return isinstance(found, Run)


# ------------------------------------------------------------------------------------------------------------------------ writing


def _is_folder(target: Path | None) -> bool:
    return target is not None and target.is_dir()


def _write_tables(made: Document, folder: Path) -> None:
    from harness import csv_text

    for name, text in csv_text.named(made).items():
        _write(text, folder / f"{name}.csv", "")


def _write(text: str, target: Path | None, name: str) -> None:
    if target is None:
        print(text, end="")
        return
    file = target / name if target.is_dir() else target
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise MissingError(f"--to: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written") from error
