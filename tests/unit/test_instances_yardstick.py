"""What a crew gives in a scenario, with crews whose times are declared instead of spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from harness import plugins
from harness.batching import Policy
from harness.core import MS_NS, IntArray, Samples, Settings
from harness.crew import Crew
from harness.instances.yardstick import LONG_TURN_S, QUANTILES, TURN_S, Turn, Work, plan_turn, rate

LENGTHS = np.arange(1, 101)


class TimedCrew:
    """Workers that say how long calls take. `cost_ns`: of a call with so many rows and so long a longest one."""

    def __init__(self, size: int, cost_ns: Callable[[int, int], float]) -> None:
        self.size, self.cost_ns = size, cost_ns
        self.asked: list[Sequence[IntArray]] = []

    def call(self, method: str, batches: Sequence[IntArray], budget_s: float, pause_s: float, tick: object) -> list[list[int]]:
        del pause_s, tick
        assert method == "time_batches"
        self.asked.append(batches)
        times = [round(self.cost_ns(len(batch), int(LENGTHS[batch].max()))) for batch in batches]
        within = int(np.searchsorted(np.cumsum(times), min(budget_s, 1e9) * 1e9)) + 1
        return [times[:within]] * self.size


def work(scenario: str, **settings: Any) -> Work:
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)
    samples = Samples(np.ones(offsets[-1], np.int32), np.zeros(offsets[-1], np.int8), offsets, 0, 104)
    policy = Policy(max_batch=settings.pop("max_batch", 8), max_tokens=settings.pop("max_tokens", 0))
    chosen = plugins.load("scenarios", scenario).create()
    return Work(chosen, Settings(percentile=chosen.percentile, **settings), samples, policy)


def crew(size: int, cost_ns: Callable[[int, int], float]) -> tuple[Crew, TimedCrew]:
    made = TimedCrew(size, cost_ns)
    return cast("Crew", made), made


def test_throughput_is_the_sum_over_workers() -> None:
    """Two workers that need 10 ms for a call of eight: 1600 samples a second."""
    two, _ = crew(2, lambda rows, length: 10e6)
    assert rate(work("offline"), two, Turn((np.arange(8),) * 3)) == pytest.approx(1600)


def test_many_workers_share_the_work_of_a_turn() -> None:
    """Four workers do a quarter of the repeats each, and never less than all shapes once."""
    four, seen = crew(4, lambda rows, length: 1e6)
    rate(work("offline"), four, Turn((np.arange(8),), repeats=100))
    rate(work("offline"), four, Turn((np.arange(8),), repeats=2))
    assert [len(batches) for batches in seen.asked] == [25, 1]


def test_a_turn_offline_lasts_as_planned() -> None:
    """1 ms a row: full batches of three lengths, repeated until half a second is over."""
    alone, _ = crew(1, lambda rows, length: rows * 1e6)
    turn = plan_turn(work("offline"), alone)
    assert [len(batch) for batch in turn.batches] == [8, 8, 8]
    assert turn.repeats == round(TURN_S / (3 * 8e-3))
    assert [int(LENGTHS[batch].max()) for batch in turn.batches] == [50, 90, 10]


def test_a_turn_that_takes_too_long_is_cut() -> None:
    """Calls of a second where milliseconds were expected: what was done in three seconds, by a single worker and by each of two."""
    for size in (1, 2):
        slow, _ = crew(size, lambda rows, length: 1e9)
        assert rate(work("offline"), slow, Turn((np.arange(8),), repeats=100)) == pytest.approx(8 * size)


def test_slow_models_get_smaller_batches() -> None:
    """With 400 ms a row a turn of full batches would last ten seconds: single rows it is."""
    alone, _ = crew(1, lambda rows, length: rows * 400e6)
    turn = plan_turn(work("offline"), alone)
    assert [len(batch) for batch in turn.batches] == [1, 1, 1]
    assert len(QUANTILES) * 0.4 <= LONG_TURN_S
    assert turn.repeats == 1


def test_a_token_budget_holds_in_a_turn_as_well() -> None:
    """At most 112 padded tokens a call: 2 rows of 56, one of 96, 7 of 16."""
    alone, _ = crew(1, lambda rows, length: 1e6)
    turn = plan_turn(work("offline", max_tokens=112), alone)
    assert [len(batch) for batch in turn.batches] == [2, 1, 7]


def test_server_is_the_rate_within_the_bound() -> None:
    """20 us a padded token and 54 of them a sample: one worker serves somewhat less than 925 a second within 100 ms, two twice that and
    more, since a call that takes long holds up one of them only."""
    server = work("server", latency_bound_ns=100 * MS_NS)
    one, two = (crew(size, lambda rows, length: rows * -(-length // 8) * 8 * 20e3)[0] for size in (1, 2))
    turn = plan_turn(server, one)
    alone, both = rate(server, one, turn), rate(server, two, turn)
    assert 600 < alone < 925
    assert 1.8 < both / alone < 2.5


def test_server_is_nothing_where_no_rate_meets_the_bound() -> None:
    """Lone queries of 200 ms do not fit into 100 ms."""
    server = work("server", latency_bound_ns=100 * MS_NS)
    slow, _ = crew(1, lambda rows, length: 200e6)
    assert rate(server, slow, plan_turn(server, slow)) == 0.0


@pytest.mark.parametrize(("scenario", "most"), [("single-stream", 1), ("multi-stream", 8), ("server", None), ("offline", None)])
def test_as_many_workers_as_can_be_busy_at_once(scenario: str, most: int | None) -> None:
    """In a closed loop one query is open at a time, of one sample or of eight."""
    assert work(scenario).most_workers == most


def test_a_tail_percentile_is_not_read_from_a_short_turn() -> None:
    """Multi-stream is judged by its p99; candidates are told apart by p90."""
    assert (work("multi-stream").measure, work("multi-stream").unit) == ("p90 latency", "ns")
    assert work("single-stream").measure == "p90 latency"
