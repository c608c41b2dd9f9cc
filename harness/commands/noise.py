"""`noise`: a backend against itself, and what is left of it: below this, `compare` calls nothing a difference."""

from __future__ import annotations

import argparse
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.errors import ExitCode, MissingError, RunError
from harness.flags import Parser, add_config_file, add_settings, positive, settings, whole

if TYPE_CHECKING:
    from harness.comparing.blocks import Plan
    from harness.comparing.noise import Floor
    from harness.comparing.session import Compared
    from harness.config import RunConfig

BLOCKS = 10
"""Blocks of a measurement: enough for a 95th percentile that is not just the largest of a few."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--blocks", type=whole(least=BLOCKS), default=BLOCKS, metavar="N", help=f"blocks (default and least: {BLOCKS})")
    parser.add_argument("--block-duration", type=positive, default=3.0, metavar="S", help="seconds a block and side (default: 3)")
    add_config_file(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    from harness import units
    from harness.comparing import noise
    from harness.comparing.blocks import Plan
    from harness.config import load

    config = load(settings(arguments), arguments.config)
    compared = _measured(config, Plan(fewest=arguments.blocks, block_s=arguments.block_duration, budget_s=0))
    found = compared.comparison
    if problem := next((each.problem for each in found.candidates if each.problem), ""):
        raise RunError(f"{config.backend}: {problem}", "run it alone to see more")
    if found.interrupted:
        return int(ExitCode.INTERRUPTED)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    floor = noise.Floor(noise.of(found), config.scenario, config.task, config.backend, found.blocks, now)
    for line in compared.warnings:
        print(f"warning: {line}")
    blocks = units.plural(floor.blocks, "block")
    print(
        f"{config.scenario}: {config.backend} differs from itself by less than {math.expm1(floor.share):.2%} in 95 % of {blocks}",
        flush=True,
    )
    print(_kept(floor, compared.others_share or 0.0))
    return int(ExitCode.OK)


def _measured(config: RunConfig, plan: Plan) -> Compared:
    """The backend against itself."""
    from harness.comparing import session
    from harness.comparing.candidates import Wanted
    from harness.progress import create

    progress = create(config.progress)
    names = (config.backend, f"{config.backend} again")
    try:
        return session.run([Wanted(name, config.model_copy(update={"accuracy": False})) for name in names], 0, plan, progress)
    finally:
        progress.close()


def _kept(floor: Floor, others_share: float) -> str:
    """What became of it. Raises MissingError where it cannot be written."""
    from harness import models
    from harness.comparing import noise
    from harness.interference import WORTH_SAYING

    if others_share > WORTH_SAYING:
        return "not kept: other processes disturbed it; measure again when the machine is quiet"
    if floor.share >= noise.MOST:
        return "not kept: it is too large to tell anything by; measure again with a longer --block-duration, or on a quieter machine"
    try:
        file = noise.keep(models.default_cache(), floor)
    except OSError as error:
        raise MissingError(f"the noise floor cannot be kept: {error}", "set ASSAY_CACHE to a folder that can be written") from error
    return f"kept in {file}: `assay compare` calls no smaller difference faster or slower"
