"""`audit`: TEST01 and the caching test, as commands and as checks in CI: 0 is a pass, 5 a failed audit."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.flags import Parser, add_config_file, add_settings, settings

if TYPE_CHECKING:
    from harness.audit import Audited
    from harness.config import RunConfig
    from harness.progress import Progress

AUDITS = {
    "test01": "are the answers of the timed run those of the accuracy run, at the same speed",
    "caching": "is a sample that was asked before answered faster",
}

KEEPS_SYSTEM = ("out", "name", "progress", "offline", "hang_timeout", "warmup")
"""Settings that may be given beside stored runs: they change nothing of what is measured."""


def add_arguments(parser: Parser) -> None:
    parser.usage = "%(prog)s test01 [RUN [PERFORMANCE_RUN]] [flags]\n       %(prog)s caching [flags]"
    parser.add_argument("audit", choices=tuple(AUDITS), help="; ".join(f"{name}: {text}" for name, text in AUDITS.items()))
    parser.add_argument("run", nargs="?", type=Path, help="test01: folder of a submission or accuracy run (default: make a submission run)")
    parser.add_argument("performance_run", nargs="?", type=Path, help="test01: folder of the performance run beside an accuracy run")
    add_config_file(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Make the audit and show it. Raises UsageError for runs and settings that do not go together."""
    given = settings(arguments)
    audited = _caching(arguments, given) if arguments.audit == "caching" else _test01(arguments, given)
    print(audited.text)
    if audited.folder is not None:
        print(f"audit in {audited.folder}")
    return audited.exit_code


def _caching(arguments: argparse.Namespace, given: Mapping[str, Any]) -> Audited:
    if arguments.run is not None:
        raise UsageError(f"{arguments.run}: the caching test is not of a stored run", "leave it out; settings come from flags and --config")
    from harness import audit
    from harness.config import load

    config = load(given, arguments.config)
    return audit.run_caching(config, _screen(config))


def _test01(arguments: argparse.Namespace, given: Mapping[str, Any]) -> Audited:
    from harness import audit
    from harness.config import load

    if arguments.run is None:
        config = load(given, arguments.config)
        return audit.run_test01(config, None, _screen(config))
    _refuse_other_settings(arguments, given)
    submission = audit.stored(arguments.run, arguments.performance_run)
    config = audit.stored_config(arguments.performance_run or arguments.run, given)
    return audit.run_test01(config, submission, _screen(config))


def _refuse_other_settings(arguments: argparse.Namespace, given: Mapping[str, Any]) -> None:
    """The settings are the stored run's: others would measure another system."""
    from harness.config import flag

    others = [flag(name) for name in given if name not in KEEPS_SYSTEM] + (["--config"] if arguments.config else [])
    if others:
        allowed = ", ".join(flag(name) for name in KEEPS_SYSTEM)
        raise UsageError(f"{', '.join(others)}: TEST01 of a stored run takes its settings from that run", f"give at most {allowed}")


def _screen(config: RunConfig) -> Callable[[], Progress]:
    from harness.progress import create

    return lambda: create(config.progress)
