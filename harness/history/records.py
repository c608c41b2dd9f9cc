"""What a history gives back. Plain data; times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Series:
    """Runs that may be compared with each other over time.

    key       16 hexadecimal digits, a hash of `parts`
    subject   what people would call the same benchmark: task, scenario, backend
    parts     everything that has to be equal, by name
    runs      how many there are; `points` of them count
    """

    key: str
    subject: str
    parts: Mapping[str, Any]
    runs: int
    points: int
    first_utc: str
    last_utc: str

    @property
    def machine(self) -> str:
        """Where it was measured, in one line."""
        made = self.parts["machine"]
        gpus = [gpu.get("name") for gpu in made["gpus"]]
        cores = made["cpu"].get("usable_cores")
        words = [made["name"], *gpus, made["cpu"].get("model"), f"{cores} cores" if cores else "", made.get("os")]
        return " · ".join(str(word) for word in words if word)

    def fits(self, words: Sequence[str]) -> bool:
        """True where subject and machine hold every one of the words, in lower or upper case."""
        text = f"{self.subject} {self.machine}".lower()
        return all(word.lower() in text for word in words)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a run. `low` and `high`: 95 % interval within the run, None where it is not known; `n`: what it is made of."""

    name: str
    value: float
    unit: str
    better: Better
    headline: bool = False
    n: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `why`: what keeps it from being a point of the trend, "" for one that counts. `at_utc`: where it stands in its series: the
    time of its commit where that is known, else its own. `conditions`: a hash of what the machine and its software were."""

    run_id: str
    series: str
    started_utc: str
    at_utc: str
    commit: str
    branch: str
    dirty: bool
    exit_code: int
    why: str
    conditions: str
    folder: str


@dataclass(frozen=True, slots=True)
class Point:
    """A run that counts, with one of its figures."""

    row: Row
    figure: Figure

    @property
    def value(self) -> float:
        return self.figure.value


@dataclass(frozen=True, slots=True)
class Accepted:
    """A change that somebody looked at and took: from `run_id` on, `metric` of the series is what it is now."""

    series: str
    metric: str
    run_id: str
    commit: str
    note: str
    accepted_utc: str
