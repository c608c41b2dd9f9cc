"""The program: finds the verb, runs it, and turns what happened into an exit code.

`assay ...`, `python run_bench.py ...` and `python -m assay ...` are the same; without a verb the verb is `run`. Only the verb's own
module is imported.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from harness.errors import EXIT_CODE_MEANING, AssayError, ExitCode, UsageError
from harness.suggest import advice

VERBS = {
    "run": "measure one scenario, one task, one backend (the default verb)",
    "compare": "candidates against each other, interleaved: ratios with intervals, accuracy beside every speed",
    "sweep": "rates, or any other setting, over a range: throughput against latency, and the highest rate that meets the bound",
    "noise": "a backend against itself: how large a difference this machine makes of nothing",
    "ci": "check a change against its base, record runs, accept changes of the history",
    "qualify": "accept or reject this machine, and say why; many machines against each other",
    "list": "tasks, backends, scenarios, models and reports, and what each lacks to run here",
    "doctor": "is this machine fit to measure on: each line OK, WARN or FAIL with the cure",
    "prepare": "fetch and verify the model, tokenise the data, ahead of time",
    "traffic": "the queries of a run, without model or data: which samples, in which order, when",
    "audit": "TEST01 and the caching test: does the timed run give the same answers, and are they computed",
    "export": "stored runs as an MLPerf submission",
    "score": "predictions made elsewhere, scored against the data, as JSON",
    "finetune": "a model for a task of yours: an adapter on the embedded base, trained here",
    "history": "runs over time: series, trends, level changes; import, export, merge, pages",
    "report": "stored results, one or several, as terminal text, markdown, html, csv, json or for CI",
}
DEBUG_VARIABLE = "ASSAY_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; errors go to stderr as `error:` and `cure:`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - Python has None where the caller closed a stream
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a screen that cannot show "µ" still shows the rest
    debug = "--debug" in arguments or bool(os.environ.get(DEBUG_VARIABLE))
    try:
        return _run([argument for argument in arguments if argument != "--debug"])
    except AssayError as error:
        _tell(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone; the interpreter still flushes
        return int(ExitCode.OK)
    except Exception as error:
        _tell_internal(error, debug)
        return int(ExitCode.INTERNAL)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] == "--version":
        print(f"assay {version()}")
        return int(ExitCode.OK)
    verb = "run" if not arguments or arguments[0].startswith("-") else arguments.pop(0)
    if verb not in VERBS:
        raise UsageError(f"there is no verb {verb}", advice(verb, VERBS, "verbs"))
    command = importlib.import_module(f"harness.commands.{verb}")
    from harness.flags import Parser

    parser = Parser(prog=f"assay {verb}", description=_description(verb), epilog=_exit_codes())
    parser.add_argument("--debug", action="store_true", help=f"show the traceback of an internal error (or set {DEBUG_VARIABLE}=1)")
    command.add_arguments(parser)
    try:
        return int(command.execute(parser.parse(arguments)))
    except SystemExit as done:  # argparse leaves this way after --help
        return int(done.code or 0)


def finish(code: int) -> int:
    """What a process does last: its exit code, at once where a worker is still in native code, hung or after an interrupt. Such a thread
    cannot be stopped, and a normal exit of the interpreter would abort the process."""
    import threading

    if any(thread.name.startswith("worker-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def version() -> str:
    """The installed version; in a bare checkout, the one pyproject.toml states."""
    import tomllib
    from importlib import metadata
    from pathlib import Path

    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return metadata.version("assay")


def _description(verb: str) -> str:
    if verb != "run":
        return f"{verb}: {VERBS[verb]}"
    listing = "\n".join(f"  {name:<9}{text}" for name, text in VERBS.items())
    return f"Measure how fast this machine answers language questions, and whether the answers are good.\n\nverbs:\n{listing}"


def _exit_codes() -> str:
    return "exit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODE_MEANING.items())


def _tell(error: AssayError) -> None:
    print(f"error: {error}", file=sys.stderr)
    if error.cure:
        print(f"cure: {error.cure}", file=sys.stderr)


def _tell_internal(error: Exception, debug: bool) -> None:
    """A short text; the traceback goes to a file, or to stderr when it was asked for."""
    print(f"internal error: {type(error).__name__}: {error}", file=sys.stderr)
    trace = "".join(traceback.format_exception(error))
    if debug:
        print(trace, file=sys.stderr)
        return
    try:
        with tempfile.NamedTemporaryFile("w", prefix="assay-error-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(trace)
        print(f"cure: this is a bug in Assay or in a plugin; the traceback is in {file.name}", file=sys.stderr)
    except OSError:
        print(trace, file=sys.stderr)
