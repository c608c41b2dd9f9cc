"""Who takes part in a comparison, as a user names them: settings of each over the settings of all, an interpreter, a project."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import plugins
from harness.comparing.blocks import FEWEST, MOST
from harness.config import FIELDS, RunConfig, flag, load
from harness.errors import AssayError, MissingError, UsageError
from harness.plain_runs import plain

OWN = ("name", "python", "project")
"""What a candidate has beside the settings of a run."""

FOR_ALL = ("out", "progress")
"""Settings of the comparison: no candidate has its own."""

_PATHS = ("data", "calibration")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A candidate before anything of it is loaded.

    python   interpreter that runs it, None for this one
    project  folder in which its process runs and its modules are found, None for the current one
    """

    name: str
    config: RunConfig
    python: Path | None = None
    project: Path | None = None

    @property
    def place(self) -> dict[str, str | None]:
        """As it is stored."""
        return {"python": str(self.python) if self.python else None, "project": str(self.project) if self.project else None}

    @property
    def elsewhere(self) -> bool:
        """Whether it needs a process that is no worker of this one: another environment, or workers that are threads of one process (as
        `workers: auto` may find) and would share it with those of others."""
        config = self.config
        threads = config.workers == "auto" or (config.worker_mode == "thread" and config.workers > 1)
        return self.python is not None or self.project is not None or threads


def wanted(
    given: Sequence[Mapping[str, Any]],
    common: Mapping[str, Any],
    file: Path | None = None,
    *,
    origin: Callable[[str], str] = flag,
) -> list[Wanted]:
    """The candidates in the order given. Each of `given`: settings by field of RunConfig, and name, python, project; `common` and `file`
    hold for all. Raises UsageError and MissingError."""
    if not FEWEST <= len(given) <= MOST:
        raise UsageError(f"{len(given)} candidates: a comparison has {FEWEST} to {MOST}", "name each with --backend or --candidate")
    found = [_one(each, common, file, origin) for each in given]
    names = [each.name for each in found]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two candidates are called {doubled}", "give one of them a name: --candidate backend=...,name=...")
    return found


def parsed(text: str) -> dict[str, str]:
    """ "backend=pytorch:amp,max_batch=64" by setting. A comma inside a value (lists) is kept where no `key=` follows it. Raises
    UsageError."""
    parts: dict[str, str] = {}
    key = ""
    for piece in text.split(","):
        name, equals, value = piece.partition("=")
        field = name.strip().replace("-", "_")
        if equals and field in (*FIELDS, *OWN):
            key = field
            parts[key] = value.strip()
        elif key and not equals:
            parts[key] += f",{piece.strip()}"
        else:
            keys = f"keys of `assay run --help`, {' or '.join(OWN)}"
            raise UsageError(f"--candidate {text}: {piece} is no setting", f"write KEY=VALUE,... with {keys}")
    return parts


def reference_of(name: str | None, candidates: Sequence[Wanted]) -> int:
    """Which candidate ratios are to: the one named, else the first in FP32, else the first. Raises UsageError."""
    names = [each.name for each in candidates]
    if name is None:
        return next((number for number, each in enumerate(candidates) if _precision(each) == "fp32"), 0)
    if name not in names:
        raise UsageError(f"--reference {name}: no candidate is called so", f"choose one of {', '.join(names)}")
    return names.index(name)


def _title(given: Mapping[str, Any], backend: object) -> str:
    """Its own name; else its backend first, then what else sets it apart."""
    others = [f"{key}={value}" for key, value in given.items() if key not in ("backend", "name")]
    return str(given.get("name") or " ".join(map(str, filter(None, [backend, *others]))))


def _one(given: Mapping[str, Any], common: Mapping[str, Any], file: Path | None, origin: Callable[[str], str]) -> Wanted:
    name = _title(given, given.get("backend"))
    if wrong := next((field for field in FOR_ALL if field in given), None):
        raise UsageError(f"{name}: {wrong} holds for all candidates", "give it once, beside them")
    python, project = _interpreter(name, given.get("python")), _project(name, given.get("project"))
    own = {key: value for key, value in given.items() if key not in OWN}
    away = python is not None or project is not None
    config = load({**common, **own}, file, origin=origin, names_here=not away)
    played = plain(
        _from(config, project) if away else config, "cannot be compared: candidates play blocks of one task by the native engine"
    )
    return Wanted(_title(given, config.backend), played, python, project)


def _interpreter(name: str, value: object) -> Path | None:
    """Not resolved: the link in an environment's `bin` is what tells Python which environment it is."""
    if value is None:
        return None
    path = Path(os.path.abspath(Path(str(value)).expanduser()))  # noqa: PTH100
    if not path.is_file() or not os.access(path, os.X_OK):
        raise MissingError(f"{name}: python={value} is no program", f"give the path of an interpreter, such as {sys.executable}")
    return path


def _project(name: str, value: object) -> Path | None:
    if value is None:
        return None
    path = Path(str(value)).expanduser().resolve()
    if not str(value).strip() or not path.is_dir():
        raise MissingError(f"{name}: project={value} is no folder", "give a checkout, such as a git worktree of another commit")
    return path


def _from(config: RunConfig, project: Path | None) -> RunConfig:
    """Data, calibration and model folders that are given relative are sought in the project first, then in the current folder, for the
    process will run in the project. Backends and tasks by path are its own alone."""
    base = project or Path.cwd()
    found: dict[str, Any] = {each: _sought(path, base) for each in _PATHS if (path := getattr(config, each)) is not None}
    if config.model is not None and Path(config.model).expanduser().is_dir() and not (base / config.model).is_dir():
        found["model"] = str(Path(config.model).expanduser().resolve())
    return config.model_copy(update=found)


def _sought(path: Path, base: Path) -> Path:
    return (base / path if (base / path).exists() else path).resolve()


def _precision(each: Wanted) -> str:
    """As the backend resolves it; as it is written, where only its own environment could tell."""
    name = plugins.split_backend(each.config.backend)
    text = each.config.backend
    if each.project is not None and name.plugin.endswith(".py"):
        text = str(each.project / text)
    try:
        return plugins.find_backend(text).precision
    except AssayError:
        return name.precision
