"""The search for instances: which candidates there are, and that the best one wins, whatever fails or ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import AssayError, BackendError, MissingError
from harness.tournament import BUDGET_S, NO_TIME, TIE, Candidate, Trial, on_cpu, on_gpu, search

DEFAULT, HALF, SPLIT = Candidate(1, 2), Candidate(1, 1), Candidate(2, 2)
ALL = (DEFAULT, HALF, SPLIT)


@dataclass
class FakeRig:
    """Candidates with known rates; one with an error fails when it is opened or, if it has a rate too, at its second turn. A turn takes
    `turn_s` on the rig's own clock, and the machine's speed changes by `drift` with each."""

    rates: Mapping[Candidate, float]
    cannot_open: Mapping[Candidate, AssayError] = field(default_factory=dict)
    fails_late: Mapping[Candidate, AssayError] = field(default_factory=dict)
    turn_s: float = 0.0
    drift: float = 1.0
    now_s: float = 0.0
    speed: float = 1.0
    opened: list[Candidate] = field(default_factory=list)
    most_open: int = 0
    turns: list[Candidate] = field(default_factory=list)

    def open(self, candidate: Candidate) -> None:
        if candidate in self.cannot_open:
            raise self.cannot_open[candidate]
        self.opened.append(candidate)
        self.most_open = max(self.most_open, len(self.opened))

    def measure(self, candidate: Candidate) -> float:
        assert candidate in self.opened
        self.now_s += self.turn_s
        self.turns.append(candidate)
        if candidate in self.fails_late and self.turns.count(candidate) == 2:
            raise self.fails_late[candidate]
        self.speed *= self.drift
        return self.rates[candidate] * self.speed

    def close(self, candidate: Candidate) -> None:
        self.opened.remove(candidate)


def found(rig: FakeRig, candidates: Sequence[Candidate] = ALL) -> tuple[Trial, ...]:
    return search(candidates, rig, lambda: rig.now_s, lambda _: None)


def test_the_best_is_chosen_and_the_others_are_told_as_shares_of_it() -> None:
    """Rates 100, 55 and 110: the last one wins, the others gave 10/11 and a half."""
    trials = found(FakeRig({DEFAULT: 100.0, HALF: 55.0, SPLIT: 110.0}))
    assert [trial.candidate for trial in trials] == [SPLIT, DEFAULT, HALF]
    assert [trial.rate for trial in trials] == [110.0, 100.0, 55.0]
    assert [round(trial.share, 6) for trial in trials] == [1.0, round(10 / 11, 6), 0.5]


def test_of_equals_the_one_with_fewer_workers_is_chosen() -> None:
    """Two workers that gain less than the tie are not worth their memory; of two single workers the one with all threads stays."""
    trials = found(FakeRig({DEFAULT: 100.0, HALF: 101.0, SPLIT: 101.9}))
    assert trials[0].candidate == DEFAULT
    assert trials[0].share == pytest.approx(100 / 101.9)
    assert found(FakeRig({DEFAULT: 100.0, HALF: 100.0, SPLIT: 102.1}))[0].candidate == SPLIT


def test_a_steady_drift_of_the_machine_decides_nothing() -> None:
    """A machine that slows by 3 % with every turn: equal candidates come out equal, since they take turns A B B A."""
    trials = found(FakeRig(dict.fromkeys(ALL, 100.0), drift=0.97))
    assert trials[0].candidate == DEFAULT
    assert all(trial.share == pytest.approx(1.0, abs=0.002) for trial in trials)


def test_close_rivals_get_three_blocks_and_clear_ones_a_single_one() -> None:
    """A B B A once for half the speed, three times for nearly the same."""
    rig = FakeRig({DEFAULT: 100.0, HALF: 50.0, SPLIT: 99.0})
    found(rig)
    assert rig.turns == [DEFAULT, HALF, HALF, DEFAULT, *[DEFAULT, SPLIT, SPLIT, DEFAULT] * 3]


def test_blocks_that_disagree_are_no_difference() -> None:
    """Turns that jump about: 30 % faster in one block, slower in another. The default stays, at par."""
    jumpy = iter([100.0, 130.0, 130.0, 100.0, 100.0, 90.0, 90.0, 100.0, 100.0, 130.0, 130.0, 100.0])

    class Jumpy(FakeRig):
        def measure(self, candidate: Candidate) -> float:
            return next(jumpy)

    trials = found(Jumpy({}), [DEFAULT, SPLIT])
    assert [(trial.candidate, trial.share) for trial in trials] == [(DEFAULT, 1.0), (SPLIT, 1.0)]


def test_a_difference_is_the_least_that_all_blocks_saw() -> None:
    """30 %, 10 % and 20 % faster: 10 % counts."""
    rising = iter([100.0, 130.0, 130.0, 100.0, 100.0, 110.0, 110.0, 100.0, 100.0, 120.0, 120.0, 100.0])

    class Rising(FakeRig):
        def measure(self, candidate: Candidate) -> float:
            return next(rising)

    trials = found(Rising({}), [DEFAULT, SPLIT])
    assert [trial.candidate for trial in trials] == [SPLIT, DEFAULT]
    assert trials[1].share == pytest.approx(1 / 1.1)


def test_at_most_two_candidates_are_loaded_at_a_time() -> None:
    """Memory is needed for the best so far and its challenger, not for all."""
    candidates = on_cpu(16, 16)
    rig = FakeRig({each: float(index) for index, each in enumerate(candidates, 1)})
    assert found(rig, candidates)[0].candidate == candidates[-1]
    assert rig.most_open == 2


def test_a_candidate_that_does_not_load_is_dropped_with_its_error() -> None:
    """Out of memory is no end: it stands in the finding, last, without a rate."""
    trials = found(FakeRig({DEFAULT: 100.0, HALF: 50.0}, cannot_open={SPLIT: MissingError("needs 9 GB")}))
    assert trials[0].candidate == DEFAULT
    assert trials[-1] == Trial(SPLIT, error="needs 9 GB")


def test_a_challenger_that_fails_while_it_is_measured_is_dropped() -> None:
    """It may have been the fastest: a failure is never a result."""
    rig = FakeRig({DEFAULT: 100.0, HALF: 50.0, SPLIT: 900.0}, fails_late={SPLIT: BackendError("killed")})
    trials = found(rig)
    assert [(trial.candidate, trial.error) for trial in trials] == [(DEFAULT, ""), (HALF, ""), (SPLIT, "killed")]


def test_a_best_one_that_fails_gives_way_to_its_challenger() -> None:
    """The first one dies in its second turn; the others are compared with each other."""
    rig = FakeRig({DEFAULT: 900.0, HALF: 50.0, SPLIT: 100.0}, fails_late={DEFAULT: BackendError("killed")})
    trials = found(rig)
    assert [(trial.candidate, trial.error) for trial in trials] == [(SPLIT, ""), (HALF, ""), (DEFAULT, "killed")]
    assert trials[1].share == pytest.approx(0.5)
    assert rig.opened == [SPLIT]


def test_the_first_error_is_raised_if_all_fail() -> None:
    """With its type, which decides the exit code, and its cure."""
    errors = {DEFAULT: MissingError("no TensorRT", "pip install tensorrt"), HALF: BackendError("b"), SPLIT: BackendError("c")}
    with pytest.raises(MissingError, match="no TensorRT") as error:
        found(FakeRig({}, cannot_open=errors))
    assert error.value.cure == "pip install tensorrt"


def test_a_lone_candidate_is_measured_too() -> None:
    """What it gave is told, and one that fails in it fails the search."""
    assert found(FakeRig({DEFAULT: 42.0}), [DEFAULT]) == (Trial(DEFAULT, 42.0, 1.0),)
    rig = FakeRig({DEFAULT: 42.0, HALF: 1.0}, cannot_open={HALF: BackendError("no")}, fails_late={})
    assert found(rig, [DEFAULT, HALF])[0] == Trial(DEFAULT, 42.0, 1.0)


def test_where_none_does_the_default_stays() -> None:
    """A rate of 0 (no rate meets the bound) ties with another; anything beats it."""
    assert found(FakeRig(dict.fromkeys(ALL, 0.0)))[0].candidate == DEFAULT
    trials = found(FakeRig({DEFAULT: 0.0, HALF: 0.0, SPLIT: 3.0}))
    assert trials[0].candidate == SPLIT
    assert trials[1].share < 1e-6


def test_slow_turns_end_the_search_in_bounded_time() -> None:
    """With turns of a third of the budget: a whole block, then one turn each, then nothing, which is said."""
    candidates = on_cpu(16, 16)
    rig = FakeRig(dict.fromkeys(candidates, 1.0), turn_s=BUDGET_S / 3)
    trials = found(rig, candidates)
    assert rig.now_s <= 2 * BUDGET_S + 4 * rig.turn_s
    assert trials[-1].error == NO_TIME
    assert {trial.candidate for trial in trials} == set(candidates)


@given(st.dictionaries(st.sampled_from(on_cpu(12, 12)), st.one_of(st.none(), st.floats(1e-3, 1e6)), min_size=1))
def test_no_candidate_is_better_than_the_chosen_one_by_more_than_the_tie(rates: dict[Candidate, float | None]) -> None:
    """Whatever the rates and whoever fails: within the tie of the best, and none within it has fewer workers."""
    working = {each: rate for each, rate in rates.items() if rate is not None}
    rig = FakeRig(working, cannot_open={each: BackendError("no") for each, rate in rates.items() if rate is None})
    if not working:
        with pytest.raises(BackendError):
            found(rig, list(rates))
        return
    trials, best = found(rig, list(rates)), max(working.values())
    chosen = trials[0].candidate
    assert working[chosen] * (1 + TIE) >= best * (1 - 1e-9)
    equals = [each for each, rate in working.items() if rate * (1 + TIE) > best * (1 + 1e-9)]
    assert all(chosen.workers <= each.workers for each in equals)
    assert {trial.candidate for trial in trials} == set(rates)


def test_candidates_of_a_cpu() -> None:
    """Processes in powers of two up to one a thread, and half of the threads in one process and in as many as there are."""
    names = [str(each) for each in on_cpu(8, 256)]
    assert names == ["1 x 8 threads", "1 x 4 threads", "2 x 4 threads", "4 x 2 threads", "4 x 1 thread", "8 x 1 thread"]
    assert [str(each) for each in on_cpu(2, 256)] == ["1 x 2 threads", "1 x 1 thread", "2 x 1 thread"]
    assert [str(each) for each in on_cpu(1, 256)] == ["1 x 1 thread"]


def test_threads_that_do_not_divide_are_told_as_they_are_dealt() -> None:
    """Six threads among four workers: two get two, two get one."""
    assert "4 x 1-2 threads" in [str(each) for each in on_cpu(6, 256)]


def test_given_threads_are_all_used() -> None:
    """With --threads 4 no candidate takes fewer."""
    assert [(each.workers, each.threads) for each in on_cpu(4, 256, fewer=False)] == [(1, 4), (2, 4), (4, 4)]


def test_one_worker_is_all_a_single_stream_can_use() -> None:
    """Only the threads vary then."""
    assert [str(each) for each in on_cpu(8, 1)] == ["1 x 8 threads", "1 x 4 threads"]


def test_candidates_of_a_gpu_are_streams() -> None:
    """1, 2 and 4 for each GPU, and a lone one."""
    assert [str(each) for each in on_gpu(8, 1, 256)] == ["1 stream", "2 streams", "4 streams"]
    assert [each.workers for each in on_gpu(8, 2, 256)] == [1, 2, 4, 8]
    assert [each.workers for each in on_gpu(8, 1, 1)] == [1]


@given(st.integers(1, 256), st.integers(1, 256))
def test_candidates_are_few_distinct_and_within_the_machine(threads: int, most: int) -> None:
    """The default comes first; nobody gets less than a thread, or more workers than can be busy."""
    candidates = on_cpu(threads, most)
    assert candidates[0] == Candidate(1, threads)
    assert len(set(candidates)) == len(candidates) <= 12
    assert all(1 <= each.workers <= min(most, each.threads) and each.threads <= threads for each in candidates)
