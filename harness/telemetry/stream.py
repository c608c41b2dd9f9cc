"""Telemetry beside a process: a sampler is started, its rows can be read at any time, and it ends with the block or with the process.

    with beside(os.getpid(), 1.0) as stream:
        ...
        stream.rows().latest()["gpu0_celsius"]

Whatever happens to the sampler, the process beside it goes on; `rows().missing["sampler"]` then says what did happen.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.telemetry.recording import Recorder, Recording

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds `harness`: the sampler is started there."""

STOP_S = 2.0
"""Longest wait for the sampler's last row; it takes some milliseconds."""

_CHUNK = 1 << 20


@contextlib.contextmanager
def beside(pid: int, interval_s: float) -> Iterator[Stream]:
    """Sample the machine every `interval_s` seconds, and tell the process `pid` and what it starts from the others. 0: nothing is sampled.
    Never raises for what the sampler does."""
    stream = Stream(pid, interval_s)
    try:
        yield stream
    finally:
        stream.stop()


def command(pid: int, interval_s: float) -> list[str]:
    """The sampler's command line. `-S`: what `site` would find is told by the path, and half of the start is saved."""
    return [sys.executable, "-S", "-m", "harness.telemetry.sampler", str(pid), repr(interval_s)]


class Stream:
    """A running sampler and what it has written. Its output is a file without a name, so that nothing is left behind and a sampler that
    nobody reads never waits."""

    def __init__(self, pid: int, interval_s: float) -> None:
        self.interval_s = interval_s
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._missing: dict[str, str] = {}
        self._read = 0
        self._recorder = Recorder(interval_s)
        if interval_s <= 0:
            self._missing["sampler"] = "not asked for (--telemetry 0)"
            return
        try:
            self._start(pid)
        except OSError as error:
            self._missing["sampler"] = f"cannot be started: {error}"

    def _start(self, pid: int) -> None:
        self._output, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  (closed by `stop`)
        self._process = subprocess.Popen(
            command(pid, self.interval_s),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._errors,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the run
        )

    @property
    def running(self) -> bool:
        """Whether rows may still come."""
        return self._process is not None and self._process.poll() is None

    def rows(self) -> Recording:
        """Everything read so far."""
        self._fetch()
        return self._recorder.recording(self._missing)

    def _fetch(self) -> None:
        """What was written since. `pread` leaves the sampler's place in the file alone."""
        if self._output is None:
            return
        while chunk := os.pread(self._output.fileno(), _CHUNK, self._read):
            self._read += len(chunk)
            self._recorder.feed(chunk)

    def stop(self) -> Recording:
        """Have it take a last row, end it, and give everything. May be called again."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            early = process.poll()
            with contextlib.suppress(OSError):
                process.stdin.close()
            _end(process)
            self._note(early, process.returncode)
        self._close()
        return self.rows()

    def _note(self, early: int | None, code: int | None) -> None:
        """Why it ended, if not because it was told to."""
        if early is None and code == 0:
            return
        said = b""
        if self._errors is not None:
            said = os.pread(self._errors.fileno(), 1 << 16, 0).strip().rpartition(b"\n")[2]
        when = "during the run" if early is not None else "when it was stopped"
        self._missing["sampler"] = f"ended {when} with {_how(code)}" + (f": {said.decode(errors='replace')}" if said else "")

    def _close(self) -> None:
        self._fetch()
        for file in (self._output, self._errors):
            if file is not None:
                file.close()
        self._output = self._errors = None


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
