"""`finetune`: a model for a task, from its training data: LoRA on the embedded base, or on another one."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ExitCode, UsageError
from harness.flags import Parser, add_settings, settings

OWN = {
    "text_column": "text, or first text of a pair",
    "pair_column": "second text of a pair",
    "label_column": "label or value",
    "question_column": "question",
    "context_column": "context of the question",
    "answer_column": "answer to the question",
    "labels": "a=b,c=d: labels of the data, and what the model is to call them",
    "metric": "primary metric of the dev score",
    "positive": "label whose F1 is meant",
}
"""How a file of one's own is to be read; all of it may stand in a YAML file instead."""


def add_arguments(parser: Parser) -> None:
    from harness.config import DATA_VARIABLE

    needed = parser.add_argument_group("needed")
    needed.add_argument(
        "--task", required=True, metavar="TASK", help="task by name, or your own dev file: .csv, .tsv, .jsonl, or a .yaml that names it"
    )
    needed.add_argument(
        "--data",
        type=Path,
        default=os.environ.get(DATA_VARIABLE),
        metavar="PATH",
        help=f"folder with the task's training file, or that file (default: ${DATA_VARIABLE})",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--base", default="embedded", metavar="FOLDER", help="encoder: a folder with safetensors weights (default: embedded)"
    )
    model.add_argument("--out", type=Path, metavar="FOLDER", help="where the model goes (default: finetuned-TASK)")
    model.add_argument("--rank", type=int, default=16, metavar="N", help="of the LoRA weights (default: 16)")
    model.add_argument("--alpha", type=int, default=32, metavar="N", help="LoRA weights count alpha / rank (default: 32)")
    model.add_argument("--full", action="store_true", help="train all weights instead of LoRA weights")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--epochs", type=int, default=3, metavar="N", help="times that all examples are seen (default: 3)")
    recipe.add_argument("--rate", type=float, metavar="R", help="peak learning rate (default: 1e-3; with --full 3e-5)")
    recipe.add_argument("--batch", type=int, default=32, metavar="N", help="examples of a step (default: 32)")
    recipe.add_argument("--max-length", type=int, metavar="N", help="tokens of an input (default: the task's)")
    recipe.add_argument(
        "--max-steps", type=int, metavar="N", help="stop after so many steps; the rate still follows the plan of all epochs"
    )
    recipe.add_argument("--seed", type=int, default=0, metavar="N", help="of the new head and of the order of examples (default: 0)")
    recipe.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of matrix products in training (default: bf16)")
    recipe.add_argument("--checkpoint-every", type=int, default=100, metavar="N", help="steps (default: 100)")
    recipe.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads; another number may change the last bits (default: PyTorch's)"
    )
    own = parser.add_argument_group("your own file")
    for name, text in OWN.items():
        own.add_argument(f"--{name.replace('_', '-')}", metavar=name.rpartition("_")[2].upper(), help=text)
    add_settings(parser, ("offline", "progress"))


def execute(arguments: argparse.Namespace) -> int:
    """Train and print where the model is and how it scores. Raises what `finetune.finetune` raises."""
    from harness import models, progress
    from harness.finetuning.training import finetune

    chosen = settings(arguments)
    screen = progress.create(str(chosen.get("progress", "auto")))
    try:
        done = finetune(_request(arguments), cache=models.default_cache(), offline=bool(chosen.get("offline")), screen=screen)
    finally:
        screen.close()
    print("\n".join(_told(done.record, done.folder, done.before_this)))
    return int(ExitCode.OK)


def _request(arguments: argparse.Namespace) -> Any:
    from harness.finetuning.loop import Recipe
    from harness.finetuning.training import Request

    if arguments.data is None:
        raise UsageError("--data is not given", "Name the folder with the task's training file, or the file.")
    for name in ("rank", "alpha", "epochs", "batch", "max_length", "max_steps", "checkpoint_every", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be 1 or more", "Give a whole number from 1.")
    if arguments.seed < 0:
        raise UsageError(f"--seed {arguments.seed}: must be 0 or more", "Give a whole number from 0.")
    if arguments.rate is not None and not 0 < arguments.rate < 1:
        raise UsageError(f"--rate {arguments.rate:g}: must be above 0 and below 1", "Try 1e-3, or 3e-5 with --full.")
    rate = arguments.rate or (3e-5 if arguments.full else 1e-3)
    recipe = Recipe(
        epochs=arguments.epochs,
        rate=rate,
        batch=arguments.batch,
        seed=arguments.seed,
        max_steps=arguments.max_steps,
        precision=arguments.precision,
    )
    return Request(
        task=arguments.task,
        data=Path(arguments.data),
        out=arguments.out or Path(f"finetuned-{Path(arguments.task).stem}"),
        recipe=recipe,
        base=arguments.base,
        rank=0 if arguments.full else arguments.rank,
        alpha=arguments.alpha,
        max_length=arguments.max_length,
        checkpoint_every=arguments.checkpoint_every,
        threads=arguments.threads,
        flags=_own(arguments),
        command=_command(arguments, rate),
    )


def _own(arguments: argparse.Namespace) -> dict[str, str]:
    return {name: value for name in OWN if (value := getattr(arguments, name)) is not None}


def _command(arguments: argparse.Namespace, rate: float) -> str:
    """The line that makes the model again, with file names in place of paths of this machine."""
    words = ["assay", "finetune", "--task", Path(arguments.task).name, "--data", Path(arguments.data).name]
    if arguments.base != "embedded":
        words += ["--base", Path(arguments.base).name]
    words += ["--full"] if arguments.full else ["--rank", str(arguments.rank), "--alpha", str(arguments.alpha)]
    words += ["--epochs", str(arguments.epochs), "--rate", f"{rate:g}", "--batch", str(arguments.batch), "--seed", str(arguments.seed)]
    for name in ("max_length", "max_steps"):
        if getattr(arguments, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    words += ["--precision", arguments.precision] if arguments.precision != "bf16" else []
    for name, value in _own(arguments).items():
        words += [f"--{name.replace('_', '-')}", value]
    return shlex.join(words)


def _told(record: Mapping[str, Any], folder: Path, before_this: bool) -> list[str]:
    lines = [f"{folder} holds this model already; nothing was done"] if before_this else [f"model in {folder}"]
    lines += [f"{record['steps']:,} steps on {record['train_samples']:,} samples, mean loss of the last steps {record['loss']:.4f}"]
    if record["after"]:
        before, after, metric = record["before"], record["after"], record["metric"]
        shown = [
            f"{name} {before[name]:.3f} before, {after[name]:.3f} after" for name in (metric, *sorted({*after} - {metric, "examples"}))
        ]
        lines += [f"on {record['dev']} ({after['examples']:,.0f} examples): {'; '.join(shown)}"]
    return lines
