"""`score`: predictions made elsewhere, scored against the data. No model and no tokenizer is needed."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import plugins
from harness.errors import ExitCode, MissingError, UsageError
from harness.flags import Parser, add_settings, settings
from harness.units import plural

if TYPE_CHECKING:
    from harness.classification import Kind
    from harness.glue import Dataset
    from harness.predictions import Scored, Scorer

SHOWN = 5
"""Ids that the result names; the others are counted."""


def add_arguments(parser: Parser) -> None:
    parser.usage = "%(prog)s --task NAME --predictions FILE [flags]"
    add_settings(parser, ("task", "data"))
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="squad, squad2: JSON, id to text; others: tsv, index and prediction"
    )
    parser.add_argument("--na-probs", type=Path, metavar="FILE", help="squad2: JSON, id to no-answer score")
    parser.add_argument(
        "--na-threshold", type=float, metavar="X", help="an answer with a higher no-answer score counts as none (default: 1.0)"
    )
    parser.add_argument("--allow-missing", action="store_true", help="score what there is where a class or value has no prediction")
    parser.add_argument("--out", dest="file", type=Path, metavar="FILE", help="write the JSON there, too")


def execute(arguments: argparse.Namespace) -> int:
    """Print the scores as JSON. Raises UsageError for flags, MissingError and DataError for data and predictions."""
    from harness.config import load
    from harness.predictions import Given

    if arguments.predictions is None:
        raise UsageError("--predictions is missing", "name the file to score")
    if arguments.na_threshold is not None and math.isnan(arguments.na_threshold):
        raise UsageError("--na-threshold: nan is no number", "give a number; most no-answer scores are probabilities or logits")
    config = load(settings(arguments))
    scorer = _scorer(config.task, config.data)
    given = Given(
        predictions=arguments.predictions,
        no_answer=arguments.na_probs,
        threshold=arguments.na_threshold,
        allow_missing=arguments.allow_missing,
    )
    scored = scorer.score(given)
    text = json.dumps(_result(config.task, scorer, scored), indent=2, allow_nan=False) + "\n"
    if arguments.file is not None:
        _write(text, arguments.file)
    print(text, end="")
    _warn(scored.missing, f"of {scorer.data_name} without a prediction")
    _warn(scored.unknown, f"of {arguments.predictions} passed over, not in {scorer.data_name}")
    return int(ExitCode.OK)


def _scorer(task: str, data: Path | None) -> Scorer:
    """What the task file's `scorer(data)` makes; without it, the scorer of the data set of GLUE that its constants describe."""
    module = plugins.load("tasks", task)
    if hasattr(module, "scorer"):
        scorer: Scorer = module.scorer(data)
        return scorer
    if all(hasattr(module, name) for name in ("KIND", "DATASET", "BUILT_IN")):
        return _glue_scorer(module.KIND, module.DATASET, module.BUILT_IN, data)
    raise UsageError(f"--task: {task} cannot score predictions", "its file defines no function scorer(data)")


def _glue_scorer(kind: Kind, dataset: Dataset, built_in: Path, data: Path | None) -> Scorer:
    """On the same data as `glue.create`."""
    from harness import glue
    from harness.datafiles import find_file
    from harness.predictions import LabelScorer

    examples = glue.read(dataset, built_in if data is None else find_file(data, dataset.files))
    official = bool(dataset.sha256) and examples.sha256 == dataset.sha256
    name = "built-in sample set" if examples.path == built_in else dataset.title if official else examples.path.name
    return LabelScorer(kind, examples, data_name=name, comparable=official)


def _result(task: str, scorer: Scorer, scored: Scored) -> dict[str, Any]:
    return {
        "task": plugins.spelled(task),
        "data": scorer.data_name,
        "comparable": scorer.comparable and not scored.partial,
        "metric": scorer.metric,
        "scores": dict(scored.scores),
        "counts": {"predictions": scored.predictions, "missing": len(scored.missing), "unknown": len(scored.unknown)},
        "missing": list(scored.missing[:SHOWN]),
        "unknown": list(scored.unknown[:SHOWN]),
    }


def _warn(ids: Sequence[str], what: str) -> None:
    if ids:
        print(f"{plural(len(ids), 'id')} {what}: {', '.join(ids[:SHOWN])}{' ...' if len(ids) > SHOWN else ''}", file=sys.stderr)


def _write(text: str, file: Path) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MissingError(f"--out: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written") from error
