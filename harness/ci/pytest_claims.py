"""What a test claims of a comparison, and the words where the claim does not hold. Pure.

A claim needs proof: "faster" that is undecided is a failure, for nothing was shown. That nothing became slower is judged by the rule of
`assay ci check` (harness/ci/decision.py), and undecided there is neither passed nor failed: the test is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness import units
from harness.compare import EQUIVALENT, Outcome
from harness.comparing.results import Comparison, Figure

THAN, CANDIDATE = 0, 1
"""Places of the two in a comparison; ratios are to the first."""

LONGER = "measure longer (blocks=12, block_duration=3), or where it is quieter"


@dataclass(frozen=True, slots=True)
class Speed:
    """How many times as fast the candidate is, by the deciding figure (`unit`), with the interval of 95 %. `counts`: its answers are good
    enough; `problem`: why it has no speed, or no right to one."""

    name: str
    than: str
    value: float
    low: float
    high: float
    word: Outcome
    figure: str
    blocks: int
    problem: str = ""

    def __str__(self) -> str:
        how = f"{self.figure}, {units.plural(self.blocks, 'block')}"
        return f"{self.value:.3f}x as fast as {self.than}, 95 % interval [{self.low:.3f}, {self.high:.3f}], {self.word} ({how})"


def speed(found: Comparison) -> Speed:
    """Of the candidate. Raises ValueError where one of the two has no figures; `problems` says why."""
    figure = found.figures[0]
    cell = found.cell(CANDIDATE, figure)
    if cell is None or cell.ratio is None or cell.word is None:
        raise ValueError("; ".join(problems(found)) or "fewer than two blocks were measured")
    ends = (cell.ratio.value, cell.ratio.low, cell.ratio.high)
    if figure.better == "lower":
        ends = (1 / cell.ratio.value, 1 / cell.ratio.high, 1 / cell.ratio.low)
    names = (found.candidates[CANDIDATE].name, found.candidates[THAN].name)
    return Speed(*names, *ends, cell.word, _named(figure), found.blocks, "; ".join(problems(found)))


def _named(figure: Figure) -> str:
    return figure.name.replace("_", " ") if figure.share is None else f"{figure.name} latency"


def problems(found: Comparison) -> list[str]:
    """Why a side's speed is no result: it failed, or its answers are not good enough."""
    said = []
    for each in found.candidates:
        if each.problem:
            said.append(f"{each.name} failed: {each.problem}")
        elif not each.counts and each.accuracy is not None:
            accuracy = each.accuracy
            target = "?" if accuracy.target is None else units.score(accuracy.target)
            said.append(f"{each.name} does not count: {accuracy.metric} {units.score(accuracy.value)} misses its target {target}")
    return said


def against(found: Speed, by: float) -> str:
    """Why "faster by this share" does not hold, with the cure; empty where it does: the whole interval lies beyond it, and what `compare`
    calls faster. `by` = 0.05: at least 1.05 times as fast."""
    asked = f"at least {1 + by:.3f}x" if by else "faster"
    head = f"{found.name} is {found}; asked: {asked}"
    if found.problem:
        return f"{head}\n{found.problem}\ncure: use a model and precision that keep the answers; a wrong answer is never fast"
    if found.low > 1 + by and found.word == "faster":
        return ""
    if found.word == "equivalent" or found.high <= 1 + max(by, EQUIVALENT):
        return f"{head}: not so\ncure: claim less with by=, or see what limits it: the folder of the comparison has a report"
    return f"{head}: not shown\ncure: {LONGER}"
