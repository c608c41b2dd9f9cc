"""Loads and measures the candidates of a search for instances: real crews of the run's own backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness import conditions, units
from harness.bench import Bench, specs
from harness.crew import Crew, form, patience
from harness.errors import MissingError
from harness.instances.yardstick import Turn, Work, plan_turn, rate
from harness.tournament import Candidate

WARM_S = 2.0
"""Most time for running the work of a turn once, untimed."""


def as_asked(bench: Bench, candidate: Candidate) -> Bench:
    """The bench as if `candidate` had been asked for by hand."""
    return replace(bench, config=bench.config.model_copy(update=settings(bench, candidate)))


def settings(bench: Bench, candidate: Candidate) -> dict[str, object]:
    """Settings that stand for `candidate`, by field of RunConfig. Streams of a GPU leave the CPU threads as they are."""
    if candidate.mode == "thread":
        return {"workers": candidate.workers, "worker_mode": "thread"}
    mode = "process" if candidate.workers > 1 else bench.config.worker_mode
    return {"workers": candidate.workers, "worker_mode": mode, "threads": candidate.threads}


@dataclass(slots=True)
class CrewRig:
    """The rig of a run. Also a lone process worker is a process here, though it will be this one in the run: what it leaves behind would
    disturb those after it, and one that is killed takes nothing with it.

    load_s        how long loading may take
    device        what the first candidate said it runs on
    worker_bytes  by how much loading made its process grow
    """

    bench: Bench
    work: Work
    load_s: float
    device: str = ""
    worker_bytes: int = 0
    turn: Turn | None = None
    crews: dict[Candidate, Crew] = field(default_factory=dict)

    def open(self, candidate: Candidate) -> None:
        """Raises MissingError where the memory does not suffice, and what loading and warming up raise."""
        self._refuse_too_large(candidate)
        bench = as_asked(self.bench, candidate)
        crew = form(specs(bench, bench.config.backend, candidate.workers), processes=candidate.mode == "process")
        try:
            described = crew.call("load", tick=patience(self.load_s))[0]
            if self.turn is None:
                self._learn(crew, described)
            assert self.turn is not None
            crew.call("warm", self.turn.batches, WARM_S, tick=patience(WARM_S + self.bench.config.hang_timeout))
        except BaseException:
            crew.close()
            raise
        self.crews[candidate] = crew

    def _learn(self, crew: Crew, described: Mapping[str, Any]) -> None:
        """What the first crew tells of all: where it runs, what a worker's memory holds, and how much work makes a turn."""
        self.device = str(described.get("device", ""))
        self.worker_bytes = int((described.get("memory") or {}).get("resident_bytes") or 0)
        self.turn = plan_turn(self.work, crew)

    def measure(self, candidate: Candidate) -> float:
        assert self.turn is not None
        return rate(self.work, self.crews[candidate], self.turn)

    def close(self, candidate: Candidate) -> None:
        self.crews.pop(candidate).close()

    def close_all(self) -> None:
        for candidate in list(self.crews):
            self.close(candidate)

    def _refuse_too_large(self, candidate: Candidate) -> None:
        """Weights of every worker against what is free: by the model's file, and by what the first worker was seen to take."""
        if self.bench.model is None:
            return
        needed = max(self.bench.model.bytes, self.worker_bytes) * candidate.workers
        free = conditions.memory()["available"]
        if free is not None and needed > free:
            raise MissingError(
                f"needs {units.size(needed)} of memory, {units.size(free)} are free", "use fewer workers, or a smaller model"
            )
