"""What a comparison asks of each candidate, wherever it runs: get ready, load, be visited, be scored, give its memory back.

`harness.comparing.here` keeps the workers of a candidate beside this process, `harness.comparing.elsewhere` drives a process under another
interpreter or in another checkout that does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.core import Accuracy, Int32, Int64
from harness.paired import Outcomes


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a candidate before its weights are read. `settings`: every resolved one; `policy`: how it makes batches.

    fingerprint  of the questions as its tokenizer cut them
    comparable   False for the built-in sample set
    model        name, sha256, parameters, bytes; None for a backend that looks at nothing
    conditions   its Python, libraries, commit and environment variables
    """

    settings: Mapping[str, Any]
    scenario: str
    closed_loop: bool
    paced: bool
    data_name: str
    samples: int
    fingerprint: str
    comparable: bool
    policy: Mapping[str, Any]
    model: Mapping[str, Any] | None
    conditions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ready:
    """A candidate that can be loaded. `workers`: how many, their threads and mode, and what a search for them found; `bytes`: memory that
    they will probably need."""

    workers: Mapping[str, Any]
    bytes: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a visit plays. `samples`: these, all at once, (samples,); None: the scenario's own traffic for `seconds`, of `queries` at
    least. `label`: what the screen calls it."""

    label: str
    seconds: float
    queries: int
    samples: Int32 | None = None


@dataclass(frozen=True, slots=True)
class Visited:
    """What one stretch gave. `latency_ns`: as `harness.comparing.results.Visit` has them; `problem`: why it is no result."""

    seconds: float
    samples: int
    tokens: int
    latency_ns: Int64
    padding_share: float | None = None
    problem: str = ""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """Accuracy by a pass of the loaded instances over all samples; `outcomes` of each example."""

    accuracy: Accuracy | None
    outcomes: Outcomes | None = None
    problem: str = ""
    interrupted: bool = False


class Seat(Protocol):
    """A candidate that can be measured. `facts` and `warnings` may be read at any time; warnings grow."""

    facts: Facts

    @property
    def warnings(self) -> list[str]: ...

    def ready(self) -> Ready:
        """Export, quantise, build what is kept on disk; with `workers: auto`, find them by the search that a run makes."""
        ...

    def load(self) -> dict[str, Any]:
        """Load and warm all workers; what the backend says it is. Raises AssayError."""
        ...

    def visit(self, stretch: Stretch) -> Visited:
        """Measure one stretch of the loaded workers. Never raises for what they do: it tells."""
        ...

    def score(self) -> Scored:
        """Score the loaded workers; the answers of the last visit must agree."""
        ...

    def close(self) -> None:
        """Give back what `load` took. It may be loaded again."""
        ...
