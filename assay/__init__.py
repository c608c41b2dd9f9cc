"""Assay from Python: `assay.run(scenario="server")` measures, `assay.load(folder)` reads a stored run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
# The folder that holds harness, tasks, backends, scenarios and reports: this one when installed, the one above in a checkout.
sys.path.insert(0, str(_HERE if (_HERE / "harness").is_dir() else _HERE.parent))

if TYPE_CHECKING:
    from harness.core import Run

__all__ = ["load", "run"]


def run(**settings: Any) -> Run:
    """Measure with these settings (the flags' names with `_`, such as `target_qps=100`) and return what was stored.

    A run that is INVALID or below its accuracy target is a result: look at `exit_code` and `verdict`. Raises harness.errors.AssayError
    for settings that are wrong, things that are missing, and results that cannot be stored.
    """
    from harness import session
    from harness.config import load as configure

    config = configure({"progress": "none", **settings}, origin=str)
    return session.run(config).run


def load(path: str | Path) -> Run:
    """The run stored in a folder. Raises MissingError if it did not finish, DataError if it is damaged."""
    from harness.store import read_run

    return read_run(Path(path))
