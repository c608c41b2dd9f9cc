"""`traffic`: the queries of a run without model or data: which samples, in which order, when."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.flags import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        required=True,
        help='JSON: {"qsl_total": N, "qsl_perf": N, "settings": {LoadGen\'s TestSettings by name}}',
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to FILE.json or FILE.parquet (default: JSON on stdout)")


def execute(arguments: argparse.Namespace) -> int:
    from harness import generated, traffic_file

    if arguments.out is not None and arguments.out.suffix not in traffic_file.FORMATS:
        from harness.errors import UsageError

        raise UsageError(f"--out {arguments.out}: traffic is written as .json or .parquet", "name the file so")
    made = generated.from_file(arguments.settings)
    text = traffic_file.write(arguments.out, made.columns(), made.about())
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        print(f"{made.rows:,} samples in {made.queries:,} queries, {len(made.phases)} phase(s): {arguments.out}")
    return 0
