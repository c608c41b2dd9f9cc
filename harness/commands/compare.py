"""`compare`: two to eight candidates against each other in one run, block by block, with the accuracy of each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import FIELDS
from harness.errors import ExitCode, UsageError
from harness.flags import Parser, add_config_file, add_settings, positive, settings, whole

if TYPE_CHECKING:
    from harness.comparing.session import Compared
    from harness.config import RunConfig

FILE = "comparison.json"


def add_arguments(parser: Parser) -> None:
    group = parser.add_argument_group("candidates")
    group.add_argument("--backend", action="append", default=[], metavar="NAME", help="a candidate: another backend, other settings alike")
    group.add_argument(
        "--candidate",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="a candidate by settings of its own, such as backend=pytorch:amp,max_batch=64,name=wide",
    )
    group.add_argument("--reference", metavar="NAME", help="what ratios are to (default: the first FP32 candidate, else the first)")
    group.add_argument("--blocks", type=whole(least=2), default=6, metavar="N", help="fewest blocks (default: 6)")
    group.add_argument("--block-duration", type=positive, default=3.0, metavar="S", help="seconds a candidate and block (default: 3)")
    group.add_argument("--budget", type=positive, default=300.0, metavar="S", help="begin no block after this long (default: 300)")
    group.add_argument("--width", type=positive, default=1.0, metavar="PERCENT", help="interval that is narrow enough (default: 1)")
    add_config_file(parser)
    add_settings(parser, [name for name in FIELDS if name != "backend"])


def execute(arguments: argparse.Namespace) -> int:
    from harness import models
    from harness.comparing import noise
    from harness.comparing import session as compare_run
    from harness.comparing.blocks import Plan
    from harness.progress import create
    from harness.store import make_run_id, open_folder

    candidates = _candidates(arguments)
    names = [name for name, _ in candidates]
    reference = _reference(arguments.reference, candidates)
    plan = Plan(arguments.blocks, arguments.block_duration, arguments.budget, arguments.width / 100)
    first, started = candidates[0][1], datetime.now(UTC)
    folder = open_folder(first.out, make_run_id(started, "compare", first.scenario, first.task, first.name or ""))
    progress = create(first.progress)
    floor = noise.known(models.default_cache(), first.scenario)
    try:
        compared = compare_run.run(candidates, reference, plan, progress, floor.share if floor else 0.0)
    except BaseException:
        folder.discard()
        raise
    finally:
        progress.close()
    return _tell(compared, folder.path, started, f"{first.scenario} · {first.task} · {len(names)} candidates")


def _tell(compared: Compared, folder: Path, started: datetime, title: str) -> int:
    """Store and show it; the exit code."""
    from harness import conditions
    from harness.comparing import text as comparison_text
    from harness.session import ROOT
    from harness.store import RunFolder, as_json

    found, made = compared.comparison, RunFolder(folder)
    made.write_text("report.md", comparison_text.markdown(found, compared.warnings, title))
    made.write_text(FILE, as_json(_record(compared, started, conditions.collect(ROOT))))
    print(comparison_text.terminal(found, compared.warnings), end="")
    print(f"results in {folder}")
    if compared.comparison.interrupted:
        return int(ExitCode.INTERRUPTED)
    if any(each.problem for each in found.candidates):
        return int(ExitCode.FAILED)
    return int(ExitCode.OK if all(each.counts for each in found.candidates) else ExitCode.ACCURACY)


def _record(compared: Compared, started: datetime, conditions: Any) -> dict[str, Any]:
    from harness.comparing.results import SCHEMA

    found = compared.comparison
    cells = [
        {figure.name: asdict(cell) if (cell := found.cell(number, figure)) is not None else None for figure in found.figures}
        for number in range(len(found.candidates))
    ]
    best = found.best()
    return {
        "schema": SCHEMA,
        "started_utc": started.isoformat(timespec="seconds"),
        "reference": found.candidates[found.reference].name,
        "winner": found.candidates[best[0]].name if best else None,
        "indistinguishable": [found.candidates[number].name for number in best[1]] if best else [],
        "blocks": found.blocks,
        "floor": found.floor,
        "figures": [asdict(figure) for figure in found.figures],
        "candidates": [asdict(each) | {"counts": each.counts, "results": cell} for each, cell in zip(found.candidates, cells, strict=True)],
        "visits": [asdict(visit) for visit in found.visits],
        "conditions": conditions,
        "warnings": compared.warnings,
        "complete": not compared.comparison.interrupted,
    }


# -------------------------------------------------------------------------------------------------------------------- candidates


def _candidates(arguments: argparse.Namespace) -> list[tuple[str, RunConfig]]:
    """(name, settings) of each, in the order given. Raises UsageError."""
    from harness.comparing.blocks import FEWEST, MOST
    from harness.config import load

    given = [{"backend": name} for name in arguments.backend] + [_parsed(text) for text in arguments.candidate]
    if not FEWEST <= len(given) <= MOST:
        raise UsageError(f"{len(given)} candidates: a comparison has {FEWEST} to {MOST}", "name each with --backend or --candidate")
    common = settings(arguments)
    names = [str(each.get("name") or _title(each)) for each in given]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two candidates are called {doubled}", "give one of them a name: --candidate backend=...,name=...")
    return [(name, _refuse(load({**common, **each}, arguments.config))) for name, each in zip(names, given, strict=True)]


def _parsed(text: str) -> dict[str, str]:
    """ "backend=pytorch:amp,max_batch=64" by setting. A comma inside a value (lists) is kept where no `key=` follows it."""
    parts: dict[str, str] = {}
    key = ""
    for piece in text.split(","):
        name, equals, value = piece.partition("=")
        field = name.strip().replace("-", "_")
        if equals and field in ("out", "progress"):
            raise UsageError(f"--candidate {text}: {field} holds for all candidates", f"give --{field} instead")
        if equals and field in FIELDS:
            key = field
            parts[key] = value.strip()
        elif key and not equals:
            parts[key] += f",{piece.strip()}"
        else:
            raise UsageError(f"--candidate {text}: {piece} is no setting", "write KEY=VALUE,... with keys of `assay run --help`")
    return parts


def _title(given: dict[str, str]) -> str:
    """Backend first, then what else sets it apart."""
    others = [f"{key}={value}" for key, value in given.items() if key not in ("backend", "name")]
    return " ".join([given.get("backend", "pytorch:fp32"), *others])


def _reference(wanted: str | None, candidates: Sequence[tuple[str, RunConfig]]) -> int:
    """Which candidate ratios are to: the one named, else the first in FP32, else the first. Raises UsageError."""
    from harness.plugins import find_backend

    names = [name for name, _ in candidates]
    if wanted is None:
        return next((number for number, (_, config) in enumerate(candidates) if find_backend(config.backend).precision == "fp32"), 0)
    if wanted not in names:
        raise UsageError(f"--reference {wanted}: no candidate is called so", f"choose one of {', '.join(names)}")
    return names.index(wanted)


def _refuse(config: RunConfig) -> RunConfig:
    """The settings, if blocks can play them. Raises UsageError for LoadGen's modes and for what is no single task."""
    from harness.config import SUITES

    refused = {
        f"--task {config.task}": config.task in SUITES,
        f"--mode {config.mode}": config.mode != "performance",
        f"--engine {config.engine}": config.engine != "native",
        f"--find-peak {config.find_peak}": config.find_peak != "none",
        "--traffic": config.traffic is not None,
    }
    if wrong := next((name for name, is_given in refused.items() if is_given), None):
        raise UsageError(f"{wrong} cannot be compared: candidates play blocks of one task by the native engine", "leave it out")
    return config
