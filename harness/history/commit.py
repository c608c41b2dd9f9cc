"""Which commit of the user's project is checked out, for the runs that are made of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BRANCHES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME")
"""Where CI systems say which branch they checked out: they check out a commit, not a branch."""

_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Commit:
    """`committed_utc`: ISO 8601 with its offset. `dirty`: tracked files differ from it."""

    sha: str
    committed_utc: str
    branch: str
    dirty: bool


def checked_out(folder: Path) -> Commit | None:
    """What is checked out where `folder` lies; None outside a repository, in one without commits, and without git."""
    head = _git(folder, "show", "-s", "--format=%H %cI", "HEAD")
    if not head:
        return None
    sha, _, committed = head.partition(" ")
    branch = _git(folder, "symbolic-ref", "--short", "-q", "HEAD") or next(
        (os.environ[name] for name in _BRANCHES if os.environ.get(name)), ""
    )
    return Commit(sha, committed, branch, bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))


def _git(folder: Path, *words: str) -> str:
    """What it prints, "" where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
