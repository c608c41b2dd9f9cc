"""Workers that do the same work at the same time, against each other: which is slow by itself. Pure.

What slows the whole machine slows all of them, so that a slow worker shows by a difference that no baseline on a shared machine could see:
in each stretch of time, the logarithm of a worker's rate less the median of the others'. Its mean over n stretches has a one-sided t bound
(n - 1 degrees of freedom), at 1 % over the number of workers (Bonferroni). A worker fails that is slower than the others for certain, and
by more than `LEAST`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from harness import units
from harness.compare import student_quantile
from harness.qualifying.check import Finding, Outcome
from harness.qualifying.outliers import LEAST
from harness.qualifying.spread import FALSE_REJECTIONS

FEWEST = 5
"""Stretches below which a spread is a guess."""

CODE = "WORKER_SLOW"


@dataclass(frozen=True, slots=True)
class Standing:
    """The slowest worker: `share` faster than the others (negative: slower), by `n` stretches; `allowed`: share that it may be slower:
    what noise explains, and no less than `LEAST`."""

    worker: int
    share: float
    allowed: float
    n: int


def slowest(stretches: Sequence[Sequence[float]]) -> Standing | None:
    """`stretches`, (n, workers) of rates above 0 in the same order of workers. None for fewer than 2 workers or `FEWEST` stretches."""
    workers = min(map(len, stretches), default=0)
    if workers < 2 or len(stretches) < FEWEST:
        return None
    quantile = student_quantile(1 - FALSE_REJECTIONS / workers, len(stretches) - 1)
    found = [_standing(worker, [_ahead(rates, worker) for rates in stretches], quantile) for worker in range(workers)]
    return min(found, key=lambda each: each.share + each.allowed)


def _ahead(rates: Sequence[float], worker: int) -> float:
    """ln of a worker's rate over the median of the others'."""
    others = [math.log(rate) for place, rate in enumerate(rates) if place != worker]
    return math.log(rates[worker]) - median(others)


def _standing(worker: int, ahead: Sequence[float], quantile: float) -> Standing:
    error = stdev(ahead) / math.sqrt(len(ahead))
    return Standing(worker, math.expm1(fmean(ahead)), max(LEAST, -math.expm1(-quantile * error)), len(ahead))


def finding(stretches: Sequence[Sequence[float]], name: str, places: Sequence[str] = ()) -> Finding:
    """FAIL for a worker that is slower than the others by more than it may be; a SKIP that is not required where nothing can be said.
    `places`: the workers in words, with what they compute on."""
    found = slowest(stretches)
    if found is None:
        alone = min(map(len, stretches), default=0) < 2
        why = "a worker alone has no others to be held against" if alone else f"fewer than {FEWEST} stretches were measured"
        return Finding(CODE, name, "SKIP", why, required=False, next_step="give --workers 2 or more" if alone else "measure longer")
    outcome: Outcome = "FAIL" if -found.share > found.allowed else "PASS"
    word = "slower" if found.share < 0 else "faster"
    who = places[found.worker] if places else f"worker {found.worker}"
    return Finding(
        code=CODE,
        name=name,
        outcome=outcome,
        text=f"{who} was {units.share(abs(found.share))} {word} than the others at the same work at the same time",
        measured=found.share,
        unit="1",
        n=found.n,
        expected=0.0,
        tolerance=found.allowed,
        margin=found.allowed + found.share,
        better="higher",
        next_step="see its cores or its device: clocks, heat, who else uses them; pin it elsewhere" if outcome == "FAIL" else "",
    )
