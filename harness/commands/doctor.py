"""`doctor`: is this machine fit to measure on."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import ExitCode
from harness.flags import Parser, add_settings


def add_arguments(parser: Parser) -> None:
    add_settings(parser, ("out",))


def execute(arguments: argparse.Namespace) -> int:
    """Exit code 3 if something needed is missing (FAIL), else 0."""
    from harness.doctoring.examination import examine
    from harness.doctoring.lines import Level

    lines = examine(Path(getattr(arguments, "out", "results")))
    width = max(len(line.name) for line in lines)
    for line in lines:
        print(f"{line.level:<4}  {line.name:<{width}}  {line.text}")
        if line.cure:
            print(f"{'':<4}  {'':<{width}}  cure: {line.cure}")
    return int(ExitCode.MISSING if any(line.level is Level.FAIL for line in lines) else ExitCode.OK)
