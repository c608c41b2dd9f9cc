"""The program: verbs, flags, exit codes, and nothing heavy before it is needed."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import assay
from harness import cli, models, plan, plugins
from harness.commands import run as command_run
from harness.config import DATA_VARIABLE, FIELDS, RunConfig, flag
from harness.core import Run
from harness.errors import EXIT_CODE_MEANING, BackendError, ExitCode, Interrupted, MissingError, UsageError
from harness.store import NotStored, open_folder
from tests.example_runs import MINIMAL as RUN

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "tokenizers", "pyarrow", "rich", "numpy", "onnxruntime", "psutil")

Sessions = Callable[[Any], list[RunConfig]]


@pytest.fixture(autouse=True)
def _no_data_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    """Replace the session: it records the configurations it is given and returns, or raises, what the test says."""

    def install(outcome: Any) -> list[RunConfig]:
        seen: list[RunConfig] = []

        def run(config: RunConfig, *, progress: Any = None) -> Any:
            seen.append(config)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setitem(sys.modules, "harness.session", SimpleNamespace(run=run))
        monkeypatch.setattr("harness.session", sys.modules["harness.session"], raising=False)
        return seen

    return install


def finished(run: Run = RUN) -> SimpleNamespace:
    return SimpleNamespace(run=run, columns=None, folder=Path("results/r1"))


def test_without_a_verb_it_runs(session: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags alone mean `run`; the card and the folder are shown, and the run's exit code is the program's."""
    seen = session(finished())
    assert cli.main(["--scenario", "server", "--max_batch=4", "--no-accuracy"]) == 0
    assert cli.main(["run", "--scenario=server", "--max-batch", "4", "--no-accuracy"]) == 0
    assert seen == [RunConfig(scenario="server", max_batch=4, accuracy=False)] * 2
    shown = capsys.readouterr().out
    assert "VALID" in shown
    assert "results in results/r1" in shown


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.FAILED, ExitCode.INVALID, ExitCode.ACCURACY, ExitCode.INTERRUPTED])
def test_the_exit_code_is_the_runs(session: Sessions, code: ExitCode) -> None:
    """A verdict is an exit code."""
    session(finished(replace(RUN, exit_code=int(code))))
    assert cli.main([]) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("bad", "mend"), 2),
        (MissingError("gone", "mend"), 3),
        (BackendError("broke", "mend"), 4),
        (Interrupted("stopped", "mend"), 130),
    ],
)
def test_an_error_is_told_with_its_cure(session: Sessions, capsys: pytest.CaptureFixture[str], error: Exception, code: int) -> None:
    """Errors of Assay go to stderr, without a traceback, and end with their code."""
    session(error)
    assert cli.main([]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-2:] == [f"error: {error}", "cure: mend"]


def test_ctrl_c_ends_with_130(session: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupt that nothing else caught is told in a word."""
    session(KeyboardInterrupt())
    assert cli.main([]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_a_bug_is_told_shortly_and_traced_in_a_file(session: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback of an internal error lies in a file; --debug shows it."""
    session(ZeroDivisionError("oops"))
    assert cli.main([]) == 1
    told = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oops" in told
    assert "Traceback" not in told
    trace = Path(told.rstrip().rpartition(" ")[2])
    assert "ZeroDivisionError: oops" in trace.read_text()
    trace.unlink()
    assert cli.main(["--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_run_that_cannot_be_stored_is_still_shown(session: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    """With a full disk the card is on the screen and the exit code is 3."""
    session(NotStored("run.json cannot be written", "free disk space", run=RUN, columns=None))
    assert cli.main([]) == 3
    told = capsys.readouterr()
    assert "VALID" in told.out
    assert "error: run.json cannot be written" in told.err


@pytest.mark.parametrize(
    ("arguments", "message", "cure"),
    [
        (["--scenaro", "server"], "there is no flag --scenaro", "did you mean --scenario?"),
        (["--target-rate=5"], "there is no flag --target-rate", "lists the flags"),
        (["lst"], "there is no verb lst", "did you mean list?"),
        (["run", "server"], "server: not expected here", "lists the flags"),
        (["--duration"], "--duration: expected one argument", "lists the flags"),
        (["list", "task"], "what: invalid choice: 'task'", "lists the flags"),
        (["report", "--format", "mark-down"], "--format: there is no report mark-down", "did you mean markdown?"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    arguments: list[str], message: str, cure: str, session: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown flags, verbs and formats are named with what was probably meant; no session is started."""
    seen = session(finished())
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert cure in told
    assert seen == []


def test_help_names_every_setting_verb_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """--help is complete: it is made from the schema and the table of codes."""
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in FIELDS:
        assert flag(name) in text
    for verb, meaning in cli.VERBS.items():
        assert f"{verb:<9}{meaning}" in text
    for code, meaning in EXIT_CODE_MEANING.items():
        assert f"{code:>3}  {meaning}" in text


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb answers --help."""
    assert cli.main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: assay {verb}")


def test_list_shows_every_plugin_and_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of all kinds, with precisions, and models with their scores."""
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    for kind in plugins.KINDS:
        assert {info.name for info in plugins.describe(kind)} <= set(names)
    assert "minilm-squad" in names
    assert any("precisions: fp32" in line for line in lines)


def test_list_tells_what_a_plugin_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A backend whose library is absent is listed with the command that installs it."""
    info = plugins.PluginInfo("backends", "engine", "An engine", None, "backends.engine", requires=("not_here_at_all",))
    monkeypatch.setattr(plugins, "describe", lambda kind: [info])
    assert cli.main(["list", "backends"]) == 0
    assert capsys.readouterr().out == "backends\n  engine  An engine  [lacks not_here_at_all: pip install not-here-at-all]\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["--scenario", "sever"], ["--no-such-flag"], ["--version"], ["list", "--help"]]
)
@pytest.mark.parametrize("program", [["run_bench.py"], ["-m", "assay"]])
def test_light_answers_import_nothing_heavy(program: list[str], arguments: list[str]) -> None:
    """Help, lists and usage errors import neither torch nor numpy nor any other heavy library."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in (0, 2), done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "harness" in imported
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_a_stored_run_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Any format, by folder or the newest below --out."""
    folder = open_folder(tmp_path, "r1")
    folder.save(RUN, None, {})
    assert cli.main(["report", str(folder.path), "--format", form]) == 0
    by_folder = capsys.readouterr().out
    assert cli.main(["report", "--out", str(tmp_path), "--format", form]) == 0
    assert capsys.readouterr().out == by_folder
    assert json.loads(by_folder)["run_id"] == "r1" if form == "json" else "VALID" in by_folder


def test_a_report_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--to writes instead of showing; a place that cannot be written is exit code 3."""
    folder = open_folder(tmp_path, "r1")
    folder.save(RUN, None, {})
    target = tmp_path / "out.md"
    assert cli.main(["report", str(folder.path), "--format", "markdown", "--to", str(target)]) == 0
    assert target.read_text().startswith("# VALID")
    assert capsys.readouterr().out == ""
    assert cli.main(["report", str(folder.path), "--to", str(tmp_path / "no" / "out.txt")]) == 3


def test_a_run_that_did_not_finish_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without run.json is exit code 3."""
    open_folder(tmp_path, "r1")
    assert cli.main(["report", str(tmp_path / "r1")]) == 3
    assert "nothing finished there" in capsys.readouterr().err


def test_a_plan_measures_nothing(session: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    """--plan with the null backend needs no model: settings, queries and time, exit code 0."""
    seen = session(finished())
    assert cli.main(["--plan", "--backend", "null", "--scenario", "server", "--target-qps", "100", "--duration", "5"]) == 0
    text = capsys.readouterr().out
    assert "none: measures the harness" in text
    assert "at least 5 s and 64 queries" in text
    assert "samples scheduled at 100 a second" in text
    assert "p99 within 130 ms, early stopping reported, not required" in text
    assert text.endswith("nothing is missing\n")
    assert seen == []


def test_a_plan_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is not on this machine is exit code 3, with the cure; nothing is fetched."""

    def absent(*args: object, offline: bool, **kwargs: object) -> None:
        assert offline
        raise MissingError("the model is not here", "assay prepare")

    monkeypatch.setattr(models, "resolve", absent)
    assert cli.main(["--plan", "--scenario", "single-stream"]) == 3
    text = capsys.readouterr().out
    assert "missing: the model is not here; assay prepare" in text
    assert "as many as fit" in text


def test_a_plan_shows_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose library is absent is named with the command that installs it."""
    info = plugins.PluginInfo("backends", "engine", "An engine", None, "backends.engine", requires=("not_here_at_all",))
    monkeypatch.setattr(plugins, "find_backend", lambda text, origin="": plugins.FoundBackend(info, "", ()))
    made = plan.make(RunConfig())
    assert made.exit_code == ExitCode.MISSING
    assert made.missing == ("backends engine needs not_here_at_all; pip install not-here-at-all",)


def test_the_python_face(session: Sessions, tmp_path: Path) -> None:
    """assay.run takes the flags' names and returns the run, assay.load reads a stored one; nothing else is public."""
    seen = session(finished())
    assert assay.run(scenario="server", target_qps=5) == RUN
    assert seen == [RunConfig(scenario="server", target_qps=5, progress="none")]
    with pytest.raises(UsageError, match=r"^scenaro: there is no setting scenaro"):
        assay.run(scenaro="server")
    folder = open_folder(tmp_path, "r1")
    folder.write_run(RUN)
    assert assay.load(folder.path) == RUN
    assert sorted(assay.__all__) == ["compare", "load", "run"]


def test_run_bench_can_be_imported_by_worker_processes() -> None:
    """A spawned worker imports the main file again: nothing must run then."""
    done = subprocess.run([sys.executable, "-c", "import run_bench"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_card_is_looked_up_before_measuring(session: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that cannot be loaded stops the run before it begins."""
    seen = session(finished())

    def fails(kind: str, name: str) -> None:
        raise MissingError("rich is not here", "pip install rich")

    monkeypatch.setattr(plugins, "load", fails)
    assert cli.main([]) == 3
    assert seen == []
    assert command_run.__doc__
