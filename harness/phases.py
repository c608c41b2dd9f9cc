"""What was played, as LoadGen tells it: a test is a list of phases, each of them one loaded set and the queries asked of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.core import Columns, Part
from harness.loadgen import Requested


@dataclass(frozen=True, slots=True)
class Message:
    """A line of the detail log that says something in words. `key` as LoadGen's: generic_message, warning_generic_message,
    error_runtime, error_invalid_config, error_invalid_test_settings."""

    key: str
    text: str

    @property
    def is_error(self) -> bool:
        return self.key.startswith("error_")

    @property
    def is_warning(self) -> bool:
        return self.key.startswith("warning_")


@dataclass(frozen=True, slots=True)
class Phase:
    """One loaded set and the queries asked of it.

    mode           what LoadGen was doing
    part           what was made beforehand
    columns        rows of this phase alone; query numbers and times count from 0 at its start
    begun_ns       Unix time of its start, ns
    first_query    queries of the test before it; `first_sample`: samples
    messages       how it ended, in LoadGen's words
    """

    mode: Literal["performance", "accuracy", "find-peak"]
    part: Part
    columns: Columns
    begun_ns: int
    first_query: int = 0
    first_sample: int = 0
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Played:
    """One StartTest.

    requested      its settings, after audit file and test05
    total, loaded  samples of the library, and how many of them it says fit in memory
    sut_name       what the logs call the system under test
    begun_ns       Unix time at which its log starts, ns
    phases         in order
    result         the performance phase that is judged; None in an accuracy run
    messages       said before the first phase: settings that were overruled or complained about
    """

    requested: Requested
    total: int
    loaded: int
    sut_name: str
    begun_ns: int
    phases: tuple[Phase, ...]
    result: Phase | None
    messages: tuple[Message, ...] = ()
