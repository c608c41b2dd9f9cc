"""The ready GitHub workflow, its composite action and the GitLab example: their steps run in order as scripts, as the runner would.

The YAML is read, its expressions are evaluated by a small stand-in, and each `run:` goes to bash with the files of a step. Steps that use
other actions (checkout, Python, cache, artifacts) are what only GitHub has, and are left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "integrations" / "github" / "workflow.yml"
ACTION = ROOT / "integrations" / "github" / "action.yml"
GITLAB = ROOT / "integrations" / "gitlab" / "assay.gitlab-ci.yml"
GOLDEN = ROOT / "tests" / "golden" / "ci" / "workflow-summary.md"

BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""As `shell: bash` is run."""

TOY = '''"""A model that takes a time of its own."""
import time

REQUIRES = ()
PRECISIONS = ("fp32",)
SECONDS = {seconds}


class Toy:
    needs_inputs = False
    answers = False

    def load(self, model): ...

    def predict(self, batch):
        time.sleep(SECONDS)
        return {{}}

    def close(self): ...

    def describe(self):
        return {{"runtime": "toy", "precision": "fp32", "device": "cpu"}}


def create(options):
    return Toy()
'''

CHECKS = """checks:
  - name: toy
    backend: toy.py
    scenario: single-stream
    task: sst2
"""


def git(folder: Path, *arguments: str) -> str:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of two commits; the second makes the model three times as slow."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "assay-ci.yaml").write_text(CHECKS)
    for seconds in (0.002, 0.006):
        (folder / "toy.py").write_text(TOY.format(seconds=seconds))
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", f"{seconds} s")
    return folder


# ------------------------------------------------------------------------------------------------------------------ a small runner


def evaluated(text: str, context: Mapping[str, Any]) -> str:
    """`text` with its `${{ }}` expressions: names, 'words', ==, !=, && and ||, as GitHub reads them."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(value_of(found[1], context)), text)


def value_of(expression: str, context: Mapping[str, Any]) -> Any:
    for operator in ("||", "&&", "==", "!="):
        if operator in expression:
            left, right = (value_of(part, context) for part in expression.split(operator, 1))
            return {"||": left or right, "&&": left and right, "==": left == right, "!=": left != right}[operator]
    word = expression.strip()
    return word[1:-1] if word.startswith("'") else looked_up(word, context)


def looked_up(name: str, context: Mapping[str, Any]) -> Any:
    """Of an event's payload what is not there is empty; any other unknown name is a mistake in the file."""
    value: Any = context
    for part in name.split("."):
        if part not in value and name.startswith("github.event."):
            return ""
        value = value[part]
    return value


@dataclass
class Step:
    """A job as it runs. `outputs`: of each step by its id; `code` and `log`: of the last one that ran."""

    folder: Path
    temporary: Path
    context: dict[str, Any]
    environment: dict[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    log: str = ""
    code: int = 0

    def run(self, steps: list[dict[str, Any]]) -> None:
        """All steps up to the first that fails."""
        for step in steps:
            if self.code == 0 and "run" in step and ("if" not in step or value_of(step["if"], self.context)):
                self.one(step)

    def one(self, step: dict[str, Any]) -> None:
        output = self.temporary / f"output-{len(self.ran)}"
        given = {name: evaluated(str(value), self.context) for name, value in step.get("env", {}).items()}
        files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.temporary / "summary.md"), "GITHUB_ACTIONS": "true"}
        assert "${{" not in step["run"], f"{step['name']}: an expression inside a script is an injection"
        script = self.temporary / "step.sh"
        script.write_text(step["run"])
        environment = {**self.environment, **files, **given}
        done = subprocess.run([*BASH, str(script)], cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        self.ran.append(step["name"])
        self.log, self.code = self.log + done.stdout + done.stderr, done.returncode
        if "id" in step:
            named = read_outputs(output.read_text() if output.exists() else "")
            self.outputs[step["id"]] = named
            self.context["steps"][step["id"]] = {"outputs": named}


def read_outputs(text: str) -> dict[str, str]:
    lines, found = text.splitlines(), {}
    while lines:
        line = lines.pop(0)
        name, heredoc, delimiter = line.partition("<<")
        if heredoc and "=" not in name:
            end = lines.index(delimiter)
            found[name] = "\n".join(lines[:end])
            lines = lines[end + 1 :]
        else:
            name, _, found[line.partition("=")[0]] = line.partition("=")
    return found


def job(project: Path, tmp_path: Path, event: str, payload: Mapping[str, Any], inputs: Mapping[str, str], program: str) -> Step:
    """The composite action's steps, run with these inputs over its defaults; `program` is what `assay` does."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    unknown = set(inputs) - set(action["inputs"])
    assert not unknown, unknown
    bin_folder, temporary = tmp_path / "bin", tmp_path / "runner"
    bin_folder.mkdir()
    temporary.mkdir()
    (bin_folder / "assay").write_text(program)
    (bin_folder / "assay").chmod(0o755)
    given = {name: each["default"] for name, each in action["inputs"].items()} | {"install": "none"} | dict(inputs)
    github = {"event_name": event, "event": payload, "ref_name": "main", "run_id": "1", "action_path": str(ACTION.parent), "token": "t"}
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    context = {"inputs": given, "github": github, "steps": {}, "runner": {"os": "Linux", "arch": "X64"}}
    made = Step(project, temporary, context, environment)
    made.run(action["runs"]["steps"])
    return made


REAL = f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "run_bench.py"}" "$@"\n'


def fake(code: int) -> str:
    """An `assay` that writes its arguments down and ends with this code, when it checks."""
    return f'#!/bin/sh\necho "$*" >> calls.txt\nif [ "$1 $2" = "ci check" ]; then exit {code}; fi\n'


# ---------------------------------------------------------------------------------------------------------------------------- tests


@pytest.mark.slow
def test_a_slower_model_turns_a_pull_request_red(project: Path, tmp_path: Path) -> None:
    """The whole job on a pull request: red with exit code 7, an annotation, outputs, JUnit, and the step summary as recorded."""
    payload = {"pull_request": {"base": {"sha": git(project, "rev-parse", "HEAD^")}, "number": 3}}
    made = job(project, tmp_path, "pull_request", payload, {"arguments": "--blocks 4\n--block-duration 0.2"}, REAL)
    assert made.code == 7, made.log
    assert made.ran == ["Check the change", "Verdict"]
    assert "::error file=" not in made.log
    assert "::error title=REGRESSION%3A toy::head takes " in made.log
    assert made.outputs["check"]["verdict"] == "REGRESSION"
    assert made.outputs["check"]["regressions"] == "toy"
    assert made.outputs["check"]["code"] == made.outputs["check"]["exit-code"] == "7"
    (case,) = ET.parse(project / "assay-results" / "junit.xml").getroot().iter("testcase")
    assert case.find("failure") is not None
    assert json.loads((project / "assay-results" / "check.json").read_text())["exit_code"] == 7
    agree(normalised((made.temporary / "summary.md").read_text(encoding="utf-8")))


def normalised(summary: str) -> str:
    """Without what differs from machine to machine and from run to run: numbers, commits, the machine, warnings of other load."""
    lines = [line for line in summary.splitlines() if not re.match(r"- warning: (other processes|the budget)", line)]
    machine = next(number for number, line in enumerate(lines) if " cores" in line or " core" in line)
    lines[machine] = "MACHINE"
    text = re.sub(r"\b[0-9a-f]{10,40}\b", "COMMIT", "\n".join(lines) + "\n")
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]*", "TIME", text)
    return re.sub(r"[+-]?\d[\d,.]*( min \d+)?(?= (s|ms|min|%)\b|%|\b)", "N", text)


def agree(text: str) -> None:
    if os.environ.get("ASSAY_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", [0, 2, 3, 4, 6, 7, 9, 130])
def test_the_job_ends_as_the_check_did(project: Path, tmp_path: Path, code: int) -> None:
    """Every exit code reaches the job, none becomes another: what was not measured is neither green nor a regression."""
    made = job(project, tmp_path, "pull_request", {"pull_request": {"base": {"sha": "HEAD^"}, "number": 3}}, {}, fake(code))
    assert made.code == code
    assert made.outputs["check"]["code"] == str(code)


def test_a_push_is_measured_and_recorded_even_where_the_check_is_red(project: Path, tmp_path: Path) -> None:
    """A push is held against what was there before; then one run goes into the history, with the branch; the job is red all the same."""
    before = git(project, "rev-parse", "HEAD^")
    inputs = {"config": "my checks.yaml", "gate": "5", "record": "--scenario offline\n--backend null", "db": "h.db"}
    made = job(project, tmp_path, "push", {"before": before}, inputs, fake(7))
    assert made.code == 7
    outputs = "--output github --output junit=assay-results/junit.xml --output json=assay-results/check.json"
    assert (project / "calls.txt").read_text().splitlines() == [
        f"ci check --base {before} --config my checks.yaml --gate 5 --out assay-results {outputs}",
        "run --scenario offline --backend null --out assay-results/runs",
        "ci record assay-results/runs --db h.db --branch main",
    ]


@pytest.mark.parametrize(
    ("event", "payload", "base"),
    [("push", {"before": "0" * 40}, "HEAD^"), ("schedule", {}, "HEAD^"), ("pull_request", {"pull_request": {"base": {"sha": "v1"}}}, "v1")],
)
def test_what_a_change_is_held_against(project: Path, tmp_path: Path, event: str, payload: dict[str, Any], base: str) -> None:
    """A new branch has no commit before its first push, and a schedule no change at all: the commit before."""
    job(project, tmp_path, event, payload, {}, fake(0))
    assert (project / "calls.txt").read_text().startswith(f"ci check --base {base} --out")


def test_no_input_is_ever_run(project: Path, tmp_path: Path) -> None:
    """A branch or a flag that holds shell syntax stays a word."""
    inputs = {"base": "$(touch evil1)", "arguments": "; touch evil2", "config": "`touch evil3`"}
    made = job(project, tmp_path, "pull_request", {}, inputs, fake(0))
    assert made.code == 0
    assert list(project.glob("evil*")) == []


def test_the_workflow_calls_the_action_as_it_is() -> None:
    """Pull requests and pushes, least permissions, one measurement at a time; every input that it gives is one that the action has."""
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert set(workflow[True]) == {"pull_request", "push"}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    assert "github.ref" in workflow["concurrency"]["group"]
    (made,) = workflow["jobs"].values()
    used = next(step for step in made["steps"] if "integrations/github" in step.get("uses", ""))
    assert used["with"].keys() <= yaml.safe_load(ACTION.read_text(encoding="utf-8"))["inputs"].keys()


def test_the_workflow_s_own_steps_run(tmp_path: Path) -> None:
    """What it runs itself works in a project without requirements."""
    (made,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    for step in made["steps"]:
        if "run" in step:
            subprocess.run([*BASH, "-c", step["run"]], cwd=tmp_path, check=True, capture_output=True)


def test_the_gitlab_example_runs_and_names_its_reports(project: Path, tmp_path: Path) -> None:
    """Its script calls the check with the two reports that the job keeps; a red check fails the job."""
    made = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))["performance"]
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in (("assay", fake(7)), ("python", "#!/bin/sh\n")):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "CI_COMMIT_BEFORE_SHA": "0" * 40, "ASSAY": "assay"}
    done = subprocess.run([*BASH, "-c", "\n".join(made["script"])], cwd=project, env=environment, capture_output=True, check=False)
    assert done.returncode == 7
    called = (project / "calls.txt").read_text()
    reports = made["artifacts"]["reports"]
    assert called.startswith("ci check --base HEAD^ ")
    assert f"--output junit={reports['junit']}" in called
    assert f"--output openmetrics={reports['metrics']}" in called
    assert made["artifacts"]["when"] == "always"
