"""`list`: what there is to run, and what each thing lacks to run here. Imports no plugin."""

from __future__ import annotations

import argparse

from harness import plugins
from harness.errors import ExitCode
from harness.flags import Parser
from harness.plugins import KINDS, PluginInfo

MODELS = "models"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("what", nargs="?", choices=(*KINDS, MODELS), help="only these (default: all)")


def execute(arguments: argparse.Namespace) -> int:
    blocks = [_plugins(kind) for kind in KINDS if arguments.what in (None, kind)]
    if arguments.what in (None, MODELS):
        blocks.append(_models())
    print("\n\n".join(blocks))
    return int(ExitCode.OK)


def _plugins(kind: plugins.Kind) -> str:
    return _block(kind, [(info.name, _about(info), _lack(info)) for info in plugins.describe(kind)])


def _about(info: PluginInfo) -> str:
    parts = [info.summary]
    if info.precisions:
        parts.append(f"precisions: {', '.join(info.precisions)}")
    if info.options:
        parts.append(f"options: {', '.join('+' + option for option in info.options)}")
    if info.default_model:
        parts.append(f"default model: {info.default_model}")
    return "; ".join(filter(None, parts))


def _lack(info: PluginInfo) -> str:
    if info.problem:
        return info.problem
    return f"lacks {', '.join(info.missing)}: {plugins.install(info.missing)}" if info.missing else ""


def _models() -> str:
    from harness.registered_models import REGISTERED

    rows = []
    for model in REGISTERED.values():
        scores = ", ".join(f"{name} {value:g}" for name, value in model.scores.items())
        lack = "" if model.adapter or model.hub else "has to be fetched by hand"
        rows.append((model.name, f"{model.task}; {scores} ({model.source})", lack))
    return _block(MODELS, rows)


def _block(title: str, rows: list[tuple[str, str, str]]) -> str:
    """A title and its rows: name, what it is, what it lacks."""
    width = max((len(name) for name, _, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {about}" + (f"  [{lack}]" if lack else "") for name, about, lack in rows]
    return "\n".join([title, *(lines or ["  none"])])
