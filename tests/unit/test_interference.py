"""CPU time of others, from two readings."""

from __future__ import annotations

import time

import pytest

from harness.interference import CpuTime, cpu_time, others_share


def test_others_are_what_is_neither_idle_nor_ours() -> None:
    """Of 20 core-seconds 16 were busy and 11 of those ours: others had a quarter."""
    assert others_share(CpuTime(100, 40, 1000), CpuTime(116, 51, 1020)) == pytest.approx(0.25)


def test_rounding_never_gives_a_share_below_zero_or_over_one() -> None:
    """Counters of the system and of processes tick apart."""
    assert others_share(CpuTime(0, 0, 0), CpuTime(1, 1.1, 10)) == 0.0
    assert others_share(CpuTime(0, 0, 0), CpuTime(1.5, 0, 1)) == 1.0
    assert others_share(CpuTime(0, 0, 5), CpuTime(0, 0, 5)) is None


def test_our_own_work_is_not_that_of_others() -> None:
    """Burning CPU here counts as ours."""
    before = cpu_time()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    after = cpu_time()
    assert after.ours_s - before.ours_s >= 0.15
    assert after.all_s >= before.all_s
