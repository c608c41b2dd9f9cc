"""`compare`: two to eight candidates against each other in one run, block by block, with the accuracy of each."""

from __future__ import annotations

import argparse

from harness.config import FIELDS
from harness.flags import Parser, add_config_file, add_settings, positive, settings, whole


def add_arguments(parser: Parser) -> None:
    group = parser.add_argument_group("candidates")
    group.add_argument("--backend", action="append", default=[], metavar="NAME", help="a candidate: another backend, other settings alike")
    group.add_argument(
        "--candidate",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="a candidate by settings of its own, such as backend=pytorch:amp,max_batch=64,name=wide; python=PATH runs it under another "
        "interpreter, project=FOLDER in another checkout",
    )
    group.add_argument("--reference", metavar="NAME", help="what ratios are to (default: the first FP32 candidate, else the first)")
    group.add_argument("--blocks", type=whole(least=2), default=6, metavar="N", help="fewest blocks (default: 6)")
    group.add_argument("--block-duration", type=positive, default=3.0, metavar="S", help="seconds a candidate and block (default: 3)")
    group.add_argument("--budget", type=positive, default=300.0, metavar="S", help="begin no block after this long (default: 300)")
    group.add_argument("--width", type=positive, default=1.0, metavar="PERCENT", help="interval that is narrow enough (default: 1)")
    group.add_argument("--alternate", action="store_true", help="never load two at once (default: only where memory does not suffice)")
    add_config_file(parser)
    add_settings(parser, [name for name in FIELDS if name != "backend"])


def execute(arguments: argparse.Namespace) -> int:
    from harness import plugins
    from harness.comparing.candidates import parsed, reference_of, wanted
    from harness.comparing.document import document
    from harness.comparing.whole import compare, plan_of

    given = [{"backend": name} for name in arguments.backend] + [parsed(text) for text in arguments.candidate]
    common = {name: value for name, value in settings(arguments).items() if name != "backend"}
    candidates = wanted(given, common, arguments.config)
    plan = plan_of(blocks=arguments.blocks, block_duration=arguments.block_duration, budget=arguments.budget, width=arguments.width)
    finished = compare(candidates, reference_of(arguments.reference, candidates), plan, alternate=arguments.alternate)
    print(plugins.load("reports", "terminal").render_document(document(finished.record)), end="")
    print(f"results in {finished.folder}")
    return finished.exit_code
