"""Stored runs laid out as an MLPerf Inference submission of BERT, rounds v5.0 to v6.1: what is asked, refused, and written."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import conditions
from harness.errors import MissingError, UsageError
from harness.mlperf import rounds
from harness.submission import checks as export_checks
from harness.submission import layout as export_layout
from harness.submission import runs as export_runs
from harness.submission import system_description
from harness.submission import texts as export_texts
from harness.submission import tree as export_tree
from harness.submission.checks import Finding, Rules
from harness.submission.files import REFERENCE_MODEL, quantised
from harness.submission.layout import Documents, Place
from harness.submission.runs import StoredRun

_UNUSABLE = re.compile(r"[\s/\\]|^\.|^$|^__pycache__$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What the submitter decides.

    system          JSON file of the system description; written where it does not exist
    system_name     folder of the system; "": what the JSON says if it can be a folder's name, else the name of the file
    round           "": the one the runs were made for
    status          available, preview or rdi; "": what the JSON says, else available
    calibration     file with how the weights were quantised
    mapped_name     open: folder name of a model of one's own, which model_mapping.json maps to the benchmark
    retraining      what was trained; "": known for the reference model only
    incomplete      write the tree although something speaks against it, and say so in it
    force           replace what the tree already has
    """

    out: Path
    division: str
    submitter: str
    system: Path
    system_name: str = ""
    benchmark: str = "bert-99"
    round: str = ""
    status: str = ""
    calibration: Path | None = None
    mapped_name: str = ""
    retraining: str = ""
    incomplete: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was laid out: `files` below `tree`, in order; `scores` a line for each scenario; `footnote` belongs beside them."""

    tree: Path
    files: tuple[str, ...]
    scores: tuple[str, ...]
    footnote: str
    findings: tuple[Finding, ...]


def export(folders: Sequence[Path], wanted: Submission) -> Exported:
    """Lay the runs of these folders out. Raises UsageError once with everything that is unknown or speaks against it, and MissingError and
    DataError for files; then no tree is written or changed."""
    _check_choices(wanted)
    runs = [stored for folder in folders for stored in export_runs.read_parts(folder)]
    entries = export_runs.grouped(runs)
    fields, unfit = _described(wanted, runs)
    rules = Rules(
        division=wanted.division, benchmark=wanted.benchmark, round=_round(wanted, runs), system_type=fields.get("system_type", "")
    )
    place = Place(
        rules=rules, submitter=wanted.submitter, system=_folder_name(wanted, fields), folder=wanted.mapped_name or wanted.benchmark
    )
    asked, broken = _asked(wanted, runs), export_checks.findings(entries, rules)
    if (unfit or asked or broken) and not wanted.incomplete:
        raise _refusal(wanted, unfit, asked, broken)
    found = [*(Finding(wanted.system.name, line, "fill it in") for line in unfit), *asked, *broken]
    files = export_layout.files(entries, place, _documents(wanted, runs, fields))
    owned = [folder for entry in entries for folder in place.owned(entry.scenario)]
    export_tree.check(wanted.out, files, owned, force=wanted.force)
    export_tree.write(wanted.out, files, owned, _amended(wanted, place, found))
    scores = tuple(f"{entry.scenario}: {export_texts.score(entry)}" for entry in entries)
    footnote = export_texts.footnote(rules, [entry.scenario for entry in entries])
    return Exported(wanted.out, tuple(files), scores, footnote, tuple(found))


def _amended(wanted: Submission, place: Place, found: Sequence[Finding]) -> export_tree.Amendments:
    """Files that this export shares with others in the tree."""
    title = f"{place.root}/{place.system}/{place.folder}"
    amended = {export_texts.NOT_SUBMITTABLE: lambda before: export_texts.not_submittable(before, title, found)}
    if wanted.mapped_name:
        amended[place.mapping] = lambda before: export_layout.with_mapping(before, place)
    return amended


def _refusal(wanted: Submission, unfit: Sequence[str], asked: Sequence[Finding], broken: Sequence[Finding]) -> UsageError:
    """One message with all of it."""
    lines = [f"this is no {wanted.division} submission yet"]
    for title, listed in ((f"fill in {wanted.system}:", unfit), ("give:", asked), ("repair:", broken)):
        lines += [title, *(f"  {each}" for each in listed)] if listed else []
    return UsageError("\n".join(lines), "then export again, or write the tree as it is, marked as not submittable, with --allow-incomplete")


# --------------------------------------------------------------------------------------------------------------------------- choices


def _check_choices(wanted: Submission) -> None:
    """Raises UsageError for what cannot be a choice, before anything is written."""
    names = {"--submitter": wanted.submitter, "--system-name": wanted.system_name, "--model-mapping": wanted.mapped_name}
    for option, name in names.items():
        if _UNUSABLE.search(name) and (name or option == "--submitter"):
            raise UsageError(
                f"{option}: {name!r} cannot name a folder of a submission", "use letters, digits, - and _; no spaces, no dot first"
            )
    for option, value, allowed in (
        ("--division", wanted.division, export_checks.DIVISIONS),
        ("--benchmark", wanted.benchmark, tuple(export_checks.BENCHMARKS)),
        ("--availability", wanted.status or "available", system_description.STATUSES),
    ):
        if value not in allowed:
            raise UsageError(f"{option}: {value!r} is no choice", f"choose one of {', '.join(allowed)}")
    if wanted.mapped_name and wanted.division == "closed":
        raise UsageError("--model-mapping is for the open division", "leave it out, or use --division open")


def _round(wanted: Submission, runs: Sequence[StoredRun]) -> str:
    """The round that is exported for. Raises UsageError if the runs are of several."""
    if wanted.round:
        rounds.seeds(wanted.round)
        return wanted.round
    made_for = sorted({str(stored.run.config.get("round") or rounds.ROUNDS[-1]) for stored in runs})
    if len(made_for) > 1:
        raise UsageError(f"the runs were made for different rounds: {', '.join(made_for)}", "export the runs of one round, or give --round")
    return made_for[0]


def _asked(wanted: Submission, runs: Sequence[StoredRun]) -> list[Finding]:
    """What only the submitter can say and has not."""
    found = []
    if wanted.division == "closed" and wanted.calibration is None and any(quantised(stored.run.backend) for stored in runs):
        found.append(Finding("--calibration", "the weights are quantised; how is not known", "give the file that describes it"))
    if not wanted.retraining and (names := _other_models(runs)):
        cure = 'give it, such as --retraining No or --retraining "fine-tuned on SQuAD v1.1"'
        found.append(Finding("--retraining", f"what was trained of {', '.join(names)} is not known", cure))
    return found


def _other_models(runs: Sequence[StoredRun]) -> list[str]:
    names = {str(stored.run.model["name"]) for stored in runs if stored.run.model}
    return sorted(names - {REFERENCE_MODEL})


def _documents(wanted: Submission, runs: Sequence[StoredRun], fields: dict[str, str]) -> Documents:
    """Raises MissingError for a calibration file that cannot be read."""
    calibration = ""
    if wanted.calibration is not None:
        try:
            calibration = wanted.calibration.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MissingError(f"--calibration: {wanted.calibration} cannot be read: {error}", "give a text file") from error
    elif wanted.division == "closed" and not any(quantised(stored.run.backend) for stored in runs):
        calibration = export_texts.calibration(runs)
    return Documents(
        system=system_description.to_json(fields),
        calibration=calibration,
        retraining=wanted.retraining or ("not known" if _other_models(runs) else "No"),
    )


# ---------------------------------------------------------------------------------------------------------------------------- system


def _described(wanted: Submission, runs: Sequence[StoredRun]) -> tuple[dict[str, str], list[str]]:
    """The system's description, and a line for each field that is not as it must be. A file that does not exist is written, so that only
    the rest has to be filled in."""
    given = system_description.read(wanted.system) if wanted.system.exists() else {}
    first = runs[0].run
    known = system_description.described(first.conditions, first.backend, here=_made_here(first.conditions))
    fields = system_description.merged(known, given)
    lines = [
        f"{name}: it says {fields[name]!r} and --{name} says {value!r}"
        for name, value in (("division", wanted.division), ("submitter", wanted.submitter))
        if fields[name] and fields[name].lower() != value.lower()
    ]
    lines += system_description.contradictions(given, known)
    fields |= {"division": wanted.division, "submitter": wanted.submitter}
    fields["status"] = wanted.status or fields["status"]
    fields["system_name"] = fields["system_name"] or wanted.system_name or wanted.system.stem
    if not wanted.system.exists():
        _write_template(wanted.system, fields)
    return fields, lines + system_description.missing(fields)


def _made_here(recorded: Mapping[str, Any]) -> bool:
    """Whether a run with these conditions was made on this machine: its name and its processor are the same."""
    processor = (recorded.get("cpu") or {}).get("model")
    return bool(recorded.get("hostname") == platform.node() and processor == conditions.cpu()["model"])


def _write_template(file: Path, fields: dict[str, str]) -> None:
    try:
        file.write_text(system_description.to_json(fields), encoding="utf-8")
    except OSError as error:
        raise MissingError(
            f"--system: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written"
        ) from error


def _folder_name(wanted: Submission, fields: dict[str, str]) -> str:
    """Raises UsageError if neither the description nor its file has a name that can be a folder's."""
    for name in (wanted.system_name, fields["system_name"], wanted.system.stem):
        if name and not _UNUSABLE.search(name):
            return name
    raise UsageError(f"--system: neither {fields['system_name']!r} nor {wanted.system.stem!r} can name a folder", "give --system-name")
