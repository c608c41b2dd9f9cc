"""How much of a model's answers integers keep, which products lose most, and what to leave in FP32 so that enough is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from harness.runtimes.onnx_calibrate import Feed, Graph

Answers = list[list[NDArray[Any]]]
"""Outputs of each sample, batch axis removed."""

REGRET = {"question-answering": 0.05, "sequence-classification": 0.02}
"""Largest mean regret of the decisions, by the model's head. A changed decision is a near tie more often than an error, so the share of
equal decisions says less: the embedded SQuAD model keeps 99 % of its F1 with 85 to 92 % of them (docs/quantisation.md). A class that
changes is another answer; a span that moves by a token is not wholly wrong."""

NOISE = 0.12
"""Largest root mean square of the change of an output, as a share of its standard deviation in FP32. The only limit of outputs that are no
decision (a similarity)."""

SHORTLIST = 6
"""Products whose return to FP32 is tried one at a time before any is chosen."""

MOST = 0.5
"""Share of the products that may go back to FP32; with more the model is no quantised one any more."""

SECONDS = 120.0
"""Time after which no further trial is begun."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What integers keep, over `decisions` decisions (the argmax of each output of a sample; 0 for outputs that hold one value).

    agreement  share of decisions that are FP32's
    regret     mean over the decisions of 1 - p(this choice) / p(FP32's choice), p being FP32's softmax: 0 for the same one, nearly so
               for a near tie, 1 for what FP32 ruled out
    noise      root mean square of the change of an output as a share of its standard deviation, of the output that changed most
    limit      largest regret that is allowed
    """

    agreement: float
    regret: float
    noise: float
    decisions: int
    limit: float

    @property
    def enough(self) -> bool:
        return self.loss <= 1

    @property
    def loss(self) -> float:
        """What is lost, in units of the limits: at most 1 where enough is kept."""
        return max(self.regret / self.limit, self.noise / NOISE)

    def facts(self) -> dict[str, float | None]:
        """JSON has no infinity."""
        noise = round(self.noise, 4) if self.noise < float("inf") else None
        return {"agreement": round(self.agreement, 4), "regret": round(self.regret, 4), "noise": noise}


def answers(model: onnx.ModelProto, given: Iterable[Feed]) -> Answers:
    graph = Graph(model)
    return [[values[0] for values in graph(feed)] for feed in given]


def compare(expected: Answers, found: Answers, limit: float) -> Kept:
    """`found` against FP32, with the largest regret that is allowed. A NaN or an infinity is a wholly lost decision and infinite noise."""
    pairs = [pair for wanted, values in zip(expected, found, strict=True) for pair in zip(wanted, values, strict=True)]
    regrets = [_regret(right, value) for right, value in pairs if right.size > 1]
    same = [bool(np.isfinite(value).all() and value.argmax() == right.argmax()) for right, value in pairs if right.size > 1]
    noise = max(_noise(column, others) for column, others in zip(_by_output(expected), _by_output(found), strict=True))
    if not regrets:
        return Kept(1.0, 0.0, noise, 0, limit)
    return Kept(sum(same) / len(same), sum(regrets) / len(regrets), noise, len(regrets), limit)


def _regret(right: NDArray[Any], value: NDArray[Any]) -> float:
    if not np.isfinite(value).all():
        return 1.0
    return 1.0 - float(np.exp(np.float64(right.flat[value.argmax()]) - np.float64(right.max())))


def _by_output(found: Answers) -> Iterator[NDArray[Any]]:
    return (np.concatenate([sample[output].ravel() for sample in found]) for output in range(len(found[0])))


def _noise(right: NDArray[Any], value: NDArray[Any]) -> float:
    if not np.isfinite(value).all():
        return float("inf")
    difference = float(np.sqrt(np.mean((value - right) ** 2)))
    return difference / max(float(right.std()), 1e-6)


# ------------------------------------------------------------------------------------------------------------------------ repair


@dataclass(frozen=True, slots=True)
class Repair:
    """A choice of products left in FP32 (`excluded`, names of nodes), what it keeps, and what was tried on the way."""

    excluded: tuple[str, ...]
    kept: Kept
    tried: int
    stopped: str = ""


def repaired(
    try_without: Callable[[Collection[str]], Kept],
    start: Kept,
    ranked: Sequence[str],
    remedies: Sequence[str],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Repair:
    """Products to leave in FP32 until enough is kept.

    First the known remedies (head, products behind GELU) and the products with most noise of their own are returned to FP32 one at a time,
    and what each wins is measured; then they are left out in that order, and behind them the rest by their own noise, more at each step,
    until enough is kept, MOST of the products are FP32, or the time is up. The best choice that was measured is returned, `start` included.

    try_without  measures the model with these products in FP32
    ranked       all quantised products, the noisiest first
    """
    deadline = clock() + seconds
    best, tried = Repair((), start, 0), 0
    shortlist = list(dict.fromkeys([*remedies, *ranked]))[:SHORTLIST]
    gains: dict[str, float] = {}
    for name in shortlist:
        if clock() > deadline:
            break
        kept, tried = try_without({name}), tried + 1
        gains[name] = kept.loss
        best = min(best, Repair((name,), kept, tried), key=_worth)
    order = sorted(gains, key=lambda name: gains[name])
    order += [name for name in ranked if name not in gains]
    stopped = ""
    for count in _steps(int(MOST * len(ranked))):
        if best.kept.enough:
            break
        if clock() > deadline:
            stopped = f"no time left after {tried} trials"
            break
        kept, tried = try_without(set(order[:count])), tried + 1
        best = min(best, Repair(tuple(order[:count]), kept, tried), key=_worth)
    if not best.kept.enough and not stopped:
        stopped = f"{MOST:.0%} of the products in FP32 are not enough"
    return Repair(best.excluded, best.kept, tried, stopped)


def _steps(most: int) -> Iterator[int]:
    """2, 3, 4, 6, 9 ... and at last `most`."""
    count = 2
    while count < most:
        yield count
        count = max(count + 1, round(count * 1.5))
    yield most


def _worth(repair: Repair) -> tuple[bool, int, float]:
    """Enough first, then by few exclusions where it is enough and by what is kept where it is not."""
    return (False, len(repair.excluded), repair.kept.loss) if repair.kept.enough else (True, 0, repair.kept.loss)
