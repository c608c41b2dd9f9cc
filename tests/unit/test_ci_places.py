"""Base and head: refs of the user's repository, interpreters, stored runs; a worktree is gone afterwards, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ci.places import find, opened
from harness.errors import MissingError, UsageError


def git(folder: Path, *words: str) -> str:
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, "-C", str(folder), *words], capture_output=True, text=True, check=True, env=os.environ | identity)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose folder `sub` has a file that says "old" in the first commit and "new" in the second."""
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for text in ("old", "new"):
        (folder / "sub" / "file.txt").write_text(text, encoding="utf-8")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", text)
    return folder


def test_a_ref_is_checked_out_and_taken_away_again(project: Path) -> None:
    """The old file lies in the folder of the checkout that the user stands in; hooks do not run; nothing is left of it, in git neither."""
    hook = project / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {project}/ran\n", encoding="utf-8")
    hook.chmod(0o755)
    here = project / "sub"
    place = find("HEAD~1", "--base", here)
    assert place.shown == f"HEAD~1 ({git(project, 'rev-parse', 'HEAD~1')[:10]})"
    with opened(place, here) as there:
        assert there.project is not None
        assert (there.project / "file.txt").read_text(encoding="utf-8") == "old"
        kept = there.project
    assert not kept.exists()
    assert len(git(project, "worktree", "list").splitlines()) == 1
    assert not (project / "ran").exists()
    assert git(project, "status", "--porcelain") == ""


def test_a_failure_leaves_no_worktree(project: Path) -> None:
    """Ctrl-C while it is measured."""
    with pytest.raises(KeyboardInterrupt), opened(find("HEAD", "--head", project), project):
        raise KeyboardInterrupt
    assert len(git(project, "worktree", "list").splitlines()) == 1


def test_a_folder_that_base_does_not_have(project: Path) -> None:
    """Said, with exit code 3, and the worktree goes."""
    new = project / "later"
    new.mkdir()
    with pytest.raises(MissingError, match="has no folder later"), opened(find("HEAD", "--base", new), new):
        pass
    assert len(git(project, "worktree", "list").splitlines()) == 1


def test_nothing_named_is_what_is_checked_out(project: Path) -> None:
    """Said with its commit, and whether files differ from it."""
    commit = git(project, "rev-parse", "--short=10", "HEAD")
    assert find(None, "--head", project).shown == commit
    (project / "sub" / "file.txt").write_text("edited", encoding="utf-8")
    place = find(None, "--head", project)
    assert (place.shown, place.project, place.commit) == (f"{commit} with uncommitted changes", project, "")
    with opened(place, project) as same:
        assert same == place


def test_an_environment_by_its_interpreter_or_folder(tmp_path: Path) -> None:
    """A link is kept as it is: it says which environment it belongs to."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for text in (str(python), str(tmp_path / "venv")):
        place = find(text, "--base", tmp_path)
        assert (place.kind, place.python, place.project) == ("environment", python, tmp_path)


def test_a_stored_run_by_its_folder_or_file(tmp_path: Path) -> None:
    """And `history`; neither is measured."""
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    for text in (str(tmp_path), str(tmp_path / "run.json")):
        assert find(text, "--base", tmp_path).stored == tmp_path
    assert not find("history", "--base", tmp_path).measured


def test_what_is_nothing_is_refused(project: Path, tmp_path: Path) -> None:
    """A ref that git does not know, also one that looks like a flag of git; a folder without a repository."""
    for text in ("nonsense", "--help", "HEAD~9"):
        with pytest.raises(UsageError, match=f"--base {text}: git knows no such commit"):
            find(text, "--base", project)
    with pytest.raises(UsageError, match="is in no git repository"):
        find("HEAD", "--base", tmp_path)


def test_a_hook_that_names_another_repository_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_DIR, which git sets for its hooks."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert find("HEAD", "--base", project).commit
