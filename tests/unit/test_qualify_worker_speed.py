"""Workers against each other at the same work: which is slow by itself, whatever slows all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.qualifying.soak import Loop, Soak
from harness.qualifying.soak_findings import findings as of_soak
from harness.qualifying.worker_speed import finding, slowest

RATES = st.floats(1.0, 1e4)


def measured(rng: np.random.Generator, slices: int, slower: float, noise: float, drift: float = 0.1) -> list[list[float]]:
    """Rates of three workers on a machine whose own speed wanders by `drift`; the last is slower by a share."""
    common = np.exp(rng.normal(0, drift, (slices, 1)))
    rates = 30 * common * np.exp(rng.normal(0, noise, (slices, 3)))
    rates[:, 2] *= 1 - slower
    return rates.tolist()


def test_the_difference_is_that_of_the_logarithms_to_the_median_of_the_others() -> None:
    """Worker 1 at 90, the others at 100 in each of five stretches: 10 % slower, and no noise leaves the 3 % that never count."""
    found = slowest([[100.0, 90.0, 100.0]] * 5)
    assert found is not None
    assert (found.worker, found.n) == (1, 5)
    assert found.share == pytest.approx(-0.10)
    assert found.allowed == pytest.approx(0.03)


def test_noise_allows_what_a_t_bound_says() -> None:
    """Two workers, stretches that differ by e^+-0.02: a standard error of 0.01 and t(0.995; 4) = 4.604."""
    sizes = [0.02, 0.02, -0.02, -0.02, 0.0]
    found = slowest([[math.exp(size), 1.0] for size in sizes])
    assert found is not None
    error = 0.02 / math.sqrt(5)
    assert found.allowed == pytest.approx(1 - math.exp(-4.604095 * error), rel=1e-6)


@given(st.lists(st.tuples(RATES, RATES), min_size=5, max_size=12), st.lists(st.floats(0.1, 10.0), min_size=12, max_size=12))
def test_what_slows_all_of_them_changes_nothing(rates: list[tuple[float, float]], speeds: list[float]) -> None:
    """Every stretch at another speed of the machine: the same standing."""
    before, after = slowest(rates), slowest([[speed * rate for rate in pair] for pair, speed in zip(rates, speeds, strict=False)])
    assert before is not None
    assert after is not None
    assert after.share == pytest.approx(before.share, rel=1e-6, abs=1e-9)
    assert after.allowed == pytest.approx(before.allowed, rel=1e-6, abs=1e-9)


def test_a_worker_slower_by_a_tenth_is_named_on_a_machine_that_drifts_by_as_much() -> None:
    """12 slices with 4 % of noise: named in at least 19 of 20 simulated qualifications; in healthy ones somebody is in about 1 of 100."""
    rng = np.random.default_rng(8)
    slow = [finding(measured(rng, 12, 0.10, 0.04), "workers_speed") for _ in range(400)]
    assert sum(each.outcome == "FAIL" and "worker 2 was" in each.text for each in slow) >= 380
    well = [finding(measured(rng, 12, 0.0, 0.04), "workers_speed") for _ in range(1000)]
    assert sum(each.outcome == "FAIL" for each in well) <= 15


def test_a_slow_worker_fails_with_a_code_of_its_own() -> None:
    """WORKER_SLOW, judged by itself: no baseline is asked."""
    found = finding([[100.0, 90.0]] * 6, "workers_speed")
    assert (found.code, found.outcome, found.required, found.expected) == ("WORKER_SLOW", "FAIL", True, 0.0)
    assert found.text == "worker 1 was 10.0 % slower than the others at the same work at the same time"
    assert found.margin == pytest.approx(-0.07)
    assert (
        "worker 1 (cores 2, 3) was 10.0 % slower"
        in finding([[100.0, 90.0]] * 6, "w", ["worker 0 (cores 0, 1)", "worker 1 (cores 2, 3)"]).text
    )


@pytest.mark.parametrize(
    ("stretches", "why"), [([[1.0]] * 9, "a worker alone"), ([[1.0, 1.0]] * 4, "fewer than 5"), ([], "a worker alone")]
)
def test_nothing_is_said_of_one_worker_or_of_few_stretches(stretches: list[list[float]], why: str) -> None:
    """A SKIP that qualifies nothing away."""
    found = finding(stretches, "workers_speed")
    assert (found.outcome, found.required) == ("SKIP", False)
    assert why in found.text


def test_the_workers_of_a_soak_are_held_against_each_other() -> None:
    """Loop by loop; loops of a session with other workers do not count, and one worker has nothing to say."""
    loop = Loop("2026-11-22T10:00:00+00:00", 30.0, (100.0,), "samples/s", 3000, workers=(50.0, 44.0))
    lone = Loop("2026-11-22T09:00:00+00:00", 30.0, (100.0,), "samples/s", 3000, workers=(90.0,))
    found = {each.name: each for each in of_soak(Soak(900.0, (lone, *[loop] * 6), (0, 1)))}
    assert (found["soak_workers"].code, found["soak_workers"].outcome, found["soak_workers"].n) == ("WORKER_SLOW", "FAIL", 6)
    assert "soak_workers" not in {each.name for each in of_soak(Soak(900.0, (lone,) * 9, (0,)))}
