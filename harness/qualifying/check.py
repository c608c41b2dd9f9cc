"""What a check is, what it found, and what all of it means for the machine. Pure data; `run` measures, `judging` holds against a baseline.

A check is a module-level `Check` in a file of `checks/`; nothing has to be registered. It measures and returns findings: one whose
`expected` is None and whose `better` is set is judged by the frame, against the baseline, by its `name`; one that sets `expected` has
judged itself. What a check raises becomes a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from harness.errors import ExitCode

if TYPE_CHECKING:
    from harness.config import RunConfig
    from harness.progress import Progress
    from harness.telemetry.stream import Stream

SCHEMA = 1
"""Version of qualification.json. 1: first."""

Outcome = Literal["PASS", "WARN", "FAIL", "SKIP"]
Better = Literal["higher", "lower", "equal"]
Verdict = Literal["ACCEPTED", "REJECTED", "NOT QUALIFIED"]

EXIT_CODES: dict[Verdict, ExitCode] = {
    "ACCEPTED": ExitCode.OK,
    "REJECTED": ExitCode.QUALIFICATION,
    "NOT QUALIFIED": ExitCode.NOTHING_MEASURED,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure or fact, judged.

    code       stable upper-case word of what is wrong if it is not PASS
    name       of the figure, stable from version to version: baselines and fleets are kept by it
    text       what was found, one sentence
    measured   in `unit`, from `n` measurements; None where the finding is no number
    expected   what it is held against, `tolerance` how far it may be off in the same unit, `margin` how far inside (positive) or beyond
               (negative) the tolerance it lies as a share of `expected`, absolute where that is 0; all None where nothing is held against
    better     which way is good; None for a number that is only told
    next_step  what to do about it; empty where there is nothing to do
    details    JSON values; `values`: the n measurements themselves, which a baseline takes its spread from
    """

    code: str
    name: str
    outcome: Outcome
    text: str
    measured: float | None = None
    unit: str = ""
    n: int = 0
    expected: float | None = None
    tolerance: float | None = None
    margin: float | None = None
    better: Better | None = None
    required: bool = True
    next_step: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


class Known(Protocol):
    """A baseline, as a check sees it (`baseline.Baseline`): `subject` has the hashes of model and data."""

    @property
    def subject(self) -> Mapping[str, Any]: ...

    def figure(self, name: str) -> Any:
        """The `baseline.Figure` of that name, None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a check is given. `deadline`: monotonic seconds at which it is stopped; `keep`: values that checks share, such as a loaded crew
    (with a `close` they are closed at the end); `folder`: of this qualification, where a check may write; `stream`: telemetry beside all
    checks, None where there is none; `max_celsius`: a temperature that ends the work; `soak_s`: wanted length of a soak."""

    level: str
    config: RunConfig
    folder: Path
    progress: Progress
    deadline: float
    baseline: Known | None = None
    stream: Stream | None = None
    device: str = "cpu"
    max_celsius: float | None = None
    soak_s: float = 900.0
    keep: dict[str, Any] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        return self.config.backend

    @property
    def task(self) -> str:
        return self.config.task


@dataclass(frozen=True, slots=True)
class Check:
    """`seconds`: what it takes, as planned; `levels`: those it belongs to; `limit_s`: it is stopped after so long, None: five times what
    is planned and a minute; `last`: it looks back on all others; `begin`: called before the first check of each session, for what it
    compares the end with."""

    code: str
    name: str
    title: str
    required: bool
    levels: tuple[str, ...]
    seconds: float
    run: Callable[[Context], Finding | Sequence[Finding]]
    limit_s: float | None = None
    last: bool = False
    begin: Callable[[Context], None] | None = None


@dataclass(frozen=True, slots=True)
class Qualification:
    """A whole qualification.

    machine   facts of the hardware and software; `serials` what tells this very machine from others of its kind
    subject   what was run: backend, task, model and data with their sha256, by name
    baseline  sha256, n and file of what it was held against; empty where nothing was
    done      names of the checks that ended
    resumed   stretches that it stood still: from, to (UTC) and seconds
    """

    level: str
    findings: tuple[Finding, ...]
    machine: Mapping[str, Any] = field(default_factory=dict)
    serials: Mapping[str, str] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    started_utc: str = ""
    seconds: float = 0.0
    complete: bool = True
    done: tuple[str, ...] = ()
    resumed: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the required: one that failed rejects; one that was skipped, or nothing at all, qualifies nothing."""
        outcomes = [finding.outcome for finding in self.findings if finding.required]
        if "FAIL" in outcomes:
            return "REJECTED"
        if not self.complete or "SKIP" in outcomes or not outcomes:
            return "NOT QUALIFIED"
        return "ACCEPTED"

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.verdict]

    def of(self, *outcomes: Outcome) -> tuple[Finding, ...]:
        """The findings that ended so, required ones first."""
        found = [finding for finding in self.findings if finding.outcome in outcomes]
        return tuple(sorted(found, key=lambda finding: not finding.required))


def to_json(found: Qualification) -> dict[str, Any]:
    """As it is stored, without its hash (`canonical.sealed` adds it)."""
    return {"schema": SCHEMA, "kind": "qualification", "verdict": found.verdict, **asdict(found)}


def from_json(record: Mapping[str, Any]) -> Qualification:
    """What `to_json` stored. Raises ValueError for another schema, a field that is missing or unknown, or a verdict that its findings do
    not give."""
    if record.get("schema") != SCHEMA or record.get("kind") != "qualification":
        raise ValueError(f"schema {record.get('schema')}, kind {record.get('kind')}: not a qualification of schema {SCHEMA}")
    try:
        parts = {each.name: record[each.name] for each in fields(Qualification)}
        findings = tuple(_finding(each) for each in parts["findings"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a qualification: {error}") from error
    listed = {name: tuple(parts[name]) for name in ("done", "resumed", "warnings")}
    found = Qualification(**{**parts, **listed, "findings": findings})
    if record.get("verdict") != found.verdict:
        raise ValueError(f"its verdict is {record.get('verdict')}, its findings make it {found.verdict}")
    return found


def _finding(record: Mapping[str, Any]) -> Finding:
    if record["outcome"] not in get_args(Outcome):
        raise ValueError(f"{record['outcome']} is no outcome")
    return Finding(**record)
