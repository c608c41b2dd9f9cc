"""`history`: what was measured before, series by series: tables, figures, pages; import, merge and prune."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import plugins
from harness.errors import ExitCode, MissingError, UsageError
from harness.flags import Parser, positive, whole
from harness.suggest import advice

if TYPE_CHECKING:
    from harness.document import Document
    from harness.history.database import History
    from harness.history.trend import Finder

JSON = "json"
LISTED = 20
"""Runs of a series that a screen shows; pages and exports have more."""


def add_arguments(parser: Parser) -> None:
    from harness.history.connection import FILE, VARIABLE

    parser.add_argument(
        "series", nargs="*", metavar="SERIES", help="a series by its key or by words of its name (default: the table of all)"
    )
    parser.add_argument("--db", type=Path, metavar="FILE", help=f"the history (default: ${VARIABLE}, else {FILE} in this folder)")
    parser.add_argument("--metric", default="", metavar="NAME", help="figure to show first (default: the one the scenario is judged by)")
    parser.add_argument("--format", default="terminal", metavar="NAME", help="terminal, markdown, html, csv or json (default: terminal)")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write there instead of to the screen")
    parser.add_argument("--plot", type=Path, metavar="FILE.html", help="a page with the figures of SERIES")
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="every figure of every run, by the file's ending: .csv, .json, .parquet"
    )
    parser.add_argument("--site", type=Path, metavar="FOLDER", help="static pages: index, trends, runs, comparison of any two")
    parser.add_argument("--site-runs", type=whole(least=0), default=50, metavar="N", help="runs of a series with a page (default: 50)")
    changing = parser.add_argument_group("what changes the history")
    changing.add_argument("--import", type=Path, nargs="+", dest="imported", metavar="FOLDER", help="record the runs in and below FOLDER")
    changing.add_argument("--branch", default="", metavar="NAME", help="branch that the imported runs are of")
    changing.add_argument("--machine", default="", metavar="NAME", help="name of their machine, where its hardware does not tell two apart")
    changing.add_argument("--merge", type=Path, metavar="OTHER.db", help="take over what another history has")
    changing.add_argument(
        "--prune", type=positive, metavar="DAYS", help="runs older than DAYS go; says which, and changes nothing without --yes"
    )
    changing.add_argument(
        "--keep", type=whole(least=0), default=30, metavar="N", help="newest points of each series that stay (default: 30)"
    )
    changing.add_argument("--accepted-too", action="store_true", help="prune also runs that begin an accepted change")
    changing.add_argument("--yes", action="store_true", help="really prune")


def execute(arguments: argparse.Namespace) -> int:
    """Change the history first, then show it. Raises UsageError, MissingError and DataError."""
    from harness.history import importing
    from harness.history.connection import find_file
    from harness.history.database import History

    _refuse(arguments)
    if arguments.imported:
        arguments.imported = importing.find(arguments.imported)  # before there is a history: none is begun for a folder without runs
    changing = arguments.imported or arguments.merge
    with History(find_file(arguments.db), make=bool(changing)) as history:
        if changing or arguments.prune:
            return _change(history, arguments)
        return _show(history, arguments)


def _refuse(arguments: argparse.Namespace) -> None:
    """Raises UsageError for flags that say nothing together."""
    if arguments.plot and not arguments.series:
        raise UsageError("--plot needs a series", "name it: `assay history SERIES --plot trend.html`; --site makes pages of all")
    if arguments.site and arguments.series:
        raise UsageError("--site is of all series", "leave the series out, or give --plot for one")
    for flag, needed in (("branch", "imported"), ("machine", "imported"), ("yes", "prune"), ("accepted_too", "prune")):
        if getattr(arguments, flag) and not getattr(arguments, needed):
            raise UsageError(
                f"--{flag.replace('_', '-')} goes with --{'import' if needed == 'imported' else needed}", "leave one out or give both"
            )


def _change(history: History, arguments: argparse.Namespace) -> int:
    code = ExitCode.OK
    if arguments.imported:
        code = _import(history, arguments.imported, arguments.branch, arguments.machine)
    if arguments.merge:
        _merge(history, arguments.merge)
    if arguments.prune:
        _prune(history, arguments)
    return int(code)


def _import(history: History, folders: Sequence[Path], branch: str, machine: str) -> ExitCode:
    """What was recorded, and what could not be read: then the exit code is that of something missing."""
    from harness import units
    from harness.history.importing import import_folders

    found = import_folders(history, folders, branch, machine)
    print(f"{units.plural(len(found.new), 'run')} recorded in {history.file}, {units.count(len(found.known))} there already")
    for folder, reason in found.failed:
        print(f"not recorded: {folder}: {reason}")
    return ExitCode.MISSING if found.failed else ExitCode.OK


def _merge(history: History, other: Path) -> None:
    from harness import units
    from harness.history.merging import merge

    found = merge(history, other)
    print(f"{units.plural(found.new, 'run')} taken over from {other}, {units.count(found.known)} there already")
    for sentence in found.conflicts:
        print(f"conflict: {sentence}; this history's is kept")


def _prune(history: History, arguments: argparse.Namespace) -> None:
    from harness import units
    from harness.history.pruning import prune

    found = prune(history, arguments.prune, arguments.keep, arguments.accepted_too, arguments.yes)
    word = "pruned" if arguments.yes else "would go"
    for run_id in found.going:
        print(f"{word}: {run_id}")
    for run_id in found.accepted:
        print(f"{'goes with its accepted change' if arguments.accepted_too else 'stays, it begins an accepted change'}: {run_id}")
    print(f"{units.plural(len(found.going), 'run')} {word}" + ("" if arguments.yes else "; nothing was changed, --yes prunes"))


# ---------------------------------------------------------------------------------------------------------------------- showing


def _show(history: History, arguments: argparse.Namespace) -> int:
    if arguments.export:
        from harness import units
        from harness.history.exporting import export

        key = history.find(" ".join(arguments.series)).key if arguments.series else ""
        print(f"{units.plural(export(history, arguments.export, key), 'row')} in {arguments.export}")
    if arguments.site:
        _site(history, arguments.site, arguments.site_runs)
    if arguments.plot:
        _write(_rendered(_document(history, arguments, _listed("html")), "html"), arguments.plot, "--plot")
        print(f"page in {arguments.plot}")
    if not (arguments.export or arguments.site or arguments.plot):
        _write(_rendered(_document(history, arguments, _listed(arguments.format)), arguments.format), arguments.to, "--to")
    return int(ExitCode.OK)


def _document(history: History, arguments: argparse.Namespace, most: int) -> Document:
    """One series where it was named, else the table of all."""
    from harness.history import document, site, trend

    if not arguments.series:
        return document.overview([trend.latest(history, each) for each in history.series()], str(history.file))
    series = history.find(" ".join(arguments.series))
    known = history.metrics(series.key)
    if arguments.metric and arguments.metric not in known:
        raise UsageError(f"--metric: series {series.key} has no figure {arguments.metric}", advice(arguments.metric, known, "figures"))
    shown = [arguments.metric] if arguments.metric else site.drawn(known)
    return document.page(trend.trend(history, series, shown, _finder()), most=most)


def _finder() -> Finder | None:
    """Finds changes with Apache Otava; None where that is not installed."""
    from importlib.util import find_spec

    from harness.ci import changes

    return changes.of_points if find_spec("otava") and find_spec("scipy") else None


def _site(history: History, folder: Path, runs: int) -> None:
    from harness import units
    from harness.history.site import build

    built = build(history, folder, plugins.load("reports", "html"), _finder(), runs)
    for reason in built.left_out:
        print(f"no page: {reason}")
    print(f"{units.plural(built.pages, 'page')} in {folder}; begin with {folder / 'index.html'}")


def _listed(name: str) -> int:
    from harness.history.document import MOST_ROWS

    return LISTED if name == "terminal" else MOST_ROWS


def _rendered(made: Document, name: str) -> str:
    """The document as a report of that name writes it. Raises UsageError."""
    if name == JSON:
        from harness.store import as_json

        return as_json(made.record)
    known = [info.name for info in plugins.describe("reports")]
    if plugins.spelled(name) not in known:
        raise UsageError(f"--format: there is no report {name}", advice(name, [*known, JSON], "formats"))
    plugin = plugins.load("reports", name)
    if not hasattr(plugin, "render_document"):
        raise UsageError(f"--format: {name} is of single runs", "give terminal, markdown, html, csv or json")
    text: str = plugin.render_document(made)
    return text


def _write(text: str, file: Path | None, flag: str) -> None:
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MissingError(f"{flag}: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written") from error
