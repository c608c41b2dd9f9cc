"""`sweep`: the same loaded system at many rates, or at every value of any other setting. `--plan` only says what would run."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.errors import ExitCode, Interrupted
from harness.flags import Parser, add_config_file, add_settings, settings, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.sweeping.courses import Asked
    from harness.sweeping.session import Swept

REPEAT, RATES = 2, 12


def add_arguments(parser: Parser) -> None:
    group = parser.add_argument_group("what is swept")
    group.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="SETTING=VALUES",
        help="values of a setting, such as max_batch=1,2,4,8; several make a grid (default: rates of server, found by themselves)",
    )
    group.add_argument("--repeat", type=whole(least=1), default=REPEAT, metavar="N", help=f"passes over all points (default: {REPEAT})")
    group.add_argument("--rates", type=whole(least=3), default=RATES, metavar="N", help=f"most rates of a curve (default: {RATES})")
    group.add_argument("--plan", action="store_true", help="print the points and about how long they take, and measure nothing")
    add_config_file(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    from harness.sweeping import courses
    from harness.sweeping.plan import text

    asked = courses.asked(settings(arguments), arguments.config, arguments.over, arguments.rates)
    if arguments.plan:
        print(text(asked.courses, arguments.repeat, arguments.rates))
        return int(ExitCode.OK)
    return _measure(asked, arguments.repeat, arguments.rates)


def _measure(asked: Asked, repeat: int, most_rates: int) -> int:
    """Play, store, show; the exit code."""
    from harness import plugins
    from harness.progress import create
    from harness.store import make_run_id, open_folder
    from harness.sweeping import files, session
    from harness.sweeping.document import document

    shown = plugins.load("reports", "terminal")  # before measuring, so that a missing library costs nothing
    first, started = asked.courses[0].config, datetime.now(UTC)
    folder = open_folder(first.out, make_run_id(started, "sweep", first.scenario, first.task, first.name or ""))
    progress = create(first.progress)
    try:
        swept = session.run(asked.courses, repeat, most_rates, progress)
        if not swept.complete and not any(point.visits for point in swept.points):
            raise Interrupted("interrupted before a point was measured")
    except BaseException:
        folder.discard()
        raise
    finally:
        progress.close()
    made = files.record(swept, asked.swept, repeat, folder.path.name, started)
    print(shown.render_document(document(made)), end="")
    files.save(folder, made)
    print(f"results in {folder.path}")
    return _exit_code(swept, made)


def _exit_code(swept: Swept, made: Mapping[str, Any]) -> int:
    """Interrupted, failed, accuracy missed, no point with a result, in this order."""
    from harness.sweeping import words

    if not swept.complete:
        return int(ExitCode.INTERRUPTED)
    if any(point.problem for point in swept.points) or any(line.problem for line in swept.lines):
        return int(ExitCode.FAILED)
    if any(line.struck for line in swept.lines):
        return int(ExitCode.ACCURACY)
    nothing = words.best_line(made) is None and words.best_point(made) is None
    return int(ExitCode.INVALID if nothing else ExitCode.OK)
