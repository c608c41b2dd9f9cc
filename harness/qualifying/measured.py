"""A run within a qualification: stored beside it, and ended like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import session
from harness.core import Run
from harness.errors import BackendError, ExitCode
from harness.qualifying.check import Context

RUNS = "runs"
"""Folder of the runs, in that of the qualification."""


def run(context: Context, **changes: Any) -> Run:
    """The run of the context's settings with `changes`, however it ended but for Ctrl-C, which ends the qualification: KeyboardInterrupt.
    Raises AssayError for what cannot be run, BackendError for a run that failed."""
    config = context.config.model_copy(update={"out": context.folder / RUNS, "telemetry": 0.0, **changes})
    finished = session.run(config, progress=context.progress).run
    if finished.exit_code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if finished.exit_code == ExitCode.FAILED:
        raise BackendError("; ".join(_reasons(finished.verdict)) or "the run failed", f"see {config.out / finished.run_id}")
    return finished


def _reasons(verdict: Mapping[str, Any]) -> list[str]:
    return [str(reason["text"]) for reason in verdict.get("reasons") or ()]
