"""Command-line flags made from the schema of the settings: each field is a flag, its description is its help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from harness.config import FIELDS, GROUPS, RunConfig, choices, flag
from harness.errors import UsageError
from harness.suggest import closest


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations; its complaints are UsageErrors, with the flag that was probably meant."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("usage", "%(prog)s [flags]")
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "), f"`{self.prog} --help` lists the flags")

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """Like `parse_args`; `_` in a flag is read as `-`. Raises UsageError."""
        known, unknown = self.parse_known_args([_dashed(argument) for argument in arguments])
        if unknown:
            raise self._unknown(unknown[0])
        return known

    def _unknown(self, argument: str) -> UsageError:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            return UsageError(f"{argument}: not expected here", f"`{self.prog} --help` lists the flags")
        near = closest(name, [option for action in self._actions for option in action.option_strings])
        return UsageError(f"there is no flag {name}", (f"did you mean {near}? " if near else "") + f"`{self.prog} --help` lists the flags")


def _dashed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def add_settings(parser: Parser, fields: Iterable[str] = FIELDS) -> None:
    """A flag for each of these fields, in the schema's groups; only flags that were given appear in the namespace."""
    groups = {title: parser.add_argument_group(title) for title in GROUPS if any(_group(name) == title for name in fields)}
    for name in fields:
        _add(groups[_group(name)], name)


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given as flags."""
    return {name: value for name, value in vars(arguments).items() if name in FIELDS}


def add_config_file(parser: Parser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings (or a run.json); flags win over it")


def whole(least: int) -> Callable[[str], int]:
    """The type of a flag that is a whole number of `least` or more."""

    def check(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
        return int(text)

    return check


def positive(text: str) -> float:
    """The type of a flag that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _group(field: str) -> str:
    extra = RunConfig.model_fields[field].json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else GROUPS[-1]


def _add(group: argparse._ArgumentGroup, field: str) -> None:
    """Values stay text: the schema turns them into numbers and judges them, for the file and the flags alike."""
    info = RunConfig.model_fields[field]
    text = (info.description or "").replace("%", "%%")
    if info.annotation is bool:
        group.add_argument(flag(field), dest=field, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        return
    shown = "" if info.default is None else f" (default: {info.default})"
    metavar = "{" + ",".join(choices(field)) + "}" if choices(field) else field.rpartition("_")[2].upper()
    group.add_argument(flag(field), dest=field, default=argparse.SUPPRESS, metavar=metavar, help=text + shown)
