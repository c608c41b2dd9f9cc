"""Assay from Python: `assay.run(scenario="server")` measures, `assay.compare(backends=[...])` compares, `assay.load(folder)` reads a stored
run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
# The folder that holds harness, tasks, backends, scenarios and reports: this one when installed, the one above in a checkout.
sys.path.insert(0, str(_HERE if (_HERE / "harness").is_dir() else _HERE.parent))

if TYPE_CHECKING:
    from harness.comparing.whole import Finished
    from harness.core import Run

__all__ = ["compare", "load", "run"]


def run(**settings: Any) -> Run:
    """Measure with these settings (the flags' names with `_`, such as `target_qps=100`) and return what was stored.

    A run that is INVALID or below its accuracy target is a result: look at `exit_code` and `verdict`. Raises harness.errors.AssayError
    for settings that are wrong, things that are missing, and results that cannot be stored.
    """
    from harness import session
    from harness.config import load as configure

    config = configure({"progress": "none", **settings}, origin=str)
    return session.run(config).run


def compare(
    backends: Sequence[str] = (),
    candidates: Sequence[Mapping[str, Any]] = (),
    *,
    reference: str | None = None,
    blocks: int = 6,
    block_duration: float = 3.0,
    budget: float = 300.0,
    width: float = 1.0,
    alternate: bool = False,
    **settings: Any,
) -> Finished:
    """Measure two to eight candidates against each other, interleaved, and return what was stored.

    `backends` differ by their backend alone; `candidates` are mappings of settings of their own, with `name`, `python` (another
    interpreter) and `project` (another checkout) where wanted; `settings` hold for all. The other arguments are the flags of
    `assay compare`: `block_duration` and `budget` in seconds, `width` in percent.

        found = assay.compare(backends=["pytorch:fp32", "pytorch:amp"], task="sst2")
        found.winner, found.ratio("pytorch:amp").low, found.word("pytorch:amp", "p99"), found.folder, found.exit_code

    A candidate that fails, or misses its accuracy target, is a result: it never wins, and `exit_code` says so. Raises
    harness.errors.AssayError for settings that are wrong, things that are missing, and results that cannot be stored.
    """
    from harness.comparing import whole
    from harness.comparing.candidates import reference_of, wanted

    given = [*({"backend": each} for each in backends), *candidates]
    plan = whole.plan_of(blocks=blocks, block_duration=block_duration, budget=budget, width=width)
    chosen = wanted(given, {"progress": "none", **settings}, origin=str)
    return whole.compare(chosen, reference_of(reference, chosen), plan, alternate=alternate)


def load(path: str | Path) -> Run:
    """The run stored in a folder. Raises MissingError if it did not finish, DataError if it is damaged."""
    from harness.store import read_run

    return read_run(Path(path))
