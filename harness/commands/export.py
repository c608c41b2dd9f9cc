"""`export`: stored runs in the form that somebody else's program reads; so far the folder of an MLPerf submission."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import ExitCode
from harness.flags import Parser
from harness.mlperf.rounds import ROUNDS
from harness.submission.checks import BENCHMARKS, DIVISIONS
from harness.submission.folder import Exported, Submission, export
from harness.submission.system_description import STATUSES

FORMATS = ("mlperf",)


def add_arguments(parser: Parser) -> None:
    parser.add_argument("format", choices=FORMATS, help="mlperf: a submission folder of MLPerf Inference, BERT")
    parser.add_argument("run", nargs="+", type=Path, help="folders of runs: performance, accuracy or submission, and TEST01")
    needed = parser.add_argument_group("needed")
    needed.add_argument("--out", type=Path, required=True, metavar="TREE", help="folder of the submission; an earlier one is added to")
    needed.add_argument("--division", choices=DIVISIONS, required=True, help="open, or closed with all its rules")
    needed.add_argument("--submitter", required=True, metavar="NAME", help="your organisation, as the folder is called")
    needed.add_argument(
        "--system", type=Path, required=True, metavar="FILE", help="JSON that describes the system; written, to be filled in, if not there"
    )
    more = parser.add_argument_group("more")
    more.add_argument("--system-name", default="", metavar="NAME", help="folder of the system (default: from the description or its file)")
    more.add_argument("--benchmark", choices=tuple(BENCHMARKS), default="bert-99", help="which F1 must be reached (default: bert-99)")
    more.add_argument("--round", choices=ROUNDS, default="", help="layout and seeds (default: the round the runs were made for)")
    more.add_argument("--availability", choices=STATUSES, default="", dest="status", help="(default: what the description says)")
    more.add_argument("--calibration", type=Path, metavar="FILE", help="how the weights were quantised; needed for int8 in closed")
    more.add_argument("--retraining", default="", metavar="TEXT", help="what was trained; needed for other models than bert-large-squad")
    more.add_argument("--model-mapping", default="", dest="mapped_name", metavar="NAME", help="open: name of your model's folder")
    more.add_argument("--allow-incomplete", action="store_true", dest="incomplete", help="write a tree that breaks rules, and say so in it")
    more.add_argument("--force", action="store_true", help="replace what the tree already has")


def execute(arguments: argparse.Namespace) -> int:
    """Lay the runs out and say what was written. Raises UsageError, MissingError and DataError as `export.export` does."""
    chosen = {name: value for name, value in vars(arguments).items() if name in Submission.__dataclass_fields__}
    print(_told(export(arguments.run, Submission(**chosen))))
    return int(ExitCode.OK)


def _told(made: Exported) -> str:
    lines = [f"{len(made.files)} files in {made.tree}", *made.scores]
    if made.findings:
        lines.append(f"NOT SUBMITTABLE: {len(made.findings)} thing(s) speak against it, listed in {made.tree / 'NOT_SUBMITTABLE.md'}")
    return "\n".join([*lines, "", made.footnote])
