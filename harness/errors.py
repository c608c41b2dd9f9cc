"""Everything that can go wrong, and the exit code each kind ends with.

    AssayError                1   internal error (never raised by name: a bug that reached the top)
    +-- UsageError            2   a flag, a configuration key or a value
    +-- MissingError          3   a file, a library, a device or disk space that the run needs
    |   +-- DataError         3   a data file that is there but is not what it should be
    +-- RunError              4   the run started and could not finish
    |   +-- BackendError      4   a backend raised, or gave something that is not an answer
    +-- Interrupted         130   Ctrl-C

Exit codes that are verdicts, not errors, stand in `ExitCode` beside them. A message says what is wrong and where (file, line or
option); `cure` says what to do about it.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with; the table is printed by `--help`."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    MISSING = 3
    FAILED = 4
    INVALID = 5
    ACCURACY = 6
    REGRESSION = 7
    QUALIFICATION = 8
    NOTHING_MEASURED = 9
    INTERRUPTED = 130


EXIT_CODE_MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "valid and on target",
    ExitCode.INTERNAL: "internal error",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.MISSING: "something needed is missing",
    ExitCode.FAILED: "the run failed",
    ExitCode.INVALID: "INVALID",
    ExitCode.ACCURACY: "accuracy below target",
    ExitCode.REGRESSION: "regression",
    ExitCode.QUALIFICATION: "qualification failed",
    ExitCode.NOTHING_MEASURED: "nothing was measured",
    ExitCode.INTERRUPTED: "interrupted",
}


class AssayError(Exception):
    """An error with a cure. `str(error)` is the message; `cure` is one sentence or empty."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure

    def __reduce__(self) -> tuple[type[AssayError], tuple[str, str]]:
        """Survives the trip from a worker process with its cure."""
        return type(self), (str(self), self.cure)


class UsageError(AssayError):
    exit_code = ExitCode.USAGE


class MissingError(AssayError):
    exit_code = ExitCode.MISSING


class DataError(MissingError):
    pass


class RunError(AssayError):
    exit_code = ExitCode.FAILED


class BackendError(RunError):
    pass


class Interrupted(AssayError):
    exit_code = ExitCode.INTERRUPTED


def first_line(error: BaseException) -> str:
    """A foreign library's message on one line of at most 300 characters; the name of its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
