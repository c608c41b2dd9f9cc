"""`qualify`: is this machine as good as it should be, and if not, why: accepted, rejected, or not qualified."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ExitCode, MissingError, UsageError
from harness.flags import Parser, add_settings, positive, settings
from harness.suggest import advice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.qualifying.baseline import Baseline
    from harness.qualifying.check import Check, Qualification
    from harness.qualifying.run import Plan
    from harness.qualifying.signing import Signer

DEFAULT = "standard"
FLEET = "fleet"


def add_arguments(parser: Parser) -> None:
    from harness.qualifying.levels import LEVELS

    parser.add_argument("words", nargs=argparse.REMAINDER, metavar=f"{FLEET} DIR", help=f"many machines: `assay qualify {FLEET} --help`")
    group = parser.add_argument_group("how the machine is judged")
    group.add_argument("--level", default=DEFAULT, metavar=f"{{{','.join(LEVELS)}}}", help=f"how thoroughly (default: {DEFAULT})")
    group.add_argument("--baseline", type=Path, metavar="FILE", help="what accepted machines measured: accept or reject against it")
    group.add_argument(
        "--learn",
        type=Path,
        metavar="FILE",
        help="add this measurement, or those of --from, to a baseline; three or more make one",
    )
    group.add_argument(
        "--from", dest="sources", nargs="+", type=Path, default=[], metavar="FOLDER", help="with --learn: stored qualifications to learn"
    )
    group.add_argument("--sign", metavar="WITH", help="with --learn: sign it with gpg, gpg:KEY or minisign:KEYFILE")
    group.add_argument("--verify", metavar="WITH", help="the baseline must be signed by gpg, gpg:KEY or minisign:PUBLICKEYFILE")
    group.add_argument("--checks", type=Path, metavar="FILE", help="own checks (YAML), beside those of the level")
    group = parser.add_argument_group("a long qualification")
    group.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with one that was interrupted or killed")
    group.add_argument("--max-celsius", type=positive, metavar="C", help="end everything when any sensor reads more than this")
    group.add_argument("--time-limit", type=positive, metavar="S", help="end after so many seconds; --resume goes on")
    group.add_argument("--plan", action="store_true", help="print the checks and about how long they take, and measure nothing")
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.words:
        return _fleet(arguments.words)
    _refuse(arguments)
    if arguments.sources:
        return _learn_stored(arguments)
    if arguments.plan:
        return _show_plan(arguments)
    return _measure(arguments)


def _fleet(words: list[str]) -> int:
    """Everything behind the word is the fleet's; flags before it are one machine's. Raises UsageError for another word."""
    from harness.qualifying import fleet_command

    if words[0] != FLEET:
        raise UsageError(
            f"{words[0]}: not expected here", "`assay qualify --help` lists the flags; `assay qualify fleet DIR` compares machines"
        )
    parser = Parser(prog=f"assay qualify {FLEET}", description="stored qualifications of many machines: which are outliers")
    fleet_command.add_arguments(parser)
    return int(fleet_command.execute(parser.parse(words[1:])))


def _refuse(arguments: argparse.Namespace) -> None:
    """Raises UsageError for flags that do not go together."""
    from harness.qualifying.levels import LEVELS

    if arguments.level not in LEVELS:
        raise UsageError(f"--level: there is no level {arguments.level}", advice(arguments.level, LEVELS, "levels"))
    for flag, value, needed, wanted in (
        ("--sign", arguments.sign, arguments.learn, "--learn FILE"),
        ("--from", arguments.sources, arguments.learn, "--learn FILE"),
        ("--verify", arguments.verify, arguments.baseline or arguments.learn or arguments.resume, "--baseline FILE"),
    ):
        if value and not needed:
            raise UsageError(f"{flag} without {wanted.split()[0]}", f"give {wanted} too")
    if arguments.resume and (arguments.baseline or arguments.checks or settings(arguments).keys() - {"out", "progress"}):
        raise UsageError("--resume goes on as it began, with its own settings", "give nothing but --resume and limits")


# ---------------------------------------------------------------------------------------------------------------------- measuring


def _measure(arguments: argparse.Namespace) -> int:
    """Check, store, show, learn; the exit code."""
    from harness.progress import create
    from harness.qualifying import certificate, run

    known = _known_to_learn(arguments)
    plan = _resumed(arguments) if arguments.resume else _planned(arguments)
    progress = create(plan.config.progress)
    try:
        found = run.run(plan, progress)
    except BaseException:
        certificate.discard(plan.folder)
        raise
    finally:
        progress.close()
    text, sha256 = certificate.save(plan.folder, found)
    print(text, end="")
    print(f"certificate in {plan.folder}", flush=True)
    if not found.complete:
        print(f"go on with: assay qualify --resume {plan.folder}")
    code = _exit_code(found)
    if arguments.learn and code == ExitCode.OK:
        _learn(arguments, known, [(found, sha256)])
    elif arguments.learn:
        print(f"not learned into {arguments.learn}: only an accepted machine is an example of a good one")
    return code


def _exit_code(found: Qualification) -> int:
    """A machine that was found faulty stays so, whoever interrupted the rest."""
    if found.verdict == "NOT QUALIFIED" and any(finding.code == "INTERRUPTED" for finding in found.findings):
        return int(ExitCode.INTERRUPTED)
    return int(found.exit_code)


def _planned(arguments: argparse.Namespace) -> Plan:
    from datetime import UTC, datetime

    from harness.config import load
    from harness.qualifying import baseline, machine
    from harness.qualifying.run import Plan
    from harness.store import make_run_id, open_folder

    config = load(settings(arguments))
    checks, known = _checks(arguments.level, arguments.checks, config.duration), _baseline(arguments)
    for flag, against in (("--baseline", known), ("--learn", _known_to_learn(arguments))):
        if against is not None:
            baseline.refuse_other(against, machine.asked(config), flag)
    folder = open_folder(config.out, make_run_id(datetime.now(UTC), "qualification", arguments.level, config.name or "")).path
    return Plan(
        arguments.level,
        checks,
        config,
        folder,
        known,
        str(arguments.baseline or ""),
        _signed(arguments),
        arguments.max_celsius,
        arguments.time_limit,
        config.duration or _soak_s(checks),
        _stored_settings(arguments, config.model_dump(mode="json")),
    )


def _stored_settings(arguments: argparse.Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """What `--resume` needs to do the same."""
    files = {name: str(file.resolve()) for name in ("baseline", "checks") if (file := getattr(arguments, name)) is not None}
    return {"config": config, "max_celsius": arguments.max_celsius, "verify": arguments.verify, **files}


def _resumed(arguments: argparse.Namespace) -> Plan:
    from harness.config import RunConfig
    from harness.qualifying import state
    from harness.qualifying.run import Plan

    before = state.resumable(arguments.resume)
    stored = before.settings
    config = RunConfig(**stored["config"])
    file, own = stored.get("baseline"), stored.get("checks")
    arguments.baseline, arguments.verify = Path(file) if file else None, arguments.verify or stored.get("verify")
    known = _baseline(arguments)
    if known is not None and known.sha256 != before.baseline.get("sha256"):
        raise UsageError(f"--resume: the baseline {file} is not the one it began with", "put that one back, or begin anew")
    checks = _checks(before.level, Path(own) if own else None, config.duration)
    limit = arguments.max_celsius or stored.get("max_celsius")
    soak_s = config.duration or _soak_s(checks)
    return Plan(
        before.level,
        checks,
        config,
        arguments.resume,
        known,
        str(file or ""),
        _signed(arguments),
        limit,
        arguments.time_limit,
        soak_s,
        stored,
        before,
    )


def _checks(level: str, own: Path | None, duration: float | None) -> Sequence[Check]:
    """Those of the level and one's own; a soak as long as `--duration` says. Raises UsageError, MissingError."""
    from dataclasses import replace

    from harness.qualifying import levels, own_checks

    mine = own_checks.read(own) if own is not None else ()
    chosen = levels.ordered([*levels.of(level, levels.known()), *mine])
    if not chosen:
        raise UsageError(f"--level {level} has no checks", "choose another, or give some with --checks")
    soaked = duration if duration is not None and level == "long" else None
    return [replace(each, seconds=soaked, limit_s=2 * soaked + 600) if soaked and each.name == "soak" else each for each in chosen]


def _soak_s(checks: Sequence[Check]) -> float:
    return next((check.seconds for check in checks if check.name == "soak"), 900.0)


def _show_plan(arguments: argparse.Namespace) -> int:
    from harness import units
    from harness.config import load

    checks = _checks(arguments.level, arguments.checks, load(settings(arguments)).duration)
    width = max(len(check.name) for check in checks)
    for check in checks:
        about = "" if check.required else " (not required)"
        print(f"{check.name:<{width}}  {units.seconds(check.seconds):>8}  {check.title}{about}")
    print(f"{units.plural(len(checks), 'check')}, about {units.seconds(round(sum(check.seconds for check in checks)))}")
    return int(ExitCode.OK)


# ---------------------------------------------------------------------------------------------------------------------- baselines


def _signer(text: str | None, flag: str) -> Signer | None:
    from harness.qualifying import signing

    return signing.parse(text, flag) if text else None


def _baseline(arguments: argparse.Namespace) -> Baseline | None:
    from harness.qualifying import baseline_file
    from harness.qualifying.spread import FEWEST

    if arguments.baseline is None:
        return None
    found = baseline_file.read(arguments.baseline, "--baseline", _signer(arguments.verify, "--verify"))
    if len(found.accepted) < FEWEST:
        raise UsageError(
            f"--baseline: {arguments.baseline} was learned from {len(found.accepted)} measurements; a spread needs {FEWEST}",
            "measure again with --learn",
        )
    return found


def _signed(arguments: argparse.Namespace) -> str:
    """By whom the baseline is signed, where that is asked for."""
    from harness.qualifying import signing

    signer = _signer(arguments.verify, "--verify")
    return signing.check(arguments.baseline, signer) if signer and arguments.baseline else ""


def _known_to_learn(arguments: argparse.Namespace) -> Baseline | None:
    """The baseline that is to grow, read before anything is measured; None where there is none yet."""
    from harness.qualifying import baseline_file

    _signer(arguments.sign, "--sign")
    if arguments.learn is None or not arguments.learn.exists():
        return None
    return baseline_file.read(arguments.learn, "--learn", _signer(arguments.verify, "--verify"))


def _learn_stored(arguments: argparse.Namespace) -> int:
    """Qualifications that were stored before."""
    from harness.qualifying import state

    files = [source if source.is_file() else source / state.FILE for source in arguments.sources]
    if missing := next((file for file in files if not file.is_file()), None):
        raise MissingError(f"--from: {missing} is not there", "name folders of finished qualifications")
    _learn(arguments, _known_to_learn(arguments), [state.read(file) for file in files])
    return int(ExitCode.OK)


def _learn(arguments: argparse.Namespace, known: Baseline | None, found: Sequence[tuple[Qualification, str]]) -> None:
    from harness import units
    from harness.qualifying import baseline, baseline_file
    from harness.qualifying.spread import FEWEST

    for each, sha256 in found:
        known = baseline.learn(known, each, sha256)
    if known is None:
        return
    kept = baseline_file.write(arguments.learn, known, _signer(arguments.sign, "--sign"))
    more = FEWEST - len(kept.accepted)
    left = f"; with {more} more it can judge" if more > 0 else ""
    print(
        f"learned {len(found)} into {arguments.learn}: {units.plural(len(kept.accepted), 'measurement')}, sha256 {kept.sha256[:16]}{left}"
    )
