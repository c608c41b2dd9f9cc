"""How many instances, with how many threads: a tournament among a few ways to divide the machine. What one gives is measured by a `Rig`.

Machines are noisy and drift, so a number is only held against another measured right beside it: the best so far and the next candidate
take turns (A B B A), and the loser leaves. At most two candidates are loaded at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, Protocol

from harness.errors import AssayError, BackendError

TIE = 0.02
"""Candidates within this share of the best are as good as it: what an A B B A block on a quiet machine cannot tell apart."""

CLEAR = 1.5
"""One block decides where one candidate is this many times as fast as the other."""

BLOCKS = 3
"""Most blocks of a pair."""

BUDGET_S = 20.0
"""Most time for all measuring, loading not counted: each pair gets an even share of what is left, and one block at least while there is
any; beyond it one turn each, beyond twice of it nothing."""

NO_TIME = "not tried: no time was left"

Mode = Literal["process", "thread"]


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A way to divide the machine: workers, and CPU threads over all of them. Ordered by workers, then threads."""

    workers: int
    threads: int
    mode: Mode = "process"

    def __str__(self) -> str:
        """ "2 x 4 threads"; "3 x 2-3 threads" where they do not divide; "2 streams" of a GPU."""
        if self.mode == "thread":
            return f"{self.workers} {'stream' if self.workers == 1 else 'streams'}"
        least, most = self.threads // self.workers, -(-self.threads // self.workers)
        each = f"{least}" if least == most else f"{least}-{most}"
        return f"{self.workers} x {each} {'thread' if each == '1' else 'threads'}"


def on_cpu(threads: int, most_workers: int, *, fewer: bool = True) -> tuple[Candidate, ...]:
    """Processes that share `threads`: 1, 2, 4 ... of them up to one a thread, and, if `fewer`, half of the threads in one process and in as
    many as there are (hyper-threads and memory bandwidth often make half as many as fast)."""
    counts = {1 << power for power in range(threads.bit_length())} | {threads}
    found = {Candidate(count, threads) for count in counts if count <= most_workers}
    half = threads // 2
    if fewer and half:
        found |= {Candidate(1, half), Candidate(min(half, most_workers), half)}
    return tuple(sorted(found, key=_preferred))


def on_gpu(threads: int, gpus: int, most_workers: int) -> tuple[Candidate, ...]:
    """Streams: threads of this process, 1, 2 and 4 for each of `gpus`."""
    counts = {1} | {gpus * each for each in (1, 2, 4)}
    return tuple(Candidate(count, max(threads, count), "thread") for count in sorted(counts) if count <= most_workers)


def _preferred(candidate: Candidate) -> tuple[int, int]:
    """Of equals the one with fewer workers, then the one that uses all threads, as a run without a search does."""
    return candidate.workers, -candidate.threads


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a candidate. `rate`: median of what it gave, 0 if nothing; `share`: of the best one's, by pairs measured side by side;
    `error`: why it was dropped."""

    candidate: Candidate
    rate: float = 0.0
    share: float = 0.0
    error: str = ""


class Rig(Protocol):
    """What loads and measures candidates. Its methods raise AssayError where a candidate fails."""

    def open(self, candidate: Candidate) -> None:
        """Load and warm up; leaves nothing behind if it raises."""
        ...

    def measure(self, candidate: Candidate) -> float:
        """One turn of an open candidate: a rate, more is better, 0 where it does not do at all."""
        ...

    def close(self, candidate: Candidate) -> None: ...


def search(
    candidates: Sequence[Candidate],
    rig: Rig,
    clock: Callable[[], float],
    say: Callable[[Candidate], None],
    budget_s: float = BUDGET_S,
) -> tuple[Trial, ...]:
    """Try all candidates; a trial for each, the best first. `clock`: seconds; `say` is told which comes next.

    A candidate that fails is dropped, with its error. Raises the first error if all fail. What is still open at the end is the rig's
    owner's to close.
    """
    contest = _Contest(rig, clock, budget_s)
    for number, candidate in enumerate(candidates):
        say(candidate)
        contest.enter(candidate, left=len(candidates) - number)
    return contest.trials(candidates)


class _Dropped(Exception):
    def __init__(self, candidate: Candidate, error: AssayError) -> None:
        super().__init__(str(error))
        self.candidate, self.error = candidate, error


@dataclass(slots=True)
class _Contest:
    """`shares`: of the champion's rate, of each candidate that was measured beside it, or beside one that was."""

    rig: Rig
    clock: Callable[[], float]
    budget_s: float
    champion: Candidate | None = None
    spent_s: float = 0.0
    rates: dict[Candidate, list[float]] = field(default_factory=dict)
    shares: dict[Candidate, float] = field(default_factory=dict)
    errors: dict[Candidate, AssayError] = field(default_factory=dict)

    def enter(self, candidate: Candidate, left: int) -> None:
        """Let `candidate` challenge the champion. `left`: candidates that wait, itself among them."""
        if self.champion is not None and self.spent_s > 2 * self.budget_s:
            self.errors[candidate] = BackendError(NO_TIME)
            return
        try:
            self.rig.open(candidate)
        except AssayError as error:
            self.errors[candidate] = error
            return
        if self.champion is None:
            self.champion, self.shares[candidate] = candidate, 1.0
            return
        try:
            self._settle(self.champion, candidate, self._pair(self.champion, candidate, left))
        except _Dropped as dropped:
            self._drop(dropped, self.champion, candidate)

    def _pair(self, champion: Candidate, challenger: Candidate, left: int) -> float:
        """How many times as fast as the champion the challenger is. Of sums, so that one turn of nothing among others does not decide."""
        until = self.spent_s + max(0.0, self.budget_s - self.spent_s) / left
        if self.spent_s > self.budget_s:
            return _ratio(self._measure(champion), self._measure(challenger))
        found: list[float] = []
        while not found or (len(found) < BLOCKS and self.spent_s < until and 1 / CLEAR < found[0] < CLEAR):
            first, second, third, fourth = (self._measure(each) for each in (champion, challenger, challenger, champion))
            found.append(_ratio(first + fourth, second + third))
        return _agreed(found)

    def _measure(self, candidate: Candidate) -> float:
        started = self.clock()
        try:
            rate = self.rig.measure(candidate)
        except AssayError as error:
            raise _Dropped(candidate, error) from error
        finally:
            self.spent_s += self.clock() - started
        self.rates.setdefault(candidate, []).append(rate)
        return rate

    def _settle(self, champion: Candidate, challenger: Candidate, ratio: float) -> None:
        """The loser leaves; shares are told in terms of the winner."""
        self.shares[challenger] = ratio
        winner, loser = (challenger, champion) if ratio > 1 else (champion, challenger)
        self.shares = {each: share / self.shares[winner] for each, share in self.shares.items()}
        self.champion = winner
        self.rig.close(loser)

    def _drop(self, dropped: _Dropped, champion: Candidate, challenger: Candidate) -> None:
        """One of a pair failed; the other is the champion, and what is known of earlier ones is told by its own rate."""
        self.errors[dropped.candidate] = dropped.error
        self.rig.close(dropped.candidate)
        if dropped.candidate == challenger:
            return
        before, now = self.rates.get(champion), self.rates.get(challenger)
        ratio = _ratio(median(before), median(now)) if before and now else 1.0
        del self.shares[champion]
        self.shares = {each: share / ratio for each, share in self.shares.items()} | {challenger: 1.0}
        self.champion = challenger

    def trials(self, candidates: Sequence[Candidate]) -> tuple[Trial, ...]:
        """The chosen one first: the preferred one of those within `TIE` of the best; then the others by share, then those dropped."""
        if self.champion is not None and self.champion not in self.rates:  # it had nobody to be held against
            try:
                self._measure(self.champion)
            except _Dropped as dropped:
                self._drop_last(dropped)
        if not self.shares:
            raise next(iter(self.errors.values()))
        best = max(self.shares.values())
        shares = {each: share / best for each, share in self.shares.items()}
        chosen = min((each for each, share in shares.items() if share >= 1 / (1 + TIE)), key=_preferred)
        ranked = sorted(shares, key=lambda each: (each != chosen, -shares[each], _preferred(each)))
        failed = [Trial(each, error=str(self.errors[each])) for each in candidates if each in self.errors]
        return (*(Trial(each, median(self.rates[each]), shares[each]) for each in ranked), *failed)

    def _drop_last(self, dropped: _Dropped) -> None:
        self.errors[dropped.candidate] = dropped.error
        del self.shares[dropped.candidate]


def _agreed(ratios: Sequence[float]) -> float:
    """What all blocks agree on: the ratio nearest to 1, and 1 where one calls faster what another calls slower."""
    if min(ratios) > 1:
        return min(ratios)
    return max(ratios) if max(ratios) < 1 else 1.0


def _ratio(first: float, second: float) -> float:
    """`second` over `first`, kept finite; 1 if both are 0."""
    least = 1e-9 * max(first, second)
    return max(second, least) / max(first, least) if least > 0 else 1.0
