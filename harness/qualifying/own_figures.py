"""How the figure of a user's own check is measured: a command's output, or a run."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from harness import units
from harness.errors import MissingError
from harness.qualifying import measured
from harness.qualifying.check import Context, Finding, Outcome
from harness.qualifying.own import METRICS, UNITS, Own, pattern


def measure(own: Own, context: Context) -> Finding:
    """`repeat` times; the median is the figure. Raises MissingError for a command that is not there, RuntimeError for one that fails or
    says no number."""
    values = [_of_command(own) if own.run is None else _of_run(own, context) for _ in range(own.repeat)]
    known = [value for value in values if value is not None]
    if not known:
        return Finding(own.code, own.name, "PASS", "the command ended well", n=len(values), required=own.required, next_step=own.next_step)
    return _judged(own, known)


def _judged(own: Own, values: Sequence[float]) -> Finding:
    """Against `expected`, where there is one; else the baseline judges."""
    value, unit = median(values), own.unit or (UNITS.get(own.metric, "ns") if own.run is not None else "")
    text = f"{own.title or own.name}: {units.quantity(value, unit)}"
    details = {"values": list(values)}
    made = Finding(own.code, own.name, "PASS", text, value, unit, len(values), better=own.better, required=own.required, details=details)
    if own.expected is None:
        return _with(made, own)
    expected, allowed = float(own.expected), own.allowed
    off = {"higher": expected - value, "lower": value - expected, "equal": abs(value - expected)}[own.better]
    outcome: Outcome = "PASS" if off <= allowed else "FAIL"
    return _with(made, own, outcome=outcome, expected=expected, tolerance=allowed, margin=(allowed - off) / (abs(expected) or 1.0))


def _with(made: Finding, own: Own, **changes: Any) -> Finding:
    return replace(made, next_step=own.next_step, **changes)


# ------------------------------------------------------------------------------------------------------------------------ sources


def _of_run(own: Own, context: Context) -> float | None:
    from harness.config import load

    asked = {key.replace("-", "_"): value for key, value in (own.run or {}).items()}
    given = {name: value for name, value in context.config.model_dump(mode="json").items() if value is not None}
    config = load(given | asked)
    changes = {name: getattr(config, name) for name in asked if name != "out"}
    found = METRICS[own.metric](measured.run(context, **changes))
    if found is None:
        raise RuntimeError(f"the run has no {own.metric}")
    return found


def _of_command(own: Own) -> float | None:
    """The number in the output; None where none is asked for."""
    words = list(own.command or ())
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=own.timeout, check=False)
    except (FileNotFoundError, PermissionError) as error:
        raise MissingError(f"{words[0]} cannot be run: {error.strerror}", own.next_step) from error
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{words[0]} took longer than {own.timeout:g} s") from None
    if done.returncode:
        last = ((done.stderr or done.stdout).strip().splitlines() or ["it said nothing"])[-1][:300]
        raise RuntimeError(f"{words[0]} ended with exit code {done.returncode}: {last}")
    return _number(own.metric, done.stdout) if own.metric else None


def _number(metric: str, output: str) -> float:
    made = pattern(metric)
    found = _in_json(metric, output) if made is None else (match[1] if (match := made.search(output)) else None)
    try:
        value = float(found) if not isinstance(found, bool) and found is not None else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise RuntimeError(f"no number for {metric!r} in the output: {' '.join(output.split())[:120] or 'it is empty'}")
    return value


def _in_json(path: str, output: str) -> Any:
    try:
        found = json.loads(output)
        for word in path.split("."):
            found = found[int(word)] if isinstance(found, list) else found[word]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return found
