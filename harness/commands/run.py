"""`run`: measure one scenario, one task, one backend, and show the verdict. `--plan` only says what would run."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.flags import Parser, add_config_file, add_settings, settings

if TYPE_CHECKING:
    from harness.config import RunConfig
    from harness.session import Finished


def add_arguments(parser: Parser) -> None:
    add_config_file(parser)
    parser.add_argument("--plan", action="store_true", help="print what would run and what is missing, and measure nothing")
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    from harness.config import SUITES, load

    config = load(settings(arguments), arguments.config)
    if config.task in SUITES:
        return _suite(config, arguments.plan)
    if arguments.plan:
        from harness.plan import Plan, make

        plan: Plan = make(config)
        print(plan.text())
        return int(plan.exit_code)

    return _leave(int(_measure(config).run.exit_code))


def _measure(config: RunConfig) -> Finished:
    """One run, its card on the screen."""
    from harness import plugins, session
    from harness.progress import create
    from harness.store import NotStored

    card = plugins.load("reports", "terminal")  # before measuring, so that a missing library costs nothing
    progress = create(config.progress)
    try:
        finished = session.run(config, progress=progress)
    except NotStored as error:
        progress.close()
        if error.run is not None:
            print(card.render(error.run, error.columns), end="")
        raise
    finally:
        progress.close()
    _show(f"{card.render(finished.run, finished.columns)}results in {finished.folder}")
    return finished


def _suite(config: RunConfig, plan: bool) -> int:
    """Every task of a suite, each with its card, and one table at the end."""
    from harness import suite
    from harness.store import make_run_id

    if plan:
        raise UsageError(f"--plan is for one task, {config.task} are several", f"choose one of {', '.join(suite.SUITES[config.task])}")
    name = make_run_id(datetime.now(UTC), config.task, config.scenario, config.backend)
    ran = suite.run(config, _measure, lambda task: print(f"-- {task}", file=sys.stderr, flush=True))
    file = suite.save(ran, config.out, name)
    _show(f"{suite.text(ran)}\nresults in {file}")
    return _leave(ran.exit_code)


def _leave(code: int) -> int:
    """A test of the official LoadGen that was given up still runs in a thread; at a normal exit its destructors would abort the process."""
    player = sys.modules.get("harness.official.player")
    if player is not None and player.still_playing():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _show(text: str) -> None:
    """Print the result. It is stored already: a screen that has gone or is full changes neither it nor the exit code."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter still flushes what could not be written
        print(f"the result could not be shown ({error.strerror}); it is stored", file=sys.stderr)
