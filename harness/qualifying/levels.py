"""How thoroughly a machine is looked at, and which checks that takes: every module-level `Check` below `checks/`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError
from harness.qualifying import checks as folder
from harness.qualifying.check import Check

LEVELS = {
    "quick": "under 30 s: environment, sensors, memory, small products, timer, noise",
    "standard": "about 3 min: also speed by precision, offline and server, accuracy, determinism",
    "long": "also a soak of 15 min or more: thermal plateau, drift, error counters, silent corruption",
    "mlperf": "the official settings: 600 s each of offline and single-stream, and of server at a given rate",
}
"""Each with what it does."""


def known() -> tuple[Check, ...]:
    """All checks, cheapest first: what can be found soon is found first. Raises UsageError where two have one name."""
    names = sorted(file.stem for place in folder.__path__ for file in Path(place).glob("*.py") if not file.name.startswith("_"))
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in names]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Check)]
    return ordered({id(each): each for each in found}.values())  # one that a file imports from another is one


def ordered(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Cheapest first, as they were given among equals; those that look back on others last. Raises UsageError where two have one name."""
    listed = sorted(checks, key=lambda check: (check.last, check.seconds))
    names = [check.name for check in listed]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two checks are called {doubled}", "rename one")
    return tuple(listed)


def of(level: str, checks: Iterable[Check]) -> tuple[Check, ...]:
    """Those of a level."""
    return tuple(check for check in checks if level in check.levels)
