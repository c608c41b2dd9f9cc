"""`ci`: is a change slower or less accurate than what it is based on; what is recorded, and what was accepted."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import noise as noise_verb
from harness.errors import ExitCode, MissingError, UsageError
from harness.flags import Parser, add_settings, positive, settings, whole

if TYPE_CHECKING:
    from harness.ci.entries import Entry
    from harness.ci.places import Place
    from harness.ci.result import Checked
    from harness.store import RunFolder

FILE = "check.json"

ACTIONS = {
    "check": "base against head, measured in turn: red only for what became slower or less accurate",
    "record": "stored runs into the history",
    "accept": "take a change of the history as it is, with a note",
    "noise": "a backend against itself: the finest gate that this machine allows",
}


class _ActionParser(Parser):
    """A flag that an action does not have is refused by the action, which can say which it has."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown[0])
        return known, unknown


def add_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions", parser_class=_ActionParser)
    check, record, accept, noise = (actions.add_parser(name, prog=f"assay ci {name}", help=text) for name, text in ACTIONS.items())
    _add_check(check)
    record.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or one that such folders lie in")
    record.add_argument("--branch", default="", metavar="NAME", help="branch that the runs belong to")
    record.add_argument("--machine", default="", metavar="NAME", help="name of the machine, where its hardware does not tell two apart")
    accept.add_argument("change", metavar="SERIES|COMMIT", help="series (its key), or the commit of the change")
    accept.add_argument("--note", required=True, metavar="TEXT", help="why it is accepted")
    accept.add_argument("--commit", metavar="SHA", help="which change of the series (default: the newest)")
    accept.add_argument("--metric", default="", metavar="NAME", help="figure that changed (default: the one the scenario is judged by)")
    for each in (record, accept):
        _add_db(each)
    noise_verb.add_arguments(noise)


def _add_db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", type=Path, metavar="FILE", help="the history (default: $ASSAY_HISTORY, else assay-history.db)")


def _add_check(parser: Parser) -> None:
    group = parser.add_argument_group("what is compared")
    where = "git ref, interpreter of an environment, or stored run"
    group.add_argument("--base", required=True, metavar="REF|RUN|ENV", help=f"{where}; or history")
    group.add_argument("--head", metavar="REF|RUN|ENV", help=f"{where} (default: the files as they are)")
    group.add_argument("--config", type=Path, metavar="FILE", help="list of checks (default: assay-ci.yaml, else one check by flags)")
    group.add_argument(
        "--gate", metavar="PERCENT", help="slowdown that turns it red (default: 3, or twice the noise floor if that is more)"
    )
    group.add_argument("--blocks", type=whole(least=3), default=6, metavar="N", help="blocks of a round (default: 6)")
    group.add_argument("--block-duration", type=positive, default=3.0, metavar="S", help="seconds a block and side (default: 3)")
    group.add_argument("--rounds", type=whole(least=2), default=3, metavar="N", help="most rounds of fresh processes (default: 3)")
    group.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="FORMAT[=FILE]",
        help="also as junit, json, markdown, html, github ...; may be given several times",
    )
    _add_db(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    action = {"check": _check, "record": _record, "accept": _accept, "noise": noise_verb.execute}
    return action[arguments.action](arguments)


# ------------------------------------------------------------------------------------------------------------------------------- check


def _check(arguments: argparse.Namespace) -> int:
    from harness import store
    from harness.ci import outputs, places

    wanted = [outputs.parse(text) for text in arguments.output]
    here = Path.cwd()
    base, head = places.find(arguments.base, "--base", here), places.find(arguments.head, "--head", here)
    if base.measured != head.measured:
        raise UsageError(
            f"--base is {base.shown}, --head is {head.shown}: one is stored, the other would be measured now",
            "name a stored run as --head too, or a git ref or environment as --base",
        )
    started = datetime.now(UTC)
    folder = store.open_folder(Path(settings(arguments).get("out", "results")), store.make_run_id(started, "check"))
    try:
        checked = _measured(arguments, base, head, here) if base.measured else _stored(arguments, base, head)
    except BaseException:
        folder.discard()
        raise
    _keep(checked, folder)
    problems = outputs.write_all(checked, wanted, str(arguments.config or ""))
    _show(checked, folder.path)
    for error in problems:
        print(f"error: {error}\ncure: {error.cure}", file=sys.stderr)
    return checked.exit_code or max((int(error.exit_code) for error in problems), default=0)


def _measured(arguments: argparse.Namespace, base: Place, head: Place, here: Path) -> Checked:
    """Base and head side by side."""
    from harness.ci import checking, machine, measuring, places
    from harness.comparing.blocks import Plan
    from harness.progress import create

    entries = _entries(arguments)
    floors = machine.floors(entry.setting("scenario") for entry in entries)
    about = checking.About(base.shown, head.shown, machine.described(), floors, arguments.rounds)
    plan = Plan(fewest=arguments.blocks, block_s=arguments.block_duration, budget_s=0)
    checking.refuse_fine_gates(entries, about)
    with ExitStack() as stack:
        sides = [stack.enter_context(places.opened(place, here)) for place in (base, head)]
        wanted = measuring.prepare(entries, *sides)
        progress = create(settings(arguments).get("progress", "auto"))
        stack.callback(progress.close)
        return checking.check(entries, measuring.Rounds(wanted, plan, progress).measure, about)


def _entries(arguments: argparse.Namespace) -> tuple[Entry, ...]:
    from harness.ci import entries

    flags = settings(arguments)
    gate = entries.percent(arguments.gate, "--gate") if arguments.gate is not None else None
    named = any(name in flags for name in entries.NAMED)
    if arguments.config is None and (named or not Path(entries.FILE).is_file()):
        return entries.of_flags(flags, gate)
    return entries.read(arguments.config or Path(entries.FILE), flags, gate)


def _stored(arguments: argparse.Namespace, base: Place, head: Place) -> Checked:
    from harness.ci import entries, stored

    gate = entries.percent(arguments.gate, "--gate") if arguments.gate is not None else None
    return stored.check(base, head, arguments.db, gate)


def _keep(checked: Checked, folder: RunFolder) -> None:
    from harness import plugins, store
    from harness.ci.document import document
    from harness.ci.result import to_json

    made = document(checked)
    for name, file in (("markdown", "report.md"), ("html", "report.html")):
        folder.write_text(file, plugins.load("reports", name).render_document(made))
    folder.write_text(FILE, store.as_json(to_json(checked)))


def _show(checked: Checked, folder: Path) -> None:
    """On the screen. Whoever stops reading half-way does not turn a regression into a success."""
    from harness import plugins
    from harness.ci.document import document

    text = plugins.load("reports", "terminal").render_document(document(checked))
    try:
        print(f"{text}results in {folder}", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ----------------------------------------------------------------------------------------------------------------------------- history


def _record(arguments: argparse.Namespace) -> int:
    from harness import units
    from harness.history.commit import checked_out
    from harness.history.connection import find_file
    from harness.history.database import History
    from harness.history.importing import find, import_folders

    try:
        runs = find(arguments.runs)  # before there is a history: none is begun for a folder without runs
    except MissingError as error:  # it names the flag of `history`
        raise MissingError(str(error).removeprefix("--import: "), error.cure) from error
    with History(find_file(arguments.db)) as history:
        found = import_folders(history, runs, arguments.branch, arguments.machine, checked_out(Path.cwd()))
        print(f"{units.plural(len(found.new), 'run')} recorded in {history.file}, {len(found.known)} known already")
    for folder, why in found.failed:
        print(f"not recorded: {folder}: {why}")
    return int(ExitCode.MISSING if found.failed else ExitCode.OK)


def _accept(arguments: argparse.Namespace) -> int:
    from harness.ci import accepting
    from harness.history.connection import find_file
    from harness.history.database import History

    with History(find_file(arguments.db), make=False) as history:
        for line in accepting.accept(history, arguments.change, arguments.commit, arguments.note, arguments.metric):
            print(line)
    return int(ExitCode.OK)
