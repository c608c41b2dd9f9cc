"""A check in words, the same in every output. Pure."""

from __future__ import annotations

from collections import Counter

from harness import units
from harness.ci.result import Check, Checked, Finding
from harness.errors import ExitCode

WORDS: dict[Finding, str] = {
    "regression": "REGRESSION",
    "improvement": "improvement",
    "unchanged": "unchanged",
    "undecided": "undecided",
    "skipped": "skipped",
    "error": "ERROR",
}

_COUNTED: dict[Finding, tuple[str, str]] = {
    "regression": ("regression", "regressions"),
    "error": ("error", "errors"),
    "undecided": ("undecided", "undecided"),
    "improvement": ("improvement", "improvements"),
    "unchanged": ("unchanged", "unchanged"),
    "skipped": ("skipped", "skipped"),
}
"""How one and how several of them are called, worst first."""

_VERDICT = {
    ExitCode.OK: "passed",
    ExitCode.REGRESSION: "REGRESSION",
    ExitCode.NOTHING_MEASURED: "NOTHING MEASURED",
    ExitCode.FAILED: "FAILED",
    ExitCode.ACCURACY: "ACCURACY MISSED",
    ExitCode.INTERRUPTED: "INTERRUPTED",
}


def one_line(text: str) -> str:
    return " ".join(text.split())


def signed(number: float, digits: int = 2) -> str:
    """ "+0.25", "-1.20"; what rounds to nothing is "+0.00", whatever its sign."""
    return f"{round(number, digits) + 0.0:+.{digits}f}"


def word(checked: Checked) -> str:
    """The whole check in a word or two. A code that is no verdict is FAILED, never passed."""
    return next((said for code, said in _VERDICT.items() if code == checked.exit_code), "FAILED")


def tally(checked: Checked) -> str:
    """ "1 regression, 3 unchanged", worst first."""
    counts = Counter(check.verdict for check in checked.checks)
    said = [f"{counts[each]} {names[counts[each] > 1]}" for each, names in _COUNTED.items() if counts[each]]
    return ", ".join(said) or "nothing was measured"


def change(check: Check) -> str:
    """ "8.1 % more time", "2.0 % less time", "no change"; accuracy in points."""
    if check.change is None:
        return "-"
    if check.kind == "accuracy":
        return f"{signed(-100 * check.change)} points" if check.change else "no change"
    size = units.share(abs(check.change))
    return "no change" if size == "0.0 %" else f"{size} {'more' if check.change > 0 else 'less'} time"


def interval(check: Check) -> str:
    """ "95 % interval +7.2 % to +9.0 %"; of accuracy 99 %, in points; empty where there is none."""
    if check.low is None or check.high is None:
        return ""
    if check.kind == "accuracy":
        return f"99 % interval {signed(-100 * check.high)} to {signed(-100 * check.low)} points"
    return f"95 % interval {signed(100 * check.low, 1)} % to {signed(100 * check.high, 1)} %"


def measured(check: Check) -> str:
    """ "12 blocks in 2 rounds, confirmed"; "both over the same examples" of accuracy; "stored runs"; "not measured"."""
    if check.base_value is None and check.head_value is None:
        return "not measured"
    if check.kind == "accuracy":
        return "both over the same examples"
    if not check.blocks:
        return "stored runs"
    confirmed = {True: ", confirmed", False: ", not confirmed", None: ""}[check.confirmed]
    return f"{units.plural(check.blocks, 'block')} in {units.plural(check.rounds, 'round')}{confirmed}"


def value(number: float | None, check: Check) -> str:
    """`base_value` or `head_value` as people read it."""
    if number is None:
        return "-"
    return f"{units.score(number)} {check.unit}" if check.kind == "accuracy" else units.quantity(number, check.unit)


def figures(check: Check) -> str:
    """One line with every figure of the check; empty where nothing was measured."""
    if check.change is None:
        return ""
    parts = [f"{value(check.base_value, check)} to {value(check.head_value, check)}: {change(check)}", interval(check)]
    gate = "paired test" if check.kind == "accuracy" else f"gate {units.share(check.gate)}"
    return "; ".join(filter(None, [*parts, gate, measured(check)]))
