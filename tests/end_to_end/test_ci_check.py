"""`ci check` as a project uses it: two commits of a toy backend that differ by a deliberate 8 %, and one commit twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

TOY = '''
"""A toy model: a fixed time a call, slept so that a busy machine disturbs it little."""
import time

CALL_S = {call_s}


class Toy:
    needs_inputs = False
    answers = False

    def load(self, model):
        pass

    def predict(self, batch):
        until = time.perf_counter() + CALL_S
        time.sleep(CALL_S - 0.0005)
        while time.perf_counter() < until:
            pass
        return {{}}

    def close(self):
        pass

    def describe(self):
        return {{"runtime": "toy", "precision": "fp32", "device": "cpu"}}


def create(options):
    return Toy()
'''

CHECKS = """
checks:
  - name: toy
    backend: toy_backend.py
    task: sst2
"""


def git(folder: Path, *words: str) -> None:
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True, env=os.environ | identity)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Its second commit takes 8 % more time."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "assay-ci.yaml").write_text(CHECKS, encoding="utf-8")
    for call_s in (0.010, 0.0108):
        (tmp_path / "toy_backend.py").write_text(TOY.format(call_s=call_s), encoding="utf-8")
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", f"{call_s} s a call")
    return tmp_path


def check(project: Path, *flags: str, base: str = "HEAD~1") -> tuple[int, dict[str, Any]]:
    """Exit code and the stored check."""
    out = project / "results"
    quick = ("--block-duration", "0.3", "--progress", "none", "--offline", "--out", str(out))
    command = [sys.executable, str(ROOT / "run_bench.py"), "ci", "check", "--base", base, *quick, *flags]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    stored = sorted(out.glob("*/check.json"), key=lambda file: file.stat().st_mtime_ns)
    assert stored, done.stderr
    return done.returncode, json.loads(stored[-1].read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_slowdown_of_8_percent_is_red_with_the_right_size(project: Path) -> None:
    """Found in two sets of processes, exit code 7, and no worktree is left."""
    code, found = check(project)
    (red,) = found["checks"]
    assert (code, red["verdict"], red["confirmed"]) == (7, "regression", True)
    assert red["change"] == pytest.approx(0.08, abs=0.03)
    assert red["low"] > 0.03
    listed = subprocess.run(["git", "-C", str(project), "worktree", "list"], capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == 1


@pytest.mark.slow
def test_the_same_code_twice_is_green(project: Path) -> None:
    """Ten times where ASSAY_REPLAY asks for the long way (docs/ci.md says how often it was tried), once otherwise."""
    for _ in range(10 if "ASSAY_REPLAY" in os.environ else 1):
        code, found = check(project, base="HEAD")
        assert code == 0, found["checks"]


def test_an_environment_can_be_the_base(project: Path) -> None:
    """Its interpreter runs the files as they are, which the head does, too: both are measured, and the base is named by its path. A gate of
    90 % is never exceeded."""
    code, found = check(project, "--blocks", "3", "--block-duration", "0.1", "--gate", "90", base=sys.executable)
    (same,) = found["checks"]
    assert (code, same["blocks"], found["base"]) == (0, 3, sys.executable)
    assert same["base_value"] > 0
    assert "with uncommitted changes" not in found["head"]


def test_a_backend_that_head_does_not_have_is_refused_before_anything_is_measured(project: Path) -> None:
    """A mistyped file is not one that base does not have yet: exit code 3, and nothing is stored."""
    out = project / "results"
    command = [sys.executable, str(ROOT / "run_bench.py"), "ci", "check", "--base", "HEAD", "--backend", "typo.py", "--out", str(out)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr.startswith("error: --backend: typo.py is not in ")) == (3, True), done.stderr
    assert not list(out.glob("*"))


def test_a_backend_that_base_does_not_have_is_no_green(project: Path) -> None:
    """Nothing was measured: 9, with the reason."""
    (project / "new_backend.py").write_text(TOY.format(call_s=0.001), encoding="utf-8")
    code, found = check(project, "--backend", "new_backend.py", base="HEAD")
    (skipped,) = found["checks"]
    assert (code, skipped["verdict"]) == (9, "skipped")
    assert skipped["text"].startswith("base could not be measured")
