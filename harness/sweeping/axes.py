"""What is swept: settings and their values, as written after `--over` or under `sweep:` in the file, and the grid they make. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from harness.config import FIELDS, flag, unknown_key
from harness.errors import UsageError
from harness.suggest import advice

KEY = "sweep"
"""Key of the configuration file that holds a mapping of settings to values."""

RATE = "target_qps"

MOST_POINTS = 100
"""Points of one grid: at 10 s, twice, half an hour."""

RANGE = ("from", "to", "steps", "scale")
SCALES = ("linear", "log")

REFUSED = frozenset(
    (
        *("out", "name", "progress", "mode", "engine", "trace", "traffic", "find_peak", "find_peak_step", "find_peak_decimals"),
        *("user_conf", "audit_conf", "conf_compat", "accuracy", "offline", "accuracy_log_probability", "accuracy_log_target"),
    )
)
"""Settings that say where results go or which of LoadGen's modes runs: no figure depends on them."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting and the values it takes, in the order given. `origin`: where they were written, for errors."""

    setting: str
    values: tuple[Any, ...]
    origin: str


def from_text(text: str) -> Axis:
    """`max_batch=1,2,4`; with a `;` somewhere, values are between those, so that lists can be values: `pad_to=8;64,128`.

    Raises UsageError."""
    name, equals, given = text.partition("=")
    origin = f"--over {name.strip()}"
    if not equals:
        raise UsageError(f"--over {text}: no values", "write --over SETTING=VALUE,VALUE,...")
    values = [value.strip() for value in given.split(";" if ";" in given else ",")]
    return _axis(name.strip(), values, origin)


def from_mapping(value: Any, origin: str) -> list[Axis]:
    """Axes of a file: each setting has a list of values, or a range such as {from: 1, to: 64, steps: 7, scale: log}. Raises UsageError."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{origin}: not a mapping of settings to values", "write `sweep:` and below it `max_batch: [1, 2, 4]`")
    return [_axis(str(name), _values(each, f"{origin}.{name}"), f"{origin}.{name}") for name, each in value.items()]


def _axis(name: str, values: Sequence[Any], origin: str) -> Axis:
    setting = name.lower().replace("-", "_")
    if setting not in FIELDS:
        raise unknown_key(name, origin)
    if setting in REFUSED:
        raise UsageError(f"{origin}: {flag(setting)} cannot be swept", f"give {flag(setting)} once, for all points")
    if not values or "" in values:
        raise UsageError(f"{origin}: an empty value", "give one or more values")
    written = [str(value) for value in values]
    if doubled := next((value for value in written if written.count(value) > 1), None):
        raise UsageError(f"{origin}: {doubled} is there twice", "give each value once")
    return Axis(setting, tuple(values), origin)


def _values(given: Any, origin: str) -> list[Any]:
    if isinstance(given, Mapping):
        return _range(given, origin)
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _range(given: Mapping[str, Any], origin: str) -> list[float | int]:
    """`steps` values from `from` to `to`, both among them; whole numbers where both ends are, each once."""
    if unknown := next((key for key in given if key not in RANGE), None):
        raise UsageError(f"{origin}: a range has no {unknown}", advice(str(unknown), RANGE, "keys"))
    first, last, steps, scale = given.get("from"), given.get("to"), given.get("steps"), given.get("scale", "linear")
    if not (_is_number(first) and _is_number(last) and isinstance(steps, int) and steps is not True and steps >= 2):
        raise UsageError(f"{origin}: a range needs numbers `from` and `to`, and 2 or more `steps`", "such as {from: 1, to: 64, steps: 7}")
    if steps > MOST_POINTS:
        raise UsageError(f"{origin}: {steps} steps, a sweep has {MOST_POINTS} points at most", "take fewer steps")
    if scale not in SCALES or (scale == "log" and not (first > 0 and last > 0)):
        raise UsageError(f"{origin}: scale {scale} does not fit", "give linear, or log with both ends above 0")
    return spaced(first, last, steps, scale)


def spaced(first: float, last: float, steps: int, scale: str) -> list[float | int]:
    """Values from `first` to `last`, equally far apart or, on a log scale, by equal factors; to six digits, whole where both ends are."""
    places = [step / (steps - 1) for step in range(steps)]
    if scale == "log":
        found = [math.exp(math.log(first) * (1 - place) + math.log(last) * place) for place in places]
    else:
        found = [first + (last - first) * place for place in places]
    whole = isinstance(first, int) and isinstance(last, int)
    return list(dict.fromkeys(round(value) if whole else float(f"{value:.6g}") for value in found))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def grid(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination, the last axis changing fastest; one empty one where nothing is swept. Raises UsageError for a setting that is
    swept twice and for too many points."""
    names = [axis.setting for axis in axes]
    if doubled := next((axis for axis in axes if names.count(axis.setting) > 1), None):
        raise UsageError(f"{doubled.origin}: swept twice", "give all its values in one place")
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_POINTS:
        sizes = " x ".join(f"{len(axis.values)} {axis.setting}" for axis in axes)
        raise UsageError(
            f"{sizes} are {count:,} points, a sweep has {MOST_POINTS} at most", "take fewer values, or sweep one after another"
        )
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]
