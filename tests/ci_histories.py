"""Histories of a project as a machine would have measured them, made up: what is true of each push is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.ci import changes, decision

BLOCKS = 6
"""Of a round, as `ci check` measures them."""


@dataclass(frozen=True)
class Noise:
    """One machine's. Shares, as ln.

    block    deviation of a pair of blocks of one system, correlated with the pair before it by `tie`
    launch   deviation between one set of processes and the next: memory layout, placement
    run      deviation of single runs, days apart
    burst    probability that a pair of blocks is disturbed, by `burst_size` on either side
    drift    of the machine per push: cancels inside a block
    """

    block: float = 0.01
    tie: float = 0.3
    launch: float = 0.003
    run: float = 0.01
    burst: float = 0.0
    burst_size: float = 0.10
    drift: float = 0.0

    @property
    def floor(self) -> float:
        """What `ci noise` would find: 95 % of undisturbed pairs differ by less."""
        return 1.96 * self.block


def push(noise: Noise, step: float, generator: np.random.Generator) -> Callable[[int], Sequence[float]]:
    """A push whose code takes `step` (a share) more time than its base: what `decision.settle` measures by."""

    def measure(number: int) -> Sequence[float]:
        fresh = generator.normal(0, noise.launch)
        disturbed = (generator.random(BLOCKS) < noise.burst) * generator.normal(0, noise.burst_size, BLOCKS)
        pairs: NDArray[np.float64] = np.log1p(step) + fresh + _tied(noise, BLOCKS, generator) + disturbed
        return pairs.tolist()

    return measure


def _tied(noise: Noise, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """First-order autoregression with the deviation `block`."""
    found = np.empty(count)
    found[0] = generator.normal()
    for number in range(1, count):
        found[number] = noise.tie * found[number - 1] + np.sqrt(1 - noise.tie**2) * generator.normal()
    return noise.block * found


def recorded(noise: Noise, truth: Sequence[float], generator: np.random.Generator) -> list[float]:
    """Single runs of pushes that take `truth` (shares) more time than the first, in ms around 10, as a history holds them."""
    count = len(truth)
    bursts = (generator.random(count) < noise.burst) * np.abs(generator.normal(0, noise.burst_size, count))
    logs = np.log1p(np.asarray(truth)) + generator.normal(0, noise.run, count) + noise.drift * np.arange(count) + bursts
    return [float(value) for value in 10.0 * np.exp(logs)]


STEADY = Noise()
KINDS = {
    "steady": STEADY,
    "drifts": Noise(drift=0.0005),
    "bursts": Noise(burst=0.03),
    "machine changes": STEADY,
}
"""What goes on around the project: nothing, 0.05 % per push of drift, 3 % of pairs and runs disturbed by 10 %, another machine."""

PUSHES, STEP_AT, CHANCES = 34, 24, 3
"""Of a history; the push whose code is slower; pushes within which it must be found."""

MACHINE_AT, MACHINE = 12, 1.26
"""Where another machine takes over, and how much more time it takes (peers.md 3.4: 26 % between hosted machines)."""


@dataclass(frozen=True)
class Replayed:
    """One history, replayed push by push. `alarms`: unchanged pushes that turned red; `reported`: pushes after which the history showed a
    step that is none; `gated`, `seen`: the number of the push (1 to CHANCES) at which the gate, or the history, had found the step."""

    unchanged: int
    alarms: int
    reported: int
    gated: int | None
    seen: int | None


def replay(kind: str, step: float, seed: int) -> Replayed:
    """Every push is checked against the one before it; the slower one, and what is pushed after it to the same branch, against the base."""
    noise, generator = KINDS[kind], np.random.default_rng([seed, *kind.encode(), round(1000 * step)])
    rule = decision.Rule(decision.gate(None, noise.floor), noise.floor)

    def red(by: float) -> bool:
        return decision.settle(push(noise, by, generator), rule).verdict == "regression"

    quiet = PUSHES if not step else STEP_AT
    alarms = sum(red(0.0) for _ in range(quiet))
    gated = next((chance for chance in range(1, CHANCES + 1) if step and red(step)), None)
    reported, seen = _watched(kind, noise, step, generator)
    return Replayed(quiet, alarms, reported, gated, seen)


def _watched(kind: str, noise: Noise, step: float, generator: np.random.Generator) -> tuple[int, int | None]:
    """The history looked at after every push: false steps, and when the true one was first shown."""
    truth = [step if at >= STEP_AT else 0.0 for at in range(PUSHES)]
    values = recorded(noise, truth, generator)
    begins = MACHINE_AT if kind == "machine changes" else 0
    values = [value * (MACHINE if begins and at >= begins else 1.0) for at, value in enumerate(values)]
    false: set[int] = set()
    seen = None
    for end in range(1, PUSHES + 1):
        start = begins if end > begins else 0  # another machine is another series
        for change in changes.change_points(values[start:end]):
            at = start + change.index
            if step and change.worse and abs(at - STEP_AT) <= 1:
                seen = seen or end - STEP_AT
            elif at not in false:
                false.add(at)
    return len(false), seen if seen is not None and seen <= CHANCES else None
