"""Where base and head come from: a git ref of the user's project, an interpreter, what is checked out, a stored run or the history."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.errors import MissingError, UsageError

HISTORY = "history"
RUN_FILE = "run.json"

Kind = Literal["checkout", "environment", "stored", "history"]


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a check.

    shown    as a person would say it
    project  folder whose files it runs; None until `opened` for a commit that is not checked out
    commit   full hash to check out, or empty
    python   interpreter of an environment of its own
    stored   folder of a run
    """

    kind: Kind
    shown: str
    project: Path | None = None
    commit: str = ""
    python: Path | None = None
    stored: Path | None = None

    @property
    def measured(self) -> bool:
        """It is measured now, not read."""
        return self.kind in ("checkout", "environment")


def find(text: str | None, option: str, here: Path) -> Place:
    """What `--base TEXT` or `--head TEXT` means in the folder `here`; None: the files as they are. Raises UsageError."""
    if text is None:
        return Place("checkout", _described(here), project=here)
    if text == HISTORY:
        return Place("history", "the history")
    if stored := _stored(Path(text).expanduser()):
        return Place("stored", f"run {stored.name}", stored=stored)
    if python := _interpreter(text):
        return Place("environment", str(python), project=here, python=python)
    return _ref(text, option, here)


def _stored(path: Path) -> Path | None:
    folder = path.parent if path.name == RUN_FILE else path
    return folder if (folder / RUN_FILE).is_file() else None


def _interpreter(text: str) -> Path | None:
    """The interpreter itself, or that of a virtual environment. Not resolved: a link's own folder says which environment it is."""
    path = Path(text).expanduser().absolute()
    for each in (path, path / "bin" / "python", path / "Scripts" / "python.exe"):
        if os.sep in text and each.is_file() and os.access(each, os.X_OK):
            return each
    return None


def _ref(text: str, option: str, here: Path) -> Place:
    if _git(here, "rev-parse", "--show-toplevel") is None:
        raise UsageError(
            f"{option} {text}: neither an interpreter nor a folder with a {RUN_FILE}, and {here} is in no git repository",
            "give a git ref inside a repository, the python of an environment, a stored run, or `history`",
        )
    commit = _git(here, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if not commit:
        raise UsageError(
            f"{option} {text}: git knows no such commit, and there is no such interpreter or stored run",
            "fetch it (in GitHub Actions: actions/checkout with `fetch-depth: 0`), or name another",
        )
    return Place("checkout", f"{text} ({commit[:10]})" if not commit.startswith(text) else commit[:10], commit=commit)


def _described(here: Path) -> str:
    commit = _git(here, "rev-parse", "--short=10", "HEAD")
    if not commit:
        return f"the files in {here.name or here}"
    return f"{commit} with uncommitted changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else commit


@contextlib.contextmanager
def opened(place: Place, here: Path) -> Iterator[Place]:
    """The place with its files: a commit is checked out into a temporary folder, which is removed afterwards whatever happens.

    Raises MissingError where git cannot do so.
    """
    if not place.commit:
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="assay-ci-") as folder:
        tree = Path(folder) / place.commit[:10]
        top = Path(_git(here, "rev-parse", "--show-toplevel") or here)
        _git(top, "worktree", "prune")
        made = _run(top, "worktree", "add", "--detach", "--force", str(tree), place.commit)
        if made.returncode:
            raise MissingError(f"git worktree of {place.shown}: {_last_line(made.stderr)}", "see that the temporary folder has room")
        try:
            yield replace(place, project=_inside(place, tree, here.resolve().relative_to(top.resolve())))
        finally:
            _git(top, "worktree", "remove", "--force", str(tree))


def _inside(place: Place, tree: Path, below: Path) -> Path:
    """The folder of the checkout that the user stands in. Raises MissingError."""
    if not (tree / below).is_dir():
        raise MissingError(f"{place.shown} has no folder {below}", "run from a folder that both have")
    return tree / below


def _git(folder: Path, *words: str) -> str | None:
    """What git says, None where it refuses or is not there."""
    try:
        done = _run(folder, *words)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """git in that folder, whatever repository the caller's environment names (a hook sets GIT_DIR)."""
    plain = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    quiet = ("-c", f"core.hooksPath={os.devnull}")  # a hook of the user's would run at each checkout
    return subprocess.run(["git", *quiet, "-C", str(folder), *words], capture_output=True, text=True, check=False, env=plain)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
