"""What a plugin says about itself, read from the text of its file: nothing is imported."""

from __future__ import annotations

import ast
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal["tasks", "backends", "scenarios", "reports"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FACTORY: dict[Kind, str] = {"tasks": "create", "backends": "create", "scenarios": "create", "reports": "render"}
"""The function that makes a file a plugin of its kind."""

_LITERALS = ("REQUIRES", "PRECISIONS", "OPTIONS", "CALIBRATED", "HEAD", "DEFAULT_MODEL", "EXTENSION", "SUFFIXES")
_TUPLES = ("REQUIRES", "PRECISIONS", "OPTIONS", "CALIBRATED", "SUFFIXES")


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What a plugin says of itself. `module` is its import name, None for a file given by path; `problem` is why it cannot be read.

    `options` are what may follow `+` behind a backend's precision, `calibrated` the precisions that need calibration samples.
    A task with `suffixes` is asked with a file that ends so; what it asks depends on the file, `source`, so it has no head of its own.
    """

    kind: Kind
    name: str
    summary: str
    file: Path | None
    module: str | None
    requires: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    calibrated: tuple[str, ...] = ()
    head: str = ""
    default_model: str = ""
    extension: str = ""
    suffixes: tuple[str, ...] = ()
    source: Path | None = None
    problem: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Top-level modules it needs that cannot be imported here."""
        return tuple(name for name in self.requires if not _importable(name))


def spelled(name: str) -> str:
    """A plugin's name as people write it: single_stream -> single-stream."""
    return name.lower().replace("_", "-")


def read(kind: Kind, file: Path, name: str, module: str | None) -> PluginInfo | None:
    """What the file says, None if it is no plugin of this kind (a helper beside them)."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        return PluginInfo(kind, spelled(name), "", file, module, problem=f"syntax error in line {error.lineno}")
    if not _defines(tree, FACTORY[kind]):
        return None
    try:
        said = _literals(tree)
    except ValueError as error:
        return PluginInfo(kind, spelled(name), "", file, module, problem=str(error))
    return PluginInfo(
        kind=kind,
        name=spelled(name),
        summary=(ast.get_docstring(tree) or "").partition("\n")[0].rstrip("."),
        file=file,
        module=module,
        requires=said.get("REQUIRES", ()),
        precisions=said.get("PRECISIONS", ()),
        options=said.get("OPTIONS", ()),
        calibrated=said.get("CALIBRATED", ()),
        head=said.get("HEAD", ""),
        default_model=said.get("DEFAULT_MODEL", ""),
        extension=said.get("EXTENSION", ""),
        suffixes=said.get("SUFFIXES", ()),
    )


def _targets(node: ast.stmt) -> list[str]:
    """Names that a top-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _defines(tree: ast.Module, name: str) -> bool:
    imported = (alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names)
    return name in imported or any(name in _targets(node) for node in tree.body)


def _literals(tree: ast.Module) -> dict[str, Any]:
    """The declared literals by name. Raises ValueError, with the line, for one that is computed or of the wrong type."""
    said = {}
    for node in tree.body:
        for name in _targets(node):
            if name in _LITERALS and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                said[name] = _literal(name, node.value)
    return said


def _literal(name: str, value: ast.expr) -> Any:
    expected: type = tuple if name in _TUPLES else str
    try:
        said = ast.literal_eval(value)
    except ValueError:
        raise ValueError(f"{name} in line {value.lineno} is not a literal") from None
    if not isinstance(said, expected):
        raise ValueError(f"{name} in line {value.lineno} is not a {expected.__name__}")  # noqa: TRY004  (one error for both)
    return said


def _importable(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
