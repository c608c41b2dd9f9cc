"""What a user may say of a check of their own: its fields, and which figures there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness import units
from harness.core import Run
from harness.qualifying.check import Better

_CODE = r"^[A-Z][A-Z0-9_]*$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def _latency(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.latency_ns.get(name)


METRICS: dict[str, Callable[[Run], float | None]] = {
    "throughput": lambda run: run.throughput.get("samples_per_second"),
    "latency_p50": _latency("p50"),
    "latency_p90": _latency("p90"),
    "latency_p99": _latency("p99"),
    "accuracy": lambda run: run.accuracy["value"] if run.accuracy else None,
}
"""Figures of a run: answers a second, nanoseconds, points."""
UNITS = {"throughput": "samples/s", "accuracy": "points"}


def pattern(text: str) -> re.Pattern[str] | None:
    """A regular expression with one group, or None for a path into JSON (words with dots). Raises ValueError for anything else."""
    if re.fullmatch(r"[\w-]+(\.[\w-]+)*", text):
        return None
    try:
        made = re.compile(text)
    except re.error as error:
        raise ValueError(f"metric: {text!r} is no regular expression: {error}") from None
    if made.groups != 1:
        raise ValueError(f"metric: {text!r} has {units.plural(made.groups, 'group')}; the number is what one group finds")
    return made


def _tolerance(value: object) -> object:
    """A number in the unit, or a share of what is expected: "5%"."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9.]+(?:e[+-]?\d+)?\s*%?", str(value).strip()):
        raise ValueError("is neither a number of 0 or more nor a percentage such as 5%")
    return str(value).strip()


class Own(BaseModel):
    """One item of the list."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    name: Annotated[str, Field(pattern=_NAME)]
    title: str = ""
    code: Annotated[str, Field(pattern=_CODE)] = "OWN_CHECK"
    levels: Annotated[list[str], Field(min_length=1)] | None = None
    command: Annotated[list[str], Field(min_length=1)] | None = None
    run: dict[str, Any] | None = None
    metric: str = ""
    unit: str = ""
    better: Better = "higher"
    expected: float | int | None = None
    tolerance: Annotated[str, BeforeValidator(_tolerance)] = "0"
    required: bool = True
    repeat: Annotated[int, Field(ge=1, le=1000)] = 1
    timeout: Annotated[float | int, Field(gt=0)] = 60
    next_step: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Own:
        if (self.command is None) == (self.run is None):
            raise ValueError("needs either command or run")
        if self.run is not None and self.metric not in METRICS:
            raise ValueError(f"metric: a run has {', '.join(METRICS)}, not {self.metric or 'nothing'}")
        if self.command is not None and self.metric:
            pattern(self.metric)
        return self

    @property
    def allowed(self) -> float:
        """Tolerance in the unit."""
        if self.tolerance.endswith("%"):
            return abs(float(self.expected or 0.0)) * float(self.tolerance[:-1]) / 100
        return float(self.tolerance)
