"""A candidate of another environment: a process under its interpreter, in its project, that is told what to do over pipes.

The process runs this checkout's harness, so that both sides measure alike; a project that is a checkout of Assay itself runs its own, for
its backends and runtimes are what is compared. It dies with this process; what it writes to stderr is kept and shown where it fails.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from harness import errors, plugins
from harness.comparing import frames
from harness.comparing.seats import Facts, Ready, Scored, Stretch, Visited
from harness.config import RunConfig
from harness.core import Accuracy
from harness.errors import AssayError, BackendError, Interrupted, MissingError
from harness.measure import noted_interrupts
from harness.paired import Outcomes
from harness.progress import Progress

CHILD = "harness.comparing.child"

LOOK_S = 0.1
"""How often a wait for an answer looks whether somebody pressed Ctrl-C."""

END_S = 10.0
"""For a process to close its workers; after it, it is killed."""

TOLD_LINES = 15
"""Of stderr, in an error message."""

Data = TypeVar("Data")


class ElsewhereSeat:
    """Implements `harness.comparing.seats.Seat`. Closing gives the memory of the workers back, `end` the process itself."""

    def __init__(self, name: str, config: RunConfig, python: Path, project: Path, progress: Progress, said: IO[bytes]) -> None:
        """Start the process and have it resolve settings, model and data. `said`: file for its stderr. Raises AssayError."""
        self.name, self._python, self._project, self._progress = name, python, project, progress
        self.warnings: list[str] = []
        self._said = said
        self._process = _start(python, project, self._said)
        try:
            self._greet()
            self.facts: Facts
            self._ask("prepare", settings=config.model_dump(mode="json", exclude={"out", "progress"}))
        except BaseException:
            self.end()
            raise

    def ready(self) -> Ready:
        return _as(Ready, self._ask("ready")["ready"])

    def load(self) -> dict[str, Any]:
        return dict(self._ask("load")["backend"])

    def visit(self, stretch: Stretch) -> Visited:
        arrays = {"samples": stretch.samples} if stretch.samples is not None else {}
        try:
            found = self._ask("visit", arrays, label=stretch.label, seconds=stretch.seconds, queries=stretch.queries)
        except Interrupted:
            return Visited(0.0, 0, 0, np.zeros(0, np.int64), interrupted=True)
        except AssayError as error:  # its process died: the others go on
            return Visited(0.0, 0, 0, np.zeros(0, np.int64), problem=str(error))
        return Visited(**found["visited"] | {"latency_ns": found["arrays"]["latency_ns"]})

    def score(self) -> Scored:
        try:
            found = self._ask("score")
        except Interrupted:
            return Scored(None, interrupted=True)
        except AssayError as error:
            return Scored(None, problem=f"its answers could not be judged: {error}")
        scored = found["scored"]
        accuracy = None if scored["accuracy"] is None else _as(Accuracy, scored["accuracy"])
        outcomes = Outcomes(**found["arrays"]) if found["arrays"] else None
        return Scored(accuracy, outcomes, scored["problem"], scored["interrupted"])

    def close(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(AssayError):
                self._ask("close")

    def end(self) -> None:
        """End the process; killed where it does not end by itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        try:
            self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # ------------------------------------------------------------------------------------------------------------------ talking

    def _greet(self) -> None:
        """Raises MissingError for an environment in which nothing can be measured."""
        try:
            hello = self._next()
        except BackendError as error:
            raise MissingError(f"{self._python}: {error}", "give the path of a Python interpreter, 3.11 or later") from error
        if not hello["recent"]:
            raise MissingError(f"{self._python} is Python {hello['python']}", "Assay needs Python 3.11 or later")
        if hello["protocol"] != frames.PROTOCOL:
            raise MissingError(
                f"{self._project} is a checkout of Assay that speaks version {hello['protocol']} of what candidates and "
                f"comparison say to each other, this one version {frames.PROTOCOL}",
                "compare checkouts that speak the same version",
            )
        if hello["lacks"]:
            lacks = " ".join(hello["lacks"])
            raise MissingError(f"the environment of {self._python} lacks {lacks}", f"{self._python} -m pip install {lacks}")

    def _ask(self, order: str, arrays: Mapping[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
        """The answer to an order. Raises what the other side raised, BackendError if it died, and Interrupted after Ctrl-C."""
        assert self._process.stdin is not None
        try:
            frames.send(self._process.stdin, {"do": order, **rest}, arrays)
        except OSError:
            raise self._death() from None
        answer = self._answer(interruptible=order in ("visit", "score"))
        self.warnings = answer.get("warnings", self.warnings)
        if "facts" in answer:
            self.facts = _as(Facts, answer["facts"])
        if error := answer.get("error"):
            kind = getattr(errors, error["kind"], BackendError)
            raise kind(error["text"], error["cure"]) if issubclass(kind, AssayError) else BackendError(error["text"], error["cure"])
        return answer

    def _answer(self, *, interruptible: bool) -> dict[str, Any]:
        """The next message that is no line for the screen."""
        with noted_interrupts() if interruptible else contextlib.nullcontext() as interrupts:
            told = False
            while True:
                if interrupts is not None and interrupts.seen and not told:
                    self._process.send_signal(signal.SIGTERM)  # its measurement notes it and ends
                    told = True
                if not self._waiting():
                    continue
                try:
                    message = self._next()
                except BackendError:
                    if told:
                        raise Interrupted("interrupted by Ctrl-C") from None
                    raise
                if "says" not in message:
                    if interrupts is not None and interrupts.seen:  # noted while the answer was on its way
                        raise Interrupted("interrupted by Ctrl-C")
                    return message
                getattr(self._progress, "phase" if message["says"] == "phase" else "note")(f"{self.name}: {message['text']}")

    def _waiting(self) -> bool:
        """Whether something can be read: a message, or the end."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return bool(selector.select(LOOK_S))

    def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        message = frames.receive(self._process.stdout)
        if message is None:
            raise self._death()
        return message

    def _death(self) -> BackendError:
        """What became of the process, with the last lines it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_S)
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with exit code {code}"
        return BackendError(f"its process {how}{self._last_lines()}", "run it alone, in its own environment")

    def _last_lines(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()[-TOLD_LINES:]
        return ":\n  " + "\n  ".join(lines) if lines else ""


@contextlib.contextmanager
def seated(name: str, config: RunConfig, python: Path | None, project: Path | None, progress: Progress) -> Iterator[ElsewhereSeat]:
    """The seat, its process ended with the block. `python` None: this one; `project` None: the current folder. Raises AssayError."""
    with tempfile.TemporaryFile() as said:
        seat = ElsewhereSeat(name, config, python or Path(sys.executable), project or Path.cwd(), progress, said)
        try:
            yield seat
        finally:
            seat.end()


def _start(python: Path, project: Path, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Raises MissingError for an interpreter that cannot be started, and a checkout of Assay from before there was this process."""
    if is_assay(project) and not (project / CHILD.replace(".", "/")).with_suffix(".py").is_file():
        raise MissingError(f"{project} is a checkout of Assay that knows no candidates elsewhere", "compare with a later commit")
    paths = [str(project), str(plugins.ROOT)] if is_assay(project) else [str(plugins.ROOT), str(project)]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    try:
        return subprocess.Popen(
            [str(python), "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            bufsize=0,
            cwd=project,
            env=environment,
            start_new_session=True,  # Ctrl-C of the terminal reaches the comparison alone
        )
    except OSError as error:
        raise MissingError(f"{python} cannot be started: {error.strerror}", "give the path of a Python interpreter") from error


def is_assay(project: Path) -> bool:
    """Whether a project is a checkout of Assay itself."""
    return all((project / each).is_file() for each in ("run_bench.py", "harness/core.py"))


def _as(kind: type[Data], value: Any) -> Data:
    """Checked data from the other side. Raises BackendError for what is none."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValueError as error:
        raise BackendError(f"the process of a candidate answered what is no {kind.__name__}: {error}", "use the same Assay") from error
