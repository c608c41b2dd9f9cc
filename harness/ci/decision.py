"""Is head slower than base? From one round of blocks in fresh processes after another, until it is decided or the rounds are used up. Pure.

Red is said only of what is larger than the machine's own noise twice over, and was found in two sets of processes: a fixed threshold on
one measurement cries wolf (peers.md 2.10 and 3.7; the rule is that of its suggestion for pull requests). Whether another round is measured
depends on the interval of the rounds so far; the rule cannot be fooled by that often, because the gate lies far from no change at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness import compare, units
from harness.ci.result import Finding
from harness.compare import Ratio
from harness.errors import UsageError

LEAST_GATE = 0.03
"""A smaller slowdown turns nothing red unless it was asked for: spread inside a job is 0.3 to 3 % on the machines of peers.md 3.4."""

FLOORS = 2.0
"""How many times the noise floor of a comparison of a system with itself the gate is by default (peers.md 3.7)."""

MOST_ROUNDS = 3
"""The first, and two more where it is undecided."""

SEED = 20_260_117
"""Of the bootstrap. Any constant: the same blocks give the same interval."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`gate`, `floor`: shares; `rounds`: most sets of fresh processes."""

    gate: float
    floor: float = 0.0
    rounds: int = MOST_ROUNDS


@dataclass(frozen=True, slots=True)
class Decision:
    """`slowdown`: time of head over time of base, from the blocks of all rounds; `confirmed`: as in `Check`; `more`: it is not settled, and
    another round may settle it."""

    verdict: Finding
    slowdown: Ratio
    rounds: int
    confirmed: bool | None
    more: bool


def gate(wanted: float | None, floor: float | None) -> float:
    """The share that the lower end of the interval must exceed: what was asked for, else max(3 %, 2 floors). `floor`: None if not known.

    Raises UsageError for a gate finer than what this machine makes of a system against itself, or finer than 3 % where that is not known.
    """
    if wanted is None:
        return max(LEAST_GATE, FLOORS * (floor or 0.0))
    if floor is None and wanted < LEAST_GATE:
        raise UsageError(
            f"a gate of {wanted:.2%} on a machine whose noise is not known",
            f"run `assay ci noise` first, or ask for {LEAST_GATE:.0%} or more",
        )
    if wanted < (floor or 0.0):
        raise UsageError(
            f"a gate of {wanted:.2%} is finer than this machine's noise: a system differs from itself by up to {floor:.2%} here",
            f"ask for {units.share(FLOORS * (floor or 0.0))} or more, or measure where it is quieter",
        )
    return wanted


def settle(measure: Callable[[int], Sequence[float]], rule: Rule) -> Decision:
    """Measure rounds until it is decided. `measure(round)`: ln(time of head / time of base) of each block, in processes of its own."""
    rounds = [measure(0)]
    while (found := decide(rounds, rule)).more:
        rounds.append(measure(len(rounds)))
    return found


def decide(rounds: Sequence[Sequence[float]], rule: Rule) -> Decision:
    """What `rounds`, (rounds, blocks) logs of the slowdown, say together.

    regression   the interval of all blocks lies beyond the gate, and that of one round did so before another found the same: its own mean
                 beyond the gate, with all blocks still there
    improvement  faster beyond `compare.judge`'s margins, in two rounds as well
    unchanged    else, where the interval ends below the gate
    undecided    neither after all rounds
    """
    together = _ratio(rounds)
    beyond, below = together.low > 1 + rule.gate, together.high <= 1 + rule.gate
    left = len(rounds) < rule.rounds
    if beyond:
        confirmed = _confirmed(rounds, rule.gate)
        if confirmed or not left:
            return Decision("regression" if confirmed else "undecided", together, len(rounds), confirmed, more=False)
        return Decision("undecided", together, len(rounds), None, more=True)
    if below and compare.judge(together, better="lower", floor=rule.floor) == "faster":
        again = _faster_again(rounds, rule)
        return Decision("improvement" if again else "unchanged", together, len(rounds), again or None, more=not again and left)
    if below:
        return Decision("unchanged", together, len(rounds), None, more=False)
    return Decision("undecided", together, len(rounds), None, more=left)


def _confirmed(rounds: Sequence[Sequence[float]], gate: float) -> bool:
    """The newest round alone has its mean beyond the gate, and there was one before it that had, too."""
    means = [float(np.exp(np.mean(each))) for each in rounds]
    return len(means) > 1 and means[-1] > 1 + gate and max(means[:-1]) > 1 + gate


def _faster_again(rounds: Sequence[Sequence[float]], rule: Rule) -> bool:
    """Two rounds have their means beyond the margins."""
    least = max(rule.floor, compare.EQUIVALENT)
    return sum(float(np.mean(each)) < -least for each in rounds) > 1


def _ratio(rounds: Sequence[Sequence[float]]) -> Ratio:
    times = np.exp(np.concatenate([np.asarray(each, np.float64) for each in rounds]))
    return compare.ratio(times, np.ones_like(times), SEED)
